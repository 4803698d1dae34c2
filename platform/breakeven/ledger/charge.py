"""What a record's device time was: useful, search, stopped or wasted. The one place that says so.

Idle time belongs to no record: reservations measure it.
"""

from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import Any

import pandas as pd

PARTS = ("useful", "search", "stopped", "wasted")
"""What a device-second of a record can be."""


@dataclass(frozen=True, slots=True)
class Spent:
    """Device-seconds of one record, or of many of one kind of device, by what became of them."""

    useful: float = 0.0
    """Finished: events, backbones, reported trials."""
    search: float = 0.0
    """Finished search trials."""
    stopped: float = 0.0
    """Search trials that were stopped early because they were losing: the price of a search, neither a result nor lost."""
    wasted: float = 0.0
    """Failed, and the interrupted and repeated tries of whatever came of it."""

    @property
    def searched(self) -> float:
        """The search in all."""
        return self.search + self.stopped

    @property
    def worked(self) -> float:
        """All that served: finished or stopped."""
        return self.useful + self.searched

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(*(one + more for one, more in zip(astuple(self), astuple(other), strict=True)))


def charge_of(record: Mapping[Any, Any], lost: float | None = None) -> Spent:
    """What one record was charged, in device-seconds.

    lost: of all its other tries, as `Ledger.wasted_seconds` has them; None: what the record says of them.
    """
    return _charge(record["outcome"], record.get("phase"), record["device_seconds"],
                   record.get("wasted_seconds", 0.0) if lost is None else lost)  # fmt: skip


def charges_of(frame: pd.DataFrame) -> pd.DataFrame:
    """`charge_of` for every row of a ledger frame: columns by the names of Spent, in device-seconds."""
    seconds = (frame[name].fillna(0.0) for name in ("device_seconds", "wasted_seconds"))
    charges = [_charge(*row) for row in zip(frame["outcome"], frame["phase"], *seconds, strict=True)]
    names = (*PARTS, "searched", "worked")
    return pd.DataFrame({name: [getattr(one, name) for one in charges] for name in names}, frame.index, dtype=float)


def hours_unit(device: str) -> str:
    """`cpu_hours` for the processor, `gpu_hours` for any accelerator: a GPU-hour is never invented."""
    return "cpu_hours" if device == "cpu" else "gpu_hours"


def _charge(outcome: str, phase: str | None, seconds: float, lost: float) -> Spent:
    if outcome == "failed":
        return Spent(wasted=seconds + lost)
    if outcome == "stopped":
        return Spent(stopped=seconds, wasted=lost)
    return Spent(search=seconds, wasted=lost) if phase == "search" else Spent(useful=seconds, wasted=lost)
