"""How far a study is: what is done, how fast it goes, what it has cost, and how long it will take yet.

Counts over the records of one study, kept up in a few microseconds per record, so that a driver can show them while it
works; another program counts the same from the ledger. It reads no file and prints nothing.
"""

import heapq
import math
import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from breakeven.duration import duration
from breakeven.estimate.pace import Pace
from breakeven.ledger import levels
from breakeven.ledger.charge import Spent, charge_of
from breakeven.physics.processes import PRETRAINING
from breakeven.study.naming import Names
from breakeven.study.plan import Cell, Phase, Trial, cells, trials_of
from breakeven.study.spec import Study

RECENT_SECONDS = 600.0
"""How far back "lately" reaches; further where a trial takes longer than a third of it."""
IDLE_SECONDS = 10.0
"""A time without any trial of the study that parts two runs of it: what was before says nothing of the speed now."""
_RECENT = 256
"""Most trials that count as recent."""
_SHOWN = 5


FACTS = (
    "level", "record", "outcome", "reason", "phase", "cell", "task", "signal", "background", "pretraining", "strategy",
    "size", "seed", "ratio", "device", "device_seconds", "wall_seconds", "metrics", "started", "ended", "identity",
    "backbone", "process", "dataset",
)  # fmt: skip
"""What is counted, kept or shown of a record: whoever counts it again and again need not hold the rest."""


@dataclass(frozen=True)
class Standing:
    """A study at one moment."""

    cells: int
    cells_done: int
    """Cells whose reported trials all have an outcome."""
    total: int
    """Trials of the whole study, known from the start."""
    done: int
    """Trials with an outcome: finished, pruned or failed."""
    failed: int
    stopped: int
    """Pruned search trials."""
    rate: float
    """Trials per minute, lately; 0 where none ended lately."""
    spent: Mapping[str, Spent]
    """By kind of device: "cpu", "cuda"."""
    work_seconds: float
    """Expected worker-seconds of the trials that are left."""
    left_seconds: float | None
    """Expected seconds until the end; None where nothing is known of the speed."""
    how: str
    """How the time left was estimated."""
    latest: tuple[levels.Trial, ...]
    """Records of the last trials, newest first."""
    failure: str = ""
    """The last failure: its cell, seed and reason."""

    @property
    def left(self) -> int:
        """Trials without an outcome."""
        return self.total - self.done


@dataclass(frozen=True, order=True)
class _Ended:
    """When a trial ran, in seconds since the epoch by its worker's clock; the order is that of the ends."""

    ended: float
    started: float


class Progress:
    """Counts the records of `study`; `add` takes each once, and may be called while another thread asks `standing`."""

    def __init__(self, study: Study) -> None:
        self._cells = {cell.name: cell for cell in cells(study)}
        self._names = Names(study, PRETRAINING)
        self._open = Counter({(name, phase): n for name, cell in self._cells.items()
                              for phase, n in trials_of(study, cell).items()})  # fmt: skip
        self._total = sum(self._open.values())
        self._kinds: dict[tuple[str, str, int, Phase], Cell] = {}
        """One cell of each kind of trial that takes a time of its own."""
        self._left: Counter[tuple[str, str, int, Phase]] = Counter()
        for (name, phase), n in self._open.items():
            cell = self._cells[name]
            kind = cell.network, cell.strategy, cell.size, phase
            self._kinds.setdefault(kind, cell)
            self._left[kind] += n
        self._done, self._cells_done, self._failed, self._stopped = 0, 0, 0, 0
        self.ratios: dict[str, set[float]] = {}
        """Of the finished reported trials of each cell: one, unless its search was decided anew."""
        self._pace = Pace(study)
        self._recent: list[_Ended] = []
        self._latest: list[tuple[float, str, levels.Trial]] = []
        """Both are heaps, the first to end on top."""
        self._failure = 0.0, ""
        self._spent: dict[str, Spent] = {}
        self._lock = threading.Lock()

    def add(self, record: Mapping[str, Any], wasted_seconds: float = 0.0) -> None:
        """Count a record of the study; those of events and backbones come before the trials made of them.

        wasted_seconds: device-seconds of its other tries. Trials of cells that the study no longer has only cost.
        """
        with self._lock:
            device = record.get("device") or "cpu"
            self._spent[device] = self._spent.get(device, Spent()) + charge_of(record, wasted_seconds)
            record = {**record, **self._names.of(record)}
            if record["level"] == "trial" and (cell := self._cells.get(record["cell"])):
                self._add_trial(cell, cast(levels.Trial, record))

    def waiting(self) -> dict[tuple[str, Phase], int]:
        """Number of trials without an outcome, by cell and phase."""
        with self._lock:
            return dict(self._open)

    def standing(self, now: float) -> Standing:
        """How the study stands. now: seconds since the epoch."""
        with self._lock:
            rate, at_once, span = self._speed(now)
            work = sum(n * self._pace.expected(self._kinds[kind], kind[3]) for kind, n in self._left.items() if n > 0)
            new = sum(n for kind, n in self._left.items() if n > 0 and not self._pace.knows(self._kinds[kind], kind[3]))
            return Standing(
                cells=len(self._cells),
                cells_done=self._cells_done,
                total=self._total,
                done=self._done,
                failed=self._failed,
                stopped=self._stopped,
                rate=rate,
                spent=dict(self._spent),
                work_seconds=work,
                left_seconds=work / at_once if at_once else None,
                how=_explain_time_left(self._total - self._done, new, at_once, span),
                latest=tuple(record for *_, record in sorted(self._latest, key=lambda one: one[:2], reverse=True)),
                failure=self._failure[1],
            )

    def _add_trial(self, cell: Cell, record: levels.Trial) -> None:
        phase = record["phase"]
        if phase == "confirm" and record["outcome"] == "finished" and record["ratio"] is not None:
            self.ratios.setdefault(cell.name, set()).add(record["ratio"])
        if self._open[cell.name, phase] <= 0:
            return  # confirmed at a second ratio after a search that was decided anew
        self._open[cell.name, phase] -= 1
        self._left[cell.network, cell.strategy, cell.size, phase] -= 1
        self._done += 1
        self._cells_done += phase == "confirm" and self._open[cell.name, phase] == 0
        self._failed += record["outcome"] == "failed"
        self._stopped += record["outcome"] == "stopped"
        self._pace.learn(Trial(cell, phase, record["seed"], record["ratio"], {}), record)
        started, ended = (datetime.fromisoformat(record[name]).timestamp() for name in ("started", "ended"))
        _keep_largest(self._recent, _Ended(ended, started), _RECENT)
        if record["outcome"] == "failed" and ended >= self._failure[0]:
            self._failure = ended, f"{record['cell']} seed {record['seed']}: {record.get('reason', '')}"
        _keep_largest(self._latest, (ended, record["record"], record), _SHOWN)

    def _speed(self, now: float) -> tuple[float, float, float]:
        """Trials per minute lately; how many ran at once (0: nothing is known); seconds that this was seen over."""
        recent = _without_break(self._recent)
        if not recent:
            return 0.0, 0.0, 0.0
        last = recent[0].ended
        now = max(now, last)  # a worker's clock may be ahead
        longest = max(one.ended - one.started for one in recent)
        earliest = now - max(RECENT_SECONDS, 3 * longest)
        recent = [one for one in recent if one.ended > earliest]
        if not recent:
            return 0.0, 0.0, 0.0
        begin = max(min(one.started for one in recent), earliest)
        # What is at work now has no record yet: until the last end, not until now, all that ran is known.
        seen = max(last - begin, 1e-3)
        busy = sum(max(one.ended - max(one.started, begin), 0.0) for one in recent)
        return 60 * len(recent) / max(now - begin, 1e-3), busy / seen, seen


def _keep_largest(heap: list[Any], new: Any, most: int) -> None:
    """Put `new` on the heap, and take the least off it where there are more than `most`."""
    if len(heap) < most:
        heapq.heappush(heap, new)
    else:
        heapq.heappushpop(heap, new)


def _without_break(trials: Iterable[_Ended]) -> list[_Ended]:
    """Those since the last break, the last to end first."""
    kept: list[_Ended] = []
    begun = math.inf
    for one in sorted(trials, reverse=True):
        if kept and one.ended < begun - IDLE_SECONDS:
            break
        kept.append(one)
        begun = min(begun, one.started)
    return kept


def _explain_time_left(left: int, new: int, at_once: float, span: float) -> str:
    if not left:
        return "nothing is left"
    known = "as long as those like them have taken"
    if new == left:
        known = "as long as their events take"
    elif new:
        known += f" ({new:,} of a kind that has not run yet: as long as their events take)"
    speed = f"{at_once:.1f} at once as in the last {duration(span)}" if at_once else "none has ended lately"
    return f"{left:,} trial{'s' if left > 1 else ''}, each {known}; {speed}"
