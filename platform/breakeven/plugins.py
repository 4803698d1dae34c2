"""Plug-ins: Python modules of others that bring sources of events, networks and tasks.

A module names what it brings in `SOURCES` (process -> events.source.Source), `NETWORKS` (kind -> models.spec.Builder) and
`TASKS` (name -> study.task.Task); the room that understands a kind asks for it here. Plug-ins are installed packages with
an entry point in the group `breakeven.plugins`, and files named by `--plugin` or in BREAKEVEN_PLUGINS, which worker
processes inherit. What decides a result of theirs is said by the hash of their files: the module, and all that it imports of its
own package or, for a file, from its folder.
"""

import ast
import hashlib
import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

VARIABLE = "BREAKEVEN_PLUGINS"
PINNED = "BREAKEVEN_PLUGIN_VERSIONS"
"""Environment variable of workers: the versions that their driver has loaded, and no others may run."""
GROUP = "breakeven.plugins"


class BadPlugin(ValueError):
    """A plug-in that cannot be used; the message names it and what is wrong."""


def add_files(paths: Iterable[Path]) -> None:
    """Use these files too, in this process and those that it starts. Raises BadPlugin where a path cannot be handed on."""
    paths = [*paths]
    if wrong := [path for path in paths if os.pathsep in str(path.resolve())]:
        raise BadPlugin(
            f"{wrong[0]}: a path with {os.pathsep!r} in it, which separates plug-ins in {VARIABLE}; move the file"
        )
    os.environ[VARIABLE] = os.pathsep.join(
        dict.fromkeys(map(str, [*_named_files(), *(path.resolve() for path in paths)]))
    )


def environment() -> dict[str, str]:
    """What a process that starts elsewhere needs in its environment to have the same plug-ins."""
    return {VARIABLE: os.pathsep.join(map(str, files))} if (files := _named_files()) else {}


def pinned() -> dict[str, str]:
    """What a worker needs in its environment besides, to refuse plug-ins that were changed after they were loaded here."""
    return {PINNED: said} if (said := _said(_versions())) else {}


def modules() -> tuple[ModuleType, ...]:
    """All plug-ins, loaded once. Raises BadPlugin where one cannot be loaded."""
    return tuple(_versions())


def brought(kind: str) -> dict[str, Any]:
    """What all plug-ins bring of a kind ("SOURCES", "NETWORKS", "TASKS"), by name. Raises BadPlugin where one cannot be used."""
    return {name: one for name, (_, one) in _brought(kind).items()}


def where(kind: str, name: str) -> str:
    """File of the plug-in that brings this, for messages."""
    return str(_brought(kind)[name][0].__file__)


def version(kind: str, name: str) -> str:
    """Hash of the files of the plug-in that brings this, as they were when it was loaded."""
    return _versions()[_brought(kind)[name][0]]


def defaults(network: str) -> dict[str, Any]:
    """The arguments of this kind of network that have a default, with it; none of a kind that no plug-in brings."""
    builder = brought("NETWORKS").get(network)
    try:
        known = inspect.signature(builder).parameters if builder else {}
    except (TypeError, ValueError):  # of a callable that says nothing of them
        known = {}
    return {name: one.default for name, one in known.items() if one.default is not one.empty}


def origin(source: Any) -> dict[str, str]:
    """For the identity of what a source of events makes: the hash of the files of the plug-in that brings it, or else has its
    class; nothing for our own.
    """
    maker = type(source)
    if type(brought("SOURCES").get(source.name)) is maker:
        return {"plugin": version("SOURCES", source.name)}
    file = getattr(sys.modules[maker.__module__], "__file__", None)
    own = [module for module in modules() if file and Path(file).resolve() in map(Path.resolve, _files(module))]
    return {"plugin": _versions()[own[0]]} if own else {}


def _named_files() -> list[Path]:
    """The files in BREAKEVEN_PLUGINS by whole paths, by which their modules are named and what lies beside them is found."""
    return [Path(part).resolve() for part in os.environ.get(VARIABLE, "").split(os.pathsep) if part]


def _versions() -> Mapping[ModuleType, str]:
    return _loaded(tuple(_named_files()))


_NEEDS = {
    "SOURCES": ("name", "kind", "schema", "identity", "about", "make"),
    "NETWORKS": ("__call__",),
    "TASKS": ("name", "signal", "background"),
}
"""What the parts of a kind have at least."""


def _brought(kind: str) -> dict[str, tuple[ModuleType, Any]]:
    parts: dict[str, tuple[ModuleType, Any]] = {}
    for module in modules():
        given = getattr(module, kind, {})
        if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
            raise BadPlugin(f"{module.__file__}: {kind} is {given!r}; write a dict from names to what is brought")
        for name, one in given.items():
            if missing := [need for need in _NEEDS[kind] if not hasattr(one, need)]:
                raise BadPlugin(
                    f"{module.__file__}: {kind}[{name!r}] is {one!r}, which has no {', '.join(missing)}; give one as "
                    "breakeven/plugins.py says"
                )
            if name in parts:
                raise BadPlugin(
                    f"{module.__file__}: {kind} has {name!r}, which another plug-in has too; name it otherwise"
                )
            parts[name] = module, one
    return parts


def _hash(module: ModuleType) -> str:
    files = _files(module)
    contents = [file.read_bytes() for file in files]
    if len(contents) > 1:  # one file is said by its content alone, as the first plug-ins were
        top = Path(os.path.commonpath([file.parent for file in files]))
        contents = sorted(
            f"{file.relative_to(top).as_posix()} {hashlib.sha256(content).hexdigest()}\n".encode()
            for file, content in zip(files, contents, strict=True)
        )
    return hashlib.sha256(b"".join(contents)).hexdigest()[:16]


def _files(module: ModuleType) -> list[Path]:
    """A plug-in's file, and those that it imports: of its own package, or for a single file those in the same folder too.

    They are told from the import statements, and so are the same in every process.
    """
    own, name = Path(str(module.__file__)).absolute(), tuple(module.__name__.split("."))
    by_path = module.__name__ == _module_name(own)
    root = _above_packages(own) if by_path else own.parents[len(name) - (own.stem != "__init__")]
    package = own.relative_to(root).parts[:1] if by_path else name[:1]
    files = [own, *([] if by_path else _modules(root, name))]
    for file in files:  # it grows meanwhile
        for imported in _imported(file, file.parent.relative_to(root).parts):
            found = _modules(root, imported) if imported[:1] == package else []
            found += _modules(own.parent, imported) if by_path else []
            files += [one for one in found if one not in files]
    return list(dict.fromkeys(files))


def _above_packages(file: Path) -> Path:
    """The folder from which a file's module is imported: that around the packages that it lies in."""
    return next(folder for folder in file.parents if not (folder / "__init__.py").is_file())


def _modules(root: Path, name: tuple[str, ...]) -> list[Path]:
    """The files below `root` of a module and of the packages around it."""
    bases = [str(root.joinpath(*name[:end])) for end in range(1, len(name) + 1)]
    return [file for base in bases for file in (Path(base, "__init__.py"), Path(f"{base}.py")) if file.is_file()]


def _imported(file: Path, package: tuple[str, ...]) -> list[tuple[str, ...]]:
    """What the import statements in a file of a package name, in parts."""
    try:
        nodes = list(ast.walk(ast.parse(file.read_bytes())))
    except (SyntaxError, ValueError):  # compiled, or never imported
        return []
    names = [tuple(one.name.split(".")) for node in nodes if isinstance(node, ast.Import) for one in node.names]
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            around = package[: len(package) - node.level + 1] if node.level else ()
            inside = (*around, *(node.module.split(".") if node.module else ()))
            names += [(*inside, one.name) for one in node.names]
    return names


@cache
def _loaded(files: tuple[Path, ...]) -> Mapping[ModuleType, str]:
    """The plug-ins, each with the hash of its files: what is written to them later is not what runs here."""
    installed = [_entry(entry) for entry in entry_points(group=GROUP)]
    versions = {module: _hash(module) for module in (*installed, *map(_load, files))}
    if (wanted := os.environ.get(PINNED)) and wanted != _said(versions):
        raise BadPlugin(
            f"the plug-ins {', '.join(str(module.__file__) for module in versions)} have changed since the study began, or are "
            "others on this node: what runs here would not be what its records say; start the study again"
        )
    return versions


def _said(versions: Mapping[ModuleType, str]) -> str:
    return "+".join(versions.values())


def _entry(entry: EntryPoint) -> ModuleType:
    try:
        module = entry.load()
    except (Exception, SystemExit) as error:
        raise BadPlugin(f"{_named(entry)} cannot be loaded: {type(error).__name__}: {error}") from error
    if not isinstance(module, ModuleType):
        raise BadPlugin(f"{_named(entry)} is a {type(module).__name__}; let its entry point name a module")
    return module


def _named(entry: EntryPoint) -> str:
    of = entry.dist.name if entry.dist else "an installed package"
    return f"the plug-in {entry.name} = {entry.value} of {of}"


def _load(path: Path) -> ModuleType:
    if not path.is_file() or path.suffix != ".py":
        raise BadPlugin(f"{path}: no Python file; name an existing .py file with --plugin or in {VARIABLE}")
    try:
        return importlib.import_module(_module_name(path))
    except (Exception, SystemExit) as error:
        raise BadPlugin(f"{path}: the plug-in cannot be loaded: {type(error).__name__}: {error}") from error


def _module_name(path: Path) -> str:
    return f"breakeven_plugin_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"


class _Finder(MetaPathFinder):
    """Finds the modules of plug-in files by name, so that a worker can unpickle values of them."""

    def find_spec(self, fullname: str, path: object, target: ModuleType | None = None) -> ModuleSpec | None:
        ours = next((file for file in _named_files() if _module_name(file) == fullname), None)
        return importlib.util.spec_from_file_location(fullname, ours) if ours else None


sys.meta_path.append(_Finder())
