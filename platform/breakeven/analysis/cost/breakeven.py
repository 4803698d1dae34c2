"""From how many tasks on pretraining is cheaper than training every task from scratch.

Holds the definition N* = T_pre / (mean T_scratch - mean T_finetuning), its value for a study with a bootstrap
interval, and the paper's own reading of its figures. Never decides which hours are charged: the caller says so, and
charges.py counts them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from breakeven.analysis import frame as ledger_frame
from breakeven.analysis.columns import columns
from breakeven.analysis.cost.charges import (
    UNTIL_PLATEAU,
    Charge,
    UnknownEvents,
    cell_extras,
    devices_on_top,
    events_of,
    paired_seconds,
    pretraining_seconds,
)
from breakeven.ledger.charge import hours_unit

NEVER = "never"
RESAMPLES = 4000
"""Of the bootstrap over tasks."""


@dataclass(frozen=True)
class BreakEven:
    """The three times (one unit, whichever) and the number of tasks that follows.

    exact: N*, None where finetuning saves nothing. tasks: the first whole number of tasks, None likewise.
    published_reading: T_pre / T_finetuning, which is how arXiv 2412.10665 arrives at 41: it takes the 38 % that
    finetuning costs for what finetuning saves. None where finetuning takes no time.
    """

    pretraining: float
    scratch: float
    finetuning: float

    @property
    def exact(self) -> float | None:
        saving = self.scratch - self.finetuning
        return self.pretraining / saving if saving > 0.0 else None

    @property
    def tasks(self) -> int | None:
        # Rounding first keeps an exact integer from becoming the next one by its last bit.
        return None if self.exact is None else max(1, math.ceil(round(self.exact, 9)))

    @property
    def published_reading(self) -> float | None:
        return self.pretraining / self.finetuning if self.finetuning > 0.0 else None

    @property
    def text(self) -> str:
        """`25 tasks`, `1 task` or `never`."""
        return format_tasks(self.tasks)


def break_even(pretraining: float = 45.5, scratch: float = 2.94, finetuning: float = 0.38 * 2.94) -> BreakEven:
    """Break-even of one pretraining against mean training times per task, all in one unit of device time.

    The defaults are the GPU-hours of arXiv 2412.10665, section IV.3, at 1e7 events per class.
    Raises ValueError naming the value that is negative, infinite or NaN.
    """
    for name, hours in (("pretraining", pretraining), ("scratch", scratch), ("finetuning", finetuning)):
        if not math.isfinite(hours) or hours < 0.0:
            raise ValueError(f"{name}={hours!r}: a device time must be finite and not negative")
    return BreakEven(float(pretraining), float(scratch), float(finetuning))


BREAK_EVEN_COLUMNS = columns("""
    pretraining size
    charged: which hours are charged
    unit device processor pretraining_hours scratch_hours finetuning_hours
    saving_hours: T_scratch - T_finetune, device-hours
    exact tasks
    low: lower end of the 90 % interval of N* over tasks and seeds, for tasks like these; inf: never
    high: upper end of the 90 % interval of N* over tasks and seeds, for tasks like these; inf: never
    low_seeds: lower end of the 90 % interval of N* over seeds alone, for exactly these tasks
    high_seeds: upper end of the 90 % interval of N* over seeds alone, for exactly these tasks
    published_reading: T_pre / T_finetune, how arXiv 2412.10665 arrives at 41
    n_tasks
    n_scratch: trainings from scratch
    n_finetuning: finetuned trainings
    n_without_plateau: trainings (the pretraining apart) that reached no plateau, charged until their end
    pretraining_to_end: whether the pretraining is charged for all its epochs, as it has no plateau rule
    n_below: pairs of seeds where finetuning ended below scratch; equal accuracy only
    text note
""")


def study_break_even(
    frame: pd.DataFrame,
    charge: Charge = UNTIL_PLATEAU,
    *,
    strategy: str = "finetune",
    level: float = 0.9,
    resamples: int = RESAMPLES,
) -> pd.DataFrame:
    """Break-even of each pretraining at each size, and over all sizes (`size` is <NA>).

    charge: what counts as the price of a task.  Only tasks with both a scratch and a `strategy` training count, each with
    the same weight.

    Hours of two kinds of device are not mixed: such a row has no figure and a note. The one pretraining's time is held for
    exact. Columns: BREAK_EVEN_COLUMNS.
    """
    return _charged_so(frame, ledger_frame.confirmed(frame), charge, strategy, level, resamples)


def _charged_so(
    frame: pd.DataFrame, confirmed: pd.DataFrame, charge: Charge, strategy: str, level: float, resamples: int
) -> pd.DataFrame:
    """study_break_even; confirmed: the trials of `frame` that may be reported, the same however hours are charged."""
    charged = charge.text
    pretrainings = used_pretrainings(frame, confirmed)
    extras = cell_extras(frame, charge) if charge.search or charge.wasted else None
    scratch_trials = confirmed[confirmed["strategy"] == "scratch"]
    on_top = devices_on_top(frame, charge)
    rows = []
    for pretraining in sorted(set(confirmed.loc[confirmed["strategy"] == strategy, "pretraining"])):
        of_pretraining = pretrainings[pretrainings["pretraining"] == pretraining]
        tuned_trials = confirmed[(confirmed["strategy"] == strategy) & (confirmed["pretraining"] == pretraining)]
        arms = _common(*paired_seconds(scratch_trials, tuned_trials, charge.time))
        hours = [arm_hours(arm, extras) for arm in arms]
        spent = _spent(frame, of_pretraining, charge)
        sizes = sorted(set(scratch_trials["size"]) & set(tuned_trials["size"]))
        for size in [*sizes, None] if len(sizes) > 1 else sizes:
            wanted = sizes if size is None else [size]
            at_size = [arm[arm["size"].isin(wanted)] for arm in arms]
            hours_at_size = [found[found.index.isin(wanted, level="size")] for found in hours]
            more = [on_top.get(cell, set()) for cell in (("pretraining", pretraining), *_cells(at_size))]
            figures = _row(at_size, hours_at_size, of_pretraining, spent, set().union(*more), charge, level, resamples)
            rows.append({"pretraining": pretraining, "size": size, "charged": charged, **figures})
    table = pd.DataFrame(rows, columns=list(BREAK_EVEN_COLUMNS))
    return table.astype({"size": "Int64", "tasks": "Int64", "n_below": "Int64"})


WAYS = (
    UNTIL_PLATEAU,
    Charge(search=True),
    Charge(search=True, wasted=True),
    Charge(search=True, wasted=True, generation=True),
    Charge("total"),
    Charge("equal_accuracy"),
)


def break_even_table(frame: pd.DataFrame, *, strategy: str = "finetune", level: float = 0.9) -> pd.DataFrame:
    """study_break_even under every way of charging, one under the other: `charged` tells them apart."""
    confirmed = ledger_frame.confirmed(frame)
    tables = (_charged_so(frame, confirmed, way, strategy, level, RESAMPLES) for way in WAYS)
    return pd.concat(tables, ignore_index=True)


READING_COLUMNS = columns("""
    reading: definition | published reading
    formula: how it is computed
    value: number of tasks
    tasks: first whole number of tasks, in words
    explanation: what it does
""")


def readings(pretraining: float = 45.5, scratch: float = 2.94, finetuning: float = 0.38 * 2.94) -> pd.DataFrame:
    """The definition and the paper's reading side by side. Columns: READING_COLUMNS."""
    found = break_even(pretraining, scratch, finetuning)
    by_reading = None if found.published_reading is None else max(1, math.ceil(round(found.published_reading, 9)))
    rows = [
        ("definition", "T_pre / (T_scratch - T_finetune)", found.exact, found.text,
         "each task costs T_scratch without a backbone and T_finetune with one, so it saves the difference"),
        ("published reading", "T_pre / T_finetune", found.published_reading, format_tasks(by_reading),
         "takes what finetuning costs (38 % of a scratch training in arXiv 2412.10665) for what it saves (62 %)"),
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=list(READING_COLUMNS))
    return table.astype({"value": float})


def format_tasks(tasks: int | None) -> str:
    """`25 tasks`, `1 task` or `never`."""
    return NEVER if tasks is None else f"{tasks:,} task{'' if tasks == 1 else 's'}"


def used_pretrainings(frame: pd.DataFrame, confirmed: pd.DataFrame) -> pd.DataFrame:
    """Finished pretrainings, only those whose backbone a confirmed trial used where the records tell."""
    finished = frame[(frame["level"] == "pretraining") & (frame["outcome"] == "finished")]
    finished = finished.drop_duplicates("record")
    if "backbone" in frame.columns and len(confirmed):
        used = set(confirmed["backbone"].dropna()) - {""}
        recognised = finished[finished["record"].isin(used) | finished["backbone"].isin(used)]
        known = set(recognised["pretraining"])
        return finished[~finished["pretraining"].isin(known) | finished["record"].isin(recognised["record"])]
    return finished


def _common(scratch: pd.DataFrame, tuned: pd.DataFrame) -> list[pd.DataFrame]:
    """What is needed of the trials of tasks and sizes that both have."""
    keys = ["task", "size"]
    common = pd.merge(scratch[keys].drop_duplicates(), tuned[keys].drop_duplicates(), on=keys)
    return [arm[_NEEDED].merge(common, on=keys) for arm in (scratch, tuned)]


def _cells(arms: Sequence[pd.DataFrame]) -> set[tuple[Any, ...]]:
    return {cell for arm in arms for cell in arm[ledger_frame.CELL].itertuples(index=False, name=None)}


def _spent(frame: pd.DataFrame, pretrainings: pd.DataFrame, charge: Charge) -> float | str:
    """Hours of one pretraining, or why there is no figure."""
    if pretrainings.empty:
        return "the ledger has no finished pretraining of this kind"
    try:
        hours = pretraining_seconds(frame, pretrainings, charge) / 3600
        on = set(events_of(frame, pretrainings)["device"]) if charge.generation else set()
    except UnknownEvents as error:
        return str(error)
    trained = set(pretrainings["device"])
    if on - trained:
        return (
            f"events were generated on {' and '.join(sorted(on))} and trained with on {' and '.join(sorted(trained))}: "
            "hours of two kinds of device are not mixed"
        )
    return hours


def _row(
    trials: Sequence[pd.DataFrame],
    arms: Sequence[pd.DataFrame],
    pretrainings: pd.DataFrame,
    spent: float | str,
    on_top: set[str],
    charge: Charge,
    level: float,
    resamples: int,
) -> dict[str, object]:
    """The figures of one selection of scratch and finetuned trials; arms: arm_hours of both, spent: from _spent.

    on_top: kinds of device of what is charged besides trainings.
    """
    scratch, tuned = trials
    charged = pd.concat([rows_of[_CHARGED] for rows_of in (scratch, tuned, pretrainings)])
    row: dict[str, object] = {
        **ledger_frame.hardware(charged), "n_tasks": scratch["task"].nunique(), "n_scratch": len(scratch),
        "n_finetuning": len(tuned),
        "n_without_plateau": sum(int(arm["plateau_seconds"].isna().sum()) for arm in trials),
        "pretraining_to_end": charge.time != "total" and bool(pretrainings["plateau_seconds"].isna().any()),
        "n_below": _n_below(scratch, tuned) if charge.time == "equal_accuracy" else pd.NA, "text": "no figure",
        "note": "",
    }  # fmt: skip
    kinds = sorted({*charged["device"].dropna(), *on_top})
    if scratch.empty and not pretrainings.empty:
        return {**row, "note": "no task has both a scratch and a finetuned training"}
    if len(kinds) > 1:
        return {**row, "note": f"trained on {' and '.join(kinds)}: hours of two kinds of device are not mixed"}
    if isinstance(spent, str):
        return {**row, "note": spent}
    by_task = pd.DataFrame({name: arm["mean"].groupby("task").mean() for name, arm in zip(_ARMS, arms, strict=True)})
    result = break_even(spent, float(by_task["scratch"].mean()), float(by_task["finetuning"].mean()))
    savings = (by_task["scratch"] - by_task["finetuning"]).to_numpy()
    low, high = saving_interval(savings, level=level, resamples=resamples)
    low_seeds, high_seeds = seeds_interval(float(savings.mean()), arms, level=level)
    return {
        **row, "unit": hours_unit(kinds[0]), "pretraining_hours": result.pretraining, "scratch_hours": result.scratch,
        "finetuning_hours": result.finetuning, "saving_hours": result.scratch - result.finetuning,
        "exact": math.nan if result.exact is None else result.exact, "tasks": result.tasks,
        "low": tasks_for_saving(spent, high), "high": tasks_for_saving(spent, low),
        "low_seeds": tasks_for_saving(spent, high_seeds), "high_seeds": tasks_for_saving(spent, low_seeds),
        "published_reading": math.nan if result.published_reading is None else result.published_reading,
        "text": result.text, "note": _note(row, charge, charged, low_seeds),
    }  # fmt: skip


_ARMS = ("scratch", "finetuning")
_CHARGED = ["device", "processor", "kernel", "plateau_seconds"]
_NEEDED = [*ledger_frame.CELL, "seed", "seconds", "validation_accuracy", *_CHARGED]


def arm_hours(trials: pd.DataFrame, extras: pd.Series | None) -> pd.DataFrame:
    """Mean hours of each task and size, with the variance of that mean and n; extras: charges.cell_extras."""
    groups = trials.assign(hours=trials["seconds"].astype(float) / 3600).groupby(ledger_frame.CELL)["hours"]
    mean, n = groups.mean(), groups.size()
    if extras is not None:
        mean = mean + extras.reindex(mean.index).fillna(0.0)
    found = pd.DataFrame({"mean": mean, "variance": groups.var() / n, "n": n})
    return found.reset_index().set_index(["task", "size"])[["mean", "variance", "n"]]


def saving_interval(savings: np.ndarray, *, level: float = 0.9, resamples: int = RESAMPLES) -> tuple[float, float]:
    """Interval of the mean saving over tasks and seeds, savings: [n_tasks] hours; NaN below two tasks.

    Studentised bootstrap (Davison and Hinkley, Bootstrap Methods, 5.2.1): times scatter by factors, so a few tasks far
    above the rest make the mean's error skewed, which plain percentiles and Student's t both miss. A drawn task brings
    all its seeds with it, which carries the variance of the seeds exactly once; to draw seeds anew within drawn tasks
    would count it twice (the same, 3.8). Below five tasks there are too few draws to tell a skewness: Student's t.
    """
    n = len(savings)
    if n < 2:
        return math.nan, math.nan
    mean, error, tail = float(savings.mean()), float(savings.std(ddof=1)) / math.sqrt(n), 0.5 - level / 2
    if n < _LEAST_TASKS_BOOTSTRAPPED:
        half_width = float(stats.t.isf(tail, n - 1)) * error
        return mean - half_width, mean + half_width
    drawn = savings[np.random.default_rng(0).integers(0, n, size=(resamples, n))]
    errors = drawn.std(axis=1, ddof=1) / math.sqrt(n)
    spread = errors > 1e-9 * error  # one task drawn n times has none
    distances = (drawn[spread].mean(axis=1) - mean) / errors[spread]
    low, high = np.quantile(distances, [tail, 1 - tail]) if spread.any() else (0.0, 0.0)
    return mean - float(high) * error, mean - float(low) * error


_LEAST_TASKS_BOOTSTRAPPED = 5


def seeds_interval(saving: float, arms: Sequence[pd.DataFrame], *, level: float = 0.9) -> tuple[float, float]:
    """Interval of the mean saving of exactly these tasks, whose seeds alone are random; NaN where a cell has one seed.

    arms: scratch and finetuning from arm_hours. Every task counts the same and so does every size of a task; Student's
    t with Welch and Satterthwaite's degrees of freedom, since cells scatter differently.
    """
    parts = pd.concat(arms)
    if parts["variance"].isna().any():
        return math.nan, math.nan
    n_sizes = arms[0].groupby("task").size()
    weight = 1.0 / (len(n_sizes) * n_sizes.reindex(parts.index.get_level_values("task")).to_numpy())
    variances = weight**2 * parts["variance"].to_numpy()
    total = float(variances.sum())
    if total == 0.0:
        return saving, saving
    freedom = total**2 / float((variances**2 / (parts["n"].to_numpy() - 1)).sum())
    half_width = float(stats.t.isf(0.5 - level / 2, freedom)) * math.sqrt(total)
    return saving - half_width, saving + half_width


def tasks_for_saving(pretraining: float, saving: float) -> float:
    """N* at one end of the saving's interval: monotone, so ends map to ends; no saving means never (inf)."""
    if math.isnan(saving):
        return math.nan
    return pretraining / saving if saving > 0.0 else math.inf


def _n_below(scratch: pd.DataFrame, tuned: pd.DataFrame) -> int:
    """Pairs of a seed where finetuning ended below scratch."""
    keys = ["task", "size", "seed"]
    pairs = scratch[[*keys, "validation_accuracy"]].merge(tuned[[*keys, "validation_accuracy"]], on=keys)
    return int((pairs["validation_accuracy_y"] < pairs["validation_accuracy_x"]).sum())


def _note(row: Mapping[str, Any], charge: Charge, charged: pd.DataFrame, low_seeds: float) -> str:
    """What a reader of the figure must know."""
    without, below = row["n_without_plateau"], row["n_below"]
    return ledger_frame.notes(
        "charged until the end of each training" if charge.time == "total" else "",
        f"{without} training{'s' if without != 1 else ''} without a plateau: charged until the end"
        if without and charge.time == "plateau"
        else "",
        "the pretraining is charged for all its epochs: it has no plateau rule" if row["pretraining_to_end"] else "",
        f"finetuning ended below scratch in {below} of {row['n_scratch']} pairs: there scratch stops early"
        if charge.time == "equal_accuracy" and below
        else "",
        "one task: no interval over tasks" if row["n_tasks"] == 1 else "",
        "a cell has one seed: no interval over seeds" if math.isnan(low_seeds) else "",
        ledger_frame.hardware_note(charged),
    )
