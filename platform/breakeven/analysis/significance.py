"""Whether a paired difference is more than chance: p-values of one cell, and their correction over many.

All are two-sided. Never says "significant": the caller chooses the level, after the correction.
"""

import math
from collections.abc import Sequence

import numpy as np

# Differences of percentages are exact to about 1e-14: a smaller spread is the arithmetic's, not the seeds'.
_ROUNDING = 1e-9
_MOST_FLIPPED = 16


def sign_flip(differences: Sequence[float] | np.ndarray) -> float:
    """Exact p-value of the sign-flip permutation test, differences: [n]; NaN below two and above 16.

    The share of all 2^n assignments of signs whose mean is at least as far from 0: it assumes no shape of the
    distribution, only that it is symmetric about 0 without an effect. It cannot be below 2^(1-n), .25 for three seeds
    and .06 for five (Good, Permutation Tests, 2nd ed., 3.2).
    """
    values = np.asarray(differences, dtype=float)
    n = len(values)
    if not 2 <= n <= _MOST_FLIPPED:
        return math.nan
    # The last sign is held: the other half of the assignments are mirror images.
    signs = 1.0 - 2.0 * ((np.arange(2 ** (n - 1))[:, None] >> np.arange(n)) & 1)
    means = np.abs(signs @ values)
    return float(np.mean(means >= abs(values.sum()) - _ROUNDING))


def holm(p_values: Sequence[float] | np.ndarray) -> np.ndarray:
    """Holm's step-down correction, [m] to [m]; NaN stays NaN and does not count.

    Those below alpha are then wrong with probability alpha at most in all, however they depend on each other
    (Holm, Scand. J. Statist. 6 (1979) 65).
    """
    p = np.asarray(p_values, dtype=float)
    corrected = np.full(len(p), math.nan)
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known], kind="stable")]
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)))
    return corrected
