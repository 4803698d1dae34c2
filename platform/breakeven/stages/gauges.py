"""The observer that tells Prometheus, through Ray, how a study stands."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from breakeven.beat import Beat
from breakeven.ledger.ledger import Ledger
from breakeven.metric import MERIT
from breakeven.observer import Observer, Work
from breakeven.stages.cluster import Cluster
from breakeven.views.tally import Tally

if TYPE_CHECKING:
    from breakeven.distributed.gauges import Gauges

SECONDS = 2.0
"""Pause between two looks; Ray hands values on every ten, or as RAY_metrics_report_interval_ms says."""
_REASONS = 10
"""Most kinds of reasons of failures that are told apart: each is a series of its own in Prometheus."""


class StudyGauges(Observer):
    """Sets the gauges of a study from what it is told, and from `tally`. As a context manager it ends with the study.

    cluster: where Ray is not there, nobody asks. A figure is set within SECONDS, so that a record costs next to nothing.
    """

    def __init__(self, study: str, tally: Tally, ledger: Ledger, cluster: Cluster) -> None:
        self._study, self._tally, self._ledger, self._cluster = study, tally, ledger, cluster
        self._gauges: Gauges | None = None
        self._stage, self._done, self._total = "", 0, 0
        self._pretraining: dict[str, Mapping[str, float]] = {}
        self._merits: dict[tuple[str, int], list[float]] = defaultdict(lambda: [0.0, 0.0])
        self._failures: Counter[str] = Counter()

    def __enter__(self) -> "StudyGauges":
        self._beat = Beat(SECONDS, self.tell, "gauges")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._beat.stop()
        if kind is None:
            self.tell()

    def began(self, work: Work) -> None:
        self._stage, self._done, self._total = work.title, work.done, work.total or 0

    def advanced(self, units: int, note: str) -> None:
        self._done += units

    def measured(self, figures: Mapping[str, float]) -> None:
        self._pretraining[self._stage.removesuffix(" pretraining")] = figures

    def recorded(self, names: Sequence[str]) -> None:
        for name in names:
            record = self._ledger.get(name)
            if record is None or record["level"] != "trial":
                continue
            if record["outcome"] == "failed":
                kind = str(record.get("reason", "")).partition(":")[0] or "unknown"
                self._failures[kind if kind in self._failures or len(self._failures) < _REASONS else "other"] += 1
            elif record["phase"] == "confirm" and (value := record["metrics"].get(MERIT.column("test"))) is not None:
                merit = self._merits[record["strategy"], record["size"]]
                merit[0] += value
                merit[1] += 1

    def tell(self) -> None:
        """Set all gauges as things stand now; nothing where Ray is not there."""
        if not self._cluster.started:
            return
        from breakeven.distributed import gauges

        one = self._gauges = self._gauges or gauges.Gauges(self._study)
        standing = self._tally.standing()
        finished = standing.done - standing.failed - standing.stopped
        states = {"finished": finished, "pruned": standing.stopped, "failed": standing.failed, "left": standing.left}
        for state, n in states.items():
            one.set(gauges.TRIALS, n, state=state)
        one.set(gauges.CELLS_LEFT, standing.cells - standing.cells_done)
        one.set(gauges.TRIALS_PER_MINUTE, standing.rate)
        if standing.left_seconds is not None:
            one.set(gauges.SECONDS_LEFT, standing.left_seconds)
        for device, spent in standing.spent.items():
            for use, seconds in {"useful": spent.useful, "search": spent.searched, "wasted": spent.wasted}.items():
                one.set(gauges.DEVICE_HOURS, seconds / 3600, device=device, use=use)
        for reason, n in list(self._failures.items()):
            one.set(gauges.FAILURES, n, reason=reason)
        for (strategy, size), (total, number) in list(self._merits.items()):
            one.set(gauges.MERIT, total / number, strategy=strategy, size=str(size))
        if self._stage:
            one.set(gauges.WORK_DONE, self._done, stage=self._stage)
            one.set(gauges.WORK_TOTAL, self._total, stage=self._stage)
        for name, figures in list(self._pretraining.items()):
            for split in ("train", "validation"):
                if f"{split}_loss" in figures:
                    one.set(gauges.LOSS, figures[f"{split}_loss"], pretraining=name, split=split)
            one.set(gauges.EVENTS_PER_SECOND, figures["events_per_second"], pretraining=name)
            one.set(gauges.WORKERS, figures["workers"], pretraining=name)
