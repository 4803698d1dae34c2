import math

import numpy as np
import pytest
from scipy.optimize import isotonic_regression

from breakeven.analysis.data_efficiency import factors, isotonic, matched_sizes, rising
from breakeven.analysis.event_scores import NONE, SharedEvents
from breakeven.metric import METRICS

SIZES = (100, 300, 1000, 3000)


def fill(ledger, tuned: dict[int, float], seeds=(1, 2, 3), spread=0.001, task="stop_vs_ttH") -> None:
    """Scratch gains 4 points with every factor of ten: 80 % at 1,000."""
    for number, seed in enumerate(seeds):
        off = spread * (number - (len(seeds) - 1) / 2)
        for size in SIZES:
            ledger.trial(task, "scratch", size, seed, 0.68 + 0.04 * math.log10(size) + off)
        for size, accuracy in tuned.items():
            ledger.trial(task, "finetune", size, seed, accuracy - off)


def test_the_factor_is_read_off_the_curve_of_scratch(ledger) -> None:
    fill(ledger, {100: 0.80, 1000: 0.78})
    better, worse = factors(ledger.frame()).to_dict("records")
    assert better["factor"] == pytest.approx(10.0, rel=0.01) and better["matched_size"] == pytest.approx(1000, rel=0.01)
    assert better["low"] < 10.0 < better["high"] and better["text"].startswith("10 (90 %: ")
    assert worse["factor"] == pytest.approx(10**-0.5, rel=0.01)
    assert (better["accuracy"], better["n"], better["n_reference"], better["note"]) == (pytest.approx(80.0), 3, "3", "")


def test_beyond_the_range_a_bound_is_named_and_nothing_extrapolated(ledger) -> None:
    fill(ledger, {100: 0.9, 3000: 0.5})
    above, below = factors(ledger.frame()).to_dict("records")
    assert math.isinf(above["factor"]) and above["text"] == "more than 30 (90 %: more than 30 to more than 30)"
    assert below["factor"] == 0.0 and below["text"].startswith("less than 0.033")
    assert above["note"].startswith("beyond the range: better") and below["note"].startswith("beyond the range: worse")


def test_an_interval_may_end_beyond_the_range(ledger) -> None:
    fill(ledger, {100: 0.68 + 0.04 * math.log10(2900)}, spread=0.01)
    [row] = factors(ledger.frame()).to_dict("records")
    assert row["factor"] == pytest.approx(29, rel=0.02) and math.isinf(row["high"]) and "to more than 30" in row["text"]


def test_the_error_of_a_shared_test_sample_is_in_the_interval(ledger) -> None:
    """Of one point in the gain; a decade is four points, so the matched size has a standard error of a quarter of one."""
    fill(ledger, {100: 0.80}, spread=1e-5)
    frame = ledger.frame()
    at_size = frame[frame["size"] == 100]
    place = {record: (0, row) for row, record in enumerate(at_size["record"])}
    tuned = (at_size["strategy"] == "finetune").to_numpy(float)
    shared = SharedEvents(place, [{"accuracy": 1e-4 * np.outer(tuned, tuned)}])
    [narrow], [wide] = (factors(frame, shared=given).to_dict("records") for given in (NONE, shared))
    decades = math.log10(wide["high"] / wide["low"])
    assert decades == pytest.approx(2 * 1.645 * 0.25, rel=0.1)
    assert math.log10(narrow["high"] / narrow["low"]) < 0.01 and narrow["factor"] == wide["factor"]


def test_any_strategy_may_be_the_reference_and_rejections_are_compared_by_their_logarithms(ledger) -> None:
    """Frozen, the rejection doubles with every factor of ten; finetuned, it is four times as high."""
    rejection, off = METRICS["rejection_90"], {1: 1.01, 2: 1 / 1.01}
    for seed, by in off.items():
        for size in SIZES:
            about = {"pretraining": "xbb", "test_rejection_90": 10 * by * 2 ** math.log10(size)}
            ledger.trial("stop_vs_ttH", "frozen", size, seed, 0.7, **about)
            ledger.trial("stop_vs_ttH", "scratch", size, seed, 0.7, test_rejection_90=5 * by * 2 ** math.log10(size))
        ledger.trial("stop_vs_ttH", "finetune", 100, seed, 0.7, pretraining="xbb", test_rejection_90=10 * by * 2**3)
    frame = ledger.frame()
    [row] = factors(frame, merit=rejection, reference="frozen").to_dict("records")
    assert (row["strategy"], row["reference"]) == ("finetune", "frozen") and row["factor"] == pytest.approx(
        10, rel=0.01
    )
    assert row["low"] < 10 < row["high"] and row["rejection_90"] == pytest.approx(80), "the geometric mean"
    frozen = {
        row["size"]: row for row in factors(frame, merit=rejection).to_dict("records") if row["strategy"] == "frozen"
    }
    assert frozen[100]["factor"] == pytest.approx(10, rel=0.01) and frozen[100]["reference"] == "scratch"
    assert factors(frame[frame["strategy"] != "frozen"], merit=rejection, reference="frozen").empty


def test_one_seed_has_a_factor_without_interval(ledger) -> None:
    fill(ledger, {100: 0.8}, seeds=(1,))
    [row] = factors(ledger.frame()).to_dict("records")
    assert row["factor"] == pytest.approx(10.0, rel=0.01) and math.isnan(row["low"])
    assert row["note"] == "n=1: no uncertainty" and row["text"] == "10 (no uncertainty)"


def test_without_scratch_there_is_a_reason(ledger) -> None:
    ledger.trial("stop_vs_ttH", "finetune", 100, 1, 0.8)
    ledger.trial("stop_vs_ttH", "scratch", 100, 1, 0.8, outcome="failed")
    [row] = factors(ledger.frame()).to_dict("records")
    assert row["text"] == "no figure" and "no training from scratch" in row["note"]
    assert factors(ledger.frame()[:0]).empty


def test_accuracies_that_fall_are_averaged_first() -> None:
    found = matched_sizes(rising(np.array([100.0, 1000.0, 10_000.0]), np.array([[0.6, 0.8, 0.7]])), np.array([0.74]))
    assert 100 < found[0] < 1000
    one_size = rising(np.array([100.0]), np.full((3, 1), 0.6))
    assert matched_sizes(one_size, np.array([0.5, 0.6, 0.7])).tolist() == [0, 100, math.inf]


def test_isotonic_rows_are_scipys() -> None:
    rows = np.random.default_rng(1).normal(size=(50, 7)) + np.arange(7) / 3
    expected = np.array([isotonic_regression(row).x for row in rows])
    assert isotonic(rows) == pytest.approx(expected)
