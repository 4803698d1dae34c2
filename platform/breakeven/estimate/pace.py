"""How long a trial takes: estimated by event passes, and learned from the trials that came back. It never runs any."""

from breakeven.estimate.speeds import ELSEWHERE
from breakeven.ledger import levels
from breakeven.study.plan import Cell, Phase, Trial, event_passes
from breakeven.study.spec import Study


class Pace:
    """Estimates the seconds of a trial of `study`.

    Trials of one network, strategy, size and phase take about the same time. One of a kind that has not come back yet is
    estimated by its event passes, at the rate of all that have; before any has, at that of one core.
    """

    def __init__(self, study: Study) -> None:
        self.study = study
        self._passes, self._seconds, self._device_seconds = 0.0, 0.0, 0.0
        self._kinds: dict[_Kind, tuple[int, float]] = {}
        """Trials of each kind that came back, and their seconds."""
        self._passes_of: dict[_Kind, float] = {}
        """Event passes of a trial of each kind: asked for every trial that waits, whenever a pack is made."""

    def learn(self, trial: Trial, record: levels.Trial) -> None:
        """Take the time of a finished trial into account; failed ones say nothing."""
        if record["outcome"] != "finished":
            return
        seconds = float(record.get("wall_seconds") or record["device_seconds"])
        kind = _kind(trial.cell, trial.phase)
        number, total = self._kinds.get(kind, (0, 0.0))
        self._kinds[kind] = number + 1, total + seconds
        self._passes += self._event_passes(trial.cell, trial.phase)
        self._seconds += seconds
        self._device_seconds += float(record["device_seconds"])

    def seconds(self, trial: Trial) -> float:
        """Expected wall seconds of `trial` on one worker."""
        return self.expected(trial.cell, trial.phase)

    def device_seconds(self, trial: Trial) -> float:
        """Expected device-seconds of `trial`: on a part of a GPU less than it takes by the clock."""
        share = self._device_seconds / self._seconds if self._seconds > 0 else 1.0
        return self.seconds(trial) * share

    def expected(self, cell: Cell, phase: Phase) -> float:
        """Expected wall seconds of a trial of `cell` in this phase on one worker."""
        if known := self._kinds.get(_kind(cell, phase)):
            return known[1] / known[0]
        rate = self._passes / self._seconds if self._seconds > 0 else ELSEWHERE.trained.value
        return self._event_passes(cell, phase) / rate

    def knows(self, cell: Cell, phase: Phase) -> bool:
        """Whether a trial like those of `cell` in this phase has come back."""
        return _kind(cell, phase) in self._kinds

    def _event_passes(self, cell: Cell, phase: Phase) -> float:
        kind = _kind(cell, phase)
        if kind not in self._passes_of:
            self._passes_of[kind] = event_passes(self.study, cell, phase)
        return self._passes_of[kind]


_Kind = tuple[str, str, int, Phase]


def _kind(cell: Cell, phase: Phase) -> _Kind:
    return cell.network, cell.strategy, cell.size, phase
