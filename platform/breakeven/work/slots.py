"""What the workers of a stage did with the devices that were held for them, by the workers' own clocks.

Sums only; it knows no trial, and nothing of Ray.
"""

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
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
    last pack. What becomes of a pack in flight is not known yet: it is not idle.
    """

    def __init__(self, workers: int, share: float, clock: Callable[[], float] = time.time) -> None:
        self.workers, self.share, self._clock = workers, share, clock
        self._begun = clock()
        self._names = itertools.count()
        self._vacant = {self._slot_name(): self._begun for _ in range(workers)}
        """When each slot without a worker became free."""
        self._last: dict[str, float] = {}
        """End of the last pack of each worker."""
        self._idle = {"starting": 0.0, "waiting": 0.0, "stalled": 0.0, "lost": 0.0}
        self._in_flight: dict[int, tuple[float, tuple[str, ...]]] = {}
        self._losses: dict[str, float] = {}

    def handed_out(self, pack: int, trials: Sequence[str]) -> None:
        """A pack, by its number, is with a worker from now on."""
        self._in_flight[pack] = self._clock(), tuple(trials)

    def taken_back(self, pack: int) -> None:
        """A pack is with no worker any more; `came_back` or `died` says what became of its time."""
        self._in_flight.pop(pack, None)

    def came_back(self, pack: PackTimes, handed_out: float | None = None) -> None:
        """A worker has done a pack, which it was given at `handed_out`, by default when it began."""
        if pack.worker not in self._last:
            since = self._take_slot(handed_out or pack.began, among=self._vacant or self._last)
            self._idle["starting"] += max(pack.began - since, 0.0)
        else:
            self._idle["waiting"] += pack.waited
        self._last[pack.worker] = pack.ended
        self._idle["stalled"] += pack.lasted - pack.used / self.share

    def died(self, handed_out: float, accounted: float, worker: str = "") -> None:
        """A worker has died with a pack that it was given at `handed_out`, of which `accounted` device-seconds are known.

        worker: its name, where it is known; else it is taken for the one that was free last before.
        """
        now = self._clock()
        if worker in self._last:
            since = self._last.pop(worker)
        else:
            since = self._take_slot(handed_out, among={**self._vacant, **self._last})
        self._idle["waiting"] += max(handed_out - since, 0.0)
        self._idle["lost"] += max(now - handed_out - accounted / self.share, 0.0)
        self._vacant[self._slot_name()] = now
        self._give_up()

    def left(self, worker: str) -> None:
        """A worker that had no pack has died: its slot is free since its last."""
        self._vacant[self._slot_name()] = self._last.pop(worker, self._clock())
        self._give_up()

    def resize(self, workers: int) -> None:
        """There is room for so many from now on. Where it is less, slots are given up as they are free."""
        self._vacant |= {self._slot_name(): self._clock() for _ in range(workers - self.workers)}
        self.workers = workers
        self._give_up()

    def idle(self) -> dict[str, float]:
        """Device-seconds not used so far, by reason."""
        now = self._clock()
        ending = sum(now - since for since in (*self._last.values(), *self._vacant.values()))
        ending = max(ending - sum(now - since for since, _ in self._in_flight.values()), 0.0)
        return {reason: seconds * self.share for reason, seconds in {**self._idle, "ending": ending}.items()}

    def lost(self, trial: str, device_seconds: float) -> None:
        """A try of a trial, in a pack that is back, has come to nothing: its time is used, and its next record tells it."""
        self._losses[trial] = self._losses.get(trial, 0.0) + device_seconds

    def measured(self) -> dict[str, Any]:
        """All of it as a reservation keeps it.

        idle_seconds: see `idle`.  in_flight: the packs that are with workers: numbers, trials, device-seconds so far.
        losses: device-seconds of tries that came to nothing in packs that are back, by trial.
        """
        now = self._clock()
        in_flight = [
            {"pack": pack, "trials": list(trials), "seconds": (now - since) * self.share}
            for pack, (since, trials) in self._in_flight.items()
        ]
        return {"idle_seconds": self.idle(), "in_flight": in_flight, "losses": dict(self._losses)}

    def _give_up(self) -> None:
        """Free slots of more than there is room for: their time ends here."""
        while self._vacant and len(self._vacant) + len(self._last) > self.workers:
            name = min(self._vacant, key=lambda slot: self._vacant[slot])
            self._idle["lost"] += self._clock() - self._vacant.pop(name)

    def _slot_name(self) -> str:
        return f"slot {next(self._names)}"

    def _take_slot(self, handed_out: float, among: Mapping[str, float]) -> float:
        """Take away the slot that was free last before a pack was handed out, and say since when it was.

        A free slot is given a pack at once, so that one had it, where nobody tells.
        """
        if not among:
            return handed_out
        name = max(among, key=lambda slot: (among[slot] <= handed_out, among[slot]))
        since = among[name]
        self._vacant.pop(name, None)
        self._last.pop(name, None)
        return since
