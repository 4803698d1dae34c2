"""Counts, pace, cost and time left over records whose figures are known."""

import random
from datetime import UTC, datetime, timedelta

import pytest

from breakeven.ledger.charge import Spent
from breakeven.study.plan import Ingredients, cells, trial, trials_of
from breakeven.study.spec import Finetuning, Pretraining, Search, Study
from breakeven.views import progress as progress_module
from breakeven.views.progress import Progress

STUDY = Study(
    pretraining=Pretraining(objectives=("multiclass",)),
    finetuning=Finetuning(tasks=("WH_vs_ZH",), strategies=("finetune",), sizes=(100, 300), seeds=2),
    search=Search(strategies=("finetune",), trials=3),
)
MADE_OF = Ingredients({"WH": "w", "ZH": "z"}, {"multiclass": ("b",)})
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def at(seconds):
    return (NOON + timedelta(seconds=seconds)).isoformat()


def record(cell, phase, seed, begin, end, outcome="finished", **facts):
    one = trial(STUDY, cell, phase, seed, 0.1, MADE_OF)
    return {"level": "trial", "record": one.hash, "outcome": outcome, "phase": phase, "cell": cell.name,
            "task": cell.task.name, "network": "", "pretraining": cell.pretraining, "size": cell.size,
            "strategy": cell.strategy, "seed": seed, "ratio": 0.1, "identity": one.identity, "device": "cpu",
            "device_seconds": float(end - begin), "wall_seconds": float(end - begin), "started": at(begin),
            "ended": at(end), **facts}  # fmt: skip


def standing(*records, now=0.0):
    counted = Progress(STUDY)
    for one in records:
        counted.add(one)
    return counted.standing((NOON + timedelta(seconds=now)).timestamp())


def all_records(seconds=10):
    """Every trial of the study, one after another, each of `seconds`."""
    made = []
    for cell in cells(STUDY):
        for phase, count in trials_of(STUDY, cell).items():
            for seed in range(count):
                made.append(record(cell, phase, seed, seconds * len(made), seconds * (len(made) + 1)))
    return made


def test_a_study_that_has_not_begun():
    state = standing()
    assert (state.cells, state.cells_done, state.total, state.done, state.left) == (4, 0, 8 + 6, 0, 14)
    assert state.rate == 0.0 and state.left_seconds is None and state.work_seconds > 0 and not state.spent
    assert "as long as their events take" in state.how and "none has ended lately" in state.how


def test_a_study_from_beginning_to_end():
    records = all_records()
    counted = Progress(STUDY)
    done = []
    for one in records:
        counted.add(one)
        done.append(counted.standing(NOON.timestamp()))
    assert [one.done for one in done] == list(range(1, 15)) and [one.left for one in done] == list(range(13, -1, -1))
    assert [one.cells_done for one in done][-1] == 4 and done[1].cells_done == 1  # two seeds, from scratch, at 300
    assert done[-1].left_seconds == 0.0 and done[-1].how == "nothing is left"
    assert done[-1].spent == {"cpu": Spent(useful=80.0, search=60.0)}
    assert [one["record"] for one in done[-1].latest] == [one["record"] for one in reversed(records[-5:])]


def test_pace_and_time_left_of_two_workers():
    """Each of two workers takes 10 s a trial; what is left is 10 trials like those before."""
    records = all_records()
    for number, one in enumerate(records):
        one |= {"started": at(10 * (number // 2)), "ended": at(10 * (number // 2) + 10)}
    by_kind = sorted(records, key=lambda one: one["seed"])  # one of each kind first
    for number, one in enumerate(by_kind):
        one |= {"started": at(10 * (number // 2)), "ended": at(10 * (number // 2) + 10)}
    state = standing(*by_kind[:6], now=30)
    assert {(one["cell"], one["phase"]) for one in by_kind[:6]} == {(one["cell"], one["phase"]) for one in records}
    assert state.rate == pytest.approx(12.0)
    assert state.work_seconds == pytest.approx(80.0) and state.left_seconds == pytest.approx(40.0)
    assert state.how == "8 trials, each as long as those like them have taken; 2.0 at once as in the last 30 s"


def test_kinds_that_have_not_run_yet_are_told():
    cell = cells(STUDY)[0]
    state = standing(record(cell, "confirm", 1, 0, 10), now=10)
    assert "13 trials" in state.how and "(12 of a kind that has not run yet" in state.how


def test_what_was_before_a_break_says_nothing_of_the_speed():
    records = all_records()
    early = [{**one, "started": at(-300), "ended": at(-290)} for one in records[:6]]
    late = [{**one, "started": at(0), "ended": at(10)} for one in records[6:8]]
    state = standing(*early, *late, now=10)
    assert state.rate == pytest.approx(12.0) and "2.0 at once" in state.how


def test_nothing_ended_lately():
    state = standing(*all_records()[:6], now=86_400)
    assert state.rate == 0.0 and state.left_seconds is None and state.done == 6


def test_long_trials_are_lately_for_longer():
    hours = 5 * 3600
    state = standing(*(one for one in all_records(hours)[:4]), now=4 * hours + 3600)
    assert state.rate == pytest.approx(60 * 3 / (3 * hours)) and state.left_seconds == pytest.approx(state.work_seconds)


def test_a_worker_whose_clock_is_ahead():
    state = standing(*all_records()[:2], now=-1000)
    assert state.rate == pytest.approx(6.0)


def test_failed_and_pruned_trials_are_done_and_no_result():
    (scratch, finetune, *_) = cells(STUDY)
    state = standing(
        record(scratch, "confirm", 1, 0, 8, "failed", reason="NonFinite: loss"), record(scratch, "confirm", 2, 8, 16),
        record(finetune, "search", 1, 16, 18, "stopped"),
    )  # fmt: skip
    assert (state.done, state.failed, state.stopped, state.cells_done) == (3, 1, 1, 1)
    assert state.spent == {"cpu": Spent(useful=8.0, wasted=8.0, stopped=2.0)}
    assert state.failure == f"{scratch.name} seed 1: NonFinite: loss"


def test_other_cells_and_other_ratios_cost_but_are_no_progress():
    counted = Progress(STUDY)
    cell = cells(STUDY)[1]
    for seed in (1, 2, 3):  # confirmed at a second ratio: one more than the study asks for
        counted.add(record(cell, "confirm", seed, 0, 10))
    counted.add({**record(cell, "confirm", 1, 0, 10), "cell": "ttW_vs_ttt/none/scratch/7", "device": "cuda"})
    state = counted.standing(NOON.timestamp())
    assert state.done == 2 and state.spent == {"cpu": Spent(useful=30.0), "cuda": Spent(useful=10.0)}


def test_records_may_come_in_any_order():
    records = all_records()
    shuffled = random.Random(1).sample(records[:9], 9)
    assert standing(*shuffled, now=100) == standing(*records[:9], now=100)


def test_memory_stays_flat():
    counted = Progress(STUDY)
    for cell in cells(STUDY):
        counted._open[cell.name, "confirm"] = 10_000
        for number in range(progress_module._RECENT):
            counted.add({**record(cell, "confirm", 1, number, number + 10), "record": f"{cell.name} {number}"})
    assert len(counted._recent) == progress_module._RECENT and len(counted._latest) == progress_module._SHOWN
