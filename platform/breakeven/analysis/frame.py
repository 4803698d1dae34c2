"""Selections of the ledger frame that every table and picture shares, so that all mean the same trials.

Holds which rows count as a result and how device time is called. Never averages anything.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from breakeven.ledger.charge import hours_unit
from breakeven.metric import MERIT, METRICS, SPLITS, Metric
from breakeven.study.plan import backbone_name
from breakeven.study.spec import SEARCHED
from breakeven.study.task import known_tasks

__all__ = ["confirmed", "failed", "trials"]

COLUMNS = (
    "level", "record", "outcome", "reason", "phase", "cell", "task", "signal", "background", "network", "pretraining",
    "strategy", "size", "seed", "ratio", *map(MERIT.column, SPLITS), "validation_loss", "device",
    "processor", "kernel", "device_seconds", "plateau_seconds", "wasted_seconds", "curve", "dataset", "git_commit", "started",
    "ended", "representation", "represented_events", "backbone", "validation_events", "test_events", "scores",
    "scored_events",
)  # fmt: skip

CELL = ["task", "pretraining", "strategy", "size"]
ORDER = ("scratch", "trees", "trees+score", "finetune", "frozen")
"""In which strategies stand below each other."""
FAMILY = CELL[:3]
"""A cell without its size."""


def check(frame: pd.DataFrame) -> None:
    """Raises ValueError naming the ledger columns that `frame` lacks."""
    missing = [column for column in COLUMNS if column not in frame.columns]
    if missing:
        raise ValueError(
            f"the frame has no column {', '.join(map(repr, missing))}: pass the frame that the ledger reads back"
        )


def trials(frame: pd.DataFrame, *, phase: str | None = None, outcome: str | None = None) -> pd.DataFrame:
    """Rows of level trial, one a record: a finished record hides the failed or stopped tries of the same trial.

    Args:
        frame: the ledger frame.
        phase: `search` or `confirm`; None: both.
        outcome: `finished`, `failed`, or `stopped` (a search trial ended early because it was losing: it has cost time
            and has no result); None: all.

    Returns:
        Rows of `frame`, tasks and cells by the names that their classes have now.

    Raises:
        ValueError: a column of the ledger is missing.
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
    same = np.isclose(selected["ratio"].astype(float), chosen.astype(float), rtol=1e-9, atol=0.0, equal_nan=True)
    return selected[same]


def ratio_of(done: pd.DataFrame) -> float:
    """The learning-rate ratio of the reported trials of one cell, from scratch that to the published rate; NaN without."""
    return float(done["ratio"].iloc[0]) if len(done) and done["strategy"].iloc[0] in SEARCHED else math.nan


def failed(frame: pd.DataFrame) -> pd.DataFrame:
    """Trials, pretrainings and generation shards that failed and that no later record finished."""
    check(frame)
    latest = _finished_first(frame)
    return latest[latest["outcome"] == "failed"]


def once(rows: pd.DataFrame) -> pd.DataFrame:
    """Without exact repeats of a finished record; failed tries of one record are each a cost."""
    return rows[(rows["outcome"] != "finished") | ~rows.duplicated(["record", "outcome"])]


def measured(rows: pd.DataFrame, metric: Metric, split: str = "test") -> pd.Series:
    """A metric of the events of a split as it was recorded, a fraction where it is shown in percent; NaN where it was not."""
    return rows.get(metric.column(split), pd.Series(math.nan, rows.index)).astype(float)


def choosing(rows: pd.DataFrame, merit: Metric) -> Metric:
    """What validation events choose by: the figure of merit, or AUC where that is not measured on them, as no rejection is."""
    return METRICS["auc"] if measured(rows, merit, "validation").isna().all() else merit


def by_network(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The rows of each network by its name in the study, with those of events and trees, which are of all, and with the
    pretrainings that its trials begin from: those of a backbone that several networks share are of each.
    """
    check(frame)
    networks = frame["network"].fillna("").where((frame["level"] != "generation") & (frame["strategy"] != "trees"))
    trials = networks[frame["level"] == "trial"].dropna()
    names = list(
        dict.fromkeys(networks.dropna() if trials.empty else trials)
    )  # a shared backbone has the name of one alone
    parts = {}
    for name in names or [""]:
        own = networks.isna() | (networks == name)
        parts[name] = frame[own | _begun_from(frame, frame[own & (frame["level"] == "trial")])]
    return parts


def _begun_from(frame: pd.DataFrame, rows: pd.DataFrame) -> pd.Series:
    """Which rows are the pretrainings that these begin from, and those that they begin from."""
    pretraining = frame["level"] == "pretraining"
    begun = pretraining & frame["backbone"].isin(set(rows["backbone"].dropna()) - {""})
    while "start" in frame:
        more = begun | (pretraining & frame["backbone"].isin(set(frame.loc[begun, "start"].dropna()) - {""}))
        if more.equals(begun):
            break
        begun = more
    return begun


def by_backbone(frame: pd.DataFrame) -> pd.DataFrame:
    """The same rows, a pretraining of one of several networks called as its backbone is."""
    names = zip(frame["network"].fillna(""), frame["pretraining"], strict=True)
    return frame.assign(pretraining=[name and backbone_name(network, name) for network, name in names])


def devices(frame: pd.DataFrame) -> tuple[str, ...]:
    """The kinds of device that trials and pretrainings ran on, sorted: ("cpu",), ("cuda",) or both."""
    check(frame)
    trained = frame[frame["level"].isin(["trial", "pretraining"])]
    return tuple(sorted(trained["device"].dropna().unique()))


def unit_of(rows: pd.DataFrame) -> str:
    """`cpu_hours` or `gpu_hours`, `mixed` where these rows were trained on several kinds of device."""
    kinds = set(rows["device"])
    return hours_unit(kinds.pop()) if len(kinds) == 1 else "mixed"


def several_devices(kinds: Iterable[str]) -> str:
    """`trained on cpu and cuda`, nothing where there is one kind of device."""
    names = sorted(set(kinds))
    return f"trained on {' and '.join(names)}" if len(names) > 1 else ""


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


def named(key: Sequence[Any]) -> dict[str, Any]:
    """The columns of a cell (task, pretraining, strategy, size) or of a family (without the size)."""
    return dict(zip(CELL, key, strict=False))


def cells_of(selected: pd.DataFrame) -> dict[tuple[str, str, str, int], pd.DataFrame]:
    """The rows of each cell, by (task, pretraining, strategy, size), in the order in which they first appear."""
    return dict(iter(selected.groupby(CELL, sort=False)))  # type: ignore[arg-type]


def families_of(selected: pd.DataFrame) -> dict[tuple[str, str, str], pd.DataFrame]:
    """The rows of each cell family, all sizes of (task, pretraining, strategy), in the order in which they first appear."""
    return dict(iter(selected.groupby(FAMILY, sort=False)))  # type: ignore[arg-type]


def training_seconds(selected: pd.DataFrame, time: str) -> pd.Series:
    """Device-seconds of each row: until its plateau (`plateau`) or until its end (`total`).

    A training that never reached its plateau is charged until its end, which is then a lower bound.
    Raises ValueError for another `time`.
    """
    if time not in ("plateau", "total"):
        raise ValueError(f"time={time!r}: choose 'plateau' (until the plateau) or 'total' (until the end)")
    total = selected["device_seconds"].astype(float)
    return total if time == "total" else selected["plateau_seconds"].astype(float).fillna(total)


def ordered_tasks(selected: pd.DataFrame) -> list[str]:
    """Tasks in the order in which they first appear."""
    return list(dict.fromkeys(selected["task"]))


def title(task: str) -> str:
    """How a reader knows the task: the published name, else its own with blanks for underscores."""
    known = known_tasks().get(task)
    return known.title if known else task.replace("_", " ")


def treatments(selected: pd.DataFrame) -> list[tuple[str, str]]:
    """(pretraining, strategy) pairs present, scratch and trees first, then by pretraining, finetune before frozen."""
    rank = {strategy: place for place, strategy in enumerate(ORDER)}
    pairs = set(zip(selected["pretraining"], selected["strategy"], strict=True))
    return sorted(pairs, key=lambda pair: (pair[0] != "none", pair[0], rank.get(pair[1], len(rank)), pair[1]))


def _finished_first(rows: pd.DataFrame) -> pd.DataFrame:
    """One row a record, keeping the row order: a finished one if there is one, else the last failure."""
    finished = rows[rows["outcome"] == "finished"].drop_duplicates("record")
    others = rows[~rows["record"].isin(finished["record"])].drop_duplicates("record", keep="last")
    return rows.loc[rows.index.isin(finished.index.union(others.index))]
