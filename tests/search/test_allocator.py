"""Allocators: the order of what waits, and a queue whose allocator does not know how many trials there will be."""

import math
from dataclasses import replace

from queues import next_trial

from breakeven.ledger.ledger import Ledger, now
from breakeven.search import SearchThenConfirm, TrialQueue, largest_first, most_telling_first, open_storage
from breakeven.study.plan import Cell, Ingredients, trial
from breakeven.study.spec import Finetuning, Pretraining, Search, Study, task

STUDY = Study(
    pretraining=Pretraining(objectives=("multiclass",)),
    finetuning=Finetuning(tasks=("WH_vs_ZH",), strategies=("finetune",), sizes=(100, 300), seeds=3),
    search=Search(trials=2),
)
MADE_OF = Ingredients({"WH": "WH", "ZH": "ZH"}, {"multiclass": ("b",)})


def outcome(one, loss=0.5):
    return {"level": "trial", "record": one.hash, "outcome": "finished", "device": "cpu", "device_seconds": 1.0,
            "started": now(), "ended": now(), "validation_loss": loss, "ratio": one.ratio}  # fmt: skip


def test_it_names_all_that_waits_for_nothing_and_then_what_outcomes_lead_to() -> None:
    known = {}
    allocator = SearchThenConfirm(STUDY, MADE_OF, open_storage(None))
    first = allocator.next(None, known.get)
    assert allocator.total == 2 * 2 * (3 + 2) and {one.phase for one in first} == {"search"}
    assert {(one.cell.strategy, one.ratio) for one in first} == {("scratch", 1.0), ("finetune", 0.1)}
    assert len(first) == 2 * 2 and allocator.ratios == {}
    search = first[0]
    assert allocator.next(search, known.get) == []  # nothing has an outcome yet
    known[search.hash] = outcome(search)
    (second,) = allocator.next(search, known.get)
    assert second.phase == "search" and second.cell == search.cell and second.ratio != search.ratio
    known[second.hash] = outcome(second, loss=0.4)
    confirming = allocator.next(second, known.get)
    assert [one.seed for one in confirming] == [1, 2, 3] and {one.ratio for one in confirming} == {second.ratio}
    assert allocator.ratios[second.cell] == second.ratio and allocator.next(confirming[0], known.get) == []


def test_orders() -> None:
    large, small = (
        trial(STUDY, Cell(task("WH_vs_ZH"), "none", "scratch", size), "confirm", 3, 1.0, MADE_OF) for size in (300, 100)
    )
    search = replace(large, phase="search")
    assert sorted([small, large, search], key=largest_first) == [search, large, small]
    assert sorted([large, small, replace(small, seed=1)], key=most_telling_first(STUDY))[0].seed == 1


class UntilItIsGood:
    """One seed after another of one cell, until a loss is below 0.2: nobody knows before how many that takes."""

    total, order = None, staticmethod(largest_first)

    def next(self, ended, outcomes):
        if ended is not None and outcomes(ended.hash)["validation_loss"] < 0.2:
            return []
        seed = 1 if ended is None else ended.seed + 1
        return [trial(STUDY, Cell(task("WH_vs_ZH"), "none", "scratch", 100), "confirm", seed, 1.0, MADE_OF)]

    def limits(self, trial_hash):
        return ()


def test_a_queue_whose_total_is_unknown_ends_where_its_allocator_does(tmp_path) -> None:
    def run():
        queue = TrialQueue(STUDY, UntilItIsGood(), Ledger(tmp_path).refresh()).fill()
        trained = []
        while not queue.finished:
            one = next_trial(queue)
            trained.append(one.seed)
            queue.ledger.write([outcome(one, loss=1 / one.seed)])
            assert queue.total is None and queue.pack_came_back([one.hash]) == []
        return trained, queue.done

    assert run() == ([1, 2, 3, 4, 5, 6], 6)
    assert run() == ([], 6)


def test_an_empty_queue_reads_and_writes_nothing(tmp_path) -> None:
    allocator = SearchThenConfirm(STUDY, MADE_OF, open_storage(tmp_path / "optuna.journal"))
    before = sorted(tmp_path.rglob("*"))
    queue = TrialQueue(STUDY, allocator, Ledger(tmp_path / "ledger"))
    assert queue.trials == {} and sorted(tmp_path.rglob("*")) == before and math.isfinite(queue.total)
