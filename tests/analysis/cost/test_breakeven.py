import math

import numpy as np
import pandas as pd
import pytest

from breakeven.analysis.cost.breakeven import BETTER, SCRATCH, break_even, break_even_table, study_break_even
from breakeven.analysis.cost.charges import HEADLINE, Charge


def test_the_papers_figures_by_the_definition_and_by_its_own_reading() -> None:
    found = break_even(pretraining=45.5, scratch=2.94, finetuning=0.38 * 2.94)
    assert round(found.exact, 2) == 24.96
    assert found.tasks == 25
    assert round(found.published_reading, 1) == 40.7
    assert found.text == "25 tasks"
    assert break_even() == found


@pytest.mark.parametrize("finetuning", [2.94, 3.5])
def test_finetuning_that_saves_nothing_never_pays(finetuning: float) -> None:
    found = break_even(45.5, 2.94, finetuning)
    assert found.exact is None and found.tasks is None
    assert found.text == "never"


@pytest.mark.parametrize(
    ("times", "tasks", "text"),
    [((3.0, 2.0, 1.0), 3, "3 tasks"), ((0.3, 0.2, 0.1), 3, "3 tasks"), ((0.5, 2.0, 1.0), 1, "1 task"),
     ((0.0, 2.0, 1.0), 1, "1 task")],
)  # fmt: skip
def test_whole_numbers_stay_whole(times: tuple[float, float, float], tasks: int, text: str) -> None:
    found = break_even(*times)
    assert (found.tasks, found.text) == (tasks, text)


@pytest.mark.parametrize(
    ("name", "value"), [("pretraining", -1.0), ("scratch", math.nan), ("finetuning", math.inf), ("scratch", -0.1)]
)
def test_impossible_times_are_named(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name}={value}"):
        break_even(**{"pretraining": 1.0, "scratch": 1.0, "finetuning": 0.5, name: value})


def add_task(ledger, task, size, scratch, finetuning, *, seeds=(1, 2), **fields) -> None:
    """Trainings of one task with these device-seconds to the plateau; they end half as much later."""
    for seed in seeds:
        for strategy, seconds in (("scratch", scratch), ("finetune", finetuning)):
            times = {"plateau_seconds": seconds, "device_seconds": 1.5 * seconds}
            ledger.trial(task, strategy, size, seed, 0.8, **{**times, **fields})


def test_a_ledger_with_a_known_answer(ledger) -> None:
    ledger.pretraining(plateau_seconds=7200.0, device_seconds=9000.0)
    add_task(ledger, "stop_vs_ttH", 100, 900.0, 300.0)
    add_task(ledger, "WH_vs_ZH", 100, 700.0, 500.0)
    [row] = study_break_even(ledger.frame()).to_dict("records")
    assert row["exact"] == pytest.approx(7200 / 400)
    assert row["tasks"] == 18 and row["text"] == "18 tasks"
    assert row["pretraining_hours"] == pytest.approx(2.0)
    assert row["scratch_hours"] == pytest.approx(800 / 3600)
    assert row["published_reading"] == pytest.approx(7200 / 400)
    assert (row["n_tasks"], row["n_scratch"], row["n_finetuning"]) == (2, 4, 4)
    assert row["unit"] == "cpu_hours"
    assert row["low"] < row["exact"] < row["high"]
    [total] = study_break_even(ledger.frame(), Charge(time="total")).to_dict("records")
    assert total["exact"] == pytest.approx(9000 / 600)


def test_tasks_have_equal_weight_whatever_their_number_of_seeds(ledger) -> None:
    ledger.pretraining(plateau_seconds=1000.0)
    add_task(ledger, "stop_vs_ttH", 100, 300.0, 100.0, seeds=range(1, 9))
    add_task(ledger, "WH_vs_ZH", 100, 500.0, 100.0, seeds=(1,))
    [row] = study_break_even(ledger.frame()).to_dict("records")
    assert row["exact"] == pytest.approx(1000 / 300)


def test_each_size_and_all_sizes_have_a_row(ledger) -> None:
    ledger.pretraining(plateau_seconds=600.0)
    for size, saving in ((100, 10.0), (1000, 50.0)):
        add_task(ledger, "stop_vs_ttH", size, 100.0 + saving, 100.0)
    found = study_break_even(ledger.frame())
    assert found["size"].tolist()[:2] == [100, 1000] and pd.isna(found["size"].iloc[2])
    assert found["exact"].tolist() == pytest.approx([60.0, 12.0, 20.0])


def test_a_task_without_its_counterpart_does_not_count(ledger) -> None:
    ledger.pretraining(plateau_seconds=600.0)
    add_task(ledger, "stop_vs_ttH", 100, 110.0, 100.0)
    ledger.trial("WH_vs_ZH", "scratch", 100, 1, 0.5, plateau_seconds=9999.0)
    ledger.trial("WH_vs_ZH", "finetune", 100, 1, 0.5, outcome="failed", plateau_seconds=1.0)
    [row] = study_break_even(ledger.frame()).to_dict("records")
    assert row["exact"] == pytest.approx(60.0) and row["n_tasks"] == 1
    assert math.isnan(row["low"]), "one task alone has no interval over tasks"


def test_search_trials_are_not_charged_as_trainings(ledger) -> None:
    ledger.pretraining(plateau_seconds=600.0)
    add_task(ledger, "stop_vs_ttH", 100, 110.0, 100.0)
    ledger.trial("stop_vs_ttH", "finetune", 100, 1_000_001, 0.9, phase="search", plateau_seconds=1.0)
    assert study_break_even(ledger.frame())["exact"].iloc[0] == pytest.approx(60.0)


@pytest.mark.parametrize(
    ("finetuning", "low", "said"),
    [((120.0, 130.0), "some", "not shown"), ((120.0, 120.0), "inf", "never"), ((120.0,), "nan", "never")],
)
def test_a_mean_that_saves_nothing_is_never_only_with_the_whole_of_its_interval(ledger, finetuning, low, said) -> None:
    ledger.pretraining(plateau_seconds=600.0)
    for task, seconds in zip(("stop_vs_ttH", "WH_vs_ZH"), finetuning, strict=False):
        add_task(ledger, task, 100, 100.0, seconds)
    [row] = study_break_even(ledger.frame()).to_dict("records")
    assert pd.isna(row["tasks"]) and row["text"] == said
    assert ("some" if math.isfinite(row["low"]) else str(row["low"])) == low and not math.isfinite(row["high"])


def test_a_training_without_plateau_is_charged_to_its_end_and_counted(ledger) -> None:
    ledger.pretraining(device_seconds=600.0)
    ledger.trial("stop_vs_ttH", "scratch", 100, 1, 0.8, device_seconds=30.0)
    ledger.trial("stop_vs_ttH", "finetune", 100, 1, 0.8, device_seconds=40.0, plateau_seconds=10.0)
    [row] = study_break_even(ledger.frame()).to_dict("records")
    assert row["exact"] == pytest.approx(600 / 20)
    assert row["n_without_plateau"] == 1 and row["note"].startswith(
        "1 training without a plateau: charged until the end"
    )
    assert row["pretraining_to_end"]
    assert "the pretraining reached no plateau: charged for all its epochs" in row["note"]
    [total] = study_break_even(ledger.frame(), Charge(time="total")).to_dict("records")
    assert not total["pretraining_to_end"] and "plateau" not in total["note"], "all are charged until the end"


def test_hours_of_two_kinds_of_device_are_not_mixed(ledger) -> None:
    ledger.pretraining(device="cuda", plateau_seconds=600.0)
    add_task(ledger, "stop_vs_ttH", 100, 110.0, 100.0)
    [row] = study_break_even(ledger.frame()).to_dict("records")
    assert math.isnan(row["exact"]) and pd.isna(row["tasks"])
    assert row["text"] == "no figure" and "not mixed" in row["note"] and "cuda" in row["note"]


def test_gpu_hours_only_where_there_was_a_gpu(ledger) -> None:
    ledger.pretraining(device="cuda", plateau_seconds=600.0)
    add_task(ledger, "stop_vs_ttH", 100, 110.0, 100.0, device="cuda")
    assert study_break_even(ledger.frame())["unit"].tolist() == ["gpu_hours"]


def test_the_pretraining_counts_whose_backbone_was_used(ledger) -> None:
    ledger.pretraining(plateau_seconds=600.0, backbone="used")
    ledger.pretraining(plateau_seconds=9000.0, backbone="another")
    add_task(ledger, "stop_vs_ttH", 100, 110.0, 100.0, backbone="used")
    assert study_break_even(ledger.frame())["exact"].tolist() == pytest.approx([60.0])


def test_a_pretraining_is_charged_with_what_it_started_from(ledger) -> None:
    """First 2 h, then 1 h on its backbone; a task saves 0.5 h: 2 / 0.5 and 3 / 0.5 tasks, 4 h of events read by either."""
    for process in ("ttH", "WH"):
        ledger.generation(process, dataset=f"d-{process}", device_seconds=7200.0)
    ledger.pretraining("first", backbone="b1", dataset="d-ttH", device_seconds=7200.0)
    ledger.pretraining("second", backbone="b2", start="b1", dataset="d-WH", device_seconds=3600.0)
    ledger.trial("WH_vs_ZH", "scratch", 100, 1, 0.6, device_seconds=3600.0, plateau_seconds=3600.0)
    for name, backbone in (("first", "b1"), ("second", "b2")):
        ledger.trial("WH_vs_ZH", "finetune", 100, 1, 0.7, pretraining=name, backbone=backbone, device_seconds=1800.0,
                     plateau_seconds=1800.0)  # fmt: skip
    alone = study_break_even(ledger.frame()).set_index("pretraining")
    assert alone["pretraining_hours"].to_dict() == {"first": 2.0, "second": 3.0}
    assert alone["tasks"].to_dict() == {"first": 4, "second": 6}
    events = study_break_even(ledger.frame(), Charge(generation=True)).set_index("pretraining")
    assert events["pretraining_hours"].to_dict() == {"first": 4.0, "second": 7.0}


def test_no_finished_pretraining_gives_no_figure(ledger) -> None:
    ledger.pretraining(outcome="failed", plateau_seconds=600.0)
    add_task(ledger, "stop_vs_ttH", 100, 110.0, 100.0)
    [row] = study_break_even(ledger.frame()).to_dict("records")
    assert row["text"] == "no figure" and "no finished pretraining" in row["note"]


def test_an_unknown_time_names_the_choices(ledger) -> None:
    ledger.pretraining(plateau_seconds=600.0)
    add_task(ledger, "stop_vs_ttH", 100, 110.0, 100.0)
    with pytest.raises(ValueError, match="'plateau'"):
        study_break_even(ledger.frame(), Charge(time="wall"))


def test_an_empty_ledger_and_a_foreign_frame(ledger) -> None:
    assert study_break_even(ledger.frame()).empty
    with pytest.raises(ValueError, match="'level'"):
        study_break_even(pd.DataFrame({"a": [1]}))


def add_trees(ledger, task, size, seconds, validation, *, seeds=(1, 2), **fields) -> None:
    for seed in seeds:
        ledger.trial(task, "trees", size, seed, 0.5, pretraining="none", validation_accuracy=validation,
                     device_seconds=seconds, plateau_seconds=seconds, kernel="scikit-learn", **fields)  # fmt: skip


def test_the_better_baseline_is_chosen_on_validation_events_and_charged_with_its_own_time(ledger) -> None:
    """Trees are better for stop (validation .9 against .8), worse for WH (.7), whatever the test events say."""
    ledger.pretraining(device_seconds=720.0)
    for task, trees in (("stop_vs_ttH", 0.9), ("WH_vs_ZH", 0.7)):
        add_task(ledger, task, 100, 200.0, 100.0, device_seconds=0.0)
        add_trees(ledger, task, 100, 2.0, trees)
    frame = ledger.frame()
    trained = frame["device_seconds"] == 0.0
    frame["device_seconds"] = frame["device_seconds"].mask(trained, frame["plateau_seconds"])
    alone, better = (
        study_break_even(frame, HEADLINE, baseline=name).to_dict("records")[0] for name in (SCRATCH, BETTER)
    )
    assert alone["exact"] == pytest.approx(720 / 100) and (alone["n_trees"], alone["n_saving"]) == (0, 2)
    assert 3600 * better["scratch_hours"] == pytest.approx((2.0 + 200.0) / 2)
    assert better["exact"] == pytest.approx(720 / ((-98.0 + 100.0) / 2)) and better["n_saving"] == 1
    assert better["n_trees"] == 1 and better["note"] == "trees are the better baseline in 1 of 2 cells"
    swapped = frame.assign(test_accuracy=1.0 - frame["test_accuracy"])
    assert study_break_even(swapped, HEADLINE, baseline=BETTER)["exact"].tolist() == [better["exact"]]


def test_the_better_baseline_of_equals_is_the_cheaper_and_of_one_that_one(ledger) -> None:
    ledger.pretraining(device_seconds=720.0)
    add_task(ledger, "stop_vs_ttH", 100, 200.0, 100.0)
    add_trees(ledger, "stop_vs_ttH", 100, 2.0, 0.8)
    [row] = study_break_even(ledger.frame(), baseline=BETTER).to_dict("records")
    assert row["n_trees"] == 1 and row["text"] == "never"
    frame = ledger.frame()
    [row] = study_break_even(frame[frame["strategy"] != "trees"], baseline=BETTER).to_dict("records")
    assert row["n_trees"] == 0 and row["exact"] == pytest.approx(720 / 100)
    [row] = study_break_even(frame[frame["strategy"] != "scratch"], baseline=BETTER).to_dict("records")
    assert row["n_trees"] == 1 and row["text"] == "never"


def test_the_better_baseline_stands_in_the_table_only_where_there_are_trees(ledger) -> None:
    ledger.pretraining(device_seconds=720.0)
    add_task(ledger, "stop_vs_ttH", 100, 200.0, 100.0)
    assert set(break_even_table(ledger.frame())["baseline"]) == {SCRATCH}
    add_trees(ledger, "stop_vs_ttH", 100, 2.0, 0.9)
    found = break_even_table(ledger.frame())
    assert set(found["baseline"]) == {SCRATCH, BETTER}
    published = found[found["charged"] == "until the plateau"]
    assert published["baseline"].tolist() == [SCRATCH], "the paper's definition knows no trees"


def test_one_backbone_is_paid_for_however_many_were_trained(ledger) -> None:
    """Three backbones of one name, 600, 720 and 840 s: T_pre is their mean, and what they differ in widens the interval."""
    seconds = {"b1": 600.0, "b2": 720.0, "b3": 840.0}
    for backbone, time in seconds.items():
        ledger.pretraining(backbone=backbone, device_seconds=time)
    for task, scratch in (("stop_vs_ttH", 200.0), ("WH_vs_ZH", 210.0)):
        for seed, backbone in enumerate(seconds, start=1):
            ledger.trial(task, "scratch", 100, seed, 0.8, device_seconds=scratch)
            ledger.trial(task, "finetune", 100, seed, 0.8, device_seconds=100.0, backbone=backbone)
    [row] = study_break_even(ledger.frame(), HEADLINE).to_dict("records")
    assert 3600 * row["pretraining_hours"] == pytest.approx(720.0) and row["n_backbones"] == 3
    assert row["exact"] == pytest.approx(720 / 105)
    one = ledger.frame().assign(backbone="b2")
    [alone] = study_break_even(
        one[(one["level"] != "pretraining") | (one["device_seconds"] == 720.0)], HEADLINE
    ).to_dict("records")
    assert alone["exact"] == pytest.approx(row["exact"]) and alone["n_backbones"] == 1
    # Trials alike: seeds alone leave nothing open, backbones do, by Student's t of 105 s / T_pre.
    gains = np.array([105.0 / time for time in seconds.values()])
    half_width = 2.919986 * gains.std(ddof=1) / math.sqrt(3)
    assert alone["low_seeds"] == pytest.approx(alone["exact"]) == alone["high_seeds"]
    assert row["low_seeds"] == pytest.approx(1 / (105 / 720 + half_width), rel=1e-6)
    assert row["high_seeds"] == pytest.approx(1 / (105 / 720 - half_width), rel=1e-6)
    assert row["low"] < alone["low"] < alone["high"] < row["high"]
