"""The uncertainty of a break-even: over tasks, over the seeds of trials, over backbones. No draw here is random for up to
six tasks.

Over tasks: Student's t below five; from five to six the studentised bootstrap with every distinct resample enumerated
and weighted by how often it would be drawn (126 of five tasks, 462 of six), so that no seed of a generator is in an end;
above six that many are drawn, from a fixed seed. A drawn task brings all its seeds with it, which carries their variance
exactly once. Over backbones: Student's t over what each of them alone gives. Both are independent errors of one mean and
are joined by their distances in quadrature, each end for itself (method of variance estimates recovery: Zou and Donner,
Stat. Med. 27 (2008) 1693).
"""

import math
from collections.abc import Sequence
from functools import cache
from itertools import combinations_with_replacement

import numpy as np
import pandas as pd
from scipy import stats

from breakeven.analysis.statistics import LEVEL

Ends = tuple[float, float]

MOST_TASKS_ENUMERATED = 6
_LEAST_TASKS_BOOTSTRAPPED = 5
_DRAWN = 20_000


def saving_interval(savings: np.ndarray, *, level: float = LEVEL) -> Ends:
    """Interval of the mean saving over tasks and seeds, savings: [n_tasks] hours; NaN below two tasks.

    Studentised bootstrap (Davison and Hinkley, Bootstrap Methods, 5.2.1): times scatter by factors, so a few tasks far
    above the rest make the mean's error skewed, which plain percentiles and Student's t both miss. To draw seeds anew
    within drawn tasks would count their variance twice (the same, 3.8). Below five tasks there are too few resamples to
    tell a skewness: Student's t.
    """
    n = len(savings)
    if n < 2:
        return math.nan, math.nan
    mean, error, tail = float(savings.mean()), float(savings.std(ddof=1)) / math.sqrt(n), 0.5 - level / 2
    if n < _LEAST_TASKS_BOOTSTRAPPED:
        half_width = float(stats.t.isf(tail, n - 1)) * error
        return mean - half_width, mean + half_width
    chosen, weight = _resamples(n)
    drawn = savings[chosen]
    errors = drawn.std(axis=1, ddof=1) / math.sqrt(n)
    spread = errors > 1e-9 * error  # one task drawn n times has none
    if not spread.any():
        return mean, mean
    distances = (drawn[spread].mean(axis=1) - mean) / errors[spread]
    low, high = _weighted_quantiles(distances, weight[spread], tail)
    return mean - high * error, mean - low * error


def seeds_interval(saving: float, arms: Sequence[pd.DataFrame]) -> Ends:
    """Interval of the mean saving of exactly these tasks, whose seeds alone are random; NaN where a cell has one seed.

    arms: scratch and finetuning from breakeven.arm_hours. Every task counts the same and so does every size of a task;
    Student's t with Welch and Satterthwaite's degrees of freedom, since cells scatter differently.
    """
    parts = pd.concat(arms)
    if parts["variance"].isna().any():
        return math.nan, math.nan
    n_sizes = arms[0].groupby("task").size()
    weight = 1.0 / (len(n_sizes) * n_sizes.reindex(parts.index.get_level_values("task")).to_numpy())
    variances = weight**2 * parts["variance"].to_numpy()
    total = float(variances.sum())
    if total == 0.0:
        return saving, saving
    freedom = total**2 / float((variances**2 / (parts["n"].to_numpy() - 1)).sum())
    half_width = float(stats.t.isf(0.5 - LEVEL / 2, freedom)) * math.sqrt(total)
    return saving - half_width, saving + half_width


def backbones_half_width(gains: np.ndarray) -> float:
    """Half the width of Student's t interval of a mean over backbones, gains: [n_backbones]; 0 for one, of which nothing is
    known.
    """
    n = len(gains)
    if n < 2:
        return 0.0
    return float(stats.t.isf(0.5 - LEVEL / 2, n - 1)) * float(gains.std(ddof=1)) / math.sqrt(n)


def joined(value: float, ends: Ends, half_width: float) -> Ends:
    """`ends` about `value` with an independent error of that half width more."""
    low, high = ends
    return value - math.hypot(value - low, half_width), value + math.hypot(high - value, half_width)


def tasks_for_saving(pretraining: float, saving: float) -> float:
    """N* at one end of the saving's interval: monotone, so ends map to ends; no saving means never (inf)."""
    if math.isnan(saving):
        return math.nan
    return pretraining / saving if saving > 0.0 else math.inf


@cache
def _resamples(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Resamples of n tasks, [n_resamples, n] of their numbers, and how often each is drawn, [n_resamples], 1 in all."""
    if n > MOST_TASKS_ENUMERATED:
        return np.random.default_rng(0).integers(0, n, size=(_DRAWN, n)), np.full(_DRAWN, 1.0 / _DRAWN)
    chosen = np.array(list(combinations_with_replacement(range(n), n)))
    counts = (chosen[:, :, None] == np.arange(n)).sum(axis=1)
    ways = [math.factorial(n) / math.prod(map(math.factorial, row)) for row in counts.tolist()]
    return chosen, np.array(ways) / n**n


def _weighted_quantiles(values: np.ndarray, weight: np.ndarray, tail: float) -> Ends:
    """The values that cut off a share `tail` of the weight below and above, each the inner one that leaves no more outside."""
    order = np.argsort(values, kind="stable")
    below = np.cumsum(weight[order]) / weight.sum()
    low = int(np.searchsorted(below, tail - 1e-12))
    high = int(np.searchsorted(below, 1.0 - tail - 1e-12))
    return float(values[order[low]]), float(values[order[min(high, len(values) - 1)]])
