"""A queue with a budget: what it leaves out, and that the next one goes on there."""

from dataclasses import replace

import pytest
from queues import filled, made_of, on_jets

from breakeven.estimate.budget import Budget
from breakeven.ledger.ledger import Ledger, now
from breakeven.search import open_storage
from breakeven.study.spec import Finetuning, Pretraining, Search, Study

STUDY = Study(
    pretraining=Pretraining(objectives=("multiclass",)),
    finetuning=Finetuning(tasks=("WH_vs_ZH", "stop_vs_ttH"), strategies=("finetune",), sizes=(100, 1000), seeds=5, steps=0),
    search=Search(trials=2),
)  # fmt: skip


@pytest.fixture(params=[STUDY, on_jets(STUDY)], ids=["whole events", "jets"])
def study(request):
    """8 cells, 40 trials and 16 of the search."""
    return request.param


def new_queue(folder, study, budget=None):
    ledger = Ledger(folder / "ledger").refresh()
    return filled(study, made_of(study), ledger, open_storage(folder / "journal"), budget=budget)


def seconds(trial):
    return trial.cell.size / 100


def work(queue, workers=2):
    """Train in packs until the queue is done; the device-seconds that it took."""
    out, spent = [], 0.0
    while not queue.finished:
        while len(out) < workers and (pack := queue.next_pack(workers=workers)):
            out.append(pack)
        pack = out.pop(0)
        for one in pack:
            spent += seconds(one)
            queue.charge(seconds(one))
            queue.ledger.write([{
                "level": "trial", "record": one.hash, "outcome": "finished", "phase": one.phase, "device": "cpu",
                "device_seconds": seconds(one), "started": now(), "ended": now(), "validation_loss": 0.5, "curve": [],
            }])  # fmt: skip
        queue.pack_came_back([one.hash for one in pack])
    return spent


def whole(folder, study):
    return work(new_queue(folder / "whole", study))


@pytest.mark.parametrize("part", [0.1, 0.4, 0.8])
def test_it_ends_within_the_budget_and_the_next_goes_on(tmp_path, study, part):
    everything = whole(tmp_path, study)
    queue = new_queue(tmp_path, study, Budget(part * everything))
    spent = work(queue)
    assert queue.out_of_budget and queue.finished and spent <= part * everything + 10.0
    assert spent >= part * everything - 20.0  # two packs of the largest that no longer fit
    assert 0 < sum(queue.missing().values()) <= 5 * 8
    last = new_queue(tmp_path, study, Budget(2 * everything))
    assert work(last) == pytest.approx(everything - spent)
    assert not last.out_of_budget and last.missing() == {}


def test_the_cells_are_as_even_as_the_budget_lets_them(tmp_path, study):
    queue = new_queue(tmp_path, study, Budget(0.75 * whole(tmp_path, study)))
    work(queue)
    missing = queue.missing()
    done = {cell.name: 5 - missing.get(cell.name, 0) for cell in {one.cell for one in queue.trials.values()}}
    assert min(number for name, number in done.items() if name.endswith("/100")) >= 2
    assert max(done.values()) > min(done.values())  # and what is missing are seeds of the dear ones
    assert {name.rpartition("/")[2] for name in missing} == {"1000"}


def test_without_a_budget_nothing_is_missing(tmp_path, study):
    queue = new_queue(tmp_path, replace(study, search=Search(trials=0)))
    assert len(queue.missing()) == 8
    work(queue)
    assert queue.missing() == {} and not queue.out_of_budget


def test_a_part_of_a_gpu_spends_a_part_of_the_time(tmp_path):
    """Trials of ten seconds on a quarter of a GPU: four times as many fit as by the clock."""
    queue = new_queue(tmp_path, STUDY, Budget(100.0))
    done = 0
    while not queue.finished:
        for one in (pack := queue.next_pack()):
            done += 1
            queue.charge(2.5)
            queue.ledger.write([{
                "level": "trial", "record": one.hash, "outcome": "finished", "phase": one.phase, "device": "cuda",
                "device_seconds": 2.5, "wall_seconds": 10.0, "started": now(), "ended": now(), "validation_loss": 0.5,
                "curve": [],
            }])  # fmt: skip
        queue.pack_came_back([one.hash for one in pack])
    assert queue.out_of_budget and done >= 36
