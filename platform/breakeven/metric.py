"""What is measured of a trained network: a line for each, from which ledger, MLflow, analysis and report take it.

A record holds `metrics: {split_name: value}`, and the ledger's frame a column of that name. Whoever adds a metric adds
its line here, and to training/metrics.py the function that computes it.
"""

from dataclasses import dataclass

SPLITS = ("validation", "test")


@dataclass(frozen=True)
class Metric:
    """name: in records and files.  title: for readers.  unit: "%" for fractions that are shown as percentages, "" for
    plain numbers, which scatter by factors.  merit: whether it is what tasks are compared by.
    """

    name: str
    title: str
    unit: str
    higher_is_better: bool = True
    merit: bool = False

    def column(self, split: str) -> str:
        """Its name in records and in the ledger's frame: `test_accuracy`."""
        return f"{split}_{self.name}"

    @property
    def scale(self) -> float:
        """From what is recorded to what is shown."""
        return 100.0 if self.unit == "%" else 1.0


METRICS = {
    metric.name: metric
    for metric in (
        Metric("accuracy", "accuracy", "%", merit=True),
        Metric("auc", "AUC", "%"),
        Metric("rejection_50", "background rejection at 50 % signal efficiency", ""),
        Metric("rejection_70", "background rejection at 70 % signal efficiency", ""),
        Metric("rejection_90", "background rejection at 90 % signal efficiency", ""),
        Metric("significance_improvement", "significance improvement", ""),
    )
}
"""All metrics, by name."""

MERIT = next(metric for metric in METRICS.values() if metric.merit)
"""The figure of merit."""


def percentages() -> list[Metric]:
    """The metrics that are shown in percent."""
    return [metric for metric in METRICS.values() if metric.unit == "%"]


def columns() -> list[str]:
    """The columns of all metrics in the ledger's frame."""
    return [metric.column(split) for split in SPLITS for metric in METRICS.values()]
