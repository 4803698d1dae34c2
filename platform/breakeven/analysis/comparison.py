"""Two studies side by side: what was asked, where it ran, and each cell's figure of merit with the significance of its change.

Differences are B - A. Only confirmed trials count, as everywhere. It chooses no winner, and it never converts one kind of
device-hour to another.
"""

import math
import warnings
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
from breakeven.analysis.statistics import LEVEL, estimate
from breakeven.ledger.charge import charges_of, hours_unit
from breakeven.metric import MERIT, Metric

ABSENT = "-"
"""What a field has that one side lacks."""
CORRECTION = "Holm"
"""Of p-values over the cells compared: it holds however the cells depend on each other, and they share events."""
# Fractions are counts divided by counts: differences below this are the arithmetic's.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Difference:
    """A field that two studies do not share."""

    field: str
    a: Any
    b: Any


def specifications(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[Difference]:
    """Fields of two specifications, as JSON has them, that differ; one that a version lacks is ABSENT."""
    return _differences(_flat(a), _flat(b))


def provenance(a: Iterable[Mapping[str, Any]], b: Iterable[Mapping[str, Any]]) -> list[Difference]:
    """What two studies' records say of where they come from, where it differs.

    Commits, processors, kinds of device, package versions, the dataset of each process and the backbone of each pretraining;
    several values of one side are joined by ", ".
    """
    return _differences(_origins(a), _origins(b))


def cells(a: pd.DataFrame, b: pd.DataFrame, *, merit: Metric = MERIT) -> pd.DataFrame:
    """One row for each cell with a result in both frames, in the order of `a`.

    Columns: task, pretraining, strategy, size; n_a, accuracy_a (the figure of merit by its name), sd_a, ratio_a, failed_a and
    the same for b, over seeds; difference (B - A), low, high (Student-t interval at LEVEL), p (two-sided), p_adjusted
    (Holm, over the cells that have a p), method, pairs, note; hours_a, unit_a, hours_b, unit_b (all device-hours that the
    cell was charged: search, reported, failed and lost) and hours_ratio (b / a, NaN where the kinds of device differ).

    method: "paired" where the seeds of both are the same and so are their datasets, as then the random subset of each
    seed is the same, too; a paired t-test over the seeds. "same trials" where the records of one are those of the other:
    nothing is to be tested. Else "Welch", a t-test of independent samples with their own variances (B. L. Welch, Biometrika
    34 (1947) 28). `note` says why difference or p has no uncertainty. Raises ValueError where a frame lacks the ledger's
    columns.
    """
    finished = [cells_of(ledger_frame.confirmed(frame)) for frame in (a, b)]
    failures = [cells_of(ledger_frame.trials(frame, phase="confirm", outcome="failed")) for frame in (a, b)]
    every = [cells_of(frame[frame["level"] == "trial"]) for frame in (a, b)]
    rows = []
    for key in (key for key in finished[0] if key in finished[1]):
        row = ledger_frame.named(key) | _difference(finished[0][key], finished[1][key], merit)
        for name, done, failed, trials in zip("ab", finished, failures, every, strict=True):
            trained = done[key]
            mean = estimate(merit.scale * ledger_frame.measured(trained, merit))
            hours, unit = _charged(trials[key])
            row |= {f"n_{name}": mean.n, f"{merit.name}_{name}": mean.mean, f"sd_{name}": mean.sd,
                    f"ratio_{name}": ledger_frame.ratio_of(trained), f"failed_{name}": len(failed.get(key, ())),
                    f"hours_{name}": hours, f"unit_{name}": unit}  # fmt: skip
        comparable = row["unit_a"] == row["unit_b"] and row["hours_a"] > 0
        rows.append(row | {"hours_ratio": row["hours_b"] / row["hours_a"] if comparable else math.nan})
    sides = [f"{name}_{side}" for side in "ab" for name in ("n", merit.name, "sd", "ratio", "failed")]
    tested = ["difference", "low", "high", "p", "p_adjusted", "method", "pairs", "note"]
    charged = ["hours_a", "unit_a", "hours_b", "unit_b", "hours_ratio"]
    table = pd.DataFrame(rows, columns=[*CELL, *sides, *tested, *charged])
    return table.assign(p_adjusted=holm(table["p"].to_numpy(dtype=float)))


def only_in(a: pd.DataFrame, b: pd.DataFrame, *, merit: Metric = MERIT) -> pd.DataFrame:
    """Cells with a result in `a` and none in `b`.

    Columns: task, pretraining, strategy, size, n, the figure of merit by its name, and `there`: what `b` has of it
    ("missing" or "failed").
    """
    grid, other = (accuracy.cells(frame, merit=merit) for frame in (a, b))
    table = grid[grid["n"] > 0].merge(other[[*CELL, "status"]].rename(columns={"status": "there"}), "left", CELL)
    table["there"] = table["there"].astype(object).fillna("missing")
    return table.loc[table["there"] != "finished", [*CELL, "n", merit.name, "there"]].reset_index(drop=True)


def costs(a: pd.DataFrame, b: pd.DataFrame) -> pd.DataFrame:
    """Device-hours of both studies by stage and kind of device.

    Columns: stage, unit, useful_a, wasted_a, useful_b, wasted_b (0 where a side has none), ratio (b / a of their sums;
    NaN where a has none).
    """
    sides = [cost.cost_table(side).set_index(["unit", "stage"])[["useful", "wasted"]] for side in (a, b)]
    keys = dict.fromkeys(key for side in sides for key in side.index)
    hours = {
        f"{name}_{which}": [side[name].get(key, 0.0) for key in keys]
        for which, side in zip("ab", sides, strict=True)
        for name in ("useful", "wasted")
    }
    table = pd.DataFrame({"stage": [stage for _, stage in keys], "unit": [unit for unit, _ in keys], **hours})
    total = table["useful_a"] + table["wasted_a"]
    table["ratio"] = (table["useful_b"] + table["wasted_b"]) / total.where(total > 0)
    # Else in the order of the stages.
    rank = table.assign(last=table["stage"] == "all").sort_values(["unit", "last"], kind="stable").index
    return table.loc[rank].reset_index(drop=True)


def _flat(values: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Nested fields by their dotted name; lists are values, and so are empty mappings."""
    fields: dict[str, Any] = {}
    for name, value in values.items():
        fields |= _flat(value, f"{path}{name}.") if isinstance(value, Mapping) and value else {path + name: value}
    return fields


def _origins(records: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    origins: dict[str, set[str]] = {}
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
                origins.setdefault(name, set()).add(str(value))
    return {name: ", ".join(sorted(values)) for name, values in origins.items()}


def _differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[Difference]:
    both = [Difference(name, a.get(name, ABSENT), b.get(name, ABSENT)) for name in dict.fromkeys([*a, *b])]
    return [one for one in both if one.a != one.b]


def _difference(one: pd.DataFrame, other: pd.DataFrame, merit: Metric) -> dict[str, Any]:
    """Difference, interval, p, method, pairs and note of one cell."""
    a, b = (merit.scale * ledger_frame.measured(side.set_index("seed"), merit) for side in (one, other))
    untested = {"difference": float(b.mean() - a.mean()), "low": math.nan, "high": math.nan, "p": math.nan, "pairs": 0}
    trained = [set(zip(side["record"], side["started"], strict=True)) for side in (one, other)]
    if trained[0] <= trained[1] or trained[1] <= trained[0]:  # once, and counted in both studies
        return {**untested, "method": "same trials", "pairs": len(a.index.intersection(b.index)), "note": "same trials"}
    paired = set(a.index) == set(b.index) and set(one["dataset"]) == set(other["dataset"])
    changes = (b - a).dropna() if paired else pd.Series(dtype=float)
    about = {**untested, "method": "paired" if paired else "Welch", "pairs": len(changes)}
    if min(len(a), len(b)) < 2:
        return {**about, "note": "one seed only: no uncertainty"}
    if all(values.max() - values.min() < _ROUNDING for values in ([changes] if paired else [a, b])):
        same = paired and abs(untested["difference"]) < _ROUNDING
        return {**about, "note": "same results" if same else "no spread over seeds: no test"}
    with warnings.catch_warnings(
        action="ignore", category=RuntimeWarning
    ):  # that one side does not scatter: the other does
        test = stats.ttest_1samp(changes, 0.0) if paired else stats.ttest_ind(b, a, equal_var=False)
    low, high = test.confidence_interval(LEVEL)
    return {**about, "low": float(low), "high": float(high), "p": float(test.pvalue), "note": ""}


def _charged(rows: pd.DataFrame) -> tuple[float, str]:
    """All device-hours of these trials and their unit; NaN hours where they ran on several kinds of device."""
    units = sorted(set(rows["device"].fillna("cpu").map(hours_unit)))
    if len(units) > 1:
        return math.nan, " and ".join(units)
    return float(charges_of(rows)[["worked", "wasted"]].to_numpy().sum()) / 3600, units[0]
