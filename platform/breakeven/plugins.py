"""Plug-ins: Python modules of others that bring sources of events, networks and tasks.

A module names what it brings in `SOURCES` (process -> events.source.Source), `NETWORKS` (kind -> models.spec.Builder) and
`TASKS` (name -> study.spec.Task); the room that understands a kind asks for it here. Plug-ins are installed packages with
an entry point in the group `breakeven.plugins`, and files named by `--plugin` or in BREAKEVEN_PLUGINS, which worker
processes inherit.
"""

import hashlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterable
from functools import cache
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

VARIABLE = "BREAKEVEN_PLUGINS"
GROUP = "breakeven.plugins"


class BadPlugin(ValueError):
    """A plug-in that cannot be used; the message names it and what is wrong."""


def add_files(paths: Iterable[Path]) -> None:
    """Use these files too, in this process and those that it starts."""
    named = [part for part in os.environ.get(VARIABLE, "").split(os.pathsep) if part]
    named += [str(path.resolve()) for path in paths]
    os.environ[VARIABLE] = os.pathsep.join(dict.fromkeys(named))


def environment() -> dict[str, str]:
    """What a process that starts elsewhere needs in its environment to have the same plug-ins."""
    return {VARIABLE: os.environ[VARIABLE]} if os.environ.get(VARIABLE) else {}


def modules() -> tuple[ModuleType, ...]:
    """All plug-ins, loaded once. Raises BadPlugin where one cannot be loaded."""
    return _loaded(os.environ.get(VARIABLE, ""))


def brought(kind: str) -> dict[str, Any]:
    """What all plug-ins bring of a kind ("SOURCES", "NETWORKS", "TASKS"), by name. Raises BadPlugin where a name is taken."""
    parts: dict[str, Any] = {}
    for module in modules():
        for name, one in getattr(module, kind, {}).items():
            if name in parts:
                raise BadPlugin(
                    f"{module.__file__}: {kind} has {name!r}, which another plug-in has too; name it otherwise"
                )
            parts[name] = one
    return parts


def origin(maker: type | Callable[..., Any]) -> dict[str, str]:
    """For the identity of what `maker` makes: the hash of the plug-in's file that it is from; nothing for our own."""
    module = sys.modules[maker.__module__]
    if module not in modules() or module.__file__ is None:
        return {}
    return {"plugin": hashlib.sha256(Path(module.__file__).read_bytes()).hexdigest()[:16]}


@cache
def _loaded(files: str) -> tuple[ModuleType, ...]:
    installed = [entry.load() for entry in entry_points(group=GROUP)]
    return (*installed, *(_load(Path(part)) for part in files.split(os.pathsep) if part))


def _load(path: Path) -> ModuleType:
    if not path.is_file() or path.suffix != ".py":
        raise BadPlugin(f"{path}: no Python file; name an existing .py file with --plugin or in {VARIABLE}")
    try:
        return importlib.import_module(_module_name(path))
    except Exception as error:
        raise BadPlugin(f"{path}: the plug-in cannot be loaded: {type(error).__name__}: {error}") from error


def _module_name(path: Path) -> str:
    return f"breakeven_plugin_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"


class _Finder(MetaPathFinder):
    """Finds the modules of plug-in files by name, so that a worker can unpickle values of them."""

    def find_spec(self, fullname: str, path: object, target: ModuleType | None = None) -> ModuleSpec | None:
        files = (Path(part) for part in os.environ.get(VARIABLE, "").split(os.pathsep) if part)
        ours = next((file for file in files if _module_name(file) == fullname), None)
        return importlib.util.spec_from_file_location(fullname, ours) if ours else None


sys.meta_path.append(_Finder())
