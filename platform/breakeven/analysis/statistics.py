"""Means with their uncertainties: the one place that decides what is printed after a plus-minus.

One value alone has no uncertainty: it is written `n=1`, never `0.0`. Never knows what is being averaged.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from scipy import special

LEVEL = 0.9
"""Of every interval; what readers are shown says 90 %."""
# Percentages and their differences are exact to about 1e-14: a smaller spread is the arithmetic's, not the seeds'.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Estimate:
    """A mean over `n` repetitions; `sd` and the interval are NaN where n < 2.

    sd: sample standard deviation of the repetitions (n - 1), the uncertainty that arXiv 2412.10665 prints.
    low, high: Student-t interval of the mean at the level it was made with.
    """

    mean: float
    sd: float
    n: int
    low: float
    high: float

    def figures(self, name: str) -> dict[str, float]:
        """The columns of a table that has it under this name: `name`, `name_sd`, `name_low`, `name_high`."""
        return {name: self.mean, f"{name}_sd": self.sd, f"{name}_low": self.low, f"{name}_high": self.high}

    def exponential(self) -> "Estimate":
        """Of a mean of logarithms that of what they are of, the geometric one; sd in its unit."""
        mean = math.exp(self.mean)
        return Estimate(mean, mean * self.sd, self.n, math.exp(self.low), math.exp(self.high))

    def text(self, *, digits: int = 1, sign: bool = False) -> str:
        """`84.8 ± 1.1 (n=3)`, `84.8 (n=1)`, or `missing` where nothing was averaged."""
        if self.n == 0:
            return "missing"
        number = f"{self.mean:{'+' if sign else ''}.{digits}f}"
        if self.n == 1:
            return f"{number} (n=1)"
        return f"{number} ± {format_uncertainty(self.sd, digits)} (n={self.n})"


def estimate(values: Iterable[float], *, level: float = LEVEL) -> Estimate:
    """Mean, sample standard deviation and Student-t interval of the finite values.

    Raises ValueError where `level` is not between 0 and 1.
    """
    if not 0.0 < level < 1.0:
        raise ValueError(f"level={level!r}: an interval's level lies between 0 and 1, for example 0.9")
    finite = np.asarray(list(values), dtype=float)
    finite = finite[np.isfinite(finite)]
    n = len(finite)
    mean = float(finite.mean()) if n else math.nan
    if n < 2:
        return Estimate(mean, math.nan, n, math.nan, math.nan)
    sd = float(finite.std(ddof=1))
    half_width = float(special.stdtrit(n - 1, 0.5 + level / 2)) * sd / math.sqrt(n)
    return Estimate(mean, sd, n, mean - half_width, mean + half_width)


def root_sum_of_squares(*uncertainties: float) -> float:
    """sqrt(sum u^2), as the errors of Table 1 of arXiv 2412.10665 are propagated; NaN if one is NaN."""
    return math.sqrt(sum(uncertainty**2 for uncertainty in uncertainties))


def format_uncertainty(uncertainty: float, digits: int) -> str:
    """At least `digits` decimals, and as many more as one significant figure needs: a spread is never `0.0`."""
    if not math.isfinite(uncertainty):
        return "?"
    if uncertainty < _ROUNDING:
        return "0"
    return f"{uncertainty:.{max(digits, -math.floor(math.log10(uncertainty)))}f}"


def interval_text(low: float, high: float, form: Callable[[float], str]) -> str:
    """` (90 %: 2.0 to 10)` with ends as `form` writes them, ` (no uncertainty)` where there is no interval."""
    if math.isnan(low):
        return " (no uncertainty)"
    return f" ({100 * LEVEL:.0f} %: {form(low)} to {form(high)})"
