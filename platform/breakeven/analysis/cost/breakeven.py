"""From how many tasks on pretraining is cheaper than training every task from scratch.

Holds the definition N* = T_pre / (mean T_scratch - mean T_finetuning), its value for a study with a bootstrap
interval, and the paper's own reading of its figures. Never decides which hours are charged: the caller says so, and
charges.py counts them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

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
    with_starts,
)
from breakeven.ledger.charge import hours_unit
from breakeven.metric import MERIT, Metric

__all__ = ["BreakEven", "break_even", "break_even_table", "readings", "study_break_even"]

NEVER = "never"


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

    def figures(self, saving: tuple[float, float]) -> dict[str, object]:
        """The columns of a table, where times are hours; low and high from the interval of the saving, scratch - finetuning."""
        return {
            "pretraining_hours": self.pretraining, "scratch_hours": self.scratch, "finetuning_hours": self.finetuning,
            "exact": math.nan if self.exact is None else self.exact, "tasks": self.tasks, "text": self.text,
            "low": tasks_for_saving(self.pretraining, saving[1]), "high": tasks_for_saving(self.pretraining, saving[0]),
        }  # fmt: skip


def break_even(pretraining: float = 45.5, scratch: float = 2.94, finetuning: float = 0.38 * 2.94) -> BreakEven:
    """Break-even of one pretraining against mean training times per task, all in one unit of device time.

    Args:
        pretraining: the price of the backbone; the defaults are the GPU-hours of arXiv 2412.10665, section IV.3.
        scratch: mean of one task from scratch.
        finetuning: mean of one task finetuned.

    Returns:
        The times with the number of tasks that follows.

    Raises:
        ValueError: a value is negative, infinite or NaN; the message names it.
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
    frame: pd.DataFrame, charge: Charge = UNTIL_PLATEAU, *, merit: Metric = MERIT, level: float = 0.9
) -> pd.DataFrame:
    """Break-even of each pretraining at each size, and over all sizes (`size` is <NA>).

    Args:
        frame: the ledger frame.
        charge: what counts as the price of a task.
        merit: the figure of merit that "equal accuracy" is of.
        level: of the intervals.

    Returns:
        Columns as in BREAK_EVEN_COLUMNS. Only tasks with both a scratch and a finetuned training count, each with the same
        weight; the one pretraining's time is held for exact. Hours of two kinds of device are not mixed: such a row has no
        figure and a note.

    Raises:
        ValueError: a column of the ledger is missing.
    """
    return _charged_so(frame, ledger_frame.confirmed(frame), charge, merit, level)


def _charged_so(
    frame: pd.DataFrame, confirmed: pd.DataFrame, charge: Charge, merit: Metric, level: float
) -> pd.DataFrame:
    """study_break_even; confirmed: the trials of `frame` that may be reported, the same however hours are charged."""
    pretrainings = used_pretrainings(frame, confirmed)
    extras = cell_extras(frame, charge) if charge.search or charge.wasted else None
    scratch, all_tuned = (confirmed[confirmed["strategy"] == strategy] for strategy in ("scratch", "finetune"))
    on_top = devices_on_top(frame, charge)
    rows = []
    for pretraining in sorted(set(all_tuned["pretraining"])):
        of_kind = pretrainings[pretrainings["pretraining"] == pretraining]
        tuned = all_tuned[all_tuned["pretraining"] == pretraining]
        arms = _common(*paired_seconds(scratch, tuned, charge.time, merit), merit)
        spent = _spent(frame, of_kind, charge)
        sizes = sorted(set(scratch["size"]) & set(tuned["size"]))
        for size in [*sizes, None] if len(sizes) > 1 else sizes:
            at_size = [arm[arm["size"].isin(sizes if size is None else [size])] for arm in arms]
            cells = {cell for arm in at_size for cell in arm[ledger_frame.CELL].itertuples(index=False, name=None)}
            devices = set().union(*(on_top.get(key, set()) for key in (("pretraining", pretraining), *cells)))
            figures = _figures(at_size, extras, of_kind, spent, devices, charge, merit, level)
            rows.append({"pretraining": pretraining, "size": size, "charged": charge.text, **figures})
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


def break_even_table(frame: pd.DataFrame, *, merit: Metric = MERIT, level: float = 0.9) -> pd.DataFrame:
    """`study_break_even` under every way of charging, one under the other.

    Args:
        frame: the ledger frame.
        merit: the figure of merit that "equal accuracy" is of.
        level: of the intervals.

    Returns:
        Columns as in BREAK_EVEN_COLUMNS; `charged` tells the ways apart.
    """
    confirmed = ledger_frame.confirmed(frame)
    return pd.concat((_charged_so(frame, confirmed, way, merit, level) for way in WAYS), ignore_index=True)


READING_COLUMNS = columns("""
    reading: definition | published reading
    formula: how it is computed
    value: number of tasks
    tasks: first whole number of tasks, in words
    explanation: what it does
""")


def readings() -> pd.DataFrame:
    """The definition and the paper's reading of its own figures side by side. Columns: READING_COLUMNS."""
    paper = break_even()
    by_reading = math.ceil(round(paper.pretraining / paper.finetuning, 9))
    rows = [
        ("definition", "T_pre / (T_scratch - T_finetune)", paper.exact, paper.text,
         "each task costs T_scratch without a backbone and T_finetune with one, so it saves the difference"),
        ("published reading", "T_pre / T_finetune", paper.published_reading, format_tasks(by_reading),
         "takes what finetuning costs (38 % of a scratch training in arXiv 2412.10665) for what it saves (62 %)"),
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=list(READING_COLUMNS)).astype({"value": float})


def format_tasks(tasks: int | None) -> str:
    """`25 tasks`, `1 task` or `never`."""
    return NEVER if tasks is None else f"{tasks:,} task{'' if tasks == 1 else 's'}"


def used_pretrainings(frame: pd.DataFrame, confirmed: pd.DataFrame) -> pd.DataFrame:
    """Finished pretrainings, only those whose backbone a confirmed trial used where the records tell."""
    finished = frame[(frame["level"] == "pretraining") & (frame["outcome"] == "finished")].drop_duplicates("record")
    if "backbone" not in frame.columns or confirmed.empty:
        return finished
    used = set(confirmed["backbone"].dropna()) - {""}
    recognised = finished[finished["record"].isin(used) | finished["backbone"].isin(used)]
    unknown = ~finished["pretraining"].isin(recognised["pretraining"])
    return finished[unknown | finished["record"].isin(recognised["record"])]


_CHARGED = ["device", "processor", "kernel", "plateau_seconds"]


def _common(scratch: pd.DataFrame, tuned: pd.DataFrame, merit: Metric) -> list[pd.DataFrame]:
    """What is needed of the trials of tasks and sizes that both have; `merit`: the figure of merit on validation events."""
    keys = ["task", "size"]
    common = pd.merge(scratch[keys].drop_duplicates(), tuned[keys].drop_duplicates(), on=keys)
    needed = [*ledger_frame.CELL, "seed", "seconds", "merit", *_CHARGED]
    reached = (arm.assign(merit=ledger_frame.measured(arm, merit, "validation")) for arm in (scratch, tuned))
    return [arm[needed].merge(common, on=keys) for arm in reached]


def _spent(frame: pd.DataFrame, pretrainings: pd.DataFrame, charge: Charge) -> float | str:
    """Hours of one pretraining, or why there is no figure."""
    if pretrainings.empty:
        return "the ledger has no finished pretraining of this kind"
    try:
        hours = pretraining_seconds(frame, pretrainings, charge) / 3600
        on = set(events_of(frame, pretrainings)["device"]) if charge.generation else set()
    except UnknownEvents as error:
        return str(error)
    trained = set(with_starts(frame, pretrainings)["device"])
    if devices := ledger_frame.several_devices(sorted(trained)):
        return f"{devices}: hours of two kinds of device are not mixed"
    if on - trained:
        return (
            f"events were generated on {' and '.join(sorted(on))} and trained with on {' and '.join(sorted(trained))}: "
            "hours of two kinds of device are not mixed"
        )
    return hours


def _figures(
    trials: Sequence[pd.DataFrame],
    extras: pd.Series | None,
    pretrainings: pd.DataFrame,
    spent: float | str,
    on_top: set[str],
    charge: Charge,
    merit: Metric,
    level: float,
) -> dict[str, object]:
    """The figures of one selection of scratch and finetuned trials. extras: charges.cell_extras, spent: from _spent.

    on_top: kinds of device of what is charged besides trainings.
    """
    scratch, tuned = trials
    charged = pd.concat([rows[_CHARGED] for rows in (scratch, tuned, pretrainings)])
    without = sum(int(arm["plateau_seconds"].isna().sum()) for arm in trials)
    to_end = charge.time != "total" and bool(pretrainings["plateau_seconds"].isna().any())
    below = _n_below(scratch, tuned, merit) if charge.time == "equal_accuracy" else 0
    row: dict[str, object] = {
        **ledger_frame.hardware(charged), "n_tasks": scratch["task"].nunique(), "n_scratch": len(scratch),
        "n_finetuning": len(tuned), "n_without_plateau": without, "pretraining_to_end": to_end,
        "n_below": below if charge.time == "equal_accuracy" else pd.NA, "text": "no figure",
    }  # fmt: skip
    kinds = sorted({*charged["device"].dropna(), *on_top})
    if scratch.empty and not pretrainings.empty:
        return {**row, "note": "no task has both a scratch and a finetuned training"}
    if devices := ledger_frame.several_devices(kinds):
        return {**row, "note": f"{devices}: hours of two kinds of device are not mixed"}
    if isinstance(spent, str):
        return {**row, "note": spent}
    arms = [arm_hours(arm, extras) for arm in trials]
    of_tasks = [arm["mean"].groupby("task").mean() for arm in arms]
    savings = (of_tasks[0] - of_tasks[1]).to_numpy()
    result = break_even(spent, *(float(arm.mean()) for arm in of_tasks))
    low_seeds, high_seeds = seeds_interval(float(savings.mean()), arms, level=level)
    note = ledger_frame.notes(
        "charged until the end of each training" if charge.time == "total" else "",
        f"{without} training{'s' if without != 1 else ''} without a plateau: charged until the end"
        if without and charge.time == "plateau"
        else "",
        "the pretraining is charged for all its epochs: it has no plateau rule" if to_end else "",
        f"finetuning ended below scratch in {below} of {len(scratch)} pairs: there scratch stops early"
        if below
        else "",
        "one task: no interval over tasks" if len(savings) == 1 else "",
        "a cell has one seed: no interval over seeds" if math.isnan(low_seeds) else "",
        ledger_frame.hardware_note(charged),
    )
    return {
        **row, **result.figures(saving_interval(savings, level=level)), "unit": hours_unit(kinds[0]), "note": note,
        "saving_hours": result.scratch - result.finetuning,
        "low_seeds": tasks_for_saving(spent, high_seeds), "high_seeds": tasks_for_saving(spent, low_seeds),
        "published_reading": math.nan if result.published_reading is None else result.published_reading,
    }  # fmt: skip


def arm_hours(trials: pd.DataFrame, extras: pd.Series | None) -> pd.DataFrame:
    """Mean hours of each task and size, with the variance of that mean and n; extras: charges.cell_extras."""
    groups = trials.assign(hours=trials["seconds"].astype(float) / 3600).groupby(ledger_frame.CELL)["hours"]
    mean, n = groups.mean(), groups.size()
    if extras is not None:
        mean = mean + extras.reindex(mean.index).fillna(0.0)
    return pd.DataFrame({"mean": mean, "variance": groups.var() / n, "n": n}).droplevel(["pretraining", "strategy"])


def saving_interval(savings: np.ndarray, *, level: float = 0.9, resamples: int = 4000) -> tuple[float, float]:
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


def _n_below(scratch: pd.DataFrame, tuned: pd.DataFrame, merit: Metric) -> int:
    """Pairs of a seed where finetuning ended below scratch."""
    pairs = scratch.merge(tuned, on=["task", "size", "seed"], suffixes=("_scratch", "_tuned"))
    return int((merit.sign * (pairs["merit_tuned"] - pairs["merit_scratch"]) < 0).sum())
