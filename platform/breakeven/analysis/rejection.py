"""What a classifier is worth to an analysis: background rejection at fixed signal efficiency, significance improvement.

From the working points that each confirming trial's record keeps (training/metrics.py says when there is none), and from what
its scores tell of the background that passes (passing.py), by which too few events give a wide interval or a bound.
"""

import itertools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from breakeven.analysis import frame as ledger_frame
from breakeven.analysis.accuracy import mean_of, paired_gains
from breakeven.analysis.columns import columns
from breakeven.analysis.event_scores import NONE, SharedEvents
from breakeven.analysis.passing import NOTHING, WEIGHTED, rejections
from breakeven.analysis.uncertainty import Uncertain, uncertain
from breakeven.metric import METRICS, Metric

WORKING_POINT_COLUMNS = columns("""
    task pretraining strategy size
    quantity: what is measured
    weighting: how background events count: empty, all alike; by cross section, by what they stand for
    value: mean over seeds, of rejections the geometric one
    sd: standard deviation over seeds
    low high n
    passing: how many background events pass of how many, fewest to most over seeds; empty: no scores were kept
    effective: (sum w)^2 / sum w^2 of the background events that pass, smallest over seeds; empty: all count alike
    n_without: seeds without a figure in their record: too few background events passed, or it is an older one
    improvement improvement_low improvement_high: geometric mean of the ratio to scratch with the same seed
    n_pairs: pairs of seeds
    text note
""")


def working_points(frame: pd.DataFrame, *, shared: SharedEvents = NONE, passed: pd.DataFrame = NOTHING) -> pd.DataFrame:
    """One row for each cell and quantity that any trial has, with its improvement over scratch; below it the same by cross
    section, where background events have different weights.

    shared: what the trials' scores tell of their test sample; of the significance improvement, a maximum over thresholds, they
    tell nothing. Intervals as in uncertainty.py: of the mean, and, of the improvement, of the logarithms.
    passed: what passing.passing gives. Where a record has no figure, as too few background events pass, all seeds of its cell
    are by these.  Columns: WORKING_POINT_COLUMNS.
    """
    confirmed = ledger_frame.confirmed(frame)
    of_cell = ledger_frame.cells_of(confirmed)
    rows = []
    counted = rejections(passed[(passed["process"] == "") & passed["record"].isin(confirmed["record"])])
    of_scores = {(*(row[name] for name in ledger_frame.CELL), row["metric"], row["weighting"]): row
                 for row in counted.to_dict("records")}  # fmt: skip
    plain = [m for m in METRICS.values() if not m.unit and
             (ledger_frame.measured(confirmed, m).notna().any() or m.name in set(counted["metric"]))]  # fmt: skip
    for (key, trials), metric in itertools.product(of_cell.items(), plain):
        scratch = None if key[2] == "scratch" else of_cell.get((key[0], "none", "scratch", key[3]))
        measured, about = mean_of(trials, metric, shared)
        value, better = measured.mean, _improvement(trials, scratch, metric, shared).mean
        without, scores = len(trials) - value.n, of_scores.get((*key, metric.name, ""), {})
        note = f"{without} of {len(trials)} seeds have no figure: too few background events pass, or none was recorded"
        row = {
            **ledger_frame.named(key), "quantity": metric.title, "weighting": "", "value": value.mean, "sd": value.sd,
            "low": value.low, "high": value.high, "n": value.n, "passing": scores.get("passing", ""),
            "effective": math.nan, "n_without": without, "improvement": math.exp(better.mean),
            "improvement_low": math.exp(better.low), "improvement_high": math.exp(better.high), "n_pairs": better.n,
            "text": value.text(digits=metric.digits) if value.n else "undefined",
            "note": ledger_frame.notes(note if without else "", about),
        }  # fmt: skip
        if without and scores:
            few = f"few background events pass, by whose counts it is: no figure in {without} of {len(trials)} records"
            row |= _by_counts(scores) | {"note": few}
        rows.append(row)
        if weighted := of_scores.get((*key, metric.name, WEIGHTED)):
            own = {name: row[name] for name in (*ledger_frame.CELL, "quantity", "passing")}
            rows.append(own | _by_counts(weighted) | {"weighting": WEIGHTED, "effective": weighted["effective"]})
    return pd.DataFrame(rows, columns=list(WORKING_POINT_COLUMNS))


def _by_counts(scores: Mapping[Any, Any]) -> dict[str, Any]:
    """A figure as the background events that pass give it."""
    return {"value": scores["rejection"], **{name: scores[name] for name in ("sd", "low", "high", "n", "text")}}


def _improvement(trials: pd.DataFrame, scratch: pd.DataFrame | None, metric: Metric, shared: SharedEvents) -> Uncertain:
    """Logarithm of the ratio to scratch over shared seeds; rejections scatter by factors, not by amounts."""
    pairs = paired_gains(trials, trials[:0] if scratch is None else scratch, metric)
    values = [pairs[name].abs() for name in ("value", "value_scratch")]
    logarithms = metric.sign * (np.log(values[0]) - np.log(values[1]))
    records, others = (list(pairs[name]) for name in ("record", "record_scratch"))
    test = shared.test_sample(metric, records, others, np.concatenate(values))
    return uncertain(logarithms.to_numpy(), test=test.shared, test_scatter=test.own, backbones=list(pairs["backbone"]))
