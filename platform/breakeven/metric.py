"""What is measured of a trained network: a line for each, from which ledger, MLflow, analysis and report take it.

A record holds `metrics: {split_name: value}`, and the ledger's frame a column of that name. Whoever adds a metric adds
its line here, and to training/metrics.py the function that computes it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

SPLITS = ("validation", "test")


@dataclass(frozen=True)
class Metric:
    """name: in records and files.  title: for readers.  unit: "%" for fractions that are shown as percentages, "" for
    plain numbers, which scatter by factors.  merit: whether it is what tasks are compared by, if nobody says otherwise.
    chance: what a coin has, None where nobody knows.
    """

    name: str
    title: str
    unit: str
    higher_is_better: bool = True
    merit: bool = False
    chance: float | None = None

    def column(self, split: str) -> str:
        """Its name in records and in the ledger's frame: `test_accuracy`."""
        return f"{split}_{self.name}"

    @property
    def heading(self) -> str:
        """Its title where a sentence begins: `AUC`, `Accuracy`."""
        return self.title[0].upper() + self.title[1:]

    @property
    def scale(self) -> float:
        """From what is recorded to what is shown."""
        return 100.0 if self.unit == "%" else 1.0

    @property
    def by_factors(self) -> bool:
        """Whether values scatter by factors, as rejections do: their mean is the geometric one, and logarithms are compared."""
        return self.efficiency is not None

    def averaged(self, values: Any) -> Any:
        """What is averaged and compared of values: logarithms of those that scatter by factors."""
        return np.log(values) if self.by_factors else values

    def of_averaged(self, values: Any) -> Any:
        """The values again."""
        return np.exp(values) if self.by_factors else values

    @property
    def efficiency(self) -> float | None:
        """The signal efficiency of a background rejection, None of all else."""
        name, _, percent = self.name.partition("_")
        return int(percent) / 100 if name == "rejection" else None

    @property
    def sign(self) -> float:
        """What turns a difference into a gain: -1 where lower is better."""
        return 1.0 if self.higher_is_better else -1.0

    @property
    def digits(self) -> int:
        """Decimals of what is shown."""
        return 1 if self.unit == "%" or self.by_factors else 2

    @property
    def measure(self) -> str:
        """What a value is counted in."""
        return "percent" if self.unit == "%" else "plain number"

    @property
    def recorded(self) -> str:
        """What a value is counted in where it is recorded."""
        return "fraction" if self.unit == "%" else "plain number"

    @property
    def mean(self) -> str:
        """How values are averaged over seeds, in words."""
        return "geometric mean" if self.by_factors else "mean"

    @property
    def points(self) -> str:
        """What a difference of two values is counted in."""
        return "percentage points" if self.unit == "%" else "difference"

    @property
    def in_percent(self) -> str:
        """What a caption says after the title of values that are percentages."""
        return " in percent" if self.unit == "%" else ""

    def error(self, values: Any) -> Any:
        """What falls with training, of values as they are recorded: 1 - a fraction, 1 / a plain number such as a rejection,
        and what is itself better where it is lower. The error of an error is the value again.
        """
        if not self.higher_is_better:
            return values
        with np.errstate(divide="ignore"):
            return 1.0 - values if self.unit == "%" else np.divide(1.0, values)

    @property
    def error_measure(self) -> str:
        """What an error is counted in."""
        if not self.higher_is_better:
            return self.title
        return "fraction" if self.unit == "%" else f"1 / {self.title}"

    def ends(self, low: Any, high: Any) -> tuple[Any, Any]:
        """The ends of an interval of errors as those of the values that readers are shown."""
        shown = self.scale * self.error(low), self.scale * self.error(high)
        return shown[::-1] if self.higher_is_better else shown


METRICS = {
    metric.name: metric
    for metric in (
        Metric("accuracy", "accuracy", "%", merit=True, chance=0.5),
        Metric("auc", "AUC", "%", chance=0.5),
        Metric("rejection_50", "background rejection at 50 % signal efficiency", ""),
        Metric("rejection_70", "background rejection at 70 % signal efficiency", ""),
        Metric("rejection_90", "background rejection at 90 % signal efficiency", ""),
        Metric("significance_improvement", "significance improvement", ""),
    )
}
"""All metrics, by name."""

OF_THINGS = {
    metric.name: metric
    for metric in (
        Metric("rejection_80", "background rejection at 80 % efficiency", ""),
        Metric("probe_auc", "AUC of the score inside", "%", chance=0.5),
        Metric("probe_rejection_90", "background rejection of the score inside at 90 % efficiency", ""),
    )
}
"""Of each thing inside an event, as of each jet: the first of a pretraining that learns its label, the others of a network that
learns something else, see training/probe.py."""

MERIT = next(metric for metric in METRICS.values() if metric.merit)
"""The figure of merit where nobody names another."""


def shown(merit: Metric) -> list[Metric]:
    """The metrics that stand beside each other in tables of cells: the figure of merit, and those in percent."""
    return [merit, *(metric for metric in METRICS.values() if metric.unit == "%" and metric != merit)]


def columns() -> list[str]:
    """The columns of all metrics in the ledger's frame."""
    return [metric.column(split) for split in SPLITS for metric in (METRICS | OF_THINGS).values()]
