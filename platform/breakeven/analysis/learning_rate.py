"""The learning-rate ratio (backbone rate / head rate; from scratch rate / published rate): its optimum, how sure that is, and
what the published one loses.

From search trials alone, their validation losses: a quadratic in log10(ratio) for each group of cells, after the mean
of each cell and seed is taken out. Never sees a test event or a reported seed.

Intervals are Fieller's (Biometrika 27 (1935) 250) for the ratio -q1 / (2 q2) of two coefficients, not a bootstrap's: a
search has one to three seeds, too few to draw from, while the scatter about the curve is known from all its
trials. Where the curvature is not beyond its uncertainty that interval has no end, and the optimum is not identified.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from breakeven.analysis import frame as ledger_frame
from breakeven.analysis.columns import columns
from breakeven.analysis.resampling import generator
from breakeven.analysis.statistics import LEVEL, interval_text
from breakeven.metric import MERIT, Metric

__all__ = ["optima"]

PUBLISHED = {"finetune": 0.1, "scratch": 1.0}
"""arXiv 2412.10665, section III.4; from scratch the ratio is to the published rate."""
BY_CELL = ("task", "pretraining", "size")
_DRAWS = 2000


@dataclass(frozen=True)
class Response:
    """loss = level + q1 x + q2 x^2, x = log10(ratio). coefficients: [q1, q2], covariance: [2, 2].

    covariance is NaN where freedom is 0. merit: [q1, q2] of the figure of merit on validation events likewise. tried: least
    and largest x.
    """

    coefficients: np.ndarray
    covariance: np.ndarray
    freedom: int
    merit: np.ndarray
    tried: tuple[float, float]

    @property
    def vertex(self) -> float:
        """log10 of the optimum where the curve opens upwards, else NaN."""
        q1, q2 = self.coefficients
        return float(-q1 / (2 * q2)) if q2 > 0 else math.nan

    @property
    def best(self) -> float:
        """log10 of the best ratio within the range tried: the vertex, or the better end where the curve has none inside."""
        if not math.isnan(self.vertex):
            return self.within(self.vertex)
        return min(self.tried, key=lambda x: float(self.coefficients @ [x, x**2]))

    def within(self, x: float) -> float:
        """x, or the end of the range tried beyond which it lies."""
        return min(max(x, self.tried[0]), self.tried[1])


def optimum_columns(merit: Metric = MERIT) -> dict[str, str]:
    """The columns of `optima`."""
    return columns(f"""
        task pretraining size strategy
        ratio: best backbone learning rate / head learning rate (from scratch: rate / published rate) within the range tried
        low high
        best_tried: ratio of the lowest mean validation loss
        loss_excess loss_excess_low loss_excess_high: validation loss at the published ratio minus that at the optimum
        {merit.name}_lost: validation {merit.title} lost by the published ratio, by a quadratic likewise, {merit.points}
        n_trials: finished search trials
        n_ratios: different ratios tried
        n_seeds: search seeds
        n_stopped
        n_failed: failed search trials
        text note
    """)


def optima(frame: pd.DataFrame, *, by: Sequence[str] = BY_CELL, merit: Metric = MERIT) -> pd.DataFrame:
    """The best ratio of each group of searched cells, and what the published one loses against it.

    Args:
        frame: the ledger frame.
        by: columns that make a group; fewer than all three pool cells, for a search of few trials in each.
        merit: the figure of merit whose loss is told.

    Returns:
        Columns as in `optimum_columns`, those of `by` among them; low and high are NaN where the interval lies wholly beyond
        the range tried. Stopped and failed trials are counted and have no loss.
    """
    rows = []
    for key, group in _groups(frame, by):
        finished = _finished(group)
        n_ratios, n_stopped = finished["ratio"].nunique(), int((group["outcome"] == "stopped").sum())
        row = {
            **key, "best_tried": _best_tried(finished), "n_trials": len(finished), "n_ratios": n_ratios,
            "n_seeds": finished["seed"].nunique(), "n_stopped": n_stopped,
            "n_failed": int((group["outcome"] == "failed").sum()), "text": "no figure",
            "note": f"{n_ratios} different ratios tried: an optimum needs three, or more cells pooled",
        }  # fmt: skip
        if n_ratios >= 3:
            response = fit_response(finished, merit)
            published = PUBLISHED.get(key["strategy"], math.nan)
            x, best, tried = math.log10(published), response.best, response.tried
            excess, low, high = (float(values[0]) for values in _excess(response, np.array([x]), key))
            outside = not tried[0] - 1e-9 <= x <= tried[1] + 1e-9
            lost = merit.sign * merit.scale * float(response.merit @ [best - x, best**2 - x**2])
            row |= _optimum(response) | {
                "loss_excess": excess, "loss_excess_low": low, "loss_excess_high": high, f"{merit.name}_lost": lost,
            }  # fmt: skip
            row["note"] = ledger_frame.notes(
                row["note"],
                f"{published:g} was outside the range tried: its cost is extrapolated" if outside else "",
                f"{n_stopped} stopped without a loss: far from the optimum the curve may be too flat"
                if n_stopped
                else "",
            )
        rows.append(row)
    names = [name for name in optimum_columns(merit) if name in by or name not in BY_CELL]
    return pd.DataFrame(rows, columns=names)


def responses(frame: pd.DataFrame, *, merit: Metric = MERIT) -> pd.DataFrame:
    """What was measured: one row for each searched cell and ratio.

    Columns: task, pretraining, strategy, size, ratio, loss, loss_sd, a column named after the figure of merit (on validation
    events, as it is shown), n, n_stopped, n_failed.
    """
    searched = pd.concat([rows for _, rows in _groups(frame, BY_CELL)] or [ledger_frame.trials(frame)[:0]])
    cell = [*ledger_frame.CELL, "ratio"]
    finished = _finished(searched).assign(merit=lambda rows: ledger_frame.measured(rows, merit, "validation"))
    of_ratio = finished.groupby(cell, sort=False)
    table = of_ratio["validation_loss"].agg(loss="mean", loss_sd="std", n="size")
    table[merit.name] = merit.scale * of_ratio["merit"].mean()
    without = searched.assign(
        **{f"n_{outcome}": searched["outcome"].eq(outcome) for outcome in ("stopped", "failed")}
    ).groupby(cell, sort=False)[["n_stopped", "n_failed"]].sum()  # fmt: skip
    every = without.join(table).fillna({"n": 0}).astype({"n": int}).reset_index()
    return every[[*cell, "loss", "loss_sd", merit.name, "n", "n_stopped", "n_failed"]]


def response_curves(frame: pd.DataFrame) -> pd.DataFrame:
    """The fitted curves: the columns of a cell, ratio (33 over the range tried), excess, low, high.

    excess: loss above that of the fitted optimum; low, high: its interval at each ratio. Groups of two ratios have none.
    """
    rows = []
    for key, group in _groups(frame, BY_CELL):
        finished = _finished(group)
        if finished["ratio"].nunique() < 3:
            continue
        response = fit_response(finished, MERIT)
        x = np.linspace(*response.tried, 33)
        excess, low, high = _excess(response, x, key)
        rows.append(pd.DataFrame({**key, "ratio": 10**x, "excess": excess, "low": low, "high": high}))
    names = [*BY_CELL, "strategy", "ratio", "excess", "low", "high"]
    return pd.concat(rows, ignore_index=True)[names] if rows else pd.DataFrame(columns=names)


def fit_response(trials: pd.DataFrame, merit: Metric) -> Response:
    """The quadratic through search trials of at least three ratios, each cell and seed with a level of its own."""
    x = np.log10(trials["ratio"].to_numpy(dtype=float))
    groups = trials.groupby(["cell", "seed"]).ngroup().to_numpy()
    design = _centred(np.stack([x, x**2], axis=1), groups)
    outcomes = np.stack([trials["validation_loss"], ledger_frame.measured(trials, merit, "validation")], axis=1).astype(
        float
    )
    loss, reached = _centred(outcomes, groups).T
    inverse = np.linalg.pinv(design.T @ design)
    coefficients = inverse @ design.T @ loss
    freedom = len(x) - len(np.unique(groups)) - 2
    residual = float(((loss - design @ coefficients) ** 2).sum())
    covariance = inverse * residual / freedom if freedom > 0 else np.full((2, 2), math.nan)
    tried = float(x.min()), float(x.max())
    return Response(coefficients, covariance, max(freedom, 0), inverse @ design.T @ reached, tried)


def fieller(response: Response) -> tuple[float, float]:
    """Interval of the vertex in log10(ratio); (-inf, inf) where the curvature is not beyond its uncertainty, else NaN
    where nothing is known of the scatter.
    """
    if response.freedom == 0:
        return math.nan, math.nan
    (q1, q2), v = response.coefficients, response.covariance
    t2 = float(stats.t.isf(0.5 - LEVEL / 2, response.freedom)) ** 2
    # All x with (q1 + 2 q2 x)^2 <= t^2 var(q1 + 2 q2 x): those where the slope may be zero.
    square, linear, constant = 4 * (q2**2 - t2 * v[1, 1]), 4 * (q1 * q2 - t2 * v[0, 1]), q1**2 - t2 * v[0, 0]
    if square <= 0 or q2 <= 0:
        return -math.inf, math.inf
    root = math.sqrt(max(linear**2 - 4 * square * constant, 0.0))
    return (-linear - root) / (2 * square), (-linear + root) / (2 * square)


def _groups(frame: pd.DataFrame, by: Sequence[str]) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    searched = ledger_frame.trials(frame, phase="search")
    keys = [*by, "strategy"]
    for key, rows in searched[searched["ratio"] > 0].groupby(keys, sort=False):
        yield dict(zip(keys, key, strict=True)), rows


def _finished(group: pd.DataFrame) -> pd.DataFrame:
    finished = group[(group["outcome"] == "finished") & np.isfinite(group["validation_loss"].astype(float))]
    return finished.astype({"validation_loss": float})


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


def _optimum(response: Response) -> dict[str, Any]:
    best, ends, tried = response.best, fieller(response), response.tried
    low, high = map(response.within, ends)
    edges = tuple(f"{10**end:.2g}" for end in tried)
    note, text = "", f"{10**best:.2g}"
    if response.freedom == 0:
        note = "as many ratios as the curve has parameters: no uncertainty"
    elif all(map(math.isinf, ends)):
        note = f"not identified: the losses do not bend beyond their scatter; anything from {edges[0]} to {edges[1]}"
    elif not tried[0] < response.vertex < tried[1]:
        note = f"at an end of the range tried ({edges[0]} to {edges[1]}): the optimum may lie beyond"
    if ends[0] >= tried[1]:
        low, high, text = math.nan, math.nan, f"{edges[1]} or above"
    elif ends[1] <= tried[0]:
        low, high, text = math.nan, math.nan, f"{edges[0]} or below"
    elif response.freedom > 0:
        text += interval_text(low, high, lambda end: f"{10**end:.2g}")
    return {"ratio": 10**best, "low": 10**low, "high": 10**high, "text": text, "note": note}


def _excess(response: Response, x: np.ndarray, name: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Loss at x [n] above the loss at the best ratio, with its interval: draws of the two coefficients."""
    best = response.best
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
    low, high = np.quantile(above, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2], axis=0)
    return excess, low, high
