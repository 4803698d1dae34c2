"""What is charged for a task: search, stopped trials, waste, generated events, and the clock of equal accuracy."""

import math

import pandas as pd
import pytest

from breakeven.analysis.cost.breakeven import break_even_table, readings, study_break_even
from breakeven.analysis.cost.charges import Charge


def only(table: pd.DataFrame) -> dict:
    [row] = table.to_dict("records")
    return row


@pytest.fixture
def priced(ledger):
    """One task: 200 s from scratch, 100 s finetuned, pretraining 1000 s; two seeds."""
    ledger.generation("ttH", device_seconds=400.0, dataset="g1")
    ledger.generation("WH", device_seconds=600.0, dataset="g2")
    ledger.generation("other", device_seconds=9999.0, dataset="g3")
    ledger.pretraining(plateau_seconds=1000.0, device_seconds=1100.0, wasted_seconds=20.0, dataset="g1+g2")
    for seed in (1, 2):
        ledger.trial("stop_vs_ttH", "scratch", 100, seed, 0.7, plateau_seconds=200.0, wasted_seconds=5.0)
        ledger.trial("stop_vs_ttH", "finetune", 100, seed, 0.8, plateau_seconds=100.0)
    return ledger


def hours(row: dict) -> tuple[float, float, float]:
    return tuple(3600 * row[f"{name}_hours"] for name in ("pretraining", "scratch", "finetuning"))


def test_a_search_is_charged_once_for_each_task_with_its_stopped_trials(priced) -> None:
    for outcome, seconds in (("finished", 30.0), ("stopped", 10.0), ("failed", 8.0)):
        priced.trial("stop_vs_ttH", "finetune", 100, 1_000_001, 0.7, phase="search", outcome=outcome,
                     device_seconds=seconds, wasted_seconds=1.0)  # fmt: skip
    plain, searched = (
        only(study_break_even(priced.frame())),
        only(study_break_even(priced.frame(), Charge(search=True))),
    )
    assert hours(plain) == pytest.approx((1000, 200, 100)) and hours(searched) == pytest.approx((1000, 200, 140))
    assert searched["exact"] == pytest.approx(1000 / 60)
    assert searched["charged"] == "until the plateau, with search"
    all_of_it = only(study_break_even(priced.frame(), Charge(search=True, wasted=True)))
    # 3 s of interruptions and 8 s of a failure in the search; 2 x 5 s shared by two scratch trainings.
    assert hours(all_of_it) == pytest.approx((1020, 205, 140 + 3 + 8))
    assert all_of_it["charged"] == "until the plateau, with search and waste"


def test_equal_effort_is_charged_to_both_sides(priced) -> None:
    """Each side searched in two trials, one stopped: 30 + 10 s finetuned, 50 + 20 s from scratch."""
    for strategy, spent in (("finetune", (30.0, 10.0)), ("scratch", (50.0, 20.0))):
        for outcome, seconds in zip(("finished", "stopped"), spent, strict=True):
            priced.trial("stop_vs_ttH", strategy, 100, 1_000_001, 0.7, phase="search", outcome=outcome,
                         device_seconds=seconds)  # fmt: skip
    assert hours(only(study_break_even(priced.frame()))) == pytest.approx((1000, 200, 100))
    row = only(study_break_even(priced.frame(), Charge(search=True)))
    assert hours(row) == pytest.approx((1000, 200 + 70, 100 + 40)) and row["exact"] == pytest.approx(1000 / 130)


def test_a_stopped_trial_is_never_a_result(priced) -> None:
    before = study_break_even(priced.frame())
    priced.trial("stop_vs_ttH", "finetune", 100, 3, 0.99, outcome="stopped", plateau_seconds=1.0)
    pd.testing.assert_frame_equal(study_break_even(priced.frame()), before)


def test_failures_are_shared_by_the_trainings_of_their_cell(priced) -> None:
    priced.trial("stop_vs_ttH", "finetune", 100, 3, 0.0, outcome="failed", device_seconds=50.0)
    priced.pretraining(outcome="failed", device_seconds=300.0, dataset="g1+g2")
    assert hours(only(study_break_even(priced.frame(), Charge(wasted=True)))) == pytest.approx((1320, 205, 125))


def test_generation_counts_the_events_that_the_pretraining_read(priced) -> None:
    row = only(study_break_even(priced.frame(), Charge(generation=True)))
    assert hours(row) == pytest.approx((2000, 200, 100)) and row["exact"] == pytest.approx(20.0)


def test_unknown_events_and_other_devices_give_no_figure(priced) -> None:
    frame = priced.frame()
    unknown = only(study_break_even(frame[frame["process"] != "WH"], Charge(generation=True)))
    assert unknown["text"] == "no figure" and "no record of generating" in unknown["note"]
    on_gpu = frame.assign(device=frame["device"].where(frame["level"] == "generation", "cuda"))
    row = only(study_break_even(on_gpu, Charge(generation=True)))
    assert row["text"] == "no figure" and "generated on cpu and trained with on cuda" in row["note"]
    assert only(study_break_even(on_gpu))["unit"] == "gpu_hours"


def test_a_search_or_waste_on_another_device_is_not_added(priced) -> None:
    failed = {"outcome": "failed", "device": "cuda"}
    priced.trial("stop_vs_ttH", "finetune", 100, 1_000_001, 0.7, phase="search", **failed)
    assert only(study_break_even(priced.frame(), Charge(search=True)))["text"] == "10 tasks", (
        "what failed is not charged"
    )
    priced.trial("stop_vs_ttH", "finetune", 100, 1_000_001, 0.7, phase="search", device="cuda")
    assert only(study_break_even(priced.frame()))["text"] == "10 tasks"
    assert only(study_break_even(priced.frame(), Charge(wasted=True)))["text"] != "no figure", (
        "of a search that is not charged"
    )
    row = only(study_break_even(priced.frame(), Charge(search=True)))
    assert row["text"] == "no figure" and math.isnan(row["exact"])
    assert "cpu and cuda: hours of two kinds of device are not mixed" in row["note"]


@pytest.mark.parametrize("level", ["trial", "pretraining"])
def test_failures_on_another_device_are_not_added(priced, level: str) -> None:
    if level == "trial":
        priced.trial("stop_vs_ttH", "finetune", 100, 3, 0.0, outcome="failed", device_seconds=50.0, device="cuda")
        priced.trial("WH_vs_ZH", "finetune", 100, 3, 0.0, outcome="failed", device_seconds=50.0)  # in no figure
    else:
        priced.pretraining(outcome="failed", device_seconds=300.0, device="cuda")
        priced.pretraining("multilabel", outcome="failed", device_seconds=300.0)
    row = only(study_break_even(priced.frame(), Charge(wasted=True)))
    assert row["text"] == "no figure" and "two kinds of device are not mixed" in row["note"]
    assert only(study_break_even(priced.frame(), Charge(search=True)))["text"] == "10 tasks", "failures are not charged"


def test_equal_accuracy_stops_both_where_both_have_been(ledger, make_curve) -> None:
    """Scratch ends at .8 after 100 s; finetuning is there after 20 s and goes on to .9. In the second seed it ends at
    .7, where scratch is after 50 s and finetuning after 30 s.
    """
    ledger.pretraining(plateau_seconds=1000.0)
    curves = {1: ([0.5, 0.6, 0.7, 0.75, 0.8], [0.7, 0.8, 0.9]), 2: ([0.6, 0.7, 0.8], [0.5, 0.6, 0.7])}
    steps = {1: (20.0, 10.0), 2: (25.0, 10.0)}
    for seed, (scratch, tuned) in curves.items():
        for strategy, curve, step in zip(("scratch", "finetune"), (scratch, tuned), steps[seed], strict=True):
            ledger.trial("stop_vs_ttH", strategy, 100, seed, 0.8, validation_accuracy=curve[-1],
                         curve=make_curve(curve, step), device_seconds=step * len(curve))  # fmt: skip
    ledger.trial("stop_vs_ttH", "scratch", 100, 3, 0.8, device_seconds=1e6)  # no pair, no curve
    row = only(study_break_even(ledger.frame(), Charge(time="equal_accuracy")))
    assert hours(row) == pytest.approx((1000, (100 + 50) / 2, (20 + 30) / 2))
    assert (row["n_scratch"], row["n_finetuning"], row["n_below"]) == (2, 2, 1)
    assert row["exact"] == pytest.approx(20.0) and row["charged"] == "until both are equally accurate"
    assert "finetuning ended below scratch in 1 of 2 pairs" in row["note"]


def test_equal_accuracy_without_curves_gives_no_figure(priced) -> None:
    row = only(study_break_even(priced.frame(), Charge(time="equal_accuracy")))
    assert row["text"] == "no figure" and row["n_scratch"] == 0


def test_every_way_of_charging_stands_in_one_table(priced) -> None:
    found = break_even_table(priced.frame())
    assert found["charged"].tolist() == [
        "until the end", "until the end, with search", "until the end, with search and waste",
        "until the end, with search, waste and generation", "until the plateau", "until both are equally accurate",
    ]  # fmt: skip
    assert break_even_table(priced.frame()[:0]).empty


def test_an_interval_over_seeds_alone_is_for_exactly_these_tasks(ledger) -> None:
    ledger.pretraining(plateau_seconds=1000.0)
    for task, scratch in (("stop_vs_ttH", 100.0), ("WH_vs_ZH", 500.0)):
        for seed, off in ((1, -1.0), (2, 0.0), (3, 1.0)):
            ledger.trial(task, "scratch", 100, seed, 0.7, plateau_seconds=scratch + off)
            ledger.trial(task, "finetune", 100, seed, 0.7, plateau_seconds=50.0 - off)
    row = only(study_break_even(ledger.frame()))
    assert row["exact"] == pytest.approx(4.0)
    assert 3.97 < row["low_seeds"] < 4.0 < row["high_seeds"] < 4.03
    assert row["low"] < row["low_seeds"] and row["high"] > row["high_seeds"]


def test_one_seed_or_one_task_says_which_interval_is_missing(priced) -> None:
    row = only(study_break_even(priced.frame()))
    assert math.isnan(row["low"]) and row["low_seeds"] == pytest.approx(10.0)
    assert row["note"] == "one task: no interval over tasks"
    frame = priced.frame()
    row = only(study_break_even(frame[frame["seed"] < 2]))
    assert math.isnan(row["low_seeds"]) and "a cell has one seed: no interval over seeds" in row["note"]


def test_hours_of_two_processors_are_added_and_said(priced) -> None:
    frame = priced.frame()
    frame.loc[frame["strategy"] == "scratch", "processor"] = "EPYC x 64"
    row = only(study_break_even(frame))
    assert row["processor"] == "EPYC x 64 + Xeon x 2" and "2 kinds of processor together" in row["note"]


def test_both_readings_stand_beside_each_other() -> None:
    definition, published = readings().to_dict("records")
    assert definition["value"] == pytest.approx(24.96, abs=0.01) and definition["tasks"] == "25 tasks"
    assert published["value"] == pytest.approx(40.7, abs=0.1) and published["tasks"] == "41 tasks"
    assert "38 %" in published["explanation"]


def test_an_unknown_clock_is_named() -> None:
    with pytest.raises(ValueError, match="'equal_accuracy'"):
        _ = Charge(time="wall").text
