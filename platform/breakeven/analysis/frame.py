"""Selections of the ledger frame that every table and picture shares, so that all mean the same trials.

Holds which rows count as a result and how device time is called. Never averages anything.
"""

from __future__ import annotations

import math

import pandas as pd

from breakeven.metric import Metric
from breakeven.study.spec import TASKS

COLUMNS = (
    "level", "record", "outcome", "reason", "phase", "cell", "task", "signal", "background", "pretraining",
    "strategy", "size", "seed", "ratio", "test_accuracy", "validation_accuracy", "validation_loss", "device",
    "processor", "kernel", "device_seconds", "plateau_seconds", "wasted_seconds", "curve", "dataset", "git_commit", "started",
    "ended", "representation", "represented_events",
)  # fmt: skip

CELL = ["task", "pretraining", "strategy", "size"]


def check(frame: pd.DataFrame) -> None:
    """Raises ValueError naming the ledger columns that `frame` lacks."""
    missing = [column for column in COLUMNS if column not in frame.columns]
    if missing:
        raise ValueError(
            f"the frame has no column {', '.join(map(repr, missing))}: pass the frame that the ledger reads back"
        )


def trials(frame: pd.DataFrame, *, phase: str | None = None, outcome: str | None = None) -> pd.DataFrame:
    """Rows of level trial, one a record: a finished record hides the failed or stopped tries of the same trial.

    outcome: `finished`, `failed`, or `stopped` (a search trial ended early because it was losing: it has cost time and
    has no result).
    """
    check(frame)
    # Chosen by three columns: to copy all of them at every step takes longer than what is computed from them.
    tries = _finished_first(frame.loc[frame["level"] == "trial", ["record", "outcome", "phase"]])
    if phase is not None:
        tries = tries[tries["phase"] == phase]
    if outcome is not None:
        tries = tries[tries["outcome"] == outcome]
    selected = frame[frame.index.isin(tries.index)]
    return selected.astype({"size": int, "seed": int}) if len(selected) else selected


def confirmed(frame: pd.DataFrame) -> pd.DataFrame:
    """The trials that may be reported: finished, phase confirm, at the ratio that was chosen for their cell.

    A study that searched again can have confirmed one cell at two ratios; mixing them would average two different
    treatments. Where the study has not said which one it chose (column chosen_ratio) it is the one that ended last.
    """
    selected = trials(frame, phase="confirm", outcome="finished")
    if selected.empty:
        return selected
    latest = selected.sort_values("ended", kind="stable").groupby("cell")["ratio"].transform("last")
    chosen = selected["chosen_ratio"].fillna(latest) if "chosen_ratio" in selected else latest.reindex(selected.index)
    return selected[(selected["ratio"] == chosen) | (selected["ratio"].isna() & chosen.isna())]


def failed(frame: pd.DataFrame) -> pd.DataFrame:
    """Trials, pretrainings and generation shards that failed and that no later record finished."""
    check(frame)
    latest = _finished_first(frame)
    return latest[latest["outcome"] == "failed"]


def measured(rows: pd.DataFrame, metric: Metric) -> pd.Series:
    """A metric of test events as it was recorded; NaN where it was not."""
    return rows.get(metric.column("test"), pd.Series(math.nan, rows.index)).astype(float)


def devices(frame: pd.DataFrame) -> tuple[str, ...]:
    """The kinds of device that trials and pretrainings ran on, sorted: ("cpu",), ("cuda",) or both."""
    check(frame)
    trained = frame[frame["level"].isin(["trial", "pretraining"])]
    return tuple(sorted(trained["device"].dropna().unique()))


def hardware(rows: pd.DataFrame) -> dict[str, str]:
    """On what these rows were computed: device and processor, several of a kind joined by ` + `.

    Records that name no processor (generated events, older ledgers) do not count.
    """
    return {kind: " + ".join(sorted(set(rows[kind].dropna()) - {""})) for kind in ("device", "processor")}


def hardware_note(rows: pd.DataFrame) -> str:
    """A sentence where hours of several processors or kernels are in one figure, else nothing."""
    several = []
    for column, kind in (("processor", "kinds of processor"), ("kernel", "kernels")):
        names = sorted(set(rows[column].dropna()) - {""})
        several += [f"{len(names)} {kind} together: {'; '.join(names)}"] if len(names) > 1 else []
    return f"hours of {', and of '.join(several)}" if several else ""


def notes(*sentences: str) -> str:
    """What there is to say of a row, each only once."""
    return "; ".join(dict.fromkeys(sentence for sentence in sentences if sentence))


def cells_of(selected: pd.DataFrame) -> dict[tuple[str, str, str, int], pd.DataFrame]:
    """The rows of each cell, by (task, pretraining, strategy, size), in the order in which they first appear."""
    if selected.empty:
        return {}
    return {key: rows for key, rows in selected.groupby(CELL, sort=False)}  # type: ignore[misc]


def families_of(selected: pd.DataFrame) -> dict[tuple[str, str, str], pd.DataFrame]:
    """The rows of each cell family, all sizes of (task, pretraining, strategy), in the order in which they first
    appear.
    """
    if selected.empty:
        return {}
    return {key: rows for key, rows in selected.groupby(CELL[:3], sort=False)}  # type: ignore[misc]


def training_seconds(selected: pd.DataFrame, time: str) -> pd.Series:
    """Device-seconds of each row: until its plateau (`plateau`) or until its end (`total`).

    A training that never reached its plateau is charged until its end, which is then a lower bound.
    Raises ValueError for another `time`.
    """
    if time == "total":
        return selected["device_seconds"].astype(float)
    if time == "plateau":
        return selected["plateau_seconds"].astype(float).fillna(selected["device_seconds"].astype(float))
    raise ValueError(f"time={time!r}: choose 'plateau' (until the plateau) or 'total' (until the end)")


def ordered_tasks(selected: pd.DataFrame) -> list[str]:
    """Tasks in the order in which they first appear."""
    return list(dict.fromkeys(selected["task"]))


def title(task: str) -> str:
    """How a reader knows the task: the published name, else its own with blanks for underscores."""
    return TASKS[task].title if task in TASKS else task.replace("_", " ")


def treatments(selected: pd.DataFrame) -> list[tuple[str, str]]:
    """(pretraining, strategy) pairs present, scratch first, then by pretraining, finetune before frozen."""
    rank = {"scratch": 0, "finetune": 1, "frozen": 2}
    pairs = set(zip(selected["pretraining"], selected["strategy"], strict=True))
    return sorted(pairs, key=lambda pair: (pair[1] != "scratch", pair[0], rank.get(pair[1], len(rank)), pair[1]))


def _finished_first(rows: pd.DataFrame) -> pd.DataFrame:
    """One row a record, keeping the row order: a finished one if there is one, else the last failure."""
    finished = rows["outcome"] == "finished"
    done = set(rows.loc[finished, "record"])
    kept = rows[finished].drop_duplicates("record")
    open_failures = rows[~finished & ~rows["record"].isin(done)].drop_duplicates("record", keep="last")
    return rows.loc[rows.index.isin(kept.index.union(open_failures.index))]
