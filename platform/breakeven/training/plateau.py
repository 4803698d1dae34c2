"""When a training has stopped getting better: one definition, a pure function of the validation losses.

An epoch improves if its validation loss lies below the last improving one's by more than `min_delta` times its size.
The plateau is reached once `patience` epochs in a row did not improve; it began after the last improving epoch. No epoch
in which the rates still grow counts against a training: small steps may leave the loss where it is.
A training whose own loss has not left that of a constant output has not begun to learn: it is not at its plateau yet, and
has `slow_start` times the patience until it does.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from breakeven.training.recipe import Recipe


@dataclass(frozen=True)
class Plateau:
    """last_improving: epoch, counted from 0, -1 before the first.  reached: whether training should stop."""

    last_improving: int
    reached: bool


BEGUN = 0.99
"""Part of the loss of a constant output below which a training has begun to learn."""


def find_plateau(
    losses: Sequence[float], recipe: Recipe, train_losses: Sequence[float] = (), constant: float = math.inf
) -> Plateau:
    """The state of the recipe's plateau rule after the epochs with these validation losses.

    train_losses: of the same epochs; without, or where `slow_start` is 1, nobody asks whether it has begun to learn.
    constant: loss of the best constant output.
    """
    patience = recipe.patience
    last_improving, lowest, begun = -1, math.inf, recipe.slow_start == 1 or not train_losses
    since = 0
    for epoch, loss in enumerate(losses):
        if last_improving < 0 or loss < lowest - recipe.min_delta * abs(lowest):
            last_improving, lowest, since = epoch, loss, epoch
        if not begun and train_losses[epoch] < BEGUN * constant:
            begun, since = True, epoch
        if patience is not None and epoch - max(since, recipe.warmup) >= patience * (1 if begun else recipe.slow_start):
            return Plateau(last_improving, True)
    return Plateau(last_improving, False)
