"""What users and plug-ins call says what it takes, gives and raises; a name that goes or a parameter that changes is seen."""

import ast
import importlib
import inspect
import re
import textwrap
from pathlib import Path

import pytest

import breakeven

PACKAGE = Path(breakeven.__file__).parent
PRIVATE = ("breakeven.search", "breakeven.tracking")
"""Their `__all__` is for the house itself."""


def public_modules():
    """Every module that declares what of it is public."""
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(("breakeven", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")
        if name not in PRIVATE and "\n__all__ = " in path.read_text():
            yield name


def called(module):
    """Functions, and methods of classes, that are public in `module`; by their names."""
    for name in module.__all__:
        found = getattr(module, name)
        if inspect.isfunction(found):
            yield name, found
        elif inspect.isclass(found) and found.__module__ == module.__name__:
            for method, function in vars(found).items():
                if inspect.isfunction(function) and not method.startswith("_"):
                    yield f"{name}.{method}", function


def section(text, title):
    """Names that a section of a docstring begins its entries with, in order."""
    found = re.search(rf"^{title}:\n((?:    .*\n?|\n)+)", text, re.MULTILINE)
    return re.findall(r"^    (\w+): ", found[1], re.MULTILINE) if found else []


def raised(function):
    """Names of the exceptions that a function raises itself."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    calls = [node.exc for node in ast.walk(tree) if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)]
    names = {ast.unparse(call.func).rpartition(".")[2] for call in calls}
    return {name for name in names if name[0].isupper()}  # else a function that makes the exception


MODULES = list(public_modules())


def test_the_rooms_that_users_enter_are_public():
    assert {"breakeven", "breakeven.run", "breakeven.cli", "breakeven.study.spec", "breakeven.models",
            "breakeven.training.loop", "breakeven.ledger.ledger", "breakeven.ledger.lease", "breakeven.events.store",
            "breakeven.events.arrays", "breakeven.registry.package"} <= set(MODULES)  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_the_docstrings_of_public_functions_are_whole(name):
    module = importlib.import_module(name)
    for title, function in called(module):
        where, text = f"{name}.{title}", inspect.getdoc(function) or ""
        assert text, f"{where} has no docstring"
        parameters = [one for one in inspect.signature(function).parameters if one != "self"]
        if len(parameters) > 1 or "Args:" in text:
            assert section(text, "Args") == parameters, f"{where}: Args are not its parameters"
        if len(parameters) > 1 and inspect.signature(function).return_annotation not in (None, "None"):
            assert "\nReturns:\n" in text, f"{where} does not say what it returns"
        for error in raised(function):
            assert error in text, f"{where} does not say that it raises {error}"


def test_ledger_and_leases_state_what_threads_and_other_processes_may_rely_on():
    from breakeven.ledger.lease import Leases
    from breakeven.ledger.ledger import Ledger

    for kept in (Ledger, Leases):
        assert "Consistency:" in kept.__doc__ and re.search(r"\bThreads\b", kept.__doc__)
