"""When a training has stopped getting better: one definition, a pure function of the validation losses.

An epoch improves if its validation loss lies below the last improving one's by more than `min_delta` times its size.
The plateau is reached once `patience` epochs in a row did not improve; it began after the last improving epoch.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Plateau:
    """last_improving: epoch, counted from 0, -1 before the first.  reached: whether training should stop."""

    last_improving: int
    reached: bool


def find_plateau(losses: Sequence[float], patience: int | None, min_delta: float) -> Plateau:
    """The state of the plateau rule after the epochs with these validation losses; patience None is never reached."""
    last_improving, lowest = -1, math.inf
    for epoch, loss in enumerate(losses):
        if last_improving < 0 or loss < lowest - min_delta * abs(lowest):
            last_improving, lowest = epoch, loss
        if patience is not None and epoch - last_improving >= patience:
            return Plateau(last_improving, True)
    return Plateau(last_improving, False)
