"""What events with weights are worth: their cross section with its error, and how many equal ones they amount to.

Weights are any numbers of 0 and more, of any scale; sums are taken in double precision.
"""

import numpy as np

__all__ = ["cross_section", "effective_number"]


def cross_section(weights: np.ndarray) -> tuple[float, float]:
    """What a sample of events amounts to.

    Args:
        weights: [n_events], in pb.

    Returns:
        Their sum, and its statistical error, the root of the sum of squares; both 0 for no events.
    """
    weights = weights.astype(np.float64)
    return float(weights.sum()), float(np.sqrt((weights**2).sum()))


def effective_number(weights: np.ndarray) -> float:
    """How many events of one weight would have the same relative error: Kish's (sum w)^2 / sum w^2.

    Args:
        weights: [n_events], on any scale.

    Returns:
        Between 1 and n_events; 0 for no events, or where all weights are 0.
    """
    largest = float(weights.max(initial=0.0))
    if not largest:
        return 0.0
    relative = weights.astype(np.float64) / largest  # no square under- or overflows
    return float(relative.sum() ** 2 / (relative**2).sum())
