"""Scaling laws: test error(n) = a + b n^-c of each cell family (task x pretraining x strategy), n events per class.

The error is that of the figure of merit, see metric.py: 1 - accuracy. Fits, their intervals, and when a fit is refused.
Extrapolates nothing: that is forecast.py's.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from breakeven.analysis import frame as ledger_frame
from breakeven.analysis.columns import columns
from breakeven.analysis.laws.power_law import PowerLaw, fit_power_law
from breakeven.analysis.resampling import SizeMeans, draws, interval, size_means
from breakeven.metric import MERIT, Metric

__all__ = ["fit_laws", "law_table"]

LEAST_SIZES = 5
"""Three parameters and two sizes more, so that a law can also fail to fit."""
ERROR_EXPONENTS = (0.01, 2.0)
_MOST_AT_BOUND = 0.2
_MISFIT = 0.05
_FALL_LEVEL = 0.9

Family = tuple[str, str, str]
"""(task, pretraining, strategy)."""


class Refusal(StrEnum):
    """Why there is no law."""

    TOO_FEW_SIZES = "too few sizes"
    NOT_FALLING = "not falling"
    NOT_IDENTIFIED = "not identified"


@dataclass(frozen=True)
class Law:
    """A fitted law, or why there is none.

    means: of the logarithms of what was measured.  fit: the one fit, [1], None where refused.  drawn: fits of the
    resampled means, [resamples], None where refused or where no uncertainty is known (one seed).  misfit: p-value of
    the fit's residuals, NaN where no uncertainty is known.  refusal, note: "" where there is nothing to say.
    """

    means: SizeMeans
    fit: PowerLaw | None = None
    drawn: PowerLaw | None = None
    misfit: float = math.nan
    refusal: Refusal | None = None
    note: str = ""

    @property
    def largest(self) -> int:
        """Largest size that was measured, 0 where there is none."""
        return int(self.means.sizes[-1]) if len(self.means.sizes) else 0

    def at(self, size: float) -> float:
        """The law at `size`, never below zero; NaN where refused."""
        return max(0.0, float(self.fit.at(size)[0, 0])) if self.fit is not None else math.nan

    def drawn_at(self, sizes: float | np.ndarray) -> np.ndarray:
        """The resampled laws at `sizes`, [resamples, n_sizes], never below zero; no rows where there are none."""
        return self.drawn.at(sizes).clip(min=0.0) if self.drawn is not None else np.empty((0, np.size(sizes)))

    def parameter(self, name: str) -> tuple[float, float, float]:
        """a, b or c of the fit with its interval; NaN where there is none."""
        value = float(getattr(self.fit, name)[0]) if self.fit is not None else math.nan
        low, high = interval(getattr(self.drawn, name) if self.drawn is not None else np.empty(0))
        return value, float(low), float(high)


def fit_laws(frame: pd.DataFrame, *, merit: Metric = MERIT, resamples: int = 1000) -> dict[Family, Law]:
    """The law of the test errors of each family.

    Args:
        frame: the ledger frame.
        merit: the figure of merit.
        resamples: fits to resampled means, from which intervals are.

    Returns:
        Laws by (task, pretraining, strategy), refused ones among them.

    Raises:
        ValueError: a column of the ledger is missing.
    """
    families = ledger_frame.families_of(ledger_frame.confirmed(frame))
    return {
        family: fit_error_law(rows["size"], merit.error(ledger_frame.measured(rows, merit)), family, resamples)
        for family, rows in families.items()
    }


def fit_error_law(sizes: ArrayLike, errors: ArrayLike, name: object, resamples: int = 1000) -> Law:
    """The law of test errors [n] at sizes [n]. Refused, with the reason, below five sizes, where the error does not fall
    beyond its uncertainty, and where a fifth of the resampled fits end at a bound of the exponent.
    """
    law = fit_growth(sizes, errors, name, ERROR_EXPONENTS, resamples)
    if law.fit is None:
        return law
    if not _falls(law.means):
        return Law(
            law.means, refusal=Refusal.NOT_FALLING, note="the error does not fall with size beyond its uncertainty"
        )
    at_bound = float((law.drawn or law.fit).at_bound.mean())
    if at_bound > _MOST_AT_BOUND:
        least, most = ERROR_EXPONENTS
        why = f"{100 * at_bound:.0f} % of the fits end at a bound of {least:g} to {most:g}"
        return Law(law.means, refusal=Refusal.NOT_IDENTIFIED, note=f"the exponent is not identified: {why}")
    _, low, high = law.parameter("a")
    if high < 0:
        return replace(law, note=ledger_frame.notes(law.note, "falls faster than a power law with a floor can"))
    if low < 0:
        return replace(law, note=ledger_frame.notes(law.note, "the floor a is not distinguishable from 0"))
    return law


def fit_growth(
    sizes: ArrayLike, values: ArrayLike, name: object, exponents: tuple[float, float], resamples: int
) -> Law:
    """a + b n^-c of positive `values` [n] at `sizes` [n], with only the number of sizes checked.

    Where the residuals are larger than the seeds' spread allows (p < .05) the law misses something, and the errors of
    the means are scaled up by the root of chi2 per degree of freedom, as the Particle Data Group does.
    """
    value = np.asarray(values, dtype=float)
    means = size_means(sizes, np.log(np.where(value > 0, value, np.nan)))
    n_sizes, zeros = len(means.sizes), int((value <= 0).sum())
    left_out = f"{zeros} of {len(value)} values are zero and left out: the law is one of logarithms" if zeros else ""
    if n_sizes < LEAST_SIZES:
        return Law(means, refusal=Refusal.TOO_FEW_SIZES, note=f"{count_of_sizes(n_sizes)}: a law needs {LEAST_SIZES}")
    known = bool(np.isfinite(means.error).all()) and float(means.error.min()) > 0.0
    fit = fit_power_law(means.sizes, means.mean[None, :], means.error if known else np.ones(n_sizes), exponents)
    if not known:
        why = "n=1: no uncertainty" if means.n.max() < 2 else "no spread between seeds: no uncertainty"
        return Law(means, fit, note=ledger_frame.notes(left_out, why))
    scatter = 2.0 * float(fit.loss[0]) / (n_sizes - 3)
    misfit = float(stats.f.sf(scatter, n_sizes - 3, means.freedom.sum()))
    note = ""
    if misfit < _MISFIT:
        means = replace(means, error=means.error * math.sqrt(max(scatter, 1.0)))
        note = f"the law misses the means by more than the seeds' spread (p = {misfit:.2g}): intervals are widened"
    drawn = fit_power_law(means.sizes, draws(means, resamples, name), means.error, exponents)
    return Law(means, fit, drawn, misfit, note=ledger_frame.notes(left_out, note))


def count_of_sizes(n: int) -> str:
    """`1 size`, `4 sizes`."""
    return f"{n} size{'s' if n != 1 else ''}"


LAW_COLUMNS = columns("""
    task pretraining strategy
    n_sizes: sizes with a result
    smallest largest
    n: seeds at a size
    a a_low a_high: floor of the error law: the error (fraction) with endless data
    b b_low b_high: scale of the error law (fraction)
    c c_low c_high: exponent of the error law
    misfit: p-value of the fit's residuals
    refusal: why there is no law; empty: there is one
    text note
""")


def law_table(laws: Mapping[Family, Law]) -> pd.DataFrame:
    """The parameters of each law: a is the error with endless data, b and c say how fast the rest falls.

    Args:
        laws: from `fit_laws`.

    Returns:
        One row a family, columns as in LAW_COLUMNS; a may be a little below zero where it is not known to be above.
    """
    rows = []
    for family, law in laws.items():
        parameters = {name: law.parameter(name) for name in ("a", "b", "c")}
        a, b, c = (value for value, _, _ in parameters.values())
        measured = len(law.means.sizes) > 0
        rows.append(
            {
                **ledger_frame.named(family), "n_sizes": len(law.means.sizes),
                "smallest": int(law.means.sizes[0]) if measured else 0, "largest": law.largest,
                "n": law.means.n_text if measured else "0", "misfit": law.misfit,
                "refusal": law.refusal or "", "note": law.note,
                **{f"{name}{end}": value for name, values in parameters.items()
                   for end, value in zip(("", "_low", "_high"), values, strict=True)},
                "text": f"error = {a:.3g} + {b:.3g} n^-{c:.2g}" if law.fit is not None else f"no law: {law.note}",
            }
        )  # fmt: skip
    return pd.DataFrame(rows, columns=list(LAW_COLUMNS))


def law_curves(laws: Mapping[Family, Law], *, merit: Metric = MERIT) -> pd.DataFrame:
    """Each law drawn out: task, pretraining, strategy, size, figure of merit (by its name), low, high, forecast (bool).

    40 sizes from the smallest measured to ten times the largest; forecast marks those above the largest.
    """
    curves = []
    for family, law in laws.items():
        if law.fit is None:
            continue
        sizes = np.geomspace(law.means.sizes[0], 10.0 * law.largest, 40)
        value = merit.scale * merit.error(np.maximum(law.fit.at(sizes)[0], 0.0))
        low, high = merit.ends(*interval(law.drawn_at(sizes)))
        curve = {"size": sizes, merit.name: value, "low": low, "high": high}
        ahead = sizes > law.largest * (1 + 1e-9)
        curves.append(pd.DataFrame({**ledger_frame.named(family), **curve, "forecast": ahead}))
    names = [*ledger_frame.CELL, merit.name, "low", "high", "forecast"]
    return pd.concat(curves, ignore_index=True) if curves else pd.DataFrame(columns=names)


def _falls(means: SizeMeans) -> bool:
    """Whether the error falls from the smallest to the largest size, beyond its uncertainty where that is known."""
    fall = float(means.mean[0] - means.mean[-1])
    if np.isnan(means.error).any():
        return fall > 0
    quantile = float(stats.t.isf(0.5 - _FALL_LEVEL / 2, min(means.freedom[0], means.freedom[-1])))
    return fall > quantile * math.hypot(means.error[0], means.error[-1])
