"""Plug-ins: Python modules of others that bring sources of events, networks and tasks.

A module names what it brings in `SOURCES` (tuple), `NETWORKS` (dict) and `TASKS` (tuple); the room that understands a
kind asks for it here. Holds where plug-ins come from: installed packages with an entry point in the group
`breakeven.plugins`, and files named by `--plugin` or in BREAKEVEN_PLUGINS, which worker processes inherit.
"""

import hashlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterable
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

VARIABLE = "BREAKEVEN_PLUGINS"
GROUP = "breakeven.plugins"


class BadPlugin(ValueError):
    """A plug-in that cannot be used; the message names it and what is wrong."""


def add_files(paths: Iterable[Path]) -> None:
    """Use these files too, in this process and those that it starts."""
    named = [part for part in os.environ.get(VARIABLE, "").split(os.pathsep) if part]
    named += [str(path.resolve()) for path in paths]
    os.environ[VARIABLE] = os.pathsep.join(dict.fromkeys(named))


def modules() -> tuple[ModuleType, ...]:
    """All plug-ins, loaded once. Raises BadPlugin where one cannot be loaded."""
    return _loaded(os.environ.get(VARIABLE, ""))


def origin(maker: type | Callable) -> dict[str, str]:
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
    name = f"breakeven_plugin_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    found = importlib.util.spec_from_file_location(name, path)
    if not path.is_file() or found is None or found.loader is None:
        raise BadPlugin(f"{path}: no Python file; name an existing .py file with --plugin or in {VARIABLE}")
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module  # so that its dataclasses find their module, and its values can be pickled
    try:
        found.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise BadPlugin(f"{path}: the plug-in cannot be loaded: {type(error).__name__}: {error}") from error
    return module
