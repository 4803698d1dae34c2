import math

import pytest

from breakeven.analysis.convergence import time_ratios, time_to_accuracy, times_to_plateau


def test_the_first_epoch_that_is_good_enough_counts(make_curve) -> None:
    curve = make_curve([0.5, 0.7, 0.65, 0.8], 10.0)
    assert time_to_accuracy(curve, 0.7) == 20.0
    assert time_to_accuracy(curve, 0.71) == 40.0
    assert math.isinf(time_to_accuracy(curve, 0.9))
    assert math.isinf(time_to_accuracy([], 0.1))


def test_time_to_99_percent_over_the_baselines_total_time(ledger, make_curve) -> None:
    for seed in (1, 2):
        ledger.trial("stop_vs_ttH", "scratch", 100, seed, 0.8, device_seconds=100.0)
    ledger.trial("stop_vs_ttH", "finetune", 100, 1, 0.9, curve=make_curve([0.70, 0.79, 0.80], 10.0))
    ledger.trial("stop_vs_ttH", "finetune", 100, 2, 0.9, curve=make_curve([0.795, 0.80], 10.0))
    [row] = time_ratios(ledger.frame()).to_dict("records")
    # 99 % of 0.8 is 0.792: not yet 0.79 in the first, already the first epoch in the second.
    assert row["ratio"] == pytest.approx((0.3 + 0.1) / 2)
    assert row["ratio_sd"] == pytest.approx(0.2 / math.sqrt(2))
    assert (row["n_reached"], row["n"], row["unit"]) == (2, 2, "cpu_hours")


def test_a_baseline_is_that_of_the_same_seed_or_the_mean(ledger, make_curve) -> None:
    ledger.trial("stop_vs_ttH", "scratch", 100, 1, 0.6, device_seconds=100.0)
    ledger.trial("stop_vs_ttH", "scratch", 100, 2, 0.8, device_seconds=300.0)
    ledger.trial("stop_vs_ttH", "finetune", 100, 1, 0.9, curve=make_curve([0.6, 0.7, 0.8], 20.0))
    ledger.trial("stop_vs_ttH", "frozen", 100, 9, 0.9, curve=make_curve([0.6, 0.7, 0.8], 20.0))
    found = time_ratios(ledger.frame()).set_index("strategy")["ratio"]
    assert found["finetune"] == pytest.approx(20 / 100)
    assert found["frozen"] == pytest.approx(40 / 200)


def test_seeds_that_never_get_there_are_counted_not_averaged(ledger, make_curve) -> None:
    for seed in (1, 2):
        ledger.trial("stop_vs_ttH", "scratch", 100, seed, 0.8, device_seconds=100.0)
    ledger.trial("stop_vs_ttH", "finetune", 100, 1, 0.9, curve=make_curve([0.8], 10.0))
    ledger.trial("stop_vs_ttH", "finetune", 100, 2, 0.5, curve=make_curve([0.5, 0.5], 10.0))
    [row] = time_ratios(ledger.frame()).to_dict("records")
    assert (row["n_reached"], row["n"]) == (1, 2)
    assert row["ratio"] == pytest.approx(0.1) and math.isnan(row["ratio_sd"])


def test_two_kinds_of_device_are_not_divided(ledger, make_curve) -> None:
    ledger.trial("stop_vs_ttH", "scratch", 100, 1, 0.8, device="cuda")
    ledger.trial("stop_vs_ttH", "finetune", 100, 1, 0.9, curve=make_curve([0.8], 10.0))
    [row] = time_ratios(ledger.frame()).to_dict("records")
    assert row["unit"] == "mixed" and row["n_reached"] == 0 and math.isnan(row["ratio"])


def test_times_to_plateau_count_those_without(ledger) -> None:
    for seed, plateau in ((1, 10.0), (2, 14.0), (3, math.nan)):
        ledger.trial("stop_vs_ttH", "scratch", 100, seed, 0.8, plateau_seconds=plateau)
    [row] = times_to_plateau(ledger.frame()).to_dict("records")
    assert (row["seconds"], row["n"], row["n_without"], row["epochs"]) == (12.0, 2, 1, 4.0)


def test_an_empty_ledger_gives_empty_tables(ledger) -> None:
    assert time_ratios(ledger.frame()).empty and times_to_plateau(ledger.frame()).empty
