"""What a classifier is worth to an analysis: background rejection at fixed signal efficiency, significance improvement.

From the working points that each confirming trial's record keeps (training/metrics.py says when there is none). Never
puts a number where too few background events passed: it counts how many seeds have one.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from breakeven.analysis import frame as ledger_frame
from breakeven.analysis.statistics import Estimate, estimate

QUANTITIES = {
    "test_rejection_50": "background rejection at 50 % signal efficiency",
    "test_rejection_70": "background rejection at 70 % signal efficiency",
    "test_rejection_90": "background rejection at 90 % signal efficiency",
    "test_significance_improvement": "significance improvement",
}


def working_points(frame: pd.DataFrame, *, level: float = 0.9) -> pd.DataFrame:
    """One row for each cell and quantity that any trial has, with its improvement over scratch.

    Columns: task, pretraining, strategy, size, quantity, value, sd, low, high (mean over seeds, Student-t interval),
    n, n_without (seeds without a figure: too few background events passed, or an older record), improvement,
    improvement_low, improvement_high, n_pairs (value / scratch's value of the same seed: geometric mean, with the
    Student-t interval of the logarithms), text, note.
    """
    confirmed = ledger_frame.confirmed(frame)
    of_cell = ledger_frame.cells_of(confirmed)
    rows = []
    for key, trials in of_cell.items():
        scratch = of_cell.get((key[0], "none", "scratch", key[3]))
        for column, quantity in QUANTITIES.items():
            if confirmed[column].isna().all():
                continue
            found = estimate(trials[column].astype(float), level=level)
            better = _improvement(trials, scratch, column, level) if key[2] != "scratch" else estimate(())
            without = len(trials) - found.n
            rows.append(
                {
                    **dict(zip(ledger_frame.CELL, key, strict=True)),
                    "quantity": quantity,
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
    return pd.DataFrame(rows, columns=_COLUMNS)


_COLUMNS = [
    "task", "pretraining", "strategy", "size", "quantity", "value", "sd", "low", "high", "n", "n_without",
    "improvement", "improvement_low", "improvement_high", "n_pairs", "text", "note",
]  # fmt: skip


def _improvement(trials: pd.DataFrame, scratch: pd.DataFrame | None, column: str, level: float) -> Estimate:
    """Logarithm of the ratio to scratch over shared seeds; rejections scatter by factors, not by amounts."""
    if scratch is None:
        return estimate(())
    arms = [rows.groupby("seed")[column].mean() for rows in (trials, scratch)]
    return estimate(np.log((arms[0] / arms[1]).dropna().to_numpy(dtype=float)), level=level)
