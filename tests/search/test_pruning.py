"""Pruned search trials: the rule, the queue that applies it, and what becomes of a search where it did."""

import math
from dataclasses import replace

import pytest
from queues import came_back, filled, next_trial

from breakeven.ledger.ledger import Ledger, now
from breakeven.search import open_storage
from breakeven.search.pruning import limits
from breakeven.study.plan import Ingredients
from breakeven.study.spec import Finetuning, Pretraining, Search, Study

EPOCHS = 9
STUDY = Study(
    pretraining=Pretraining(objectives=("multiclass",)),
    finetuning=Finetuning(tasks=("WH_vs_ZH",), strategies=("finetune",), sizes=(100,), seeds=2, epochs=EPOCHS, steps=0),
    search=Search(strategies=("finetune",), trials=12, seeds=2),
)
MADE_OF = Ingredients({"WH": "WH", "ZH": "ZH"}, {"multiclass": ("b",)})


def test_the_limit_is_the_median_of_the_best_so_far_after_a_third_of_the_epochs():
    falling, rising, short = [6.0, 5.0, 4.0, 3.0, 2.0, 1.0], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [3.0, 2.5]
    found = limits([falling, rising, short], epochs=6)
    assert found == (math.inf, math.inf, 2.5, 2.5, 2.0, 1.0)
    assert limits([falling], epochs=6) == ()  # one curve is no median
    warmed = limits([falling, rising, short], epochs=6, warmup=3)  # half of them made three epochs after it
    assert warmed == (math.inf, math.inf, math.inf, math.inf, 2.0, 1.0)
    assert limits([falling, rising, short], epochs=6, warmup=6) == (math.inf,) * 6


def new_queue(folder, study=STUDY):
    return filled(study, MADE_OF, Ledger(folder / "ledger").refresh(), open_storage(folder / "optuna.journal"))


def work(queue, most=10_000):
    """Train as a worker does, by a formula whose best ratio is 0.4; returns outcome and epochs of each trial."""
    done = []
    while not queue.finished and len(done) < most:
        trial = next_trial(queue)
        end = 0.5 + math.log(trial.ratio / 0.4) ** 2
        stops = queue.allocator.limits(trial.hash)
        curve = []
        for epoch in range(EPOCHS):
            curve.append({"epoch": epoch, "validation_loss": end + 1.0 / (1 + epoch)})
            if epoch < len(stops) - 1 and curve[-1]["validation_loss"] > stops[epoch]:
                break
        outcome = "finished" if len(curve) == EPOCHS else "stopped"
        queue.ledger.write([{
            "level": "trial", "record": trial.hash, "outcome": outcome, "phase": trial.phase, "device": "cpu", "curve": curve,
            "device_seconds": 1.0 * len(curve), "started": now(), "ended": now(), "ratio": trial.ratio,
            "validation_loss": min(epoch["validation_loss"] for epoch in curve),
        }])  # fmt: skip
        assert came_back(queue, trial)
        done.append((trial.hash, outcome, len(curve)))
    return done


def test_pruning_saves_epochs_and_finds_the_same_ratio(tmp_path):
    pruned, whole = (
        new_queue(tmp_path / "pruned"),
        new_queue(tmp_path / "whole", replace(STUDY, search=replace(STUDY.search, pruning=False))),
    )
    done, all_done = work(pruned), work(whole)
    assert {outcome for _, outcome, _ in all_done} == {"finished"}
    assert sum(epochs for *_, epochs in done) < sum(epochs for *_, epochs in all_done)
    stopped = [name for name, outcome, _ in done if outcome == "stopped"]
    assert stopped and all(pruned.trials[name].phase == "search" for name in stopped)
    for queue in (pruned, whole):
        (ratio,) = (ratio for cell, ratio in queue.allocator.ratios.items() if cell.strategy == "finetune")
        assert ratio == pytest.approx(0.4, rel=0.3)
        ledger = Ledger(queue.ledger.folder).refresh()
        best = min((r for r in ledger.records() if r["outcome"] == "finished" and r["phase"] == "search"),
                   key=lambda r: r["validation_loss"])  # fmt: skip
        assert ratio == best["ratio"]  # a pruned ratio never wins
    assert work(new_queue(tmp_path / "pruned")) == []  # and is never trained again


@pytest.mark.parametrize("killed_after", [3, 11, 20])
def test_a_killed_search_prunes_what_it_would_have_pruned(tmp_path, killed_after):
    quiet = work(new_queue(tmp_path / "quiet"))
    killed = work(new_queue(tmp_path / "killed"), most=killed_after) + work(new_queue(tmp_path / "killed"))
    assert sorted(killed) == sorted(quiet)


def test_without_pruning_what_was_pruned_is_trained_to_its_end(tmp_path):
    stopped = {name for name, outcome, _ in work(new_queue(tmp_path)) if outcome == "stopped"}
    again = new_queue(tmp_path, replace(STUDY, search=replace(STUDY.search, pruning=False)))
    finished = {name for name, outcome, _ in work(again) if outcome == "finished"}
    assert stopped & {name for name in again.trials} <= finished
    assert all(again.ledger.finished(name) for name in again.trials)
