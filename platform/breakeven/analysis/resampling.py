"""Repeated trainings at several sizes as means with standard errors, and random draws of what those means could be.

The one place that decides how the spread of three to five seeds becomes an interval. Never knows what was measured.

Drawing seeds with replacement gives intervals that are far too narrow here: of three seeds it sees two thirds of the
variance, and nothing of how badly three values know their own spread. In place of that, each mean is moved by its
standard error times a Student t variate, and the standard error takes part of its information from the other sizes
(moderated variance: Smyth, Stat. Appl. Genet. Mol. Biol. 3 (2004) 3), along the trend of the scatter with size, as
small samples often scatter more. Whatever is computed from the means is then computed from each draw, and its
quantiles are the interval.
"""

import math
from dataclasses import dataclass
from zlib import crc32

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from breakeven.analysis.statistics import LEVEL

# Degrees of freedom that the pooled variance is worth beside a size's own.
_PRIOR = 4.0


@dataclass(frozen=True)
class SizeMeans:
    """Means at increasing sizes, all [n_sizes].

    error: standard error of the mean.  freedom: degrees of freedom of that.  spread: standard deviation of one value.
    error and spread are NaN where no size has two values: then nothing is known of uncertainty.
    """

    sizes: np.ndarray
    mean: np.ndarray
    error: np.ndarray
    n: np.ndarray
    freedom: np.ndarray
    spread: np.ndarray

    @property
    def n_text(self) -> str:
        """`5`, or `3 to 5` where sizes differ."""
        least, most = int(self.n.min()), int(self.n.max())
        return f"{least}" if least == most else f"{least} to {most}"


def size_means(sizes: ArrayLike, values: ArrayLike) -> SizeMeans:
    """Means of `values` at each of `sizes`, both [n]; values that are not finite do not count."""
    value, at = np.asarray(values, dtype=float), np.asarray(sizes, dtype=float)
    value, at = value[np.isfinite(value)], at[np.isfinite(value)]
    each, position = np.unique(at, return_inverse=True)
    n = np.bincount(position, minlength=len(each))
    mean = np.bincount(position, value, len(each)) / np.maximum(n, 1)
    squares = np.bincount(position, (value - mean[position]) ** 2, len(each))
    own = n - 1
    # The pool knows no more than all values together.
    prior = min(_PRIOR, float(own.sum()))
    freedom = own + prior
    variance = (prior * _trend(each, squares, own) + squares) / np.where(freedom > 0, freedom, math.nan)
    return SizeMeans(each, mean, np.sqrt(variance / np.maximum(n, 1)), n, freedom, np.sqrt(variance))


def _trend(sizes: np.ndarray, squares: np.ndarray, freedom: np.ndarray) -> np.ndarray:
    """Variance of one value at each size, as all sizes together tell it: level times a power of the size, [n_sizes].

    squares, freedom: sums of squared deviations and their degrees of freedom. The power is shrunk towards 0 by what of
    it may be chance, since three seeds tell a variance to a factor of three. NaN where no size has two values.
    """
    if not freedom.sum():
        return np.full(len(sizes), math.nan)
    pooled = float(squares.sum() / freedom.sum())
    known = (freedom > 0) & (squares > 1e-9 * squares.sum())
    if known.sum() < 3:
        return np.full(len(sizes), pooled)
    d, x = freedom[known], np.log(sizes[known])
    # The logarithm of a variance of d degrees of freedom has this mean and variance about that of the truth.
    y = np.log(squares[known] / d) - special.digamma(d / 2) + np.log(d / 2)
    weight = 1.0 / special.polygamma(1, d / 2)
    centre = float(weight @ x / weight.sum())
    information = float(weight @ (x - centre) ** 2)
    slope = float(weight @ ((x - centre) * y)) / information
    slope *= max(0.0, 1.0 - 1.0 / max(slope**2 * information, 1e-12))
    shape: np.ndarray = (sizes / np.exp(centre)) ** slope
    return shape * float((squares / shape).sum() / freedom.sum())


def draws(means: SizeMeans, resamples: int, name: object) -> np.ndarray:
    """[resamples, n_sizes] of what the means could be; the means themselves in every row where no error is known.

    name: what is drawn for; the same name gives the same draws, another name independent ones.
    """
    if np.isnan(means.error).any():
        return np.tile(means.mean, (resamples, 1))
    variates = generator(name).standard_t(means.freedom, size=(resamples, len(means.mean)))
    return means.mean + means.error * variates


def generator(name: object) -> np.random.Generator:
    """A random generator that belongs to a name, so that tables do not depend on their order."""
    return np.random.default_rng(crc32(repr(name).encode()))


def interval(drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Central interval at LEVEL over the first axis, NaN where nothing was drawn; infinite draws stay infinite, and no
    interpolation makes a NaN of them.
    """
    if not len(drawn):
        return np.full(drawn.shape[1:], math.nan), np.full(drawn.shape[1:], math.nan)
    tail = 0.5 - LEVEL / 2
    return np.quantile(drawn, tail, axis=0, method="lower"), np.quantile(drawn, 1 - tail, axis=0, method="higher")
