"""The figures that arXiv 2412.10665 printed, to stand beside ours. Never mixed into a mean of ours."""

import math
from functools import cache
from importlib.resources import files

import pandas as pd

from breakeven.study.spec import TASKS

METRIC = "accuracy"
"""What its Table 1 is of."""
_TITLES = {frozenset({task.signal, task.background}): task.title for task in TASKS.values()}


def task_name(signal: str, background: str) -> str | None:
    """The paper's name of the task, whichever process is called signal; None where the paper has no such task."""
    return _TITLES.get(frozenset({signal, background}))


def accuracy() -> pd.DataFrame:
    """Table 1: task, quantity, events_per_class, value_percent, uncertainty_percent."""
    return _read("accuracy")


def accuracy_value(signal: str, background: str, pretraining: str, size: int) -> tuple[float, float] | None:
    """(value, uncertainty) in percent of Table 1, the baseline's accuracy or a pretraining's gain; None if absent."""
    if (task := task_name(signal, background)) is None:
        return None
    quantity = "baseline accuracy" if pretraining == "none" else f"{pretraining} gain"
    table = accuracy()
    row = table[(table["task"] == task) & (table["quantity"] == quantity) & (table["events_per_class"] == size)]
    if row.empty:
        return None
    return float(row["value_percent"].iloc[0]), float(row["uncertainty_percent"].iloc[0])


def accuracy_at(signal: str, background: str, pretraining: str, size: int) -> tuple[float, float] | None:
    """(accuracy, uncertainty) in percent by Table 1, of a pretraining the baseline's and its gain together; None if absent."""
    baseline = accuracy_value(signal, background, "none", size)
    if pretraining == "none" or baseline is None:
        return baseline
    gain = accuracy_value(signal, background, pretraining, size)
    return None if gain is None else (baseline[0] + gain[0], math.hypot(baseline[1], gain[1]))


def cka_value(signal: str, background: str, pretraining: str) -> tuple[float, float] | None:
    """(CKA, uncertainty) of Table 3 against the baseline; pretraining "none" is the baseline itself; None if absent."""
    table = _read("cka")
    model = "baseline" if pretraining == "none" else pretraining
    row = table[(table["task"] == task_name(signal, background)) & (table["model"] == model)]
    return None if row.empty else (float(row["cka"].iloc[0]), float(row["uncertainty"].iloc[0]))


def cost_value(quantity: str) -> float:
    """One figure of the cost table; raises KeyError naming those there are."""
    table = _read("cost").set_index("quantity")["value"]
    if quantity not in table.index:
        raise KeyError(f"{quantity!r} is not in published_cost.csv; there are: {', '.join(table.index)}")
    return float(table[quantity])


@cache
def _read(name: str) -> pd.DataFrame:
    with files(__package__).joinpath(f"published_{name}.csv").open(encoding="utf-8") as stream:
        return pd.read_csv(stream)
