"""The learning-rate ratio (backbone rate / head rate): its optimum, how sure that is, and what the published 0.1 loses.

From search trials alone, their validation losses: a quadratic in log10(ratio) for each group of cells, after the mean
of each cell and seed is taken out. Never looks at a test event or at a reported seed.

Intervals are Fieller's (Biometrika 27 (1935) 250) for the ratio -q1 / (2 q2) of two coefficients, not a bootstrap's: a
search has one to three seeds, too few to draw from, while the scatter about the curve is known from all its
trials. Where the curvature is not beyond its uncertainty that interval has no end, and the optimum is not identified.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from breakeven.analysis import frame as ledger_frame
from breakeven.analysis.columns import columns
from breakeven.analysis.resampling import generator

PUBLISHED = 0.1
"""arXiv 2412.10665, section III.4."""
BY_CELL = ("task", "pretraining", "size")
_DRAWS = 2000


@dataclass(frozen=True)
class Response:
    """loss = level + q1 x + q2 x^2, x = log10(ratio). coefficients: [q1, q2], covariance: [2, 2].

    covariance is NaN where freedom is 0. accuracy: [q1, q2] of the validation accuracy likewise. tried: least and
    largest x.
    """

    coefficients: np.ndarray
    covariance: np.ndarray
    freedom: int
    accuracy: np.ndarray
    tried: tuple[float, float]

    @property
    def vertex(self) -> float:
        """log10 of the optimum where the curve opens upwards, else NaN."""
        q1, q2 = self.coefficients
        return float(-q1 / (2 * q2)) if q2 > 0 else math.nan


OPTIMUM_COLUMNS = columns("""
    task pretraining size strategy
    ratio: best backbone learning rate / head learning rate within the range tried
    low high
    best_tried: ratio of the lowest mean validation loss
    loss_excess loss_excess_low loss_excess_high: validation loss at ratio 0.1 minus that at the optimum
    accuracy_lost: validation accuracy lost by ratio 0.1, by a quadratic through the accuracies, percentage points
    n_trials: finished search trials
    n_ratios: different ratios tried
    n_seeds: search seeds
    n_stopped
    n_failed: failed search trials
    text note
""")


def optima(frame: pd.DataFrame, *, by: Sequence[str] = BY_CELL, level: float = 0.9) -> pd.DataFrame:
    """The best ratio of each group of searched cells, and what the published one loses against it.

    by: columns that make a group; fewer than all three pool cells, for a search of few trials in each.
    Columns: OPTIMUM_COLUMNS, those of `by` among them; low and high are NaN where the interval lies wholly beyond the range
    tried. Stopped and failed trials are counted and have no loss.
    """
    rows = []
    for key, group in _groups(frame, by):
        finished = _finished(group)
        row = {
            **key, "best_tried": _best_tried(finished), "n_trials": len(finished),
            "n_ratios": finished["ratio"].nunique(), "n_seeds": finished["seed"].nunique(),
            "n_stopped": int((group["outcome"] == "stopped").sum()),
            "n_failed": int((group["outcome"] == "failed").sum()), "text": "no figure",
        }  # fmt: skip
        if row["n_ratios"] < 3:
            note = f"{row['n_ratios']} different ratios tried: an optimum needs three, or more cells pooled"
            rows.append({**row, "note": note})
            continue
        response = fit_response(finished)
        rows.append(row | _optimum(response, level) | _cost_of(response, PUBLISHED, level, key))
        stopped = f"{row['n_stopped']} stopped without a loss: far from the optimum the curve may be too flat"
        rows[-1]["note"] = ledger_frame.notes(
            rows[-1]["note"], rows[-1].pop("cost_note"), stopped if row["n_stopped"] else ""
        )
    return pd.DataFrame(rows, columns=[name for name in OPTIMUM_COLUMNS if name in by or name not in BY_CELL])


def responses(frame: pd.DataFrame) -> pd.DataFrame:
    """What was measured: one row for each searched cell and ratio.

    Columns: task, pretraining, strategy, size, ratio, loss, loss_sd, accuracy (validation, percent), n, n_stopped,
    n_failed.
    """
    searched = pd.concat([rows for _, rows in _groups(frame, BY_CELL)] or [ledger_frame.trials(frame)[:0]])
    finished = _finished(searched)
    by_ratio = finished.groupby([*ledger_frame.CELL, "ratio"], sort=False)
    found = by_ratio["validation_loss"].agg(["mean", "std", "size"]).set_axis(["loss", "loss_sd", "n"], axis=1)
    found["accuracy"] = 100 * by_ratio["validation_accuracy"].mean()
    cells = [searched[name] for name in (*ledger_frame.CELL, "ratio")]
    without = {f"n_{name}": searched["outcome"].eq(name).groupby(cells, sort=False).sum() for name in _WITHOUT}
    every = pd.DataFrame(without).join(found)
    return every.fillna({"n": 0}).astype({"n": int}).reset_index()[[*ledger_frame.CELL, *_RESPONSE]]


def response_curves(frame: pd.DataFrame, *, by: Sequence[str] = BY_CELL, level: float = 0.9) -> pd.DataFrame:
    """The fitted curves: those of `by`, strategy, ratio (33 over the range tried), excess, low, high.

    excess: loss above that of the fitted optimum; low, high: its interval at each ratio. Groups of two ratios have
    none.
    """
    rows = []
    for key, group in _groups(frame, by):
        finished = _finished(group)
        if finished["ratio"].nunique() < 3:
            continue
        response = fit_response(finished)
        x = np.linspace(*response.tried, 33)
        excess, low, high = _excess(response, x, level, key)
        rows.append(pd.DataFrame({**key, "ratio": 10**x, "excess": excess, "low": low, "high": high}))
    names = [*by, "strategy", "ratio", "excess", "low", "high"]
    return pd.concat(rows, ignore_index=True)[names] if rows else pd.DataFrame(columns=names)


def fit_response(trials: pd.DataFrame) -> Response:
    """The quadratic through search trials of at least three ratios, each cell and seed with a level of its own."""
    x = np.log10(trials["ratio"].to_numpy(dtype=float))
    groups = trials.groupby(["cell", "seed"]).ngroup().to_numpy()
    design = _centred(np.stack([x, x**2], axis=1), groups)
    outcomes = trials[["validation_loss", "validation_accuracy"]].to_numpy(dtype=float)
    loss = _centred(outcomes[:, :1], groups)[:, 0]
    inverse = np.linalg.pinv(design.T @ design)
    coefficients = inverse @ design.T @ loss
    freedom = len(x) - len(np.unique(groups)) - 2
    residual = float(((loss - design @ coefficients) ** 2).sum())
    covariance = inverse * residual / freedom if freedom > 0 else np.full((2, 2), math.nan)
    accuracy = inverse @ design.T @ _centred(outcomes[:, 1:], groups)[:, 0]
    return Response(coefficients, covariance, max(freedom, 0), accuracy, (float(x.min()), float(x.max())))


def fieller(response: Response, level: float) -> tuple[float, float]:
    """Interval of the vertex in log10(ratio); (-inf, inf) where the curvature is not beyond its uncertainty, else NaN
    where nothing is known of the scatter.
    """
    if response.freedom == 0:
        return math.nan, math.nan
    (q1, q2), v = response.coefficients, response.covariance
    t2 = float(stats.t.isf(0.5 - level / 2, response.freedom)) ** 2
    # All x with (q1 + 2 q2 x)^2 <= t^2 var(q1 + 2 q2 x): those where the slope may be zero.
    square, linear, constant = 4 * (q2**2 - t2 * v[1, 1]), 4 * (q1 * q2 - t2 * v[0, 1]), q1**2 - t2 * v[0, 0]
    if square <= 0 or q2 <= 0:
        return -math.inf, math.inf
    root = math.sqrt(max(linear**2 - 4 * square * constant, 0.0))
    return (-linear - root) / (2 * square), (-linear + root) / (2 * square)


_WITHOUT = ("stopped", "failed")
_RESPONSE = ["ratio", "loss", "loss_sd", "accuracy", "n", "n_stopped", "n_failed"]


def _groups(frame: pd.DataFrame, by: Sequence[str]) -> list[tuple[dict[str, Any], pd.DataFrame]]:
    searched = ledger_frame.trials(frame, phase="search")
    searched = searched[searched["ratio"] > 0]
    keys = [*by, "strategy"]
    if searched.empty:
        return []
    return [(dict(zip(keys, key, strict=True)), rows) for key, rows in searched.groupby(keys, sort=False)]


def _finished(group: pd.DataFrame) -> pd.DataFrame:
    finished = group[(group["outcome"] == "finished") & np.isfinite(group["validation_loss"].astype(float))]
    return finished.astype({"validation_loss": float, "validation_accuracy": float})


def _centred(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """values [n, k] without the mean of their group [n]."""
    counts = np.bincount(groups)
    means = np.stack([np.bincount(groups, column) / counts for column in values.T], axis=1)
    centred: np.ndarray = values - means[groups]
    return centred


def _best_tried(finished: pd.DataFrame) -> float:
    if finished.empty:
        return math.nan
    levels = finished.groupby("cell")["validation_loss"].transform("mean")
    mean = (finished["validation_loss"] - levels).groupby(finished["ratio"]).mean()
    return float(mean.index.to_numpy()[mean.to_numpy().argmin()])


def _within(x: float, tried: tuple[float, float]) -> float:
    return min(max(x, tried[0]), tried[1])


def _best(response: Response) -> float:
    """log10 of the best ratio within the range tried: the vertex, or the better end where the curve has none inside."""
    if not math.isnan(response.vertex):
        return _within(response.vertex, response.tried)
    return min(response.tried, key=lambda x: float(response.coefficients @ [x, x**2]))


def _optimum(response: Response, level: float) -> dict[str, Any]:
    best, ends = _best(response), fieller(response, level)
    low, high = (_within(end, response.tried) for end in ends)
    edges = tuple(f"{10**end:.2g}" for end in response.tried)
    open_ended = [math.isinf(end) for end in ends]
    note = ""
    if response.freedom == 0:
        note = "as many ratios as the curve has parameters: no uncertainty"
    elif all(open_ended):
        note = f"not identified: the losses do not bend beyond their scatter; anything from {edges[0]} to {edges[1]}"
    elif not response.tried[0] < response.vertex < response.tried[1]:
        note = f"at an end of the range tried ({edges[0]} to {edges[1]}): the optimum may lie beyond"
    text = f"{10**best:.2g}"
    if ends[0] >= response.tried[1]:
        low, high, text = math.nan, math.nan, f"{edges[1]} or above"
    elif ends[1] <= response.tried[0]:
        low, high, text = math.nan, math.nan, f"{edges[0]} or below"
    elif response.freedom > 0:
        text += f" ({100 * level:.0f} %: {10**low:.2g} to {10**high:.2g})"
    return {"ratio": 10**best, "low": 10**low, "high": 10**high, "text": text, "note": note}


def _cost_of(response: Response, ratio: float, level: float, name: Mapping[str, Any]) -> dict[str, Any]:
    x, best = math.log10(ratio), _best(response)
    excess, low, high = (float(values[0]) for values in _excess(response, np.array([x]), level, name))
    outside = not response.tried[0] - 1e-9 <= x <= response.tried[1] + 1e-9
    return {
        "loss_excess": excess,
        "loss_excess_low": low,
        "loss_excess_high": high,
        "accuracy_lost": 100 * float(response.accuracy @ [best - x, best**2 - x**2]),
        "cost_note": f"{ratio:g} was outside the range tried: its cost is extrapolated" if outside else "",
    }


def _excess(
    response: Response, x: np.ndarray, level: float, name: Mapping[str, Any]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Loss at x [n] above the loss at the best ratio, with its interval: draws of the two coefficients."""
    best = _best(response)
    powers = np.stack([x - best, x**2 - best**2])
    excess = response.coefficients @ powers
    if response.freedom == 0:
        return excess, np.full(len(x), math.nan), np.full(len(x), math.nan)
    drawn = stats.multivariate_t.rvs(
        response.coefficients, response.covariance, df=response.freedom, size=_DRAWS, random_state=generator(name)
    )
    vertex = np.divide(-drawn[:, 0], 2 * drawn[:, 1], out=np.full(_DRAWS, math.nan), where=drawn[:, 1] > 0)
    ends = np.array(response.tried)
    at_ends = drawn @ np.stack([ends, ends**2])
    bests = np.where(np.isnan(vertex), ends[at_ends.argmin(axis=1)], np.clip(vertex, *ends))
    above = drawn @ np.stack([x, x**2]) - (drawn[:, 0] * bests + drawn[:, 1] * bests**2)[:, None]
    low, high = np.quantile(above, [0.5 - level / 2, 0.5 + level / 2], axis=0)
    return excess, low, high
