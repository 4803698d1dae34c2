"""Where the reserved device time went: useful, search, wasted and idle, and whether that is all of it.

Adds up what the ledger charged and what the reservations measured. Never converts one kind of hour to another.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import pandas as pd

from breakeven.analysis.columns import columns
from breakeven.ledger.charge import charges_of, hours_unit
from breakeven.ledger.reservation import STAGES

COLUMNS = columns("""
    stage: generation, pretraining or finetuning
    unit
    reserved: devices held by this study's drivers times how long, by the drivers' clocks, device-hours
    useful: device-hours of finished work, by the workers' clocks
    search: device-hours of the search, pruned trials included
    wasted: device-hours of failed, repeated and interrupted tries
    idle: device-hours held and not used: starting, waiting, reading, a core that other programs took
    unaccounted: reserved less all other columns, the check, device-hours
    n_reservations: reservations added up
""")

NONE = pd.DataFrame(columns=list(COLUMNS))
"""The accounts of a study whose drivers reserved nothing."""


def accounts(frame: pd.DataFrame, reservations: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """Device-hours by stage and kind of device, with a row `all` for each kind at the end. Columns: COLUMNS.

    frame: the ledger's rows, one a record.  reservations: those of one study, see ledger/reservation.py. What was charged is
    that of the records that were made meanwhile.

    In finetuning idle time is measured by each worker, so that `unaccounted` can be anything. Of packs that were in flight
    when a driver was killed the records say what was used; the rest of their time is idle, and where workers outlived
    their driver, what they used beyond it counts as reserved: they did hold the device. In generation and pretraining
    idle is what the rest leaves, and unaccounted is 0. Records that were reused from other studies are in no row: they
    cost this one nothing.
    """
    held = sorted(reservations, key=lambda one: one["started"])
    if not held:
        return NONE
    made = frame[frame["reservation"].isin({one["reservation"] for one in held})]
    by_reservation = dict(tuple(made.groupby("reservation")))
    rows = []
    in_flight = _InFlight(made, held)
    for one in held:
        used = _used(by_reservation.get(one["reservation"], made.iloc[:0]))
        measured, idle, reserved = one["idle_seconds"], 0.0, one["reserved_seconds"]
        if isinstance(measured, dict):
            lost, beyond = in_flight.settle(one)
            idle, reserved = sum(measured.values()) + lost, reserved + beyond
        seconds = {"reserved": reserved, **used, "useful": used["useful"] + one["used_seconds"], "idle": idle}
        rows.append({"stage": one["stage"], "unit": hours_unit(one["device"]), "n_reservations": 1,
                     **{name: value / 3600 for name, value in seconds.items()}})  # fmt: skip
    table = pd.DataFrame(rows)
    by_stage = table.groupby(["unit", "stage"], as_index=False).sum()
    # A record stands for all drivers that worked on it, so what is left is idle in a stage as a whole.
    left = by_stage["reserved"] - by_stage[["useful", "search", "wasted"]].sum(axis=1)
    by_stage["idle"] = by_stage["idle"].where(by_stage["stage"] == "finetuning", left.clip(lower=0.0))
    every = by_stage.drop(columns="stage").groupby("unit", as_index=False).sum().assign(stage="all")
    hours = pd.concat([by_stage, every], ignore_index=True)
    hours["unaccounted"] = hours["reserved"] - hours[["useful", "search", "wasted", "idle"]].sum(axis=1)
    place = hours["stage"].map([*STAGES, "all"].index)
    return hours.assign(place=place).sort_values(["unit", "place"], ignore_index=True)[list(COLUMNS)]


class _InFlight:
    """What became of the packs that were with workers when their driver was killed.

    A pack's records say what it used, and the record of a later try of one of its trials what the interrupted ones lost.
    """

    def __init__(self, made: pd.DataFrame, held: Iterable[dict[str, Any]]) -> None:
        self._made = made
        self._lost = made.groupby("record")["wasted_seconds"].sum().to_dict()
        for one in held:  # these were seen by a living driver, which counts their time as used
            for name, seconds in (one.get("losses") or {}).items():
                self._lost[name] = max(self._lost.get(name, 0.0) - seconds, 0.0)
        self._packs = Counter(name for one in held for pack in one.get("in_flight") or () for name in pack["trials"])

    def settle(self, reservation: dict[str, Any]) -> tuple[float, float]:
        """Device-seconds in flight that nobody used, and those that were used after the driver's last sign of life.

        Called once for each reservation: what interrupted tries lost is taken where there is room for it, and what is left
        of it at the last of a trial's packs was lost after that driver's death.
        """
        ours = self._made[self._made["reservation"] == reservation["reservation"]]
        packs = reservation.get("in_flight") or []
        idle = beyond = 0.0
        for pack in packs:
            done = ours[ours["pack"] == pack["pack"]]
            room = pack["seconds"] - done["device_seconds"].sum()
            beyond += max(-room, 0.0)
            for name in (trial for trial in pack["trials"] if trial not in set(done["record"])):
                self._packs[name] -= 1
                lost = self._lost.pop(name, 0.0)
                taken = min(lost, max(room, 0.0))
                room -= taken
                if self._packs[name]:
                    self._lost[name] = lost - taken
                else:
                    beyond += lost - taken
            idle += max(room, 0.0)
        if not reservation.get("closed"):
            after = (ours["started"] > reservation["ended"]) & ~ours["pack"].isin([pack["pack"] for pack in packs])
            beyond += ours.loc[after, "device_seconds"].sum()
        return float(idle), float(beyond)


def _used(made: pd.DataFrame) -> dict[str, float]:
    """Device-seconds of the records of one reservation."""
    spent = charges_of(made).sum()
    return {"useful": float(spent["useful"]), "search": float(spent["searched"]), "wasted": float(spent["wasted"])}
