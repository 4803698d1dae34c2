"""What pretraining gains on average over tasks, for tasks like these: with the scatter of tasks, and of the backbone that all
of them stand on. It weighs every task the same.
"""

import math

import numpy as np
import pandas as pd
from scipy import stats

from breakeven.analysis import accuracy
from breakeven.analysis import frame as ledger_frame
from breakeven.analysis.columns import columns
from breakeven.analysis.statistics import LEVEL, estimate
from breakeven.metric import MERIT, Metric

__all__ = ["mean_gain_columns", "mean_gains"]


def mean_gain_columns(merit: Metric = MERIT) -> dict[str, str]:
    """The columns of `mean_gains`."""
    return columns(f"""
        pretraining strategy size
        gain gain_sd gain_low gain_high: test {merit.title} minus that of scratch, mean over tasks, {merit.points}
        gain_task_se: standard error of it from tasks, with the seeds and the test sample of each, {merit.points}
        gain_backbone_se: standard error of it from the backbones that the tasks share, {merit.points}; empty: unknown
        n_tasks
    """)


def mean_gains(frame: pd.DataFrame, gains: pd.DataFrame, *, merit: Metric = MERIT) -> pd.DataFrame:
    """The mean gain over tasks of each treatment and size.

    Tasks have their own seeds and test events, so the scatter of their gains holds both. A better backbone raises all tasks
    at once, which that scatter cannot show: it is the covariance of tasks over backbones, of both as crossed random effects
    (Searle, Casella and McCulloch, Variance Components, 4.5), not below 0.

    Args:
        frame: the ledger frame.
        gains: what accuracy.gains makes of it.
        merit: the figure of merit of both.

    Returns:
        One row a treatment and size, columns as in `mean_gain_columns`. One task alone has no interval.

    Raises:
        ValueError: a column of the ledger is missing.
    """
    of_cell = ledger_frame.cells_of(ledger_frame.confirmed(frame))
    keys, rows = ["pretraining", "strategy", "size"], []
    for key, of_tasks in gains[gains["n"] > 0].groupby(keys, sort=False):
        mean = estimate(of_tasks["gain"])
        by_backbone = {}
        for task in of_tasks["task"]:
            treated, scratch = (of_cell.get((task, *one), frame[:0]) for one in (key, ("none", "scratch", key[2])))
            pairs = accuracy.paired_gains(treated, scratch, merit)
            by_backbone[task] = pairs[pairs["backbone"] != ""].groupby("backbone")["gain"].mean()
        backbone, terms = _of_backbones(pd.DataFrame(by_backbone).dropna().to_numpy().T)
        of_scatter = mean.sd**2 / mean.n
        total = of_scatter + (0.0 if math.isnan(backbone) else backbone)
        doubt = of_scatter**2 / (mean.n - 1) + terms if mean.n > 1 else math.nan
        half_width = (
            float(stats.t.isf(0.5 - LEVEL / 2, total**2 / doubt)) * math.sqrt(total) if doubt > 0.0 else mean.sd
        )
        rows.append(
            {
                **dict(zip(keys, key, strict=True)), "gain": mean.mean, "gain_sd": mean.sd,
                "gain_low": mean.mean - half_width, "gain_high": mean.mean + half_width,
                "gain_task_se": math.sqrt(of_scatter), "gain_backbone_se": math.sqrt(backbone), "n_tasks": mean.n,
            }
        )  # fmt: skip
    return pd.DataFrame(rows, columns=list(mean_gain_columns(merit)))


def _of_backbones(gains: np.ndarray) -> tuple[float, float]:
    """Variance of the mean of gains [n_tasks, n_backbones] from what a backbone adds to all tasks, and what it adds to the sum
    of squares over degrees of freedom; (NaN, 0) below two of either, (0, 0) where tasks do not agree.
    """
    tasks, backbones = gains.shape
    if min(tasks, backbones) < 2:
        return math.nan, 0.0
    centred = gains - gains.mean(axis=1, keepdims=True)
    together = centred.mean(axis=0)
    freedoms = backbones - 1.0, (tasks - 1.0) * (backbones - 1.0)
    between = float(together @ together) / freedoms[0] / backbones
    apart = float(((centred - together) ** 2).sum()) / freedoms[1] / (tasks * backbones)
    if between <= apart:
        return 0.0, 0.0
    return between - apart, between**2 / freedoms[0] + apart**2 / freedoms[1]
