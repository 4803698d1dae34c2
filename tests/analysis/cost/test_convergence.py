import math

import pytest

from breakeven.analysis.cost.convergence import accuracy_curves, time_ratios, time_to_accuracy, times_to_plateau


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
    assert row["low"] < row["ratio"] < row["high"] and row["median"] == pytest.approx(0.2)
    assert (row["text"], row["note"], row["processor"]) == ("0.20 ± 0.14 (n=2)", "", "Xeon x 2")


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
    assert row["ratio"] == pytest.approx(0.1) and math.isnan(row["ratio_sd"]) and math.isinf(row["median"])
    assert "1 of 2 never got there" in row["note"] and "n=1: no uncertainty" in row["note"]


def test_two_kinds_of_device_are_not_divided(ledger, make_curve) -> None:
    ledger.trial("stop_vs_ttH", "scratch", 100, 1, 0.8, device="cuda")
    ledger.trial("stop_vs_ttH", "finetune", 100, 1, 0.9, curve=make_curve([0.8], 10.0))
    [row] = time_ratios(ledger.frame()).to_dict("records")
    assert row["unit"] == "mixed" and row["n_reached"] == 0 and math.isnan(row["ratio"])
    assert row["text"] == "no figure" and "not divided" in row["note"] and row["device"] == "cpu + cuda"


def test_times_to_plateau_count_those_without(ledger) -> None:
    for seed, plateau in ((1, 10.0), (2, 14.0), (3, math.nan)):
        ledger.trial("stop_vs_ttH", "scratch", 100, seed, 0.8, plateau_seconds=plateau)
    [row] = times_to_plateau(ledger.frame()).to_dict("records")
    assert (row["seconds"], row["n"], row["n_without"], row["epochs"]) == (12.0, 2, 1, 4.0)
    assert row["note"] == "1 of 3 reached no plateau"


def test_a_cell_that_never_plateaus_or_ran_on_two_devices_has_no_mean(ledger) -> None:
    ledger.trial("stop_vs_ttH", "scratch", 100, 1, 0.8)
    ledger.trial("WH_vs_ZH", "scratch", 100, 1, 0.8, plateau_seconds=10.0)
    ledger.trial("WH_vs_ZH", "scratch", 100, 2, 0.8, plateau_seconds=1.0, device="cuda")
    never, mixed = times_to_plateau(ledger.frame()).to_dict("records")
    assert never["text"] == "never" and math.isnan(never["seconds"])
    assert mixed["text"] == "no figure" and math.isnan(mixed["seconds"]) and "cpu and cuda" in mixed["note"]


def test_a_ratio_that_nobody_reaches_is_never(ledger, make_curve) -> None:
    ledger.trial("stop_vs_ttH", "scratch", 100, 1, 0.8)
    ledger.trial("stop_vs_ttH", "finetune", 100, 1, 0.5, curve=make_curve([0.5], 10.0))
    [row] = time_ratios(ledger.frame()).to_dict("records")
    assert row["text"] == "never" and row["note"] == "no seed got there"


def test_curves_hold_the_last_epoch_and_after_the_end_what_was_kept(ledger, make_curve) -> None:
    """Seed 1 ends after two epochs and keeps its first; seed 2 goes on to the third."""
    ledger.trial("stop_vs_ttH", "scratch", 100, 1, 0.6, curve=make_curve([0.6, 0.5], 36.0))
    ledger.trial("stop_vs_ttH", "scratch", 100, 2, 0.9, curve=make_curve([0.7, 0.8, 0.9], 36.0))
    found = accuracy_curves(ledger.frame())
    assert found["events_seen"].tolist() == [200, 400, 600] and found["n_running"].tolist() == [2, 1, 0]
    assert found["accuracy"].tolist() == pytest.approx([65.0, 70.0, 75.0]) and set(found["n"]) == {2}
    assert (found["low"] < found["accuracy"]).all() and found["sd"].iloc[0] == pytest.approx(10 / math.sqrt(2))
    hours = accuracy_curves(ledger.frame(), against="device_hours")
    assert hours["device_hours"].tolist() == pytest.approx([0.01, 0.02, 0.03]) and set(hours["unit"]) == {"cpu_hours"}


def test_one_curve_has_no_band_and_long_ones_are_thinned(ledger, make_curve) -> None:
    ledger.trial("stop_vs_ttH", "scratch", 100, 1, 0.8, curve=make_curve([0.8] * 200, 1.0))
    ledger.trial("WH_vs_ZH", "scratch", 100, 1, 0.8)  # no curve at all
    found = accuracy_curves(ledger.frame())
    assert len(found) == 60 and found["low"].isna().all() and found["events_seen"].iloc[-1] == 200 * 200
    with pytest.raises(ValueError, match="'device_hours'"):
        accuracy_curves(ledger.frame(), against="minutes")


def test_an_empty_ledger_gives_empty_tables(ledger) -> None:
    assert accuracy_curves(ledger.frame()).empty
    assert time_ratios(ledger.frame()).empty and times_to_plateau(ledger.frame()).empty
