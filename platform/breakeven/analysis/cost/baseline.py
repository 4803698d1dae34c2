"""What finetuning is held against: training from scratch, or what an analyst would take, the better of that and trees.

Trees train in seconds. By the one-standard-error rule (Breiman, Friedman, Olshen and Stone, Classification and Regression
Trees, 1984, section 3.4.3) they are taken wherever no network is ahead by one standard error of the paired difference.
Validation events decide; test events choose nothing.
"""

import math

import pandas as pd

from breakeven.analysis import frame as ledger_frame
from breakeven.analysis.event_scores import SharedEvents
from breakeven.analysis.uncertainty import uncertain
from breakeven.metric import Metric

__all__ = ["BETTER", "SCRATCH", "better_baseline", "network_ahead"]

SCRATCH, BETTER = "scratch", "better of scratch and trees"
"""What finetuning is held against. The time of the better one is that of whichever was chosen."""

# Means of equal percentages differ by about 1e-14.
_ROUNDING = 1e-9


def network_ahead(network: pd.DataFrame, trees: pd.DataFrame, merit: Metric, shared: SharedEvents) -> int:
    """Whether a network is ahead of trees on validation events by more than one standard error, or they of it.

    Args:
        network: confirmed trials of one treatment, of one task and size.
        trees: those of trees on the same task and size.
        merit: the figure of merit; one that is not measured on validation events, as rejections, gives way to the AUC.
        shared: what the trials' scores tell of their test sample: the validation sample's own error is that, by the number of
            events of each.

    Returns:
        1 where network - trees, the mean over seeds, is above its standard error over seeds, backbones and validation events,
        -1 where it is below minus that, 0 between. Without seeds in common the sign of the difference of the means; one that
        has no figure is behind.
    """
    merit = ledger_frame.choosing(pd.concat([network, trees]), merit)
    held = [
        rows.assign(held=merit.sign * merit.scale * ledger_frame.measured(rows, merit, "validation"))
        .dropna(subset="held")
        .drop_duplicates("seed")
        for rows in (network, trees)
    ]
    if held[0].empty or held[1].empty:
        return int(held[1].empty) - int(held[0].empty)
    pairs = held[0].merge(held[1], on="seed", suffixes=("_network", "_trees"))
    if pairs.empty:
        return _sign(held[0]["held"].mean() - held[1]["held"].mean(), 0.0)
    # As many events of the same kind: the variance of a mean over them goes with one over their number.
    events = pairs["test_events_network"].mean() / pairs["validation_events_network"].mean()
    sample = shared.test_sample(merit, list(pairs["record_network"]), list(pairs["record_trees"])) * (
        merit.scale**2 * events
    )
    ahead = uncertain(
        (pairs["held_network"] - pairs["held_trees"]).to_numpy(),
        test=sample.shared,
        test_scatter=sample.own,
        backbones=list(pairs["backbone_network"]),
    )
    parts = (ahead.seed_se, ahead.backbone_se, ahead.test_se)
    return _sign(ahead.mean.mean, math.hypot(*(part for part in parts if math.isfinite(part))))


def _sign(difference: float, error: float) -> int:
    """1 or -1 where a difference is beyond its error."""
    return 0 if abs(difference) <= error + _ROUNDING else 1 if difference > 0.0 else -1


def better_baseline(confirmed: pd.DataFrame, merit: Metric, shared: SharedEvents) -> pd.DataFrame:
    """Of each task and size the confirmed trials from scratch where they are ahead of trees, and else those of trees.

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
        kept.append(scratch if network_ahead(scratch, trees, merit, shared) > 0 else trees)
    return pd.concat(kept) if kept else confirmed.iloc[:0]
