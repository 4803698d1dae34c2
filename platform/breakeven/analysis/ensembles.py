"""How alike the networks of two treatments are on the same test events: Table 3 of arXiv 2412.10665, layer by layer too.

From representations that trials have kept; networks that say the same of every event, as seeds of a frozen backbone do,
are one network. The kernel is the one that reproduces the paper's Table 2, see similarity.py;
it never compares networks on different events.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
from scipy import special

from breakeven.analysis import frame as ledger_frame
from breakeven.analysis import published, similarity
from breakeven.analysis.columns import columns
from breakeven.analysis.statistics import LEVEL, estimate

MOST_NETWORKS = 10
"""Networks of one treatment that are compared: those of the lowest seeds. More change the mean by less than its spread."""
FINAL = "decoder"
"""The layer of Table 3: what the head sees."""

VERSION = 3
"""Raised where the same representations would give other figures."""

Read = Callable[[str, str], Mapping[str, np.ndarray]]
"""From a record and the hash of its file to its layers, [n_events, width] each, first to last; raises ValueError."""

Treatment = tuple[str, str]
"""Pretraining and strategy."""
Networks = dict[Treatment, dict[str, Mapping[str, np.ndarray]]]
"""The layers of each network by record, of each treatment."""
_BASELINE: Treatment = ("none", "scratch")

COLUMNS = columns("""
    task pretraining strategy size
    layer: layer of the network, first to last
    depth: number of the layer, 0 first
    cka cka_sd: centred kernel alignment with networks from scratch, mean over pairs of different networks
    low: lower end of the 90 % interval for networks like these
    high: upper end of the 90 % interval for networks like these
    unbiased unbiased_sd: the same by the unbiased estimator, near 0 for networks that share nothing
    with_itself: scratch against scratch with each network against itself counted, as eq. 1 of the paper reads
    n: pairs of networks
    n_baseline: networks from scratch
    n_networks: networks of the treatment
    n_events: test events of both classes
    n_unreadable: networks of this task and size that have kept their layers where they cannot be read
    published published_uncertainty note
""")
NONE = pd.DataFrame(columns=list(COLUMNS))
"""The similarities of a study that kept no representations."""


def similarities(frame: pd.DataFrame, read: Read) -> pd.DataFrame:
    """One row for each layer and treatment: its networks against those from scratch, on the same events.

    frame: ledger frame.  read: gives a trial's representations.

    Columns: COLUMNS. Intervals are over networks, see `_interval`, NaN where one side has a single one; with other networks
    than the n_unreadable there would be other figures; published is Table 3, of the decoder alone.
    A treatment that is left without a figure, as where nothing from scratch can be read, has a row without one and a note.
    """
    confirmed = ledger_frame.confirmed(frame)
    kept = confirmed[confirmed["representation"].notna() & (confirmed["representation"] != "")]
    rows = []
    for (task, size), trials in kept.groupby(["task", "size"], sort=False):
        same = trials["represented_events"].value_counts().idxmax()
        other = int((trials["represented_events"] != same).sum())
        networks, repeats, unreadable = _read_all(trials[trials["represented_events"] == same], read)
        note = ledger_frame.notes(
            f"{other} networks kept other events" if other else "",
            f"{len(unreadable)} cannot be read: {unreadable[0]}" if unreadable else "",
        )
        about = {"task": task, "size": size, "n_unreadable": len(unreadable)}
        for figures in _of_task(networks):
            more = repeats.get((str(figures["pretraining"]), str(figures["strategy"])), "")
            rows.append({**about, **figures, "note": ledger_frame.notes(note, more, str(figures.get("note", "")))})
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    for place, row in table[table["layer"] == FINAL].iterrows():
        of_task = confirmed[confirmed["task"] == row["task"]].iloc[0]
        printed = published.cka_value(of_task["signal"], of_task["background"], row["pretraining"])
        if printed is not None and row["strategy"] != "frozen":
            table.loc[place, ["published", "published_uncertainty"]] = printed
    return table


def _read_all(trials: pd.DataFrame, read: Read) -> tuple[Networks, dict[Treatment, str], list[str]]:
    """The different networks of each treatment, by seed; a note where some are alike; what is wrong with those unreadable.

    A treatment none of which can be read is there without networks.
    """
    layers: Networks = {}
    seeds: dict[Treatment, Counter[str]] = {}
    unreadable = []
    for row in trials.sort_values(["pretraining", "strategy", "seed"]).to_dict("records"):
        treatment = (row["pretraining"], row["strategy"])
        networks, with_hash = layers.setdefault(treatment, {}), seeds.setdefault(treatment, Counter())
        if row["representation"] not in with_hash:
            if len(networks) == MOST_NETWORKS:
                continue
            try:
                networks[row["record"]] = read(row["record"], row["representation"])
            except ValueError as error:
                unreadable.append(str(error))
                continue
        with_hash[row["representation"]] += 1
    alike = {treatment: sum(n for n in with_hash.values() if n > 1) for treatment, with_hash in seeds.items()}
    repeats = {treatment: f"{n} seeds have the same layers: counted once" for treatment, n in alike.items() if n}
    return layers, repeats, unreadable


def _of_task(networks: Networks) -> list[dict[str, object]]:
    if _BASELINE not in networks:
        return []
    treatments = [_BASELINE, *(treatment for treatment in networks if treatment != _BASELINE)]
    if not networks[_BASELINE]:
        return [_refused(treatment, FINAL, math.nan, "no network from scratch can be read") for treatment in treatments]
    rows: list[dict[str, object]] = []
    for depth, layer in enumerate(next(iter(networks[_BASELINE].values()))):
        of_layer = {
            treatment: {name: each[layer] for name, each in networks[treatment].items()} for treatment in treatments
        }
        rows += _of_layer(of_layer, layer, depth)
    return rows


def _of_layer(
    of_layer: Mapping[Treatment, Mapping[str, np.ndarray]], layer: str, depth: int
) -> list[dict[str, object]]:
    """of_layer: what a layer of each network says, [n_events, width], by treatment and record, scratch first.

    A network that has no similarity even to itself, such as a constant one, is left out.
    """
    if not of_layer[_BASELINE]:
        return [_refused(treatment, layer, depth, "no network from scratch is left") for treatment in of_layer]
    every = [one for networks in of_layer.values() for one in networks.values()]
    try:
        both = similarity.cka_matrices(every)
    except ValueError as error:
        odd = {treatment: _odd(networks) for treatment, networks in of_layer.items()}
        if not any(odd.values()):
            return [_refused(treatment, layer, depth, f"no similarity: {error}") for treatment in of_layer]
        left = {
            treatment: {record: one for record, one in networks.items() if record not in odd[treatment]}
            for treatment, networks in of_layer.items()
        }
        why = {treatment: list((odd[_BASELINE] | odd[treatment]).values()) for treatment in odd}
        return [
            {**row, "note": ledger_frame.notes(str(row.get("note", "")), *why[treatment])}
            for treatment, row in zip(of_layer, _of_layer(left, layer, depth), strict=True)
        ]
    ends = np.cumsum([len(networks) for networks in of_layer.values()])
    scratch = slice(0, ends[0])
    rows: list[dict[str, object]] = []
    for treatment, start, end in zip(of_layer, [0, *ends[:-1]], ends, strict=True):
        if start == end:
            rows.append(_refused(treatment, layer, depth, "no network is left"))
            continue
        biased, unbiased = (matrix[scratch, start:end] for matrix in both)
        rows.append(_row(treatment, layer, depth, biased, unbiased) | {"n_events": len(every[0])})
    return rows


def _odd(networks: Mapping[str, np.ndarray]) -> dict[str, str]:
    """Those that cannot be compared with themselves, by record: why."""
    reasons = {}
    for record, one in networks.items():
        try:
            similarity.cka_matrices([one])
        except ValueError as error:
            reasons[record] = f"{record} left out: {str(error).removeprefix('representation 0 ')}"
    return reasons


def _row(treatment: Treatment, layer: str, depth: int, biased: np.ndarray, unbiased: np.ndarray) -> dict[str, object]:
    """biased, unbiased: [networks from scratch, networks of the treatment]."""
    itself = treatment[1] == "scratch"
    different = np.triu_indices(len(biased), 1) if itself else np.indices(biased.shape).reshape(2, -1)
    cka, other = (estimate(matrix[tuple(different)]) for matrix in (biased, unbiased))
    low, high = _interval(biased, itself)
    return {
        "pretraining": treatment[0], "strategy": treatment[1], "layer": layer, "depth": depth,
        "cka": cka.mean, "cka_sd": cka.sd, "low": low, "high": high, "unbiased": other.mean, "unbiased_sd": other.sd,
        "with_itself": float(biased.mean()) if itself and len(biased) > 1 else math.nan,
        "n": cka.n, "n_baseline": biased.shape[0], "n_networks": biased.shape[1],
    }  # fmt: skip


def _refused(treatment: Treatment, layer: str, depth: float, reason: str) -> dict[str, object]:
    about = {"pretraining": treatment[0], "strategy": treatment[1], "layer": layer, "depth": depth, "n": 0}
    return {**about, "note": reason}


def _interval(matrix: np.ndarray, itself: bool) -> tuple[float, float]:
    """Of the mean over pairs for networks like these: pairs share networks, so networks are counted and not pairs.

    Two ensembles: the variance is that of the row means / rows + that of the column means / columns, a bound from above
    that counts the pairs' own scatter twice. One ensemble against itself: a U-statistic, with the variance of its
    jackknife, 4 (n - 1)^2 / (n (n - 2)^2) x the variance of the n networks' means over all others (Arvesen 1969). Student's
    t with the smaller number of networks less one. matrix: of the biased estimator, which lies between 0 and 1, as the ends do.
    """
    n = min(matrix.shape)
    if n < 2 or (itself and n < 3):
        return math.nan, math.nan
    if itself:
        of_network = (matrix.sum(axis=1) - np.diag(matrix)) / (n - 1)
        mean, variance = of_network.mean(), 4 * of_network.var(ddof=1) * (n - 1) ** 2 / (n * (n - 2) ** 2)
    else:
        mean = matrix.mean()
        variance = sum(matrix.mean(axis=axis).var(ddof=1) / matrix.shape[1 - axis] for axis in (0, 1))
    half_width = float(special.stdtrit(n - 1, 0.5 + LEVEL / 2)) * math.sqrt(variance)
    return float(max(mean - half_width, 0.0)), float(min(mean + half_width, 1.0))
