"""What finetuning is held against: training from scratch, or what an analyst would take, the better of that and trees.

Trees train in seconds. By the one-standard-error rule (Breiman, Friedman, Olshen and Stone, Classification and Regression
Trees, 1984, section 3.4.3) they are taken wherever they are as good within one standard error of the paired difference.
Validation events decide; test events choose nothing.
"""

from __future__ import annotations

import math

import pandas as pd

from breakeven.analysis import frame as ledger_frame
from breakeven.analysis.event_scores import SharedEvents
from breakeven.analysis.uncertainty import uncertain
from breakeven.metric import Metric

__all__ = ["BETTER", "SCRATCH", "better_baseline", "trees_as_good"]

SCRATCH, BETTER = "scratch", "better of scratch and trees"
"""What finetuning is held against. The time of the better one is that of whichever was chosen."""

# Means of equal percentages differ by about 1e-14.
_ROUNDING = 1e-9


def trees_as_good(trees: pd.DataFrame, network: pd.DataFrame, merit: Metric, shared: SharedEvents) -> bool:
    """Whether trees are at least as good as a network on validation events, within one standard error.

    Args:
        trees: confirmed trials of trees, of one task and size.
        network: those of one treatment of the same task and size.
        merit: the figure of merit.
        shared: what the trials' scores tell of their test sample: the validation sample's own error is that, by the number of
            events of each.

    Returns:
        Whether network - trees, the mean over seeds, is at most its standard error over seeds, backbones and validation
        events. Without seeds in common the difference of the means has to be 0 or less.
    """
    held = [
        rows.assign(held=merit.sign * merit.scale * ledger_frame.measured(rows, merit, "validation"))
        .dropna(subset="held")
        .drop_duplicates("seed")
        for rows in (network, trees)
    ]
    if held[0].empty or held[1].empty:
        return held[0].empty and not held[1].empty
    pairs = held[0].merge(held[1], on="seed", suffixes=("_network", "_trees"))
    if pairs.empty:
        return bool(held[0]["held"].mean() - held[1]["held"].mean() <= _ROUNDING)
    # As many events of the same kind: the variance of a mean over them goes with one over their number.
    events = pairs["test_events_network"].mean() / pairs["validation_events_network"].mean()
    sample = (
        merit.scale**2 * events * shared.variance(merit, list(pairs["record_network"]), list(pairs["record_trees"]))
    )
    ahead = uncertain(
        (pairs["held_network"] - pairs["held_trees"]).to_numpy(), test=sample, backbones=list(pairs["backbone_network"])
    )
    parts = (ahead.seed_se, ahead.backbone_se, ahead.test_se)
    return ahead.mean.mean <= math.hypot(*(part for part in parts if math.isfinite(part))) + _ROUNDING


def better_baseline(confirmed: pd.DataFrame, merit: Metric, shared: SharedEvents) -> pd.DataFrame:
    """Of each task and size the confirmed trials from scratch, or those of trees where they are as good.

    Args:
        confirmed: the trials that may be reported.
        merit: the figure of merit.
        shared: what their scores tell of their test sample.

    Returns:
        Rows of `confirmed`. Where one of the two is missing, or has no figure of merit, those of the other.
    """
    kept = []
    for _, of_cell in confirmed[confirmed["strategy"].isin(["scratch", "trees"])].groupby(["task", "size"], sort=False):
        scratch, trees = (of_cell[of_cell["strategy"] == strategy] for strategy in ("scratch", "trees"))
        kept.append(trees if scratch.empty or trees_as_good(trees, scratch, merit, shared) else scratch)
    return pd.concat(kept) if kept else confirmed.iloc[:0]
