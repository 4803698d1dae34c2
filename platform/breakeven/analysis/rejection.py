"""What a classifier is worth to an analysis: background rejection at fixed signal efficiency, significance improvement.

From the working points that each confirming trial's record keeps (training/metrics.py says when there is none). Never
puts a number where too few background events passed: it counts how many seeds have one.
"""

import itertools
import math

import numpy as np
import pandas as pd

from breakeven.analysis import frame as ledger_frame
from breakeven.analysis.accuracy import mean_of, paired_gains
from breakeven.analysis.columns import columns
from breakeven.analysis.event_scores import NONE, SharedEvents
from breakeven.analysis.uncertainty import Uncertain, uncertain
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


def working_points(frame: pd.DataFrame, *, shared: SharedEvents = NONE) -> pd.DataFrame:
    """One row for each cell and quantity that any trial has, with its improvement over scratch.

    shared: what the trials' scores tell of their test sample; of the significance improvement, a maximum over thresholds, they
    tell nothing. Intervals as in uncertainty.py: of the mean, and, of the improvement, of the logarithms.
    Columns: WORKING_POINT_COLUMNS.
    """
    confirmed = ledger_frame.confirmed(frame)
    of_cell = ledger_frame.cells_of(confirmed)
    rows = []
    plain = [m for m in METRICS.values() if not m.unit and ledger_frame.measured(confirmed, m).notna().any()]
    for (key, trials), metric in itertools.product(of_cell.items(), plain):
        scratch = None if key[2] == "scratch" else of_cell.get((key[0], "none", "scratch", key[3]))
        measured, about = mean_of(trials, metric, shared)
        value, better = measured.mean, _improvement(trials, scratch, metric, shared).mean
        without = len(trials) - value.n
        note = f"{without} of {len(trials)} seeds have no figure: too few background events pass, or none was recorded"
        rows.append(
            {
                **ledger_frame.named(key), "quantity": metric.title, "value": value.mean, "sd": value.sd,
                "low": value.low, "high": value.high, "n": value.n, "n_without": without,
                "improvement": math.exp(better.mean), "improvement_low": math.exp(better.low),
                "improvement_high": math.exp(better.high), "n_pairs": better.n,
                "text": value.text(digits=metric.digits) if value.n else "undefined",
                "note": ledger_frame.notes(note if without else "", about),
            }
        )  # fmt: skip
    return pd.DataFrame(rows, columns=list(WORKING_POINT_COLUMNS))


def _improvement(trials: pd.DataFrame, scratch: pd.DataFrame | None, metric: Metric, shared: SharedEvents) -> Uncertain:
    """Logarithm of the ratio to scratch over shared seeds; rejections scatter by factors, not by amounts."""
    pairs = paired_gains(trials, trials[:0] if scratch is None else scratch, metric)
    values = [pairs[name].abs() for name in ("value", "value_scratch")]
    logarithms = metric.sign * (np.log(values[0]) - np.log(values[1]))
    records, others = (list(pairs[name]) for name in ("record", "record_scratch"))
    test = shared.test_sample(metric, records, others, np.concatenate(values))
    return uncertain(logarithms.to_numpy(), test=test.shared, test_scatter=test.own, backbones=list(pairs["backbone"]))
