"""From how many tasks on pretraining is cheaper than training every task without it.

Holds the definition N* = T_pre / (mean T_scratch - mean T_finetuning), its value for a study, against training from
scratch and against the better of that and trees, and the paper's own reading of its figures. Never decides which hours
are charged: the caller says so, and charges.py counts them; intervals.py has the uncertainties.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from breakeven.analysis import frame as ledger_frame
from breakeven.analysis.columns import columns
from breakeven.analysis.cost.baseline import BETTER, SCRATCH, better_baseline
from breakeven.analysis.cost.charges import (
    HEADLINE,
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
from breakeven.analysis.cost.intervals import (
    backbones_half_width,
    joined,
    saving_interval,
    seeds_interval,
    tasks_for_saving,
)
from breakeven.analysis.event_scores import NONE, SharedEvents
from breakeven.ledger.charge import hours_unit
from breakeven.metric import MERIT, Metric

__all__ = ["BreakEven", "break_even", "break_even_table", "readings", "study_break_even"]

NEVER, NOT_SHOWN = "never", "not shown"
"""Words for a mean that saves nothing: with the whole of its interval where it has one, or with a part of it that saves."""


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
        low, high = (tasks_for_saving(self.pretraining, end) for end in reversed(saving))
        return {
            "pretraining_hours": self.pretraining, "scratch_hours": self.scratch, "finetuning_hours": self.finetuning,
            "exact": math.nan if self.exact is None else self.exact, "tasks": self.tasks,
            "text": NOT_SHOWN if self.tasks is None and math.isfinite(low) else self.text, "low": low, "high": high,
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
    baseline: what finetuning is held against, scratch | better of scratch and trees; all columns of scratch are of this
    unit device processor pretraining_hours scratch_hours finetuning_hours
    saving_hours: T_scratch - T_finetune, device-hours
    exact tasks
    low: lower end of the 90 % interval of N* over tasks, seeds and backbones, for tasks like these; inf: never
    high: upper end of the 90 % interval of N* over tasks, seeds and backbones, for tasks like these; inf: never
    low_seeds: lower end of the 90 % interval of N* over seeds and backbones alone, for exactly these tasks
    high_seeds: upper end of the 90 % interval of N* over seeds and backbones alone, for exactly these tasks
    published_reading: T_pre / T_finetune, how arXiv 2412.10665 arrives at 41
    n_tasks
    n_saving: tasks for which finetuning takes less time than the baseline
    n_trees: tasks and sizes whose baseline is trees
    n_backbones: pretrainings of this kind, whose mean is T_pre
    n_scratch: trainings of the baseline
    n_finetuning: finetuned trainings
    n_without_plateau: trainings (the pretraining apart) that reached no plateau, charged until their end
    pretraining_to_end: whether a pretraining is charged for all its epochs, as it reached no plateau
    n_below: pairs of seeds where finetuning ended below scratch; equal accuracy only
    text note
""")


def study_break_even(
    frame: pd.DataFrame,
    charge: Charge = UNTIL_PLATEAU,
    *,
    baseline: str = SCRATCH,
    merit: Metric = MERIT,
    shared: SharedEvents = NONE,
) -> pd.DataFrame:
    """Break-even of each pretraining at each size, and over all sizes (`size` is <NA>).

    Args:
        frame: the ledger frame.
        charge: what counts as the price of a task.
        baseline: SCRATCH, or BETTER of that and trees.
        merit: the figure of merit that "equal accuracy" and the better baseline are of.
        shared: what the trials' scores tell of their test sample, for the better baseline.

    Returns:
        Columns as in BREAK_EVEN_COLUMNS. Only tasks with both a baseline and a finetuned training count, each with the same
        weight. T_pre is the mean over the backbones of a name: a user needs one. Hours of two kinds of device are not mixed:
        such a row has no figure and a note.

    Raises:
        ValueError: a column of the ledger is missing.
    """
    confirmed = ledger_frame.confirmed(frame)
    return _charged_so(frame, confirmed, charge, baseline, _held(confirmed, baseline, merit, shared), merit)


def _held(confirmed: pd.DataFrame, baseline: str, merit: Metric, shared: SharedEvents) -> pd.DataFrame:
    """The trials that finetuning is held against."""
    if baseline == BETTER:
        return better_baseline(confirmed, merit, shared)
    return confirmed[confirmed["strategy"] == "scratch"]


def _charged_so(
    frame: pd.DataFrame,
    confirmed: pd.DataFrame,
    charge: Charge,
    baseline: str,
    without: pd.DataFrame,
    merit: Metric,
) -> pd.DataFrame:
    """study_break_even. confirmed: the trials of `frame` that may be reported.  without: those of the baseline."""
    pretrainings = used_pretrainings(frame, confirmed)
    extras = cell_extras(frame, charge) if charge.search or charge.wasted else None
    all_tuned = confirmed[confirmed["strategy"] == "finetune"]
    on_top = devices_on_top(frame, charge)
    rows = []
    for pretraining in sorted(set(all_tuned["pretraining"])):
        of_kind = pretrainings[pretrainings["pretraining"] == pretraining]
        tuned = all_tuned[all_tuned["pretraining"] == pretraining]
        arms = _common(*paired_seconds(without, tuned, charge.time, merit), merit)
        spent = _spent(frame, of_kind, charge)
        sizes = sorted(set(without["size"]) & set(tuned["size"]))
        for size in [*sizes, None] if len(sizes) > 1 else sizes:
            at_size = [arm[arm["size"].isin(sizes if size is None else [size])] for arm in arms]
            cells = set(pd.concat(at_size)[ledger_frame.CELL].drop_duplicates().itertuples(index=False, name=None))
            devices = set().union(*(on_top.get(key, set()) for key in (("pretraining", pretraining), *cells)))
            figures = _figures(at_size, extras, of_kind, spent, devices, charge, merit)
            about = {"pretraining": pretraining, "size": size, "charged": charge.text, "baseline": baseline}
            rows.append({**about, **figures})
    table = pd.DataFrame(rows, columns=list(BREAK_EVEN_COLUMNS))
    return table.astype(dict.fromkeys(("size", "tasks", "n_below", "n_saving", "n_trees"), "Int64"))


WAYS = (
    (HEADLINE, SCRATCH),
    (HEADLINE, BETTER),
    (Charge("total", search=True), SCRATCH),
    (Charge("total", search=True), BETTER),
    (Charge("total", search=True, wasted=True), SCRATCH),
    (Charge("total", search=True, wasted=True, generation=True), SCRATCH),
    (UNTIL_PLATEAU, SCRATCH),
    (Charge("equal_accuracy"), SCRATCH),
)
"""Ways to charge and baselines that a report shows; the better baseline only where there are trees."""


def break_even_table(frame: pd.DataFrame, *, merit: Metric = MERIT, shared: SharedEvents = NONE) -> pd.DataFrame:
    """`study_break_even` under every way of charging, one under the other.

    Args:
        frame: the ledger frame.
        merit: the figure of merit that "equal accuracy" and the better baseline are of.
        shared: what the trials' scores tell of their test sample, for the better baseline.

    Returns:
        Columns as in BREAK_EVEN_COLUMNS; `charged` and `baseline` tell the ways apart.
    """
    confirmed = ledger_frame.confirmed(frame)
    baselines = (SCRATCH, BETTER) if (confirmed["strategy"] == "trees").any() else (SCRATCH,)
    held = {baseline: _held(confirmed, baseline, merit, shared) for baseline in baselines}
    tables = (
        _charged_so(frame, confirmed, charge, baseline, held[baseline], merit)
        for charge, baseline in WAYS
        if baseline in baselines
    )
    return pd.concat(tables, ignore_index=True)


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


_CHARGED = ["device", "processor", "kernel", "plateau_seconds", "backbone"]


def _common(scratch: pd.DataFrame, tuned: pd.DataFrame, merit: Metric) -> list[pd.DataFrame]:
    """What is needed of the trials of tasks and sizes that both have; its merit is on validation events."""
    keys = ["task", "size"]
    common = pd.merge(scratch[keys].drop_duplicates(), tuned[keys].drop_duplicates(), on=keys)
    needed = [*ledger_frame.CELL, "seed", "seconds", "merit", *_CHARGED]
    reached = (
        arm.assign(
            merit=ledger_frame.measured(arm, merit, "validation"),
            kernel=arm["kernel"].where(
                arm["strategy"] != "trees"
            ),  # none of a network's, with which hours could be mixed
        )
        for arm in (scratch, tuned)
    )
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
        "n_backbones": pretrainings["record"].nunique(),
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
    result, saving = break_even(spent, *(float(arm.mean()) for arm in of_tasks)), float(savings.mean())
    n_trees = int((scratch.drop_duplicates(["task", "size"])["strategy"] == "trees").sum())
    # The backbones' part is one of savings for each hour of pretraining, which both differ from backbone to backbone.
    half_width = spent * backbones_half_width(_gains_of_backbones(tuned, pretrainings, of_tasks[0], spent))
    over_tasks = joined(saving, saving_interval(savings), half_width)
    over_seeds = joined(saving, seeds_interval(saving, arms), half_width)
    note = ledger_frame.notes(
        f"{without} training{'s' if without != 1 else ''} without a plateau: charged until the end"
        if without and charge.time == "plateau"
        else "",
        "the pretraining reached no plateau: charged for all its epochs" if to_end else "",
        f"finetuning ended below scratch in {below} of {len(scratch)} pairs: there scratch stops early"
        if below
        else "",
        f"trees are the better baseline in {n_trees} of {len(arms[0])} cells" if n_trees else "",
        "one task: no interval over tasks" if len(savings) == 1 else "",
        "a cell has one seed: no interval over seeds" if math.isnan(over_seeds[0]) else "",
        ledger_frame.hardware_note(charged),
    )
    return {
        **row, **result.figures(over_tasks), "unit": hours_unit(kinds[0]), "note": note, "saving_hours": saving,
        "low_seeds": tasks_for_saving(spent, over_seeds[1]), "high_seeds": tasks_for_saving(spent, over_seeds[0]),
        "published_reading": math.nan if result.published_reading is None else result.published_reading,
        "n_saving": int((savings > 0.0).sum()), "n_trees": n_trees,
    }  # fmt: skip


def _gains_of_backbones(
    tuned: pd.DataFrame, pretrainings: pd.DataFrame, without: pd.Series, spent: float
) -> np.ndarray:
    """Mean saving of a task over the price of the backbone, for each backbone that has every task and size, [n_backbones].

    without: hours of each task without a backbone.  spent: hours of one pretraining, the mean over all.
    """
    own = pretrainings.set_index("record")
    names = {name: record for record, name in own["backbone"].items() if name} | {
        record: record for record in own.index
    }
    hours = tuned["seconds"].astype(float) / 3600
    cells = hours.groupby([tuned["backbone"].map(names), tuned["task"], tuned["size"]]).mean().unstack([1, 2])
    complete = cells.dropna().T.groupby("task").mean().T
    if complete.empty or not cells.shape[1]:
        return np.empty(0)
    prices = own["device_seconds"].astype(float) / 3600
    prices = (spent + prices - prices.mean()).reindex(complete.index)
    gains = (without.reindex(complete.columns).mean() - complete.mean(axis=1)) / prices
    return gains.to_numpy()


def arm_hours(trials: pd.DataFrame, extras: pd.Series | None) -> pd.DataFrame:
    """Mean hours of each task and size, with the variance of that mean and n; extras: charges.cell_extras."""
    groups = trials.assign(hours=trials["seconds"].astype(float) / 3600).groupby(ledger_frame.CELL)["hours"]
    mean, n = groups.mean(), groups.size()
    if extras is not None:
        mean = mean + extras.reindex(mean.index).fillna(0.0)
    return pd.DataFrame({"mean": mean, "variance": groups.var() / n, "n": n}).droplevel(["pretraining", "strategy"])


def _n_below(scratch: pd.DataFrame, tuned: pd.DataFrame, merit: Metric) -> int:
    """Pairs of a seed where finetuning ended below scratch."""
    pairs = scratch.merge(tuned, on=["task", "size", "seed"], suffixes=("_scratch", "_tuned"))
    return int((merit.sign * (pairs["merit_tuned"] - pairs["merit_scratch"]) < 0).sum())
