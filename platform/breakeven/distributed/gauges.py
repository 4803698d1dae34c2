"""What Prometheus is told of a study, through Ray's metrics: the names, what they mean, and their few labels.

Ray serves them on each node under these names with "ray_" before them; the boards in dashboards/ and the alerts there read
them. A series is a gauge: told again by a driver that goes on, it is the same number, where a counter would begin anew.
"""

from dataclasses import dataclass

from ray.util import metrics

__all__ = ["ALL", "Gauges", "Series"]


@dataclass(frozen=True)
class Series:
    """One name in Prometheus, with a value for each combination of its labels; every one has the study's name besides."""

    name: str
    meaning: str
    labels: tuple[str, ...] = ()

    @property
    def exported(self) -> str:
        """Its name in Prometheus."""
        return f"ray_{self.name}"


TRIALS = Series("breakeven_trials", "Trials by state: finished, pruned, failed, left", ("state",))
CELLS_LEFT = Series("breakeven_cells_left", "Cells that have a trial left")
TRIALS_PER_MINUTE = Series("breakeven_trials_per_minute", "Trials that ended per minute, lately")
SECONDS_LEFT = Series("breakeven_seconds_left", "Expected seconds to the study's end")
DEVICE_HOURS = Series(
    "breakeven_device_hours", "Device-hours by kind of device and use: useful, search, wasted", ("device", "use")
)
FAILURES = Series("breakeven_failures", "Failed trials by kind of reason", ("reason",))
MERIT = Series(
    "breakeven_test_accuracy", "Mean test accuracy of finished trials over tasks and seeds", ("strategy", "size")
)
WORK_DONE = Series("breakeven_work_done", "Units done of the stage in progress", ("stage",))
WORK_TOTAL = Series("breakeven_work_total", "Units of the stage in progress in all", ("stage",))
LOSS = Series("breakeven_pretraining_loss", "Loss after the last epoch", ("pretraining", "split"))
EVENTS_PER_SECOND = Series(
    "breakeven_pretraining_events_per_second", "Training events per second in the last epoch", ("pretraining",)
)
WORKERS = Series("breakeven_pretraining_workers", "Data-parallel workers", ("pretraining",))

ALL = (TRIALS, CELLS_LEFT, TRIALS_PER_MINUTE, SECONDS_LEFT, DEVICE_HOURS, FAILURES, MERIT, WORK_DONE, WORK_TOTAL, LOSS,
       EVENTS_PER_SECOND, WORKERS)  # fmt: skip
"""Every series of the house."""


class Gauges:
    """Sets the values of one study; there is one in a driver, and Ray must be there before the first value."""

    def __init__(self, study: str) -> None:
        self._study = study
        self._gauges: dict[str, metrics.Gauge] = {}

    def set(self, series: Series, value: float, **labels: str) -> None:
        """Set the value of a series.

        Args:
            series: one of ALL.
            value: of now.
            labels: the series' own.

        Raises:
            ValueError: the labels are not those of the series.
        """
        gauge = self._gauges.get(series.name)
        if gauge is None:
            gauge = metrics.Gauge(series.name, series.meaning, ("study", *series.labels))
            self._gauges[series.name] = gauge
        gauge.set(value, {"study": self._study, **labels})
