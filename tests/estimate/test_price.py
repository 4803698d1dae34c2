"""Prices from speeds, speeds from records, and what is said afterwards."""

from dataclasses import replace

import pytest

from breakeven import provenance
from breakeven.estimate.price import NOTHING, Range, outcome, price, to_keep, trial_hours
from breakeven.estimate.speeds import ELSEWHERE, Speed, Speeds, speeds
from breakeven.study.identity import said
from breakeven.study.plan import Cell, epochs
from breakeven.study.spec import Finetuning, Generation, Network, Pretraining, Study, task

DEFAULT = ("ttH", "WH", "ZH")
STUDY = Study(
    pretraining=Pretraining(objectives=("multiclass",), epochs=15, patience=0),
    finetuning=Finetuning(tasks=("WH_vs_ZH", "stop_vs_ttH"), strategies=("finetune", "frozen"), sizes=(100, 1000),
                          epochs=8, steps=200, patience=5, patience_steps=0, slow_start=1, warmup_steps=0, symmetries=False),
)  # fmt: skip
KNOWN = Speeds(Speed(1000.0, 0.2), Speed(2000.0, 0.2), Speed(250.0, 0.5), "test", True)


def record(size=100, seed=1, seconds=10.0, strategy="scratch", phase="confirm", **more):
    limit = epochs(STUDY.finetuning, size)
    identity = {"network": said(Network()), "epochs": limit,
                "training": {"batch_size": 32, "patience": 5, "validation_events": 250}}  # fmt: skip
    return {"level": "trial", "outcome": "finished", "strategy": strategy, "size": size, "phase": phase, "seed": seed,
            "device": "cpu", "device_seconds": seconds, "events_seen": 2 * size * limit, "epochs": limit,
            "validation_events": 500, "test_events": 2000, "identity": identity, "processor": provenance.processor(),
            "ended": f"2026-11-26T10:00:{seed:02d}",
            **more}  # fmt: skip


def test_the_price_counts_trials_and_grows_with_the_work():
    first = price(STUDY, DEFAULT, KNOWN, 0.6)
    assert (first.cells, first.trials, first.search_trials) == (12, 36, 2 * 4 * 2)
    assert first.events == 4 * STUDY.generation.events_per_process
    assert first.generation.expected == pytest.approx(first.events / 250 / 3600)
    assert first.generation.high == pytest.approx(1.5 * first.generation.expected)
    used = STUDY.generation.events_per_process * 0.6 * 3 * STUDY.pretraining.epochs
    assert first.pretraining.expected == pytest.approx(used / 2000 / 3600)
    slower = price(STUDY, DEFAULT, replace(KNOWN, trained=Speed(500.0, 0.2)), 0.6)
    assert slower.finetuning.expected == pytest.approx(2 * first.finetuning.expected)
    assert slower.device_hours.low < slower.device_hours.expected < slower.device_hours.high


def test_a_cell_that_was_trained_before_costs_what_it_cost():
    cell = Cell(task("WH_vs_ZH"), "none", "scratch", 100)
    known = speeds(STUDY, [record(seed=seed, seconds=8.0 + seed) for seed in (1, 2, 3)], None)
    found = trial_hours(STUDY, cell, "confirm", known)
    assert found.expected == pytest.approx(10.0 / 3600) and found.low < 9.5 / 3600 and found.high > 10.5 / 3600
    other = trial_hours(STUDY, replace(cell, size=1000), "confirm", known)  # never trained: by its passes, less certain
    assert other.high / other.low > found.high / found.low and known.trusted


@pytest.mark.parametrize("other", [{"epochs": 500}, {"patience": 50}, {"patience_steps": 5000}])
def test_trials_with_another_limit_or_patience_are_no_trials_of_this_kind(other):
    cell = Cell(task("WH_vs_ZH"), "none", "scratch", 100)
    records = [record(seed=seed, seconds=8.0 + seed) for seed in (1, 2, 3)]
    longer = replace(STUDY, finetuning=replace(STUDY.finetuning, **other))
    assert trial_hours(STUDY, cell, "confirm", speeds(STUDY, records, None)).expected == pytest.approx(10.0 / 3600)
    assert ("scratch", 100, "confirm") not in speeds(longer, records, None).trials


def test_how_early_trials_stop_is_taken_from_those_that_did():
    quick = record(size=300, stopped="plateau", epochs=15)  # 10 epochs of 19 steps before those of its patience
    known = speeds(STUDY, [quick], None)
    assert known.steps == {"scratch": 190.0}
    unlimited = replace(STUDY, finetuning=replace(STUDY.finetuning, epochs=10_000))
    expected = trial_hours(unlimited, Cell(task("WH_vs_ZH"), "none", "scratch", 1000), "search", known).expected
    epochs_each = 5 + 190 / 63
    assert expected == pytest.approx(epochs_each * (2000 + 500 / 3) / known.trained.value / 3600)


def test_a_pretraining_with_a_plateau_rule_may_end_early():
    patient = replace(STUDY, pretraining=replace(STUDY.pretraining, epochs=100, patience=9))
    whole = price(
        replace(patient, pretraining=replace(patient.pretraining, patience=0)), DEFAULT, KNOWN, 0.6
    ).pretraining
    found = price(patient, DEFAULT, KNOWN, 0.6).pretraining
    assert (found.low, found.high) == pytest.approx((0.1 * whole.low, whole.high))
    assert found.low < found.expected == pytest.approx(0.55 * whole.expected)
    twice = replace(patient, pretraining=replace(patient.pretraining, seeds=2))
    assert price(twice, DEFAULT, KNOWN, 0.6).pretraining.expected == pytest.approx(2 * found.expected)


def test_only_the_same_network_batch_and_machine_is_history():
    strange = [record(processor="another"), record(identity={**record()["identity"], "network": {}})]
    assert speeds(STUDY, strange, None) == ELSEWHERE and not ELSEWHERE.trusted
    measured = speeds(STUDY, strange, {"trained": 77.0, "generated": 33.0, "seconds": 20.0})
    assert (measured.trained.value, measured.generated.value) == (77.0, 33.0) and "calibration" in measured.origin
    assert speeds(STUDY, [record()], {"trained": 77.0, "generated": 33.0, "seconds": 20.0}).trained.value != 77.0


def test_speeds_of_two_kernels_are_never_averaged():
    plain = [record(seed=seed, seconds=20.0, kernel="torch") for seed in (1, 2)]
    fused = [record(seed=seed, seconds=5.0, kernel="fused") for seed in (3, 4)]
    both, alone = (speeds(STUDY, found, None) for found in (plain + fused, fused))
    assert both == alone and both.trials["scratch", 100, "confirm"][0] == 5.0
    back = speeds(STUDY, [*fused, *plain, record(seed=5, seconds=21.0, kernel="torch")], None)  # the last decides
    assert back.trials["scratch", 100, "confirm"][2] == 3
    unnamed = speeds(STUDY, [record(seed=6, seconds=9.0), *fused], None)  # an older record is a kernel of its own
    assert unnamed.trials["scratch", 100, "confirm"] == (9.0, 9.0, 1)


def test_each_process_has_its_own_speed_and_interactions_theirs():
    made = {"level": "generation", "outcome": "finished", "events": 100, "processor": provenance.processor()}
    known = speeds(STUDY, [{**made, "process": "WH", "device_seconds": 1.0}, {**made, "process": "ttH", "device_seconds": 10.0}],
                   None)  # fmt: skip
    assert known.processes == {"WH": 100.0, "ttH": 10.0} and known.generated.uncertainty > 0.5
    real = replace(STUDY, generation=Generation(multiparton_interactions=True))
    unknown = speeds(real, [{**made, "process": "WH", "device_seconds": 1.0}], None)
    assert not unknown.trusted and not unknown.processes and unknown.trained == ELSEWHERE.trained


def named(**facts):
    """As a study calls it, begun after any price was made."""
    return {**record(**facts), "network": "", "started": "2999-01-01T00:00:00"}


def test_afterwards_it_says_by_how_much_it_was_wrong():
    expected = price(STUDY, DEFAULT, KNOWN, 0.6)
    of_one = trial_hours(STUDY, Cell(task("WH_vs_ZH"), "none", "scratch", 100), "confirm", KNOWN)
    seconds = 3600 * of_one.expected * 1.5
    records = [named(seconds=seconds) for _ in range(3)] + [named(seconds=999.0, outcome="failed")]
    records += [named(seconds=999.0, size=7)]
    rows = {row["stage"]: row for row in outcome(to_keep(expected), records)}
    assert rows["finetuning"]["off"] == pytest.approx(0.5) and rows.keys() == {"finetuning", "all trainings"}
    assert rows["finetuning"]["expected"] == pytest.approx(3 * of_one.expected)
    searched = [
        named(phase="search", strategy="finetune", seconds=1.0),
        named(phase="search", outcome="stopped", seconds=1.0),
    ]
    rows = {row["stage"]: row for row in outcome(to_keep(expected), [*records, *searched])}
    assert rows["search"]["taken"] == pytest.approx(2 / 3600)
    learnt = {"level": "pretraining", "outcome": "finished", "pretraining": "multiclass", "network": "", "device": "cpu",
              "device_seconds": 3600 * expected.pretraining.expected, "started": "2999"}  # fmt: skip
    rows = {row["stage"]: row for row in outcome(to_keep(expected), [*records, learnt])}
    assert rows["pretraining"]["off"] == pytest.approx(0.0) and rows["pretraining"]["within"]
    scratch_only = replace(STUDY, pretraining=Pretraining(objectives=()))
    assert price(scratch_only, DEFAULT, KNOWN, 0.6).pretraining == NOTHING


def test_what_was_there_before_is_not_held_against_itself():
    """An expectation is made from the trials of before, and agrees with them whatever comes."""
    kept = to_keep(price(STUDY, DEFAULT, KNOWN, 0.6))
    reused = [named() | {"started": "2000-01-01T00:00:00"} for _ in range(9)]
    assert outcome(kept, reused) == []
    assert outcome(kept, [*reused, named()]) == outcome(kept, [named()]) != []


def test_ranges_add_at_their_ends():
    assert Range(2.0, 1.0, 4.0) + Range(1.0, 0.5, 2.0) * 2 == Range(4.0, 2.0, 8.0)


def test_an_unknown_machine_takes_longer_with_multiparton_interactions():
    quick, slow = Study(), Study(generation=Generation(multiparton_interactions=True))
    assert speeds(slow, [], None).generated.value == pytest.approx(speeds(quick, [], None).generated.value / 4)
    assert "multiparton interactions on" in speeds(slow, [], None).origin
