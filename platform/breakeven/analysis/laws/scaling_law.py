"""Scaling laws: test error(n) = a + b n^-c of each cell family (task x pretraining x strategy), n events per class.

Fits, their intervals, and when a fit is refused. Extrapolates nothing: that is forecast.py's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
import pandas as pd
from scipy import stats

from breakeven.analysis import frame as ledger_frame
from breakeven.analysis.columns import columns
from breakeven.analysis.laws.power_law import PowerLaw, fit_power_law
from breakeven.analysis.resampling import SizeMeans, draws, interval, size_means

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

    means: of the logarithms of what was measured.  law: the one fit, [1], None where refused.  drawn: fits of the
    resampled means, [resamples], None where refused or where no uncertainty is known (one seed).  misfit: p-value of
    the fit's residuals, NaN where no uncertainty is known.  refusal, note: "" where there is nothing to say.
    """

    means: SizeMeans
    law: PowerLaw | None
    drawn: PowerLaw | None
    misfit: float
    refusal: Refusal | None
    note: str

    @property
    def largest(self) -> int:
        """Largest size that was measured, 0 where there is none."""
        return int(self.means.sizes[-1]) if len(self.means.sizes) else 0

    def at(self, size: float) -> float:
        """The law at `size`, never below zero; NaN where refused."""
        return max(0.0, float(self.law.at(size)[0, 0])) if self.law is not None else math.nan

    def drawn_at(self, sizes: float | np.ndarray) -> np.ndarray:
        """The resampled laws at `sizes`, [resamples, n_sizes], never below zero; no rows where there are none."""
        if self.drawn is None:
            return np.empty((0, np.size(sizes)))
        return self.drawn.at(sizes).clip(min=0.0)


def fit_laws(frame: pd.DataFrame, *, resamples: int = 1000) -> dict[Family, Law]:
    """The law of each family in the ledger frame, from the test errors (fractions) of its confirming trials."""
    confirmed = ledger_frame.confirmed(frame)
    return {
        family: fit_error_law(rows["size"].to_numpy(), 1.0 - rows["test_accuracy"].to_numpy(), family, resamples)
        for family, rows in ledger_frame.families_of(confirmed).items()
    }


def fit_error_law(
    sizes: Sequence[float] | np.ndarray, errors: Sequence[float] | np.ndarray, name: object, resamples: int = 1000
) -> Law:
    """The law of test errors (fractions, [n]) at sizes [n]. Refused, with the reason, below five sizes, where the error
    does not fall beyond its uncertainty, and where a fifth of the resampled fits end at a bound of the exponent.
    """
    found = fit_growth(sizes, errors, name, ERROR_EXPONENTS, resamples)
    if found.law is None:
        return found
    if not _falls(found.means):
        return refused(found.means, Refusal.NOT_FALLING, "the error does not fall with size beyond its uncertainty")
    at_bound = float((found.drawn or found.law).at_bound.mean())
    if at_bound > _MOST_AT_BOUND:
        return refused(
            found.means,
            Refusal.NOT_IDENTIFIED,
            f"the exponent is not identified: {100 * at_bound:.0f} % of the fits end at a bound of "
            f"{ERROR_EXPONENTS[0]:g} to {ERROR_EXPONENTS[1]:g}",
        )
    floor = interval(found.drawn.a, 0.9) if found.drawn is not None else (math.nan, math.nan)
    if floor[1] < 0:
        return replace(found, note=ledger_frame.notes(found.note, "falls faster than a power law with a floor can"))
    if floor[0] < 0:
        return replace(found, note=ledger_frame.notes(found.note, "the floor a is not distinguishable from 0"))
    return found


def fit_growth(
    sizes: Sequence[float] | np.ndarray,
    values: Sequence[float] | np.ndarray,
    name: object,
    exponents: tuple[float, float],
    resamples: int,
) -> Law:
    """a + b n^-c of positive `values` [n] at `sizes` [n], with only the number of sizes checked.

    Where the residuals are larger than the seeds' spread allows (p < .05) the law misses something, and the errors of
    the means are scaled up by the root of chi2 per degree of freedom, as the Particle Data Group does.
    """
    value = np.asarray(values, dtype=float)
    means = size_means(sizes, np.log(np.where(value > 0, value, np.nan)))
    zeros = int((value <= 0).sum())
    left_out = f"{zeros} of {len(value)} values are zero and left out: the law is one of logarithms" if zeros else ""
    if len(means.sizes) < LEAST_SIZES:
        return refused(
            means,
            Refusal.TOO_FEW_SIZES,
            f"{len(means.sizes)} size{'s' if len(means.sizes) != 1 else ''}: a law needs {LEAST_SIZES}",
        )
    known = bool(np.isfinite(means.error).all()) and float(means.error.min()) > 0.0
    errors = means.error if known else np.ones(len(means.sizes))
    law = fit_power_law(means.sizes, means.mean[None, :], errors, exponents)
    if not known:
        why = "n=1: no uncertainty" if means.n.max() < 2 else "no spread between seeds: no uncertainty"
        return Law(means, law, None, math.nan, None, ledger_frame.notes(left_out, why))
    freedom = len(means.sizes) - 3
    scatter = 2.0 * float(law.loss[0]) / freedom
    misfit = float(stats.f.sf(scatter, freedom, means.freedom.sum()))
    note = ""
    if misfit < _MISFIT:
        means = replace(means, error=means.error * math.sqrt(max(scatter, 1.0)))
        note = f"the law misses the means by more than the seeds' spread (p = {misfit:.2g}): intervals are widened"
    drawn = fit_power_law(means.sizes, draws(means, resamples, name), means.error, exponents)
    return Law(means, law, drawn, misfit, None, ledger_frame.notes(left_out, note))


def refused(means: SizeMeans, refusal: Refusal, why: str) -> Law:
    """No law, and why."""
    return Law(means, None, None, math.nan, refusal, why)


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


def law_table(laws: Mapping[Family, Law], *, level: float = 0.9) -> pd.DataFrame:
    """One row a family. Columns: LAW_COLUMNS.

    a is the error with endless data, b and c say how fast the rest falls (n events per class, errors as fractions).
    a may be a little below zero where it is not known to be above: see power_law.
    """
    rows = []
    for family, found in laws.items():
        row: dict[str, object] = {
            **dict(zip(ledger_frame.CELL[:3], family, strict=True)), "n_sizes": len(found.means.sizes),
            "smallest": int(found.means.sizes[0]) if len(found.means.sizes) else 0, "largest": found.largest,
            "n": found.means.n_text if len(found.means.sizes) else "0", "misfit": found.misfit,
            "refusal": found.refusal or "", "note": found.note, "text": f"no law: {found.note}",
        }  # fmt: skip
        for name in ("a", "b", "c"):
            row[name] = float(getattr(found.law, name)[0]) if found.law is not None else math.nan
            low, high = interval(getattr(found.drawn, name), level) if found.drawn is not None else (math.nan, math.nan)
            row |= {f"{name}_low": float(low), f"{name}_high": float(high)}
        if found.law is not None:
            row["text"] = f"error = {row['a']:.3g} + {row['b']:.3g} n^-{row['c']:.2g}"
        rows.append(row)
    return pd.DataFrame(rows, columns=list(LAW_COLUMNS))


def law_curves(laws: Mapping[Family, Law], *, level: float = 0.9, beyond: float = 10.0) -> pd.DataFrame:
    """Each law drawn out: task, pretraining, strategy, size, accuracy, low, high (percent), forecast (bool).

    40 sizes from the smallest measured to `beyond` times the largest; forecast marks those above the largest.
    """
    rows = []
    for family, found in laws.items():
        if found.law is None:
            continue
        sizes = np.geomspace(found.means.sizes[0], beyond * found.largest, 40)
        error = np.maximum(found.law.at(sizes)[0], 0.0)
        low, high = interval(found.drawn_at(sizes), level) if found.drawn is not None else (math.nan, math.nan)
        curve = {"size": sizes, "accuracy": 100 * (1 - error), "low": 100 * (1 - high), "high": 100 * (1 - low)}
        about = dict(zip(ledger_frame.CELL[:3], family, strict=True))
        rows.append(pd.DataFrame({**about, **curve, "forecast": sizes > found.largest * (1 + 1e-9)}))
    names = [*ledger_frame.CELL, "accuracy", "low", "high", "forecast"]
    return pd.concat(rows, ignore_index=True) if rows else pd.DataFrame(columns=names)


def _falls(means: SizeMeans) -> bool:
    """Whether the error falls from the smallest to the largest size, beyond its uncertainty where that is known."""
    fall = float(means.mean[0] - means.mean[-1])
    if np.isnan(means.error).any():
        return fall > 0
    quantile = float(stats.t.isf(0.5 - _FALL_LEVEL / 2, min(means.freedom[0], means.freedom[-1])))
    return fall > quantile * math.hypot(means.error[0], means.error[-1])
