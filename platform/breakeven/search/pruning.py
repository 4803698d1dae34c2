"""When a search trial is pruned: the median rule, as a limit on the validation loss after each epoch.

Pure arithmetic on curves; it asks nobody and stops nothing. The limits of a trial depend only on what was told before it
was proposed, so a study that was killed prunes what it would have pruned.
"""

from collections.abc import Sequence
from statistics import median

MIN_CURVES = 2
"""Finished trials of other ratios, same cell and seed, without which nothing is pruned."""
SPARED = 1 / 3
"""Part of the epochs after their warm-up that others needed which every trial may do."""


def limits(curves: Sequence[Sequence[float]], epochs: int, warmup: int = 0) -> tuple[float, ...]:
    """After each epoch, the lowest validation loss so far above which a trial is pruned; empty where none is.

    curves: validation losses by epoch of finished trials with other ratios, same cell, seed and subset.  epochs: limit.
    warmup: epochs in which the rates of them all grow.
    A trial is pruned where its best loss so far is above the median of theirs at that epoch (Golovin et al., Google
    Vizier, KDD 2017, section 3.2.2; Optuna's MedianPruner). Nothing is pruned in the warm-up, nor in the first third of the
    epochs that half of them made after it. Curves that ended early at their plateau count with their best.
    """
    if len(curves) < MIN_CURVES:
        return ()
    best = []
    for curve in curves:
        lowest, so_far = float("inf"), []
        for epoch in range(epochs):
            lowest = min(lowest, curve[epoch]) if epoch < len(curve) else lowest
            so_far.append(lowest)
        best.append(so_far)
    first = warmup + int(max(0.0, median(map(len, curves)) - warmup) * SPARED)
    return tuple(float("inf") if epoch < first else median(one[epoch] for one in best) for epoch in range(epochs))
