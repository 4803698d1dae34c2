"""How far two trials err together because they were evaluated on the same test events: from the scores that they kept.

Trials of one task share their test sample, so more seeds never make its own error smaller. A figure of merit is, to first
order, a mean over test events, and what an event adds to it is known from its score: whether it is classified right
(accuracy), which share of the other class it beats (AUC: DeLong et al., Biometrics 44 (1988) 837), whether it passes the
threshold (rejection, by the delta method). The covariance of two such means over the events of each class is that of the
two figures; events made of one hard event are one draw, so what they add is summed first (Liang and Zeger, Biometrika 73
(1986) 13). It never retrains, and it never looks at what the events are.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from breakeven.analysis import frame as ledger_frame
from breakeven.metric import METRICS, Metric

Read = Callable[[str, str], Mapping[str, np.ndarray]]
"""From a record and the hash of its file to its scores, logits of signal: [n] for "signal" and for "background"; raises
ValueError."""
Copies = Callable[[str, Sequence[int]], Sequence[np.ndarray]]
"""From a record and how many scores of signal and background it kept to the hard event of each, [n] and [n]; raises
ValueError."""
_LEVELS, _MIDDLE = 1 << 16, 1 << 15
"""Different numbers in half precision, and the one that stands for zero, when they are ordered."""
_NEAR = 0.05
"""Signal efficiency on both sides of a working point over which the slope of the ROC curve is taken there."""


@dataclass(frozen=True)
class SharedEvents:
    """Covariances of trials that were evaluated on the same events.

    place: of each record, which of `covariances` it stands in, and in which row.  covariances: by metric [n, n], in units of
    what is recorded, each over the trials of one size and test sample; NaN where a trial has no such figure.
    unreadable: why scores that were kept could not be read, by record.  unknown: why it is not known which test events were
    made of one hard event, so that all are taken as independent, by record.
    """

    place: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    covariances: Sequence[Mapping[str, np.ndarray]] = ()
    unreadable: Mapping[str, str] = field(default_factory=dict)
    unknown: Mapping[str, str] = field(default_factory=dict)

    def test_sample(
        self,
        metric: Metric,
        records: Sequence[str],
        others: Sequence[str] = (),
        divisors: Sequence[float] | np.ndarray = (),
    ) -> "TestSample":
        """What the test sample adds to the variance of a mean over trials, in squared units of what is recorded.

        records: trials [n].  others: where differences are meant, the trials that are taken away [n], each from the one at its
        place.  divisors: what the figures of `records`, then of `others`, are divided by first [n] or [2 n], as for logarithms.
        """
        arms = [records, others] if len(others) else [records]
        places = [[self.place.get(record) for record in arm] for arm in arms]
        groups = [group for group, _ in (one for arm in places for one in arm if one)]
        if not groups:
            return TestSample()
        group = max(set(groups), key=groups.count)
        among = [n for n, pair in enumerate(zip(*places, strict=True)) if all(one and one[0] == group for one in pair)]
        if not among or metric.name not in self.covariances[group]:
            return TestSample()
        rows = [place[n][1] for place in places for n in among]  # type: ignore[index]
        matrix = self.covariances[group][metric.name][np.ix_(rows, rows)]
        if len(divisors):
            scale = np.asarray(divisors, dtype=float).reshape(len(arms), -1)[:, among].ravel()
            matrix = matrix / np.outer(scale, scale)
        if len(arms) == 2:
            signs = np.hstack([np.eye(len(among)), -np.eye(len(among))])
            matrix = signs @ matrix @ signs.T
        known = np.isfinite(np.diag(matrix))
        matrix, n = matrix[np.ix_(known, known)], int(known.sum())
        if n < 2:
            return TestSample(float(matrix[0, 0])) if n else TestSample()
        shared = max(0.0, float(matrix.sum() - np.trace(matrix)) / (n * (n - 1)))
        return TestSample(shared, max(0.0, float(np.trace(matrix)) / n - shared))


@dataclass(frozen=True)
class TestSample:
    """Variances that one test sample adds to figures of several trials; NaN where no scores tell.

    shared: what it leaves in their mean however many there are, the mean covariance of different trials (Cov2 of Obuchowski
    and Rockette, Commun. Stat. Simul. Comput. 24 (1995) 285), not below 0; of a single trial its whole variance.
    own: by how much its events alone make the figures scatter from trial to trial, the rest of their mean variance: the
    truth about their scatter is no less, however alike three of them have come out.
    """

    __test__ = False  # pytest takes it for one

    shared: float = math.nan
    own: float = math.nan

    def __mul__(self, factor: float) -> "TestSample":
        return TestSample(factor * self.shared, factor * self.own)


NONE = SharedEvents()
"""Of trials that kept no scores."""


def shared_events(frame: pd.DataFrame, read: Read, copies: Copies) -> SharedEvents:
    """Covariances of the confirmed trials, of all metrics that an event's score tells of: accuracy, AUC and rejections.

    read: gives a trial's scores; it is called once for each trial. Where a trial kept the scores of a part of its test events,
    both classes are taken to share the whole as they share the part, and hard events to have as many copies there.
    copies: gives the hard events behind them; it is called once for each sample of test events.
    """
    confirmed = ledger_frame.confirmed(frame)
    kept = confirmed[confirmed["scores"].notna() & (confirmed["scores"] != "")]
    place: dict[str, tuple[int, int]] = {}
    covariances: list[Mapping[str, np.ndarray]] = []
    unreadable: dict[str, str] = {}
    unknown: dict[str, str] = {}
    behind: dict[object, tuple[Sequence[np.ndarray | None], str]] = {}
    for (events, _), trials in kept.groupby(["scored_events", "size"], sort=False):
        scores = []
        for record, digest in zip(trials["record"], trials["scores"], strict=True):
            try:
                of_trial = read(record, digest)
                scores.append([np.asarray(of_trial[name], dtype=np.float16) for name in ("signal", "background")])
            except (ValueError, KeyError) as error:
                unreadable[record] = str(error)
                continue
            place[record] = len(covariances), len(scores) - 1
        if scores:
            read_ones = trials[~trials["record"].isin(unreadable)]
            named = [name for name, metric in METRICS.items() if ledger_frame.measured(read_ones, metric).notna().any()]
            classes = [np.stack(of_class) for of_class in zip(*scores, strict=True)]
            if events not in behind:
                try:
                    counts = [of_class.shape[1] for of_class in classes]
                    behind[events] = copies(read_ones["record"].iloc[0], counts), ""
                except ValueError as error:
                    behind[events] = (None, None), str(error)
            hard_events, why = behind[events]
            unknown |= dict.fromkeys(read_ones["record"], why) if why else {}
            n_test = float(read_ones["test_events"].iloc[0])
            covariances.append(_covariances(classes, named, n_test, hard_events))
    return SharedEvents(place, covariances, unreadable, unknown)


def _covariances(
    scores: Sequence[np.ndarray], metrics: Iterable[str], n_test: float, hard_events: Sequence[np.ndarray | None]
) -> dict[str, np.ndarray]:
    """[n, n] by metric. scores: of signal and background [n, n_events].  n_test: test events of both together.
    hard_events: of the events of each [n_events]; None: none has a copy.
    """
    counts = [of_class.shape[1] for of_class in scores]
    draws = [_draws(of_class, n) for of_class, n in zip(hard_events, counts, strict=True)]
    if min(len(first) for _, first in draws) < 2:
        return {}
    # A record that does not say how many there were kept the scores of all.
    share = n_test / sum(counts) if math.isfinite(n_test) else 1.0
    trials = [(_ordered(one), _ordered(other)) for one, other in zip(*scores, strict=True)]
    covariances = {}
    for name in metrics:
        if (added := _added(name)) is None:
            continue
        matrix = np.zeros((len(trials), len(trials)))
        for values, n, (order, first) in zip(
            zip(*(added(*trial) for trial in trials), strict=True), counts, draws, strict=True
        ):
            centred = np.stack(values).astype(np.float32)
            centred -= centred.mean(axis=1, keepdims=True)
            if len(first) < n:
                centred = np.add.reduceat(centred[:, order], first, axis=1)
            matrix += (centred @ centred.T).astype(float) * (len(first) / ((len(first) - 1) * n**2 * share))
        covariances[name] = matrix
    return covariances


def _draws(hard_events: np.ndarray | None, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The order [n] in which the events of one hard event stand together, and where each hard event begins in it."""
    if hard_events is None:
        return np.arange(n), np.arange(n)
    order = np.argsort(hard_events, kind="stable")
    ordered = hard_events[order]
    return order, np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])[:n])


def _added(metric: str) -> Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]] | None:
    """What each event of a trial, signal and background by their ordered scores, adds to a metric; None where none can say."""
    if (efficiency := METRICS[metric].efficiency) is not None:
        return partial(_to_rejection, efficiency=efficiency)
    return {"accuracy": _to_accuracy, "auc": _to_area}.get(metric)


def threshold(ordered: np.ndarray, efficiency: float) -> Any:
    """The highest score that at least this share of the signal reaches, of its scores in ascending order [n]."""
    return ordered[max(0, math.floor(len(ordered) * (1.0 - efficiency) + 1e-9))]


def _ordered(scores: np.ndarray) -> np.ndarray:
    """Whole numbers [n] below _LEVELS that order scores in half precision as they are ordered, so that ranks are counts."""
    bits = (scores + np.float16(0.0)).view(np.uint16)  # minus zero is zero
    return np.where(bits & _MIDDLE, ~bits, bits | _MIDDLE)


def _to_accuracy(signal: np.ndarray, background: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whether each event is classified right, a class by its share of all events."""
    n = len(signal) + len(background)
    return (signal >= _MIDDLE) * (len(signal) / n), (background < _MIDDLE) * (len(background) / n)


def _to_area(signal: np.ndarray, background: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The share of the other class that each event is on the right side of, ties half: their mean is the AUC."""
    return _beaten(signal, background), 1.0 - _beaten(background, signal)


def _beaten(codes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The share of `others` below each of `codes`, and half of those that are equal."""
    counts = np.bincount(others, minlength=_LEVELS)
    below: np.ndarray = (np.cumsum(counts)[codes] - 0.5 * counts[codes]) / len(others)
    return below


def _to_rejection(signal: np.ndarray, background: np.ndarray, efficiency: float) -> tuple[np.ndarray, np.ndarray]:
    """What each event adds to 1 / background efficiency where the threshold keeps this share of the signal; NaN where no
    background passes.

    More signal above the threshold moves it up, by the slope of the ROC curve there.
    """
    ordered, against = np.sort(signal), np.sort(background)

    def passing(share: float) -> tuple[int, float]:
        cut = int(threshold(ordered, share))
        return cut, 1.0 - np.searchsorted(against, cut) / len(against)

    cut, passed = passing(efficiency)
    if passed == 0.0:
        return np.full(len(signal), math.nan), np.full(len(background), math.nan)
    slope = (passing(efficiency + _NEAR)[1] - passing(efficiency - _NEAR)[1]) / (2.0 * _NEAR)
    return slope * (signal >= cut) / passed**2, (background >= cut) / -(passed**2)
