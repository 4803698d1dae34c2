"""What the workers of a stage did with the devices that were held for them, by the workers' own clocks.

Sums only; it knows no trial, and nothing of Ray.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class PackTimes:
    """One pack as its worker saw it: who, when (seconds since 1970), and seconds by its steady clock."""

    worker: str
    began: float
    ended: float
    waited: float
    """Seconds since the worker's last pack; 0 for its first."""
    lasted: float
    """Seconds from its beginning to its end."""
    used: float
    """Device-seconds that its trials used."""


class Slots:
    """The time of `workers` slots, each with the part `share` of a device.

    A slot is starting until its first pack begins, waiting between packs, stalled where a pack lasts longer than its
    trials use the device (reading, writing, other programs on its core), lost in packs that died, and ending after its
    last pack. What becomes of a pack in flight is not known yet: it is not idle, see `in_flight`.
    """

    def __init__(self, workers: int, share: float, clock: Callable[[], float] = time.time) -> None:
        self.workers, self.share, self._clock = workers, share, clock
        self._begun = clock()
        self._vacant = [self._begun] * workers
        """When each slot without a worker became free."""
        self._last: dict[str, float] = {}
        """End of the last pack of each worker."""
        self._idle = {"starting": 0.0, "waiting": 0.0, "stalled": 0.0, "lost": 0.0}
        self._in_flight: dict[int, tuple[float, tuple[str, ...]]] = {}

    def handed_out(self, pack: int, trials: Sequence[str]) -> None:
        """A pack, by its number, is with a worker from now on."""
        self._in_flight[pack] = self._clock(), tuple(trials)

    def taken_back(self, pack: int) -> None:
        """A pack is with no worker any more; `came_back` or `died` says what became of its time."""
        self._in_flight.pop(pack, None)

    def came_back(self, pack: PackTimes) -> None:
        """A worker has done a pack."""
        if pack.worker not in self._last:
            self._idle["starting"] += max(pack.began - self._free_since(), 0.0)
        else:
            self._idle["waiting"] += pack.waited
        self._last[pack.worker] = pack.ended
        self._idle["stalled"] += pack.lasted - pack.used / self.share

    def died(self, handed_out: float, accounted: float, worker: str = "") -> None:
        """A worker has died with a pack that it was given at `handed_out`, of which `accounted` device-seconds are known.

        worker: its name, where it is known; else the one that has been away for longest is taken for it.
        """
        now = self._clock()
        since = self._last.pop(worker) if worker in self._last else self._free_since(before=handed_out)
        self._idle["waiting"] += max(handed_out - since, 0.0)
        self._idle["lost"] += max(now - handed_out - accounted / self.share, 0.0)
        self._vacant.append(now)

    def idle(self) -> dict[str, float]:
        """Device-seconds not used so far, by reason."""
        now = self._clock()
        ending = sum(now - end for end in self._last.values()) + sum(now - since for since in self._vacant)
        ending = max(ending - sum(now - since for since, _ in self._in_flight.values()), 0.0)
        return {reason: seconds * self.share for reason, seconds in {**self._idle, "ending": ending}.items()}

    def in_flight(self) -> list[dict[str, Any]]:
        """The packs that are with workers: their numbers, trials, and device-seconds so far."""
        now = self._clock()
        return [
            {"pack": pack, "trials": list(trials), "seconds": (now - since) * self.share}
            for pack, (since, trials) in self._in_flight.items()
        ]

    def _free_since(self, before: float | None = None) -> float:
        """Take a slot out of those without a worker, or else that of the worker that has been away for longest."""
        if self._vacant:
            return self._vacant.pop(0)
        left = min(self._last, key=lambda worker: self._last[worker], default=None)
        return self._last.pop(left) if left is not None else before or self._begun
