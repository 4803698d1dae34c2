"""What passes a working point, by hand: events, their cross section, and against each process of the signal."""

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from breakeven.analysis.passing import WEIGHTED, interval_of_sum, of_processes, passing, rejections
from breakeven.analysis.rejection import working_points

SIGNAL = np.arange(10.0, 20.0)
"""90 % of it is at 11 and above, 70 % at 13, 50 % at 15."""


def behind(weights=None, processes=("a",), process=None):
    """Of ten signal events and as many background events as have weights."""

    def known(record, n_kept):
        signal = SimpleNamespace(processes=processes, process=np.zeros(10, int) if process is None else np.array(process),
                                 weight=np.ones(10))  # fmt: skip
        return signal, SimpleNamespace(processes=("b",), process=np.zeros(n_kept[1], int),
                                       weight=np.ones(n_kept[1]) if weights is None else np.array(weights))  # fmt: skip

    return known


def frame(ledger, every: list[np.ndarray], **metrics: float) -> tuple[pd.DataFrame, dict]:
    """Trials from scratch with these scores of background events."""
    kept = {}
    for seed, background in enumerate(every, start=1):
        about = {"scores": "hash", "scored_events": "e", "test_events": 10 + len(background)} | metrics
        row = ledger.trial("WH_vs_ZH", "scratch", 100, seed, 0.7, **about)
        kept[row["record"]] = {"signal": SIGNAL.astype(np.float16), "background": background.astype(np.float16)}
    return ledger.frame(), kept


def counted(ledger, every, known=None) -> pd.DataFrame:
    made, kept = frame(ledger, every)
    return passing(made, lambda record, digest: kept[record], known or behind())


def of(table: pd.DataFrame, metric: str = "rejection_90", process: str = "", weighting: str = "") -> dict:
    chosen = table[(table["metric"] == metric) & (table["process"] == process) & (table["weighting"] == weighting)]
    [row] = chosen.to_dict("records")
    return row


def test_events_that_pass_are_those_above_the_highest_threshold_that_keeps_the_signal(ledger) -> None:
    table = counted(ledger, [np.array([5.0, 11, 11, 12, 14, 16, 0, 0, 0, 0])])
    assert {name: of(table, name)["passed"] for name in ("rejection_50", "rejection_70", "rejection_90")} == {
        "rejection_50": 1, "rejection_70": 2, "rejection_90": 5,
    }  # fmt: skip
    row = of(table)
    assert (row["background"], row["share"], row["effective"]) == (10, 0.5, 5.0) and set(table["weighting"]) == {""}
    assert [10 * row[end] for end in ("share_low", "share_high")] == pytest.approx(
        [stats.chi2.ppf(0.05, 10) / 2, stats.chi2.ppf(0.95, 12) / 2]
    ), "Poisson, exact"


def test_weights_over_six_orders_of_magnitude_are_one_effective_event(ledger) -> None:
    weights = [1e3, *[1e-3] * 9]
    table = counted(ledger, [np.array([20.0] * 5 + [0.0] * 5)], behind(weights))
    row = of(table, weighting=WEIGHTED)
    assert row["passed"] == 5 and row["effective"] == pytest.approx(1.0, abs=1e-5)
    assert row["share"] == pytest.approx(1.0, abs=1e-4) and row["share_low"] == pytest.approx(0.051, abs=1e-3)
    assert of(table)["share"] == 0.5, "the unweighted one stands beside it"
    [plain, weighted] = rejections(table[table["metric"] == "rejection_90"]).to_dict("records")
    assert plain["rejection"] == 2.0 and weighted["rejection"] == pytest.approx(1.0, abs=1e-4)
    assert weighted["high"] == pytest.approx(1 / 0.0513, rel=0.01) and weighted["effective"] == row["effective"]


def test_a_heavy_event_that_was_not_seen_to_pass_is_in_the_interval(ledger) -> None:
    """Five light events pass; the heavy one, which is all of the cross section, did not: it may in another sample."""
    table = counted(ledger, [np.array([0.0] + [20.0] * 5 + [0.0] * 4)], behind([1e3, *[1e-3] * 9]))
    row = of(table, weighting=WEIGHTED)
    assert row["share"] == pytest.approx(5e-6, rel=1e-3) and row["effective"] == pytest.approx(5.0)
    assert row["share_high"] == pytest.approx(3.0, rel=1e-2) and row["share_low"] < row["share"]


def test_intervals_of_weighted_sums_cover(ledger) -> None:
    random, weights = np.random.default_rng(8), np.array([100.0, 10.0, 1.0])
    expected = np.array([1.5, 4.0, 20.0])
    truth, inside = float(weights @ expected), 0
    for counts in random.poisson(expected, size=(2000, 3)):
        low, high = interval_of_sum(np.repeat(weights, counts), 100.0)
        inside += low <= truth <= high
    assert 0.9 - 0.015 < inside / 2000 < 0.99


def test_a_seed_that_lets_nothing_pass_gives_a_lower_bound(ledger) -> None:
    some, none = np.array([20.0, 20.0, *[0.0] * 98]), np.zeros(100)
    made, kept = frame(ledger, [some, none], test_auc=0.9)
    table = passing(made, lambda record, digest: kept[record], behind())
    row = of(rejections(table))
    bound = 100 / -math.log(0.05)
    assert row["rejection"] == pytest.approx(math.sqrt(50 * bound)) and row["high"] == math.inf
    assert (row["n"], row["n_bounds"], row["passing"]) == (2, 1, "0 to 2 of 100")
    assert row["text"].startswith("at least 40.") and row["text"].endswith("(n=2)")
    [shown] = working_points(made, passed=table).query("quantity.str.contains('90 %')").to_dict("records")
    assert shown["text"] == row["text"] and shown["passing"] == "0 to 2 of 100", "the records say nothing of so few"
    assert shown["note"] == "few background events pass, by whose counts it is: no figure in 2 of 2 records"


def test_seeds_scatter_and_share_their_test_sample(ledger) -> None:
    every = [np.array([20.0] * n + [0.0] * (1000 - n)) for n in (80, 100, 125)]
    row = of(rejections(counted(ledger, every)))
    assert row["rejection"] == pytest.approx(10.0) and row["passing"] == "80 to 125 of 1,000"
    logarithms = np.log([1000 / n for n in (80, 100, 125)])
    seeds = stats.t.ppf(0.95, 2) * logarithms.std(ddof=1) / math.sqrt(3)
    sample = np.mean([math.log(stats.chi2.ppf(0.95, 2 * n + 2) / 2 / n) for n in (80, 100, 125)])
    assert row["low"] == pytest.approx(10.0 * math.exp(-math.hypot(seeds, sample)))
    alone = of(rejections(counted(type(ledger)(), every[:1])))
    assert alone["low"] == pytest.approx(1000 / (stats.chi2.ppf(0.95, 162) / 2)), "of one seed the test sample alone"


def test_each_process_of_the_signal_has_its_own_threshold(ledger) -> None:
    background = np.array([*range(1, 21)], dtype=float)
    known = behind(processes=("X_600", "X_1000", "X_2000_without_test_events"), process=[0] * 5 + [1] * 5)
    table = counted(ledger, [background], known)
    masses = of_processes(rejections(table), "rejection_90")
    assert masses["parameter"].tolist() == [600, 1000] and masses["passing"].tolist() == ["11 of 20", "6 of 20"]
    # All of five events are 90 % of them: thresholds 10 and 15.
    assert {row["process"]: row["passed"] for row in table[table["metric"] == "rejection_90"].to_dict("records")} == {
        "": 10, "X_600": 11, "X_1000": 6,
    }  # fmt: skip


def test_without_the_datasets_events_are_counted_and_without_scores_nothing_is(ledger) -> None:
    made, kept = frame(ledger, [np.arange(20.0)])

    def gone(record, n_kept):
        raise ValueError("not on this machine")

    table = passing(made, lambda record, digest: kept[record], gone)
    assert set(table["process"]) == {""} == set(table["weighting"]) and of(table)["passed"] == 9

    def unreadable(record, digest):
        raise ValueError("damaged")

    assert passing(made, unreadable, behind()).empty and rejections(passing(made, unreadable, behind())).empty
    with_record = made.assign(test_rejection_90=2.0)
    [row] = working_points(with_record, passed=passing(made, unreadable, behind())).to_dict("records")
    assert row["passing"] == "" and row["text"] == "2.0 (n=1)"
