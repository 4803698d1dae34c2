"""How alike the networks of two treatments are on the same test events: Table 3 of arXiv 2412.10665, layer by layer too.

From representations that trials have kept. The kernel is the one that reproduces the paper's Table 2, see similarity.py;
it never compares networks on different events.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
from scipy import stats

from breakeven.analysis import frame as ledger_frame
from breakeven.analysis import published, similarity

MOST_NETWORKS = 10
"""Networks of one treatment that are compared: those of the lowest seeds. More change the mean by less than its spread."""
FINAL = "decoder"
"""The layer of Table 3: what the head sees."""

VERSION = 1
"""Raised where the same representations would give other figures."""

Read = Callable[[str, str], Mapping[str, np.ndarray]]
"""From a record and the hash of its file to its layers, [n_events, width] each, first to last; raises ValueError."""

COLUMNS = [
    "task", "pretraining", "strategy", "size", "layer", "depth", "cka", "cka_sd", "low", "high", "unbiased", "unbiased_sd",
    "with_itself", "n", "n_baseline", "n_networks", "n_events", "published", "published_uncertainty", "note",
]  # fmt: skip
NONE = pd.DataFrame(columns=COLUMNS)
"""The similarities of a study that kept no representations."""


def similarities(frame: pd.DataFrame, read: Read) -> pd.DataFrame:
    """One row for each layer and treatment: its networks against those from scratch, on the same events.

    frame: ledger frame.  read: gives a trial's representations.

    Columns: task, pretraining, strategy, size; layer and its depth (0 first); cka (mean over the n pairs of different
    networks), cka_sd (over pairs, the paper's uncertainty), low and high (90 % interval over networks, see `_interval`; NaN
    where one side has a single network); unbiased, unbiased_sd (the same by the unbiased estimator: near 0 for networks
    that have nothing in common, where the other depends on the number of events); with_itself (scratch against scratch
    with each network's 1.0 against itself counted, as eq. 1 of the paper reads; NaN elsewhere); n_baseline, n_networks,
    n_events; published and published_uncertainty (Table 3, at 1e7 events per class, decoder only); note.
    """
    confirmed = ledger_frame.confirmed(frame)
    kept = confirmed[confirmed["representation"].notna() & (confirmed["representation"] != "")]
    rows = []
    for (task, size), trials in kept.groupby(["task", "size"], sort=False):
        same = trials["represented_events"].value_counts().idxmax()
        other = int((trials["represented_events"] != same).sum())
        networks, unreadable = _read_all(trials[trials["represented_events"] == same], read)
        note = ledger_frame.notes(
            f"{other} networks kept other events" if other else "",
            f"{len(unreadable)} cannot be read: {unreadable[0]}" if unreadable else "",
        )
        about = {"task": task, "size": size, "note": note}
        rows += [{**about, **row} for row in _of_task(networks)]
    found = pd.DataFrame(rows, columns=COLUMNS)
    for place, row in found[found["layer"] == FINAL].iterrows():
        of_task = confirmed[confirmed["task"] == row["task"]].iloc[0]
        printed = published.cka_value(of_task["signal"], of_task["background"], row["pretraining"])
        if printed is not None and row["strategy"] != "frozen":
            found.loc[place, ["published", "published_uncertainty"]] = printed
    return found


def _read_all(
    trials: pd.DataFrame, read: Read
) -> tuple[dict[tuple[str, str], list[Mapping[str, np.ndarray]]], list[str]]:
    """Representations of the networks of each treatment, by seed; and what is wrong with those that cannot be read."""
    found: dict[tuple[str, str], list[Mapping[str, np.ndarray]]] = {}
    unreadable = []
    for row in trials.sort_values(["pretraining", "strategy", "seed"]).to_dict("records"):
        networks = found.setdefault((row["pretraining"], row["strategy"]), [])
        if len(networks) == MOST_NETWORKS:
            continue
        try:
            networks.append(read(row["record"], row["representation"]))
        except ValueError as error:
            unreadable.append(str(error))
    return {treatment: networks for treatment, networks in found.items() if networks}, unreadable


def _of_task(networks: Mapping[tuple[str, str], list[Mapping[str, np.ndarray]]]) -> list[dict[str, object]]:
    baseline = ("none", "scratch")
    if baseline not in networks:
        return []
    treatments = [baseline, *(treatment for treatment in networks if treatment != baseline)]
    every = [one for treatment in treatments for one in networks[treatment]]
    ends = np.cumsum([len(networks[treatment]) for treatment in treatments])
    scratch = slice(0, ends[0])
    rows: list[dict[str, object]] = []
    for depth, layer in enumerate(every[0]):
        try:
            both = similarity.cka_matrices([one[layer] for one in every])
        except ValueError as error:
            rows += [_refused(treatment, layer, depth, str(error)) for treatment in treatments]
            continue
        for treatment, start, end in zip(treatments, [0, *ends[:-1]], ends, strict=True):
            biased, unbiased = (matrix[scratch, start:end] for matrix in both)
            rows.append(_row(treatment, layer, depth, biased, unbiased) | {"n_events": len(every[0][layer])})
    return rows


def _row(
    treatment: tuple[str, str], layer: str, depth: int, biased: np.ndarray, unbiased: np.ndarray
) -> dict[str, object]:
    """biased, unbiased: [networks from scratch, networks of the treatment]."""
    itself = treatment[1] == "scratch"
    different = np.triu_indices(len(biased), 1) if itself else np.indices(biased.shape).reshape(2, -1)
    pairs, honest = biased[tuple(different)], unbiased[tuple(different)]
    low, high = _interval(biased, itself)
    return {
        "pretraining": treatment[0], "strategy": treatment[1], "layer": layer, "depth": depth,
        "cka": _mean(pairs), "cka_sd": _sd(pairs), "low": low, "high": high,
        "unbiased": _mean(honest), "unbiased_sd": _sd(honest),
        "with_itself": float(biased.mean()) if itself else math.nan,
        "n": len(pairs), "n_baseline": biased.shape[0], "n_networks": biased.shape[1],
    }  # fmt: skip


def _refused(treatment: tuple[str, str], layer: str, depth: int, reason: str) -> dict[str, object]:
    about = {"pretraining": treatment[0], "strategy": treatment[1], "layer": layer, "depth": depth, "n": 0}
    return {**about, "note": f"no similarity: {reason}"}


def _interval(matrix: np.ndarray, itself: bool, level: float = 0.9) -> tuple[float, float]:
    """Of the mean over pairs for networks like these: pairs share networks, so networks are counted and not pairs.

    Two ensembles: the variance is that of the row means / rows + that of the column means / columns, a bound from above
    that counts the pairs' own scatter twice. One ensemble against itself: a U-statistic, 4 x the variance of the
    networks' means over all others / networks (Hoeffding 1948). Student's t with the smaller number of networks less one.
    """
    n = min(matrix.shape)
    if n < 2 or (itself and n < 3):
        return math.nan, math.nan
    if itself:
        of_network = (matrix.sum(axis=1) - np.diag(matrix)) / (n - 1)
        mean, variance = of_network.mean(), 4 * of_network.var(ddof=1) / n
    else:
        mean = matrix.mean()
        variance = sum(matrix.mean(axis=axis).var(ddof=1) / matrix.shape[1 - axis] for axis in (0, 1))
    half_width = float(stats.t.ppf(0.5 + level / 2, n - 1)) * math.sqrt(variance)
    return float(max(mean - half_width, -1.0)), float(min(mean + half_width, 1.0))


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else math.nan


def _sd(values: np.ndarray) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else math.nan
