"""From how many tasks on pretraining is cheaper than training every task from scratch.

Holds the definition N* = T_pre / (mean T_scratch - mean T_finetuning), its value for a study with a bootstrap
interval, and the paper's own reading of its figures. Never decides which hours are charged: the caller says so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from breakeven.analysis import frame as ledger_frame

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


def break_even(pretraining: float = 45.5, scratch: float = 2.94, finetuning: float = 0.38 * 2.94) -> BreakEven:
    """Break-even of one pretraining against mean training times per task, all in one unit of device time.

    The defaults are the GPU-hours of arXiv 2412.10665, section IV.3, at 1e7 events per class.
    Raises ValueError naming the value that is negative, infinite or NaN.
    """
    for name, hours in (("pretraining", pretraining), ("scratch", scratch), ("finetuning", finetuning)):
        if not math.isfinite(hours) or hours < 0.0:
            raise ValueError(f"{name}={hours!r}: a device time must be finite and not negative")
    return BreakEven(float(pretraining), float(scratch), float(finetuning))


def study_break_even(
    frame: pd.DataFrame,
    *,
    time: str = "plateau",
    strategy: str = "finetune",
    level: float = 0.9,
    resamples: int = 4000,
) -> pd.DataFrame:
    """Break-even of each pretraining at each size, and over all sizes (`size` is <NA>).

    time: `plateau` charges every training, the pretraining too, until its plateau, as the paper does; `total`
    until its end. Only tasks with both a scratch and a `strategy` training count, each with the same weight.
    Columns: pretraining, size, unit ("cpu_hours" | "gpu_hours"), pretraining_hours, scratch_hours,
    finetuning_hours (means of one training), exact, tasks (<NA>: never), low, high (interval of N*; inf: never),
    published_reading, n_tasks, n_scratch, n_finetuning, n_without_plateau, text, note. Hours of two kinds of device
    are not mixed: such a row has no figure and a note. The interval resamples tasks (see `_saving_interval`); it
    holds the one pretraining's time for exact.
    """
    confirmed = ledger_frame.confirmed(frame)
    pretrainings = _finished_pretrainings(frame, confirmed)
    rows = []
    for pretraining in sorted(set(confirmed.loc[confirmed["strategy"] == strategy, "pretraining"])):
        of_pretraining = pretrainings[pretrainings["pretraining"] == pretraining]
        tuned = confirmed[(confirmed["strategy"] == strategy) & (confirmed["pretraining"] == pretraining)]
        scratch = confirmed[confirmed["strategy"] == "scratch"]
        sizes = sorted(set(tuned["size"]) & set(scratch["size"]))
        for size in [*sizes, None] if len(sizes) > 1 else sizes:
            at_size = [rows_of[rows_of["size"].isin(sizes if size is None else [size])] for rows_of in (scratch, tuned)]
            figures = _row(at_size[0], at_size[1], of_pretraining, time=time, level=level, resamples=resamples)
            rows.append({"pretraining": pretraining, "size": size, **figures})
    table = pd.DataFrame(rows, columns=["pretraining", "size", *_FIGURES])
    return table.astype({"size": "Int64", "tasks": "Int64"})


def format_tasks(tasks: int | None) -> str:
    """`25 tasks`, `1 task` or `never`."""
    return NEVER if tasks is None else f"{tasks} task{'' if tasks == 1 else 's'}"


_FIGURES = (
    "unit", "pretraining_hours", "scratch_hours", "finetuning_hours", "exact", "tasks", "low", "high",
    "published_reading", "n_tasks", "n_scratch", "n_finetuning", "n_without_plateau", "text", "note",
)  # fmt: skip


def _finished_pretrainings(frame: pd.DataFrame, confirmed: pd.DataFrame) -> pd.DataFrame:
    """Finished pretrainings, only those whose backbone a confirmed trial used where the records tell."""
    finished = frame[(frame["level"] == "pretraining") & (frame["outcome"] == "finished")]
    finished = finished.drop_duplicates("record")
    if "backbone" in frame.columns and len(confirmed):
        used = set(confirmed["backbone"].dropna()) - {""}
        recognised = finished[finished["record"].isin(used) | finished["backbone"].isin(used)]
        known = set(recognised["pretraining"])
        return finished[~finished["pretraining"].isin(known) | finished["record"].isin(recognised["record"])]
    return finished


def _row(
    scratch: pd.DataFrame,
    tuned: pd.DataFrame,
    pretrainings: pd.DataFrame,
    *,
    time: str,
    level: float,
    resamples: int,
) -> dict[str, object]:
    keys = ["task", "size"]
    common = pd.merge(scratch[keys].drop_duplicates(), tuned[keys].drop_duplicates(), on=keys)
    scratch, tuned = scratch.merge(common, on=keys), tuned.merge(common, on=keys)
    charged = pd.concat([scratch, tuned, pretrainings])
    row: dict[str, object] = {
        "n_tasks": common["task"].nunique(),
        "n_scratch": len(scratch),
        "n_finetuning": len(tuned),
        "n_without_plateau": int(charged["plateau_seconds"].isna().sum()),
        "text": "no figure",
        "note": "",
    }
    kinds = sorted(charged["device"].dropna().unique())
    if pretrainings.empty:
        return {**row, "note": "the ledger has no finished pretraining of this kind"}
    if common.empty:
        return {**row, "note": "no task has both a scratch and a finetuned training"}
    if len(kinds) > 1:
        return {**row, "note": f"trained on {' and '.join(kinds)}: hours of two kinds of device are not mixed"}
    pretraining_hours = float(ledger_frame.training_seconds(pretrainings, time).mean()) / 3600
    by_task = pd.DataFrame(
        {
            name: rows_of.assign(hours=ledger_frame.training_seconds(rows_of, time) / 3600)
            .groupby(["task", "size"])["hours"].mean().groupby("task").mean()
            for name, rows_of in (("scratch", scratch), ("finetuning", tuned))
        }
    )  # fmt: skip
    result = break_even(pretraining_hours, float(by_task["scratch"].mean()), float(by_task["finetuning"].mean()))
    low, high = _saving_interval(
        (by_task["scratch"] - by_task["finetuning"]).to_numpy(), level=level, resamples=resamples
    )
    if row["n_without_plateau"]:
        several = "s" if row["n_without_plateau"] != 1 else ""
        row["note"] = f"{row['n_without_plateau']} training{several} without a plateau: charged until the end"
    if time == "total":
        row["note"] = "charged until the end of each training"
    return {
        **row,
        "unit": ledger_frame.hours_unit(kinds[0]),
        "pretraining_hours": result.pretraining,
        "scratch_hours": result.scratch,
        "finetuning_hours": result.finetuning,
        "exact": math.nan if result.exact is None else result.exact,
        "tasks": result.tasks,
        "low": _tasks_for_saving(pretraining_hours, high),
        "high": _tasks_for_saving(pretraining_hours, low),
        "published_reading": math.nan if result.published_reading is None else result.published_reading,
        "text": result.text,
    }


def _saving_interval(savings: np.ndarray, *, level: float, resamples: int) -> tuple[float, float]:
    """Bootstrap interval of the mean saving over tasks, savings: [n_tasks] hours; NaN below two tasks.

    A drawn task brings all its seeds with it, which carries the variance of the seeds exactly once (Davison and
    Hinkley, Bootstrap Methods, 3.8). Few tasks make plain percentiles too narrow: deviations are widened by
    sqrt(n / (n - 1)) and by Student's t over the normal quantile.
    """
    n = len(savings)
    if n < 2:
        return math.nan, math.nan
    draws = np.random.default_rng(0).integers(0, n, size=(resamples, n))
    tail = 0.5 - level / 2
    widening = math.sqrt(n / (n - 1)) * float(stats.t.isf(tail, n - 1) / stats.norm.isf(tail))
    mean = float(savings.mean())
    low, high = np.quantile(savings[draws].mean(axis=1), [tail, 1 - tail])
    return mean + widening * (float(low) - mean), mean + widening * (float(high) - mean)


def _tasks_for_saving(pretraining: float, saving: float) -> float:
    """N* at one end of the saving's interval: monotone, so ends map to ends; no saving means never (inf)."""
    if math.isnan(saving):
        return math.nan
    return pretraining / saving if saving > 0.0 else math.inf
