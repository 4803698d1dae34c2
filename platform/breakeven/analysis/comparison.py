"""Two studies side by side: what was asked, where it ran, and each cell's test accuracy with the significance of its change.

Differences are B - A. Only confirmed trials count, as everywhere. It chooses no winner, and it never converts one kind of
device-hour to another.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from scipy import stats

from breakeven.analysis import accuracy
from breakeven.analysis import frame as ledger_frame
from breakeven.analysis.cost import hours as cost
from breakeven.analysis.frame import CELL, cells_of
from breakeven.analysis.significance import holm
from breakeven.analysis.statistics import estimate
from breakeven.ledger.charge import charges_of, hours_unit

ABSENT = "-"
"""What a field has that one side lacks."""
CORRECTION = "Holm"
"""Of p-values over the cells compared: it holds however the cells depend on each other, and they share events."""
# Accuracies are counts divided by counts: differences below this are the arithmetic's.
_ROUNDING = 1e-9
_NO_HOURS = pd.Series({"useful": 0.0, "wasted": 0.0})


@dataclass(frozen=True)
class Difference:
    """A field that two studies do not share."""

    field: str
    a: Any
    b: Any


def specifications(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[Difference]:
    """Fields of two specifications, as JSON has them, that differ; one that a version lacks is ABSENT."""
    one, other = _flat(a), _flat(b)
    names = list(dict.fromkeys([*one, *other]))
    both = ((name, one.get(name, ABSENT), other.get(name, ABSENT)) for name in names)
    return [Difference(*found) for found in both if found[1] != found[2]]


def provenance(a: Iterable[Mapping[str, Any]], b: Iterable[Mapping[str, Any]]) -> list[Difference]:
    """What two studies' records say of where they come from, where it differs.

    a, b: ledger records. Commits, processors, kinds of device, package versions, the dataset of each process and the
    backbone of each pretraining; several values of one side are joined by ", ".
    """
    one, other = _origins(a), _origins(b)
    found = []
    for name in dict.fromkeys([*one, *other]):
        values = [", ".join(sorted(side[name])) if name in side else ABSENT for side in (one, other)]
        if values[0] != values[1]:
            found.append(Difference(name, *values))
    return found


def cells(a: pd.DataFrame, b: pd.DataFrame, *, level: float = 0.9) -> pd.DataFrame:
    """One row for each cell with a result in both frames, in the order of `a`.

    Columns: task, pretraining, strategy, size; n_a, accuracy_a, sd_a, ratio_a, failed_a and the same for b (percent, over
    seeds); difference (B - A, percentage points), low, high (Student-t interval at `level`), p (two-sided), p_adjusted
    (Holm, over the cells that have a p), method, pairs, note; hours_a, unit_a, hours_b, unit_b (all device-hours that the
    cell was charged: search, reported, failed and lost) and hours_ratio (b / a, NaN where the kinds of device differ).

    method: "paired" where the seeds of both are the same and so are their datasets, as then the random subset of each
    seed is the same, too; a paired t-test over the seeds. "same trials" where the records of one are those of the other:
    nothing is to be tested. Else "Welch", a t-test of independent samples with their own variances. `note` says why
    difference or p has no uncertainty. Raises ValueError where a frame lacks the ledger's columns.
    """
    done_a, done_b = cells_of(ledger_frame.confirmed(a)), cells_of(ledger_frame.confirmed(b))
    failed_a, failed_b = _failed(a), _failed(b)
    all_a, all_b = cells_of(a[a["level"] == "trial"]), cells_of(b[b["level"] == "trial"])
    rows = []
    for key in (key for key in done_a if key in done_b):
        one, other = done_a[key], done_b[key]
        row: dict[str, Any] = dict(zip(CELL, key, strict=True))
        row |= _side(one, "a", failed_a.get(key, 0), level) | _side(other, "b", failed_b.get(key, 0), level)
        row |= _compared(one, other, level)
        rows.append(row | _hours(all_a[key], all_b[key]))
    table = pd.DataFrame(rows, columns=_COLUMNS)
    table["p_adjusted"] = holm(table["p"].to_numpy(dtype=float))
    return table


def only_in(a: pd.DataFrame, b: pd.DataFrame) -> pd.DataFrame:
    """Cells with a result in `a` and none in `b`.

    Columns: task, pretraining, strategy, size, n, accuracy (percent), and `there`: what `b` has of it ("missing" or
    "failed").
    """
    grid, other = accuracy.cells(a), accuracy.cells(b)
    status = {tuple(row[name] for name in CELL): row["status"] for row in other.to_dict("records")}
    mine = grid[grid["n"] > 0][[*CELL, "n", "accuracy"]]
    there = [status.get(tuple(row), "missing") for row in mine[CELL].itertuples(index=False)]
    mine = mine.assign(there=pd.Series(there, index=mine.index, dtype=object))
    return mine[mine["there"] != "finished"].reset_index(drop=True)


def costs(a: pd.DataFrame, b: pd.DataFrame) -> pd.DataFrame:
    """Device-hours of both studies by stage and kind of device.

    Columns: stage, unit, useful_a, wasted_a, useful_b, wasted_b (0 where a side has none), ratio (b / a of their sums;
    NaN where a has none).
    """
    sides = [cost.cost_table(side).set_index(["unit", "stage"])[["useful", "wasted"]] for side in (a, b)]
    found = dict.fromkeys(key for side in sides for key in side.index)
    keys = sorted(found, key=lambda key: (key[0], key[1] == "all"))  # else in the order of the stages
    rows = []
    for unit, stage in keys:
        there = [side.loc[(unit, stage)] if (unit, stage) in side.index else _NO_HOURS for side in sides]
        total_a, total_b = (float(side["useful"] + side["wasted"]) for side in there)
        hours = {
            f"{name}_{which}": float(side[name]) for which, side in zip("ab", there, strict=True) for name in side.index
        }
        rows.append({"stage": stage, "unit": unit, **hours, "ratio": total_b / total_a if total_a else math.nan})
    return pd.DataFrame(rows, columns=["stage", "unit", "useful_a", "wasted_a", "useful_b", "wasted_b", "ratio"])


_COLUMNS = [
    *CELL, "n_a", "accuracy_a", "sd_a", "ratio_a", "failed_a", "n_b", "accuracy_b", "sd_b", "ratio_b", "failed_b",
    "difference", "low", "high", "p", "p_adjusted", "method", "pairs", "note", "hours_a", "unit_a", "hours_b", "unit_b",
    "hours_ratio",
]  # fmt: skip


def _flat(values: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Nested fields by their dotted name; lists are values, and so are empty mappings."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= _flat(value, f"{path}{name}.") if isinstance(value, Mapping) and value else {path + name: value}
    return found


def _origins(records: Iterable[Mapping[str, Any]]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for record in records:
        facts = {"commit": record.get("git_commit"), "processor": record.get("processor")}
        if record["level"] == "generation":
            facts[f"dataset {record['process']}"] = record["dataset"]
        else:
            facts["device"] = record["device"]
        if record["level"] == "pretraining":
            facts[f"backbone {record['pretraining']}"] = record.get("backbone")
        facts |= {f"version {name}": version for name, version in (record.get("versions") or {}).items()}
        for name, value in facts.items():
            if value:
                found.setdefault(name, set()).add(str(value))
    return found


def _failed(frame: pd.DataFrame) -> dict[tuple[Any, ...], int]:
    """Number of reported trials of each cell that failed and that no later record finished."""
    found = cells_of(ledger_frame.trials(frame, phase="confirm", outcome="failed"))
    return {key: len(rows) for key, rows in found.items()}


def _side(done: pd.DataFrame, side: str, failed: int, level: float) -> dict[str, Any]:
    found = estimate(100 * done["test_accuracy"], level=level)
    ratio = float(done["ratio"].iloc[0]) if done["strategy"].iloc[0] == "finetune" else math.nan
    values = {"n": found.n, "accuracy": found.mean, "sd": found.sd, "ratio": ratio, "failed": failed}
    return {f"{name}_{side}": value for name, value in values.items()}


def _compared(one: pd.DataFrame, other: pd.DataFrame, level: float) -> dict[str, Any]:
    """Difference, interval, p, method, pairs and note of one cell."""
    a, b = (100 * side.set_index("seed")["test_accuracy"].astype(float) for side in (one, other))
    difference = float(b.mean() - a.mean())
    untested = {"difference": difference, "low": math.nan, "high": math.nan, "p": math.nan, "pairs": 0}
    if _same_trials(one, other):
        return {**untested, "method": "same trials", "pairs": len(a.index.intersection(b.index)), "note": "same trials"}
    paired = set(a.index) == set(b.index) and set(one["dataset"]) == set(other["dataset"])
    changes = (b - a).dropna() if paired else pd.Series(dtype=float)
    about = {**untested, "method": "paired" if paired else "Welch", "pairs": len(changes)}
    if min(len(a), len(b)) < 2:
        return {**about, "note": "one seed only: no uncertainty"}
    if _level(changes) if paired else _level(a) and _level(b):
        same = paired and abs(difference) < _ROUNDING
        return {**about, "note": "same results" if same else "no spread over seeds: no test"}
    if paired:
        error, freedom = estimate(changes).sd / math.sqrt(len(changes)), float(len(changes) - 1)
    else:
        error, freedom = _welch(a, b)
    half = float(stats.t.ppf(0.5 + level / 2, freedom)) * error
    p = 2 * float(stats.t.sf(abs(difference) / error, freedom))
    return {**about, "low": difference - half, "high": difference + half, "p": p, "note": ""}


def _welch(a: pd.Series, b: pd.Series) -> tuple[float, float]:
    """Standard error of the difference of two means with variances of their own, and its degrees of freedom.

    B. L. Welch, Biometrika 34 (1947) 28.
    """
    parts = [float(side.var()) / len(side) for side in (a, b)]
    freedom = sum(parts) ** 2 / sum(part**2 / (len(side) - 1) for part, side in zip(parts, (a, b), strict=True))
    return math.sqrt(sum(parts)), freedom


def _same_trials(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Whether the smaller set of trials is a part of the larger one: trained once, counted in both studies."""
    sides = [set(zip(side["record"], side["started"], strict=True)) for side in (one, other)]
    return sides[0] <= sides[1] or sides[1] <= sides[0]


def _level(values: pd.Series) -> bool:
    return float(values.max() - values.min()) < _ROUNDING


def _hours(a: pd.DataFrame, b: pd.DataFrame) -> dict[str, Any]:
    one, other = _charged(a), _charged(b)
    same = one[1] == other[1] and one[0] > 0
    ratio = other[0] / one[0] if same else math.nan
    return {"hours_a": one[0], "unit_a": one[1], "hours_b": other[0], "unit_b": other[1], "hours_ratio": ratio}


def _charged(rows: pd.DataFrame) -> tuple[float, str]:
    """All device-hours of these trials and their unit; NaN hours where they ran on several kinds of device."""
    units = sorted(set(rows["device"].fillna("cpu").map(hours_unit)))
    if len(units) > 1:
        return math.nan, " and ".join(units)
    return float(charges_of(rows)[["worked", "wasted"]].to_numpy().sum()) / 3600, units[0]
