"""Which classes of a task a backbone has met already: a gain on classes it was taught is another claim than on new ones.

By the datasets that the pretraining's record names. Its events of a class are never the test events of the task, which
are split by hard event; what is told here is whether it was taught that class with labels.
"""

import pandas as pd

from breakeven.analysis import frame as ledger_frame
from breakeven.analysis.columns import columns
from breakeven.analysis.cost.charges import with_starts

__all__ = ["exposures"]

SEEN, HALF_SEEN, PARTLY_SEEN, UNSEEN = "seen", "half-seen", "partly seen", "unseen"

EXPOSURE_COLUMNS = columns("""
    task pretraining
    exposure: seen | half-seen | partly seen | unseen: both or one of the task's classes with all of their processes, only some \
processes of a class, or none are among the pretraining's processes; empty: the ledger does not tell
""")


def exposures(frame: pd.DataFrame) -> pd.DataFrame:
    """One row for each task and pretraining that was finetuned or frozen for it. Columns: EXPOSURE_COLUMNS.

    What a pretraining started from counts as met.
    """
    generated = frame[frame["level"] == "generation"].dropna(subset=["dataset"])
    processes = dict(zip(generated["dataset"], generated["process"], strict=True))
    finished = frame[(frame["level"] == "pretraining") & (frame["outcome"] == "finished")]
    met = {name: _met(with_starts(frame, rows), processes) for name, rows in finished.groupby("pretraining")}
    trials = ledger_frame.confirmed(frame)
    treated = trials[trials["pretraining"].isin(list(met))]
    pairs = treated.drop_duplicates(["task", "pretraining"])
    rows = [
        {"task": row["task"], "pretraining": row["pretraining"],
         "exposure": _kind([row["signal"].split("+"), row["background"].split("+")], met[row["pretraining"]])}
        for row in pairs.to_dict("records")
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=list(EXPOSURE_COLUMNS))


def _met(pretrainings: pd.DataFrame, processes: dict[str, str]) -> set[str]:
    """The processes of the events that these pretrainings read; empty where one of them is not known."""
    read = {name for joined in pretrainings["dataset"].dropna() for name in str(joined).split("+")} - {""}
    return {processes[name] for name in read} if read <= set(processes) else set()


def _kind(classes: list[list[str]], met: set[str]) -> str:
    if not met:
        return ""
    if whole := sum(met.issuperset(processes) for processes in classes):
        return HALF_SEEN if whole == 1 else SEEN
    return PARTLY_SEEN if any(map(met.intersection, classes)) else UNSEEN
