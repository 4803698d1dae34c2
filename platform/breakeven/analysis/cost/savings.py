"""What a backbone saves and gains task by task, signs and all: a mean over tasks hides that half of them may lose.

For each task finetuning stands beside training from scratch and trees. Who of it and trees is ahead is decided on validation
events (baseline.py); the gains shown are on test events. Never adds up tasks.
"""

import math
from typing import Any

import pandas as pd
from scipy import stats

from breakeven.analysis import frame as ledger_frame
from breakeven.analysis.columns import columns
from breakeven.analysis.cost.baseline import network_ahead
from breakeven.analysis.cost.charges import HEADLINE, Charge
from breakeven.analysis.event_scores import NONE, SharedEvents
from breakeven.analysis.statistics import LEVEL
from breakeven.duration import duration
from breakeven.metric import MERIT, Metric

__all__ = ["savings"]

_AHEAD = {1: "finetuning", 0: "neither", -1: "trees"}
TREES_DO = ("neither", "trees")
"""Who is ahead where trees make finetuning unnecessary."""


def saving_columns(merit: Metric = MERIT) -> dict[str, str]:
    """The columns of `savings`."""
    return columns(f"""
        task pretraining size
        scratch_seconds: device-seconds of one training from scratch, mean over seeds
        trees_seconds: device-seconds of one training of trees, mean over seeds; empty: none
        finetuning_seconds: device-seconds of one finetuned training, mean over seeds
        saving_seconds saving_seconds_low saving_seconds_high: scratch less finetuned, negative where finetuning takes longer
        gain: test {merit.title} of finetuning over scratch, {merit.points}
        gain_over_trees: test {merit.title} of finetuning over trees, {merit.points}; empty: no trees
        ahead: finetuning or trees, whichever is by more than one standard error on validation events; neither; empty: no trees
        n_scratch: trainings from scratch
        n_finetuning: finetuned trainings
        text: what that means for this task
        note
    """)


def savings(
    frame: pd.DataFrame,
    charge: Charge = HEADLINE,
    *,
    merit: Metric = MERIT,
    shared: SharedEvents = NONE,
) -> pd.DataFrame:
    """What finetuning saves and gains, task by task.

    Args:
        frame: the ledger frame.
        charge: when the clock of a training stops, `plateau` or `total`; nothing is charged on top.
        merit: the figure of merit.
        shared: what the trials' scores tell of their test sample.

    Returns:
        One row for each finetuned task and size that was also trained from scratch. Columns: saving_columns.

    Raises:
        ValueError: a column of the ledger is missing.
    """
    of_cell = ledger_frame.cells_of(ledger_frame.confirmed(frame))
    rows = []
    for key, tuned in of_cell.items():
        task, pretraining, strategy, size = key
        scratch, trees = (of_cell.get((task, "none", arm, size)) for arm in ("scratch", "trees"))
        if strategy != "finetune" or scratch is None:
            continue
        arms: dict[str, pd.DataFrame] = {"scratch": scratch, "finetuning": tuned}
        arms |= {} if trees is None else {"trees": trees}
        seconds = {name: ledger_frame.training_seconds(arm, charge.time) for name, arm in arms.items()}
        test = {name: merit.sign * merit.scale * ledger_frame.measured(arm, merit).mean() for name, arm in arms.items()}
        devices = ledger_frame.several_devices(pd.concat([scratch["device"], tuned["device"]]))
        saved = math.nan if devices else float(seconds["scratch"].mean() - seconds["finetuning"].mean())
        low, high = (math.nan, math.nan) if devices else _welch(seconds["scratch"], seconds["finetuning"])
        row: dict[str, Any] = {
            "task": task, "pretraining": pretraining, "size": size,
            **{f"{name}_seconds": float(values.mean()) for name, values in seconds.items()},
            "saving_seconds": saved, "saving_seconds_low": low, "saving_seconds_high": high,
            "gain": test["finetuning"] - test["scratch"],
            "gain_over_trees": test["finetuning"] - test.get("trees", math.nan),
            "ahead": "" if trees is None else _AHEAD[network_ahead(tuned, trees, merit, shared)],
            "n_scratch": len(scratch), "n_finetuning": len(tuned),
            "note": f"{devices}: hours of two kinds of device are not mixed" if devices else "",
        }  # fmt: skip
        rows.append(row | {"text": _text(row)})
    return pd.DataFrame(rows, columns=list(saving_columns(merit)))


def _welch(one: pd.Series, other: pd.Series) -> tuple[float, float]:
    """Interval of the difference of two means; NaN where one of them is of one seed."""
    if min(len(one), len(other)) < 2:
        return math.nan, math.nan
    parts = [float(values.var(ddof=1)) / len(values) for values in (one, other)]
    difference, total = float(one.mean() - other.mean()), sum(parts)
    if total == 0.0:
        return difference, difference
    freedom = total**2 / sum(part**2 / (len(v) - 1) for part, v in zip(parts, (one, other), strict=True))
    half_width = float(stats.t.isf(0.5 - LEVEL / 2, freedom)) * math.sqrt(total)
    return difference - half_width, difference + half_width


def _text(row: dict[str, Any]) -> str:
    """In words: what no number of tasks makes up for, what is saved, what a gain costs."""
    if row["ahead"] in TREES_DO:
        return f"never: trees are {'better' if row['ahead'] == 'trees' else 'no worse'} after {duration(row['trees_seconds'])}"
    if math.isnan(row["saving_seconds"]):
        return ""
    words, length = "saves" if row["saving_seconds"] > 0.0 else "costs", duration(abs(row["saving_seconds"]))
    against = "takes as long as scratch" if length == "0 s" else f"{words} {length} a task against scratch"
    if math.isnan(row["gain_over_trees"]):
        return against
    tuned, trees = (duration(row[f"{name}_seconds"]) for name in ("finetuning", "trees"))
    return f"{against}; ahead of trees on validation events, at {tuned} a task in place of {trees}"
