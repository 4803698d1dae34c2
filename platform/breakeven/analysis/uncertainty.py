"""The uncertainty of a mean over seeds, part by part: seeds, backbones, and the test sample that all of them share.

The parts are variances of the mean, each with its degrees of freedom; they are added, and Welch and Satterthwaite's degrees
of freedom make Student's t interval of the sum (B. L. Welch, Biometrika 34 (1947) 28). A part that the data cannot tell is
NaN and in no interval; whoever shows the figure says so. It knows neither ledgers nor events.
"""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import integrate, special

from breakeven.analysis.statistics import LEVEL, Estimate, estimate

PARTS = ("seed", "backbone", "test")
# Percentages and their differences are exact to about 1e-14: a smaller error is the arithmetic's.
_ROUNDING = 1e-9
_TAIL = 1e-13


@dataclass(frozen=True)
class Scatter:
    """What repetitions add to the variance of their mean.

    seed: by what differs from seed to seed, backbones among it where each seed has its own.  backbone: by those that several
    seeds share; NaN where there are none, or where each seed has its own.  freedom: degrees of freedom of their sum.
    """

    seed: float
    backbone: float
    freedom: float

    @property
    def total(self) -> float:
        """Variance of the mean over both."""
        return self.seed + (0.0 if math.isnan(self.backbone) else self.backbone)


@dataclass(frozen=True)
class Uncertain:
    """A mean with the standard errors that its interval is made of.

    mean: with the standard deviation over seeds, n, and the interval of all parts that are known; NaN ends for one seed.
    seed_se, backbone_se, test_se: of the parts, NaN where nothing is known of one.  p_value: two-sided, that the truth is 0;
    NaN where there is no interval or no scatter at all.
    """

    mean: Estimate
    seed_se: float
    backbone_se: float
    test_se: float
    p_value: float

    def figures(self, name: str) -> dict[str, float]:
        """The columns of a table that has it under this name: those of the mean, then `name_seed_se` ..."""
        return self.mean.figures(name) | {f"{name}_{part}_se": getattr(self, f"{part}_se") for part in PARTS}

    def exponential(self) -> "Uncertain":
        """Of a mean of logarithms that of what they are of, the geometric one, with errors in its unit."""
        mean = self.mean.exponential()
        seed, backbone, test = (mean.mean * error for error in (self.seed_se, self.backbone_se, self.test_se))
        return Uncertain(mean, seed, backbone, test, self.p_value)


def uncertain(
    values: Sequence[float] | np.ndarray,
    *,
    test: float = math.nan,
    test_scatter: float = math.nan,
    backbones: Sequence[Hashable] = (),
) -> Uncertain:
    """The mean of `values` [n], one a seed, with its interval at LEVEL and its parts; those that are not finite do not count.

    test: variance that the test sample leaves in the mean however many seeds there are, in the unit squared; NaN: unknown.
    test_scatter: variance by which its events alone make values scatter from seed to seed, in the unit squared: what three seeds
    scatter by is often less by chance, and their mean is no better known for it; NaN: unknown.
    backbones: which backbone each value stands on [n], "" for none; (): none does.
    """
    value = np.asarray(values, dtype=float)
    finite = np.isfinite(value)
    stands_on = [name for name, known in zip(backbones or [""] * len(value), finite, strict=True) if known]
    plain, parts = estimate(value[finite]), scatter(value[finite], stands_on)
    if plain.n and parts.seed < (least := test_scatter / plain.n):
        parts = replace(parts, seed=least)
    known_test = 0.0 if math.isnan(test) else test
    total = parts.total + known_test
    ends, p_value = (math.nan, math.nan), math.nan
    if not math.isnan(total):
        # The variance of a mean over thousands of test events is known as well as need be.
        freedom = parts.freedom * (total / parts.total) ** 2 if parts.total > 0.0 else math.inf
        half_width = float(special.stdtrit(freedom, 0.5 + LEVEL / 2)) * math.sqrt(total)
        ends = plain.mean - half_width, plain.mean + half_width
        if math.sqrt(total) > _ROUNDING:
            p_value = _two_sided(abs(plain.mean), parts, known_test)
    mean = Estimate(plain.mean, plain.sd, plain.n, *ends)
    return Uncertain(mean, math.sqrt(parts.seed), math.sqrt(parts.backbone), math.sqrt(test), p_value)


def _two_sided(distance: float, parts: Scatter, test: float) -> float:
    """Probability that chance alone takes a mean at least so far from the truth.

    Behrens and Fisher's: the repetitions' part is a Student's t of its own degrees of freedom, that of the test sample normal.
    Its size is at most what it says (G. K. Robinson, Ann. Statist. 4 (1976) 963), where Welch and Satterthwaite's degrees of
    freedom, made for the body of the distribution, make p-values of three repetitions up to a hundred times too small.
    """
    if parts.total == 0.0:
        return 2.0 * float(special.ndtr(-distance / math.sqrt(test)))
    half = parts.freedom / 2.0  # a t is a normal whose variance has that of chi-squared, over which this integrates
    first, last = (math.log(inverse(half, _TAIL)) for inverse in (special.gammaincinv, special.gammainccinv))
    log_x = np.linspace(first, last, 1001)
    density = np.exp(half * log_x - np.exp(log_x) - special.gammaln(half))
    beyond = 2.0 * special.ndtr(-distance / np.sqrt(parts.total * half * np.exp(-log_x) + test))
    return float(integrate.simpson(density * beyond, x=log_x))


def scatter(values: np.ndarray, backbones: Sequence[Hashable]) -> Scatter:
    """What seeds and backbones add to the variance of the mean.

    One-way random effects with unequal groups (Searle, Casella and McCulloch, Variance Components, 3.6): both mean squares,
    between and within backbones, give both variances; where the one of backbones comes out below 0 it is 0, and all values
    are one group. NaN below two values. Where all share one backbone, or each has its own, the groups say nothing and the
    spread is the seeds'.  values: one a seed [n].  backbones: which backbone each stands on [n].
    """
    n = len(values)
    if n < 2:
        return Scatter(math.nan, math.nan, math.nan)
    _, group = np.unique([str(name) for name in backbones], return_inverse=True)
    size = np.bincount(group)
    alone = float(values.var(ddof=1)) / n
    if not 1 < len(size) < n:
        return Scatter(alone, math.nan, n - 1.0)
    means = np.bincount(group, values) / size
    freedoms = len(size) - 1.0, n - float(len(size))
    between = float(size @ (means - values.mean()) ** 2) / freedoms[0]
    within = float(((values - means[group]) ** 2).sum()) / freedoms[1]
    of_backbones = (between - within) / ((n - float(size @ size) / n) / freedoms[0])
    if of_backbones <= 0.0:
        return Scatter(alone, 0.0, n - 1.0)
    backbone, seed = of_backbones * float(size @ size) / n**2, within / n
    # Both mean squares by how they enter the sum: it is they that are independent.
    weight = backbone / (between - within)
    terms = weight * between, (1.0 / n - weight) * within
    freedom = (backbone + seed) ** 2 / sum(term**2 / one for term, one in zip(terms, freedoms, strict=True))
    return Scatter(seed, backbone, freedom)


def binomial(share: float, n_events: float) -> float:
    """Variance of a share of `n_events` events, the most that a shared test sample can leave in it; NaN where either is."""
    return share * (1.0 - share) / n_events
