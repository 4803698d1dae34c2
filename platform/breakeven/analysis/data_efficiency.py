"""How many times fewer events finetuning needs to be as good as training from scratch, or as a frozen backbone.

The size at which that reference reaches the finetuned figure of merit is read off its measured ones, interpolated against
the logarithm of the size, rejections by their logarithms. Never extrapolates: beyond the sizes measured it says so, and
forecast.catch_up is the place.
"""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.interpolate import PchipInterpolator

from breakeven.analysis import frame as ledger_frame
from breakeven.analysis.accuracy import paired_test_error
from breakeven.analysis.columns import columns
from breakeven.analysis.event_scores import NONE, SharedEvents
from breakeven.analysis.resampling import draws, generator, interval, size_means
from breakeven.analysis.statistics import interval_text
from breakeven.metric import MERIT, Metric

__all__ = ["factors"]

_GRID = 256
_RESAMPLES = 1000


def factor_columns(merit: Metric = MERIT) -> dict[str, str]:
    """The columns of `factors`."""
    return columns(f"""
        task pretraining strategy size
        reference: strategy that it is compared with: scratch, or frozen, on the same backbones
        factor: matched_size / size; inf: better than the reference at its largest size, 0: worse than at its smallest
        low high
        matched_size: events per class at which the reference is as good
        {merit.name}: test {merit.title} to match, {merit.measure}
        n: seeds of the treatment
        n_reference: seeds of the reference at a size
        smallest largest text note
    """)


def factors(
    frame: pd.DataFrame, *, merit: Metric = MERIT, shared: SharedEvents = NONE, reference: str = "scratch"
) -> pd.DataFrame:
    """The data-efficiency factor of each treatment at each size, from test events of confirming trials.

    Args:
        frame: the ledger frame.
        merit: the figure of merit.
        shared: what the trials' scores tell of their test sample, whose error in the difference at a size is in the interval.
        reference: strategy to compare with. From scratch every treatment is; with "frozen" finetuning of the same pretraining.

    Returns:
        Columns as in `factor_columns`. A factor of 3 means that the reference needs three times the events, below 1 that the
        treatment is the worse choice. Where it is infinite or 0 the text names the bound that is known. Intervals
        resample all means of both strategies (see resampling.py), as if their seeds were independent.
    """
    confirmed = ledger_frame.confirmed(frame)
    of_cell, families = ledger_frame.cells_of(confirmed), {}
    for family, trials in ledger_frame.families_of(confirmed).items():
        values = merit.sign * merit.averaged(ledger_frame.measured(trials, merit))
        if values.notna().any():
            means = size_means(trials["size"], values)
            name = family if family[2] != "scratch" else (family[0], "scratch")
            families[family] = means, draws(means, _RESAMPLES, name)
    curves = {family: [rising(means.sizes, values) for values in (means.mean[None, :], drawn)]
              for family, (means, drawn) in families.items() if family[2] == reference}  # fmt: skip
    rows = []
    for family, (treated, drawn) in families.items():
        other = (family[0], "none" if reference == "scratch" else family[1], reference)
        alike = reference == "scratch" or (family[2] == "finetune" and other in curves)
        if family[2] == "scratch" or not alike:
            continue
        for place, size in enumerate(treated.sizes):
            row = {**ledger_frame.named(family), "size": int(size), "reference": reference, "n": int(treated.n[place]),
                   merit.name: merit.scale * merit.of_averaged(merit.sign * treated.mean[place])}  # fmt: skip
            if other not in curves:
                rows.append({**row, "text": "no figure", "note": "the task has no training from scratch"})
                continue
            there, (curve, drawn_curves) = families[other][0], curves[other]
            factor = matched_sizes(curve, treated.mean[place : place + 1])[0] / size
            known = not (np.isnan(there.error).any() or np.isnan(treated.error).any())
            own, others = (of_cell.get((*one, int(size)), confirmed[:0]) for one in (family, other))
            of_test = paired_test_error(own, others, merit, shared)
            of_sample = np.nan_to_num(of_test) * generator((*family, size)).standard_normal(_RESAMPLES)
            matched = matched_sizes(drawn_curves, drawn[:, place] + of_sample) if known else np.empty(0)
            low, high = (float(end) / size for end in interval(matched))
            limits = there.sizes[0] / size, there.sizes[-1] / size
            rows.append(
                {
                    **row, "factor": factor, "low": low, "high": high, "matched_size": factor * size,
                    "n_reference": there.n_text, "smallest": int(there.sizes[0]), "largest": int(there.sizes[-1]),
                    "text": _text(factor, low, high, limits),
                    "note": ledger_frame.notes(_beyond(factor, reference), "" if known else "n=1: no uncertainty"),
                }
            )  # fmt: skip
    return pd.DataFrame(rows, columns=list(factor_columns(merit)))


@dataclass(frozen=True)
class Rising:
    """Curves that never fall with size. reached: [n_curves, n_sizes] at `sizes` [n_sizes].

    grid: logarithms of sizes from the smallest to the largest, [_GRID].  between: the curves there, [n_curves, _GRID].
    """

    sizes: np.ndarray
    reached: np.ndarray
    grid: np.ndarray
    between: np.ndarray


def rising(sizes: np.ndarray, accuracies: np.ndarray) -> Rising:
    """The curves through accuracies [n_curves, n_sizes] at sizes [n_sizes].

    Accuracies that fall with size are first averaged with their neighbours until none does (isotonic regression),
    then interpolated against log(size) by monotone cubics.
    """
    reached, x = isotonic(accuracies), np.log(sizes)
    grid = np.linspace(x[0], x[-1], _GRID)
    between = PchipInterpolator(x, reached, axis=1)(grid) if len(sizes) > 1 else np.repeat(reached, _GRID, axis=1)
    return Rising(sizes, reached, grid, between)


def matched_sizes(curves: Rising, wanted: np.ndarray) -> np.ndarray:
    """The size at which each curve reaches wanted [n_curves]: 0 below what the smallest size gives, infinite above what the
    largest gives.
    """
    row, grid = np.arange(len(wanted)), curves.grid
    above = np.clip((curves.between < wanted[:, None]).sum(axis=1), 1, _GRID - 1)
    low, high = curves.between[row, above - 1], curves.between[row, above]
    share = np.divide(wanted - low, high - low, out=np.zeros_like(low), where=high > low)
    size = np.exp(grid[above - 1] + np.clip(share, 0.0, 1.0) * (grid[above] - grid[above - 1]))
    size = size.clip(curves.sizes[0], curves.sizes[-1])
    within = np.where(wanted < curves.reached[:, 0], 0.0, size)
    return np.where(wanted > curves.reached[:, -1], math.inf, within)


def isotonic(values: np.ndarray) -> np.ndarray:
    """The nearest rows that never fall, values: [n_rows, n]; all weights equal.

    Max-min formula: the largest over all starts up to here of the smallest mean from there to an end from here on
    (Robertson, Wright, Dykstra, Order Restricted Statistical Inference, 1.4).
    """
    n = values.shape[1]
    sums = np.concatenate([np.zeros((len(values), 1)), np.cumsum(values, axis=1)], axis=1)
    first, last = np.arange(n)[:, None], np.arange(n)[None, :]
    means = (sums[:, None, 1:] - sums[:, :-1, None]) / np.maximum(last - first + 1, 1)
    means = np.where(last >= first, means, np.inf)
    smallest = np.minimum.accumulate(means[:, :, ::-1], axis=2)[:, :, ::-1]
    allowed = np.where(first <= last, smallest, -np.inf)
    risen: np.ndarray = allowed.max(axis=1)
    return risen


def _beyond(factor: float, reference: str) -> str:
    if math.isinf(factor):
        return f"beyond the range: better than {reference} at its largest size"
    return f"beyond the range: worse than {reference} at its smallest size" if factor == 0.0 else ""


def _text(factor: float, low: float, high: float, limits: tuple[float, float]) -> str:
    """`3.1 (90 %: 2.0 to more than 10)`."""

    def write(value: float) -> str:
        if math.isinf(value):
            return f"more than {limits[1]:.2g}"
        return f"less than {limits[0]:.2g}" if value == 0.0 else f"{value:.2g}"

    return write(factor) + interval_text(low, high, write)
