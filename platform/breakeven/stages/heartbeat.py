"""The observer that says in this driver's heartbeat what it is at, for `breakeven status` on any machine."""

from breakeven.ledger.lease import Leases
from breakeven.observer import Observer, Work


class Heartbeat(Observer):
    """Writes the work in progress into the heartbeat of `leases`."""

    def __init__(self, leases: Leases) -> None:
        self._leases = leases

    def began(self, work: Work) -> None:
        self._work, self._done = work, work.done
        self._leases.doing = work.title

    def advanced(self, units: int, note: str) -> None:
        self._done += units
        total = "" if self._work.total is None else f" of {self._work.total:,}"
        self._leases.doing = f"{self._work.title}, {self._done:,}{total} {self._work.unit}"

    def ended(self) -> None:
        self._leases.doing = f"{self._work.title} done"
