"""How many times fewer events finetuning needs to be as accurate as training from scratch.

The size at which scratch reaches the finetuned accuracy is read off its measured accuracies, interpolated against the
logarithm of the size. Never extrapolates: beyond the sizes measured it says so, and forecast.catch_up is the place.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from scipy.interpolate import PchipInterpolator

from breakeven.analysis import frame as ledger_frame
from breakeven.analysis.columns import columns
from breakeven.analysis.resampling import SizeMeans, draws, interval, size_means

_GRID = 256


FACTOR_COLUMNS = columns("""
    task pretraining strategy size
    factor: matched_size / size; inf: more accurate than scratch at its largest size, 0: less than at its smallest
    low high
    matched_size: events per class at which scratch is as accurate
    accuracy: test accuracy to match, percent
    n: seeds of the treatment
    n_scratch: seeds of scratch at a size
    smallest largest text note
""")


def factors(frame: pd.DataFrame, *, level: float = 0.9, resamples: int = 1000) -> pd.DataFrame:
    """The data-efficiency factor of each treatment at each size, from test accuracies of confirming trials.

    A factor of 3 means that scratch needs three times the events, below 1 that finetuning is the worse choice. Where it
    is infinite or 0 the text names the bound that is known. The interval resamples all means of both strategies (see
    resampling.py), as if their seeds were independent. Columns: FACTOR_COLUMNS.
    """
    confirmed = ledger_frame.confirmed(frame)
    families = ledger_frame.families_of(confirmed)
    scratch = {
        task: (means := _means(rows), draws(means, resamples, (task, "scratch")))
        for (task, _, strategy), rows in families.items()
        if strategy == "scratch" and rows["test_accuracy"].notna().any()
    }
    rows = []
    for (task, pretraining, strategy), trials in families.items():
        if strategy == "scratch" or trials["test_accuracy"].isna().all():
            continue
        treated = _means(trials)
        drawn = draws(treated, resamples, (task, pretraining, strategy))
        for place, size in enumerate(treated.sizes):
            about = {"task": task, "pretraining": pretraining, "strategy": strategy, "size": int(size)}
            about |= {"accuracy": 100 * treated.mean[place], "n": int(treated.n[place])}
            if task not in scratch:
                rows.append({**about, "text": "no figure", "note": "the task has no training from scratch"})
                continue
            baseline, baseline_drawn = scratch[task]
            found = matched_sizes(baseline.sizes, baseline.mean[None, :], treated.mean[place : place + 1])[0] / size
            known = not (np.isnan(baseline.error).any() or np.isnan(treated.error).any())
            low, high = math.nan, math.nan
            if known:
                matched = matched_sizes(baseline.sizes, baseline_drawn, drawn[:, place])
                low, high = (float(end) / size for end in interval(matched, level))
            limits = baseline.sizes[0] / size, baseline.sizes[-1] / size
            rows.append(
                {
                    **about, "factor": found, "low": low, "high": high, "matched_size": found * size,
                    "n_scratch": baseline.n_text, "smallest": int(baseline.sizes[0]),
                    "largest": int(baseline.sizes[-1]), "text": _text(found, low, high, limits, level),
                    "note": ledger_frame.notes(_beyond(found), "" if known else "n=1: no uncertainty"),
                }
            )  # fmt: skip
    return pd.DataFrame(rows, columns=list(FACTOR_COLUMNS))


def matched_sizes(sizes: np.ndarray, accuracies: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The size at which each curve, accuracies [n_curves, n_sizes] at sizes [n_sizes], reaches wanted [n_curves].

    Accuracies that fall with size are first averaged with their neighbours until none does (isotonic regression),
    then interpolated against log(size) by monotone cubics. 0 below what the smallest size gives, infinite above the
    largest's.
    """
    rising = isotonic(accuracies)
    x = np.log(sizes)
    if len(sizes) == 1:
        return np.where(wanted > rising[:, 0], math.inf, np.where(wanted < rising[:, 0], 0.0, sizes[0]))
    grid = np.linspace(x[0], x[-1], _GRID)
    curve = PchipInterpolator(x, rising, axis=1)(grid)
    above = np.clip((curve < wanted[:, None]).sum(axis=1), 1, _GRID - 1)
    row = np.arange(len(wanted))
    low, high = curve[row, above - 1], curve[row, above]
    share = np.divide(wanted - low, high - low, out=np.zeros_like(low), where=high > low)
    found = np.exp(grid[above - 1] + np.clip(share, 0.0, 1.0) * (grid[above] - grid[above - 1]))
    return np.where(wanted > rising[:, -1], math.inf, np.where(wanted < rising[:, 0], 0.0, found))


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


def _means(trials: pd.DataFrame) -> SizeMeans:
    return size_means(trials["size"].to_numpy(), trials["test_accuracy"].to_numpy(dtype=float))


def _beyond(factor: float) -> str:
    if math.isinf(factor):
        return "beyond the range: more accurate than scratch at its largest size"
    return "beyond the range: less accurate than scratch at its smallest size" if factor == 0.0 else ""


def _text(factor: float, low: float, high: float, limits: tuple[float, float], level: float) -> str:
    """`3.1 (90 %: 2.0 to more than 10)`."""

    def name(value: float) -> str:
        if math.isinf(value):
            return f"more than {limits[1]:.2g}"
        return f"less than {limits[0]:.2g}" if value == 0.0 else f"{value:.2g}"

    if math.isnan(low):
        return f"{name(factor)} (no uncertainty)"
    return f"{name(factor)} ({100 * level:.0f} %: {name(low)} to {name(high)})"
