"""Where the reserved device time went: useful, search, wasted and idle, and whether that is all of it.

Adds up what the ledger charged and what the reservations measured. Never converts one kind of hour to another.
"""

from collections.abc import Iterable
from typing import Any

import pandas as pd

from breakeven.analysis import frame as ledger_frame

STAGES = ("generation", "pretraining", "finetuning")
COLUMNS = ("stage", "unit", "reserved", "useful", "search", "wasted", "idle", "unaccounted", "n_reservations")

NONE = pd.DataFrame(columns=list(COLUMNS))
"""The accounts of a study whose drivers reserved nothing."""


def accounts(frame: pd.DataFrame, reservations: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """Device-hours by stage and kind of device, with a row `all` for each kind at the end.

    frame: the ledger's rows, one a record.  reservations: those of one study, see study/reservation.py.

    Columns: stage; unit ("cpu_hours" | "gpu_hours"); reserved (devices held times how long, by the drivers' clocks);
    useful, search and wasted (charged to the records that were made meanwhile, by the workers' clocks; a trial that was
    pruned belongs to the search; failed, repeated and interrupted tries are waste); idle (held and not used: starting,
    waiting, reading, a core that other programs took); unaccounted (reserved less all of these, the check); n_reservations.

    In finetuning idle time is measured by each worker, so that `unaccounted` can be anything; a worker's time from its
    last message to the death of its driver is there. In generation and pretraining idle is what the rest leaves, and
    unaccounted is 0. Records that were reused from other studies are in no row: they cost this one nothing.
    """
    held = pd.DataFrame(list(reservations))
    if held.empty:
        return NONE
    made = frame[frame["reservation"].isin(set(held["reservation"]))]
    made = made[(made["outcome"] != "finished") | ~made.duplicated(["record", "outcome"])]
    by_reservation = dict(tuple(made.groupby("reservation")))
    rows = []
    for one in held.to_dict("records"):
        used = _used(by_reservation.get(one["reservation"], made.iloc[:0]))
        useful = used["useful"] + one["used_seconds"]
        charged = useful + used["search"] + used["wasted"]
        measured = one["idle_seconds"]
        idle = sum(measured.values()) if isinstance(measured, dict) else max(one["reserved_seconds"] - charged, 0.0)
        seconds = {"reserved": one["reserved_seconds"], **used, "useful": useful, "idle": idle}
        rows.append({"stage": one["stage"], "unit": ledger_frame.hours_unit(one["device"]), "n_reservations": 1,
                     **{name: value / 3600 for name, value in seconds.items()}})  # fmt: skip
    table = pd.DataFrame(rows)
    by_stage = table.groupby(["unit", "stage"], as_index=False).sum()
    every = table.drop(columns="stage").groupby("unit", as_index=False).sum().assign(stage="all")
    found = pd.concat([by_stage, every], ignore_index=True)
    found["unaccounted"] = found["reserved"] - found[["useful", "search", "wasted", "idle"]].sum(axis=1)
    rank = {stage: place for place, stage in enumerate((*STAGES, "all"))}
    found = found.sort_values(
        ["unit", "stage"], key=lambda column: column.map(rank) if column.name == "stage" else column
    )
    return found[list(COLUMNS)].reset_index(drop=True)


def _used(made: pd.DataFrame) -> dict[str, float]:
    """Device-seconds of the records of one reservation."""
    spent, finished = made["device_seconds"].fillna(0.0), made["outcome"] == "finished"
    search = (made["outcome"] == "stopped") | (finished & (made["phase"] == "search"))
    failed = made["outcome"] == "failed"
    wasted = spent[failed].sum() + made["wasted_seconds"].fillna(0.0).sum()
    return {
        "useful": float(spent[finished & ~search].sum()),
        "search": float(spent[search].sum()),
        "wasted": float(wasted),
    }
