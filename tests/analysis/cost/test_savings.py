"""Savings of single tasks keep their signs, with an interval of their own."""

import math

import pytest
from scipy import stats

from breakeven.analysis.cost.savings import savings

SCRATCH, TUNED = (100.0, 110.0, 93.0), (60.0, 64.0, 71.0)


def fill(ledger, task: str, scratch, tuned) -> None:
    for strategy, times, level in (("scratch", scratch, 0.7), ("finetune", tuned, 0.8)):
        for seed, seconds in enumerate(times, start=1):
            ledger.trial(task, strategy, 100, seed, level, device_seconds=seconds, plateau_seconds=1.0)


def test_a_saving_has_its_sign_and_welchs_interval(ledger) -> None:
    fill(ledger, "stop_vs_ttH", SCRATCH, TUNED)
    fill(ledger, "WH_vs_ZH", TUNED, SCRATCH)
    found = savings(ledger.frame()).set_index("task")
    saved = found.loc["stop_vs_ttH"]
    low, high = stats.ttest_ind(SCRATCH, TUNED, equal_var=False).confidence_interval(0.9)
    assert saved["saving_seconds"] == pytest.approx(101 - 65)
    assert (saved["saving_seconds_low"], saved["saving_seconds_high"]) == pytest.approx((low, high))
    assert found.at["WH_vs_ZH", "saving_seconds"] == pytest.approx(65 - 101)
    assert saved["text"] == "saves 36 s a task against scratch"
    assert found.at["WH_vs_ZH", "text"] == "costs 36 s a task against scratch"
    assert saved["gain"] == pytest.approx(10.0) and math.isnan(saved["gain_over_trees"])


def test_trees_are_held_against_finetuning_on_validation_and_shown_on_test_events(ledger) -> None:
    fill(ledger, "stop_vs_ttH", SCRATCH, TUNED)
    ledger.trial("stop_vs_ttH", "trees", 100, 1, 0.75, pretraining="none", validation_accuracy=0.8, device_seconds=1.5)
    [row] = savings(ledger.frame()).to_dict("records")
    assert row["ahead"] == "neither" and row["text"] == "never: trees are no worse after 1.5 s"
    assert row["gain_over_trees"] == pytest.approx(5.0)
    frame = ledger.frame()
    frame.loc[frame["strategy"] == "trees", "validation_accuracy"] = 0.79
    [row] = savings(frame).to_dict("records")
    assert row["ahead"] == "finetuning"
    assert (
        row["text"]
        == "saves 36 s a task against scratch; ahead of trees on validation events, at 1.1 min a task in place of 1.5 s"
    )


def test_one_seed_has_no_interval_and_two_devices_no_saving(ledger) -> None:
    fill(ledger, "stop_vs_ttH", (100.0,), (60.0,))
    [row] = savings(ledger.frame()).to_dict("records")
    assert row["saving_seconds"] == pytest.approx(40.0) and math.isnan(row["saving_seconds_low"])
    frame = ledger.frame()
    frame.loc[frame["strategy"] == "finetune", "device"] = "cuda"
    [row] = savings(frame).to_dict("records")
    assert math.isnan(row["saving_seconds"]) and "not mixed" in row["note"] and row["text"] == ""
