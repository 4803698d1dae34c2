"""What a classifier is worth to an analysis: background rejection at fixed signal efficiency, significance improvement.

From the working points that each confirming trial's record keeps (training/metrics.py says when there is none). Never
puts a number where too few background events passed: it counts how many seeds have one.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from breakeven.analysis import frame as ledger_frame
from breakeven.analysis.columns import columns
from breakeven.analysis.statistics import Estimate, estimate
from breakeven.metric import METRICS, Metric

WORKING_POINT_COLUMNS = columns("""
    task pretraining strategy size
    quantity: what is measured
    value: mean over seeds
    sd: standard deviation over seeds
    low high n
    n_without: seeds without a figure: too few background events passed, or an older record
    improvement improvement_low improvement_high: geometric mean of the ratio to scratch with the same seed
    n_pairs: pairs of seeds
    text note
""")


def working_points(frame: pd.DataFrame, *, level: float = 0.9) -> pd.DataFrame:
    """One row for each cell and quantity that any trial has, with its improvement over scratch.

    Intervals: Student's t of the mean, and, of the improvement, of the logarithms. Columns: WORKING_POINT_COLUMNS.
    """
    confirmed = ledger_frame.confirmed(frame)
    of_cell = ledger_frame.cells_of(confirmed)
    rows = []
    for key, trials in of_cell.items():
        scratch = of_cell.get((key[0], "none", "scratch", key[3]))
        for metric in (metric for metric in METRICS.values() if not metric.unit):
            if ledger_frame.measured(confirmed, metric).isna().all():
                continue
            found = estimate(ledger_frame.measured(trials, metric), level=level)
            better = _improvement(trials, scratch, metric, level) if key[2] != "scratch" else estimate(())
            without = len(trials) - found.n
            rows.append(
                {
                    **dict(zip(ledger_frame.CELL, key, strict=True)),
                    "quantity": metric.title,
                    "value": found.mean,
                    "sd": found.sd,
                    "low": found.low,
                    "high": found.high,
                    "n": found.n,
                    "n_without": without,
                    "improvement": math.exp(better.mean),
                    "improvement_low": math.exp(better.low),
                    "improvement_high": math.exp(better.high),
                    "n_pairs": better.n,
                    "text": found.text(digits=2) if found.n else "undefined",
                    "note": ledger_frame.notes(
                        f"{without} of {len(trials)} seeds have no figure: too few background events pass, or none was "
                        "recorded"
                        if without
                        else "",
                        "n=1: no uncertainty" if found.n == 1 else "",
                    ),
                }
            )
    return pd.DataFrame(rows, columns=list(WORKING_POINT_COLUMNS))


def _improvement(trials: pd.DataFrame, scratch: pd.DataFrame | None, metric: Metric, level: float) -> Estimate:
    """Logarithm of the ratio to scratch over shared seeds; rejections scatter by factors, not by amounts."""
    if scratch is None:
        return estimate(())
    arms = [ledger_frame.measured(rows, metric).groupby(rows["seed"]).mean() for rows in (trials, scratch)]
    ratio = arms[0] / arms[1] if metric.higher_is_better else arms[1] / arms[0]
    return estimate(np.log(ratio.dropna().to_numpy(dtype=float)), level=level)
