"""Covariances through shared test events, against definitions that compare every pair of events, and against resampling."""

import math

import numpy as np
import pytest
from ledger_builder import no_copies
from sklearn.metrics import roc_curve

from breakeven.analysis.event_scores import NONE, SharedEvents, shared_events
from breakeven.metric import METRICS
from breakeven.training.metrics import area_of_ranks

ACCURACY, AUC, REJECTION = (METRICS[name] for name in ("accuracy", "auc", "rejection_70"))


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(5)


def made(
    random, trials: int = 3, signal: int = 60, background: int = 45, digits: int = 1
) -> list[dict[str, np.ndarray]]:
    """Scores of trials that agree in part on the same events, some of them equal, in half precision."""
    common = {"signal": random.normal(0.8, 1.0, signal), "background": random.normal(-0.6, 1.0, background)}
    return [
        {name: np.round(0.8 * one + random.normal(0.0, 0.6, len(one)), digits).astype(np.float16) for name, one in common.items()}
        for _ in range(trials)
    ]  # fmt: skip


def accuracy_of(scores) -> float:
    return float(np.concatenate([scores["signal"] >= 0, scores["background"] < 0]).mean())


def area_of(scores) -> float:
    truth = np.repeat([True, False], [len(one) for one in scores.values()])
    return area_of_ranks(np.concatenate(list(scores.values())).astype(float), truth)


def rejection_of(scores) -> float:
    truth = np.repeat([1, 0], [len(one) for one in scores.values()])
    passing, kept, _ = roc_curve(truth, np.concatenate(list(scores.values())).astype(float), drop_intermediate=False)
    return float(1.0 / passing[np.argmax(kept >= 0.7 - 1e-12)])


def shared(ledger, every, size: int = 100, known=None, copies=no_copies, **fields) -> tuple[SharedEvents, list[str]]:
    records = []
    for seed, scores in enumerate(every, start=1):
        events = sum(map(len, scores.values()))
        about = {
            "scores": f"hash {seed}",
            "scored_events": "e",
            "test_events": events,
            "test_rejection_70": 5.0,
        } | fields
        row = ledger.trial("WH_vs_ZH", "scratch", size, seed, accuracy_of(scores), **about)
        records.append(row["record"])
    kept = {**(known or {}), **dict(zip(records, every, strict=True))}
    return shared_events(ledger.frame(), lambda record, digest: kept[record], copies), records


def test_the_variance_of_an_accuracy_is_that_of_counts(ledger, random) -> None:
    every = made(random)
    found, records = shared(ledger, every)
    for scores, record in zip(every, records, strict=True):
        right = [(scores["signal"] >= 0).mean(), (scores["background"] < 0).mean()]
        n = [60, 45]
        expected = sum((m / 105) ** 2 * p * (1 - p) / (m - 1) for m, p in zip(n, right, strict=True))
        assert found.test_sample(ACCURACY, [record]).shared == pytest.approx(expected, rel=1e-5)


def test_the_variance_of_an_area_is_delongs_over_all_pairs_of_events(ledger, random) -> None:
    every = made(random, trials=2)
    found, records = shared(ledger, every)

    def pairs(scores) -> np.ndarray:
        one, other = scores["signal"][:, None].astype(float), scores["background"][None, :].astype(float)
        return (one > other) + 0.5 * (one == other)

    def covariance(a: np.ndarray, b: np.ndarray) -> float:
        by_signal = np.cov(a.mean(axis=1), b.mean(axis=1))[0, 1] / a.shape[0]
        return by_signal + np.cov(a.mean(axis=0), b.mean(axis=0))[0, 1] / a.shape[1]

    first, second = map(pairs, every)
    assert first.mean() == pytest.approx(area_of(every[0]))
    assert found.test_sample(AUC, records[:1]).shared == pytest.approx(covariance(first, first), rel=1e-5)
    assert found.test_sample(AUC, records).shared == pytest.approx(covariance(first, second), rel=1e-4)
    difference = covariance(first, first) - 2 * covariance(first, second) + covariance(second, second)
    assert found.test_sample(AUC, records[:1], records[1:]).shared == pytest.approx(difference, rel=1e-4)


@pytest.mark.parametrize(("metric", "figure"), [(ACCURACY, accuracy_of), (AUC, area_of), (REJECTION, rejection_of)])
def test_variances_are_those_of_other_test_samples(ledger, random, metric, figure) -> None:
    """The scatter of the figure, and of a gain, when the events of each class are drawn anew."""
    every = made(random, trials=2, signal=1500, background=1200, digits=5)
    found, records = shared(ledger, every)
    drawn = []
    for _ in range(400):
        rows = {name: random.integers(0, len(one), len(one)) for name, one in every[0].items()}
        drawn.append([figure({name: scores[name][rows[name]] for name in rows}) for scores in every])
    alone, both = np.array(drawn)[:, 0], np.array(drawn) @ [1, -1]
    # Of a variance from 400 draws, 7 %; of the slope of a curve from 150 events, 8 %.
    tolerance = 0.25 if metric == REJECTION else 0.2
    assert found.test_sample(metric, records[:1]).shared == pytest.approx(alone.var(ddof=1), rel=tolerance)
    assert found.test_sample(metric, records[:1], records[1:]).shared == pytest.approx(both.var(ddof=1), rel=tolerance)
    if metric == REJECTION:
        values = [figure(scores) for scores in every]
        logarithm = np.log(np.array(drawn)) @ [1, -1]
        part = found.test_sample(metric, records[:1], records[1:], values).shared
        assert part == pytest.approx(logarithm.var(ddof=1), rel=tolerance)


def test_seeds_that_err_apart_share_nothing_and_those_that_err_alike_share_all(ledger, random) -> None:
    same = made(random, trials=1, signal=900, background=900) * 3
    found, records = shared(ledger, same)
    assert found.test_sample(ACCURACY, records).shared == pytest.approx(found.test_sample(ACCURACY, records[:1]).shared)
    apart = [made(random, trials=1, signal=900, background=900)[0] for _ in range(20)]
    found, records = shared(ledger, apart, size=200)
    assert found.test_sample(ACCURACY, records).shared < 0.1 * found.test_sample(ACCURACY, records[:1]).shared


def test_what_seeds_do_not_share_of_the_sample_makes_them_scatter(ledger, random) -> None:
    every = made(random, trials=3, signal=900, background=900)
    found, records = shared(ledger, every)
    alone = [found.test_sample(AUC, [record]).shared for record in records]
    sample = found.test_sample(AUC, records)
    assert sample.own == pytest.approx(np.mean(alone) - sample.shared) and sample.own > 0
    pairs = [found.test_sample(AUC, records[:1], records[k : k + 1]).shared for k in (1, 2)]
    between = found.test_sample(AUC, records[1:2], records[2:]).shared
    assert 2 * sample.own == pytest.approx(np.mean([*pairs, between]), rel=1e-4), (
        "half the variance of two seeds' difference"
    )
    same, others = shared(ledger, every[:1] * 3, size=200)
    assert same.test_sample(AUC, others).own == pytest.approx(0.0, abs=1e-9)
    assert math.isnan(found.test_sample(AUC, records[:1]).own), "one seed tells no scatter"


def test_scores_of_a_part_stand_for_the_whole(ledger, random) -> None:
    every = made(random)
    whole, records = shared(ledger, every)
    part, more = shared(ledger, every, test_events=1050, size=200)
    for metric in (ACCURACY, AUC):
        assert part.test_sample(metric, more).shared == pytest.approx(whole.test_sample(metric, records).shared / 10)


def test_only_trials_of_the_same_events_are_held_together(ledger, random) -> None:
    every = made(random)
    first, records = shared(ledger, every)
    both, others = shared(ledger, every, scored_events="other", known=dict(zip(records, every, strict=True)))
    assert math.isnan(both.test_sample(ACCURACY, records, others).shared)
    assert both.test_sample(ACCURACY, records).shared == pytest.approx(first.test_sample(ACCURACY, records).shared)
    assert math.isnan(NONE.test_sample(ACCURACY, records).shared) and math.isnan(
        first.test_sample(ACCURACY, ["nobody"]).shared
    )
    assert math.isnan(first.test_sample(METRICS["significance_improvement"], records).shared)
    assert first.test_sample(ACCURACY, [*records, "nobody"]).shared == first.test_sample(ACCURACY, records).shared


def test_what_cannot_be_read_is_told_and_left_out(ledger, random) -> None:
    every = made(random)
    _, records = shared(ledger, every)

    def read(record: str, digest: str):
        if record == records[0]:
            raise ValueError(f"{record} cannot be read")
        return every[records.index(record)]

    found = shared_events(ledger.frame(), read, no_copies)
    assert found.unreadable == {records[0]: f"{records[0]} cannot be read"}
    assert set(found.place) == set(records[1:]) and math.isnan(found.test_sample(ACCURACY, records[:1]).shared)
    assert found.test_sample(ACCURACY, records).shared == found.test_sample(ACCURACY, records[1:]).shared


@pytest.mark.parametrize(("metric", "figure"), [(ACCURACY, accuracy_of), (AUC, area_of), (REJECTION, rejection_of)])
def test_events_of_one_hard_event_are_drawn_together(ledger, random, metric, figure) -> None:
    """The scatter of the figure where hard events are drawn, and all of their copies with them."""
    n = {"signal": 700, "background": 500}
    owner = {name: np.sort(random.integers(0, many, 2 * many)) for name, many in n.items()}
    every = []
    for hard in made(random, trials=2, signal=n["signal"], background=n["background"], digits=5):
        copies = {name: hard[name][owner[name]] + 0.4 * random.normal(size=len(owner[name])) for name in n}
        every.append({name: one.astype(np.float16) for name, one in copies.items()})
    mixed = {name: random.permutation(len(one)) for name, one in owner.items()}
    every = [{name: scores[name][mixed[name]] for name in n} for scores in every]
    owner = {name: one[mixed[name]] for name, one in owner.items()}
    together, records = shared(ledger, every, copies=lambda *_: list(owner.values()))
    apart, others = shared(ledger, every, size=200)
    members = {name: [np.flatnonzero(one == event) for event in np.unique(one)] for name, one in owner.items()}
    drawn = []
    for _ in range(400):
        rows = {
            name: np.concatenate([of_event[k] for k in random.integers(0, len(of_event), len(of_event))])
            for name, of_event in members.items()
        }
        drawn.append([figure({name: scores[name][rows[name]] for name in rows}) for scores in every])
    alone, both = np.array(drawn)[:, 0], np.array(drawn) @ [1, -1]
    tolerance = 0.25 if metric == REJECTION else 0.2
    assert together.test_sample(metric, records[:1]).shared == pytest.approx(alone.var(ddof=1), rel=tolerance)
    assert together.test_sample(metric, records[:1], records[1:]).shared == pytest.approx(
        both.var(ddof=1), rel=tolerance
    )
    assert together.test_sample(metric, records[:1]).shared > 1.3 * apart.test_sample(metric, others[:1]).shared


def test_where_hard_events_are_not_known_all_are_independent_and_it_is_told(ledger, random) -> None:
    def lost(record: str, n_kept):
        raise ValueError("no such dataset")

    every = made(random)
    known, records = shared(ledger, every)
    found, others = shared(ledger, every, size=200, copies=lost)
    assert found.test_sample(AUC, others).shared == pytest.approx(known.test_sample(AUC, records).shared)
    assert found.unknown == dict.fromkeys(others, "no such dataset") and not known.unknown
