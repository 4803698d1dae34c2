"""The queue of trials against a real ledger and a real Optuna journal; the trainer is a formula."""

import math
import re
import time
from collections import deque
from dataclasses import replace

import pytest
from queues import Heard, came_back, filled, made_of, next_trial, on_jets, take

from breakeven.ledger.lease import Leases
from breakeven.ledger.ledger import Ledger, now
from breakeven.search import MAX_LOST, PACK_TRIALS, RatioSearch, open_storage
from breakeven.search import queue as search_module
from breakeven.search.ratio import Outcome
from breakeven.study.plan import space
from breakeven.study.spec import Finetuning, Pretraining, Search, Study

STUDY = Study(
    pretraining=Pretraining(objectives=("multiclass",)),
    finetuning=Finetuning(tasks=("WH_vs_ZH", "stop_vs_ttH"), strategies=("finetune",), sizes=(100, 300), seeds=2,
                          epochs=8, steps=200, patience=5, patience_steps=0, slow_start=1, warmup_steps=0, symmetries=False),
    search=Search(trials=4, seeds=2),
)  # fmt: skip


@pytest.fixture(params=[STUDY, on_jets(STUDY)], ids=["whole events", "jets"])
def study(request):
    """8 cells, 48 trials."""
    return request.param


def outcome(trial, best=0.4):
    loss = 0.5 + math.log(trial.ratio / best) ** 2 + 1e-3 * (trial.seed % 7)
    return {"level": "trial", "record": trial.hash, "outcome": "finished", "device": "cpu", "device_seconds": 1.0,
            "started": now(), "ended": now(), "validation_loss": loss, "ratio": trial.ratio}  # fmt: skip


def new_queue(folder, study=STUDY, **more):
    ledger = Ledger(folder / "ledger").refresh()
    return filled(study, made_of(study), ledger, open_storage(folder / "optuna.journal"), **more)


def work(queue, most=10_000):
    """Train up to `most` trials, two at a time, newest back first; returns them."""
    trained, out = [], []
    while not queue.finished and len(trained) < most:
        while len(out) < 2 and (trial := next_trial(queue)):
            out.append(trial)
        trial = out.pop()
        queue.ledger.write([outcome(trial)])
        assert came_back(queue, trial)
        trained.append(trial)
    return trained


def drivers(folder, monkeypatch, study=STUDY, n=2):
    """Queues of several drivers of one study: the first writes a journal, the others remember nothing."""
    monkeypatch.setattr(search_module, "LOOK_SECONDS", 0.0)
    for number in range(n):
        leases = Leases(folder / "ledger", beat_seconds=0.02).__enter__()
        storage = open_storage(folder / "optuna.journal" if number == 0 else None)
        yield filled(study, made_of(study), Ledger(folder / "ledger").refresh(), storage, leases=leases)


def finish(queue, trial):
    queue.ledger.write([outcome(trial)])
    assert came_back(queue, trial)


def test_every_trial_is_trained_once_and_ratios_are_searched(tmp_path, study):
    queue = new_queue(tmp_path, study)
    trained = work(queue)
    assert len(trained) == queue.total == queue.done == 2 * 4 * (2 + 4 * 2)
    assert len({trial.hash for trial in trained}) == len(trained)
    for cell, ratio in queue.allocator.ratios.items():
        tried = {t.ratio for t in trained if t.cell == cell and t.phase == "search"}
        assert len(tried) == 4 and space(study, cell).published in tried
        assert ratio == min(tried, key=lambda r: abs(math.log(r / 0.4)))
        assert {t.ratio for t in trained if t.cell == cell and t.phase == "confirm"} == {ratio}


def test_the_published_ratio_comes_first(tmp_path):
    queue = new_queue(tmp_path)
    first = next_trial(queue)
    assert first.phase == "search" and first.ratio == space(STUDY, first.cell).published and first.cell.size == 300


def test_a_second_run_trains_nothing(tmp_path, study):
    work(new_queue(tmp_path, study))
    heard = Heard()
    again = new_queue(tmp_path, study, observer=heard)
    assert again.finished and next_trial(again) is None
    assert len(heard.names) == len(set(heard.names)) == again.total == again.done


def test_a_lost_journal_is_rebuilt_from_the_ledger(tmp_path, study):
    first = new_queue(tmp_path, study)
    work(first)
    (tmp_path / "optuna.journal").unlink()
    again = new_queue(tmp_path, study)
    assert again.finished and again.allocator.ratios == first.allocator.ratios


@pytest.mark.parametrize(
    ("study", "stop_after"), [(STUDY, 1), (STUDY, 7), (STUDY, 20), (STUDY, 40), (on_jets(STUDY), 20)]
)
def test_a_killed_driver_goes_on_as_if_it_had_lived(tmp_path, study, stop_after):
    whole = new_queue(tmp_path / "whole", study)
    work(whole)
    before = work(new_queue(tmp_path / "cut", study), most=stop_after)
    queue = new_queue(tmp_path / "cut", study)
    after = work(queue)
    assert len({t.hash for t in before} | {t.hash for t in after}) == len(before) + len(after) == queue.total
    assert queue.allocator.ratios == whole.allocator.ratios


def test_a_larger_study_trains_only_what_is_new(tmp_path, study):
    work(new_queue(tmp_path, study))
    larger = replace(study, finetuning=replace(study.finetuning, seeds=3))
    new = work(new_queue(tmp_path, larger))
    assert {t.seed for t in new} == {3} and len(new) == 8


def test_a_failed_proposal_never_wins_and_the_search_goes_on(tmp_path):
    queue = new_queue(tmp_path)
    while not queue.finished:
        trial = next_trial(queue)
        result = outcome(trial)
        if trial.phase == "search" and trial.ratio == 0.1:
            result |= {"outcome": "failed", "reason": "loss is nan", "validation_loss": None}
        queue.ledger.write([result])
        came_back(queue, trial)
    assert all(ratio != 0.1 for cell, ratio in queue.allocator.ratios.items() if cell.strategy == "finetune")


def test_a_lost_trial_comes_again_and_is_given_up_in_the_end(tmp_path):
    queue = new_queue(tmp_path)
    trial = next_trial(queue)
    for _ in range(MAX_LOST - 1):
        assert came_back(queue, trial)
        assert next_trial(queue) == trial
    assert not came_back(queue, trial)
    failure = {**outcome(trial), "outcome": "failed", "reason": "worker died", "retry": True}
    queue.ledger.write([failure])
    queue.give_up(trial.hash)
    assert trial.hash not in {t.hash for t in work(queue)}
    assert queue.finished
    assert trial.hash in {t.hash for t in work(new_queue(tmp_path))}  # the next run tries it again


def test_failures_that_are_tried_again_leave_no_trace_in_what_is_chosen(tmp_path, study):
    never = new_queue(tmp_path / "never", study)
    work(never)
    queue = new_queue(tmp_path, study)
    while not queue.finished:
        trial = next_trial(queue)
        failed = {"outcome": "failed", "reason": "worker died", "retry": True} if trial.phase == "search" else {}
        queue.ledger.write([outcome(trial) | failed])
        queue.give_up(trial.hash) if failed else came_back(queue, trial)
    assert set(queue.allocator.ratios.values()) <= {study.search.published, 1.0} != set(never.allocator.ratios.values())
    again = new_queue(tmp_path, study)
    work(again)
    assert again.allocator.ratios == never.allocator.ratios
    assert not work(new_queue(tmp_path, study)), "and nothing is trained a third time"


def test_a_journal_whose_values_are_others_than_the_ledgers_is_not_believed(tmp_path):
    queue = new_queue(tmp_path)
    work(queue)
    journal = tmp_path / "optuna.journal"
    changed = re.sub(r'"values": ?\[[0-9.]+', '"values":[9.9', journal.read_text(), count=1)
    assert changed != journal.read_text()
    journal.write_text(changed)
    again = new_queue(tmp_path)
    assert again.finished and again.allocator.ratios == queue.allocator.ratios


def test_proposals_depend_on_what_was_told_only(tmp_path):
    ratios = []
    for folder in ("one", "two"):
        asked = []
        for _ in range(6):
            search = RatioSearch.begin(
                open_storage(tmp_path / folder), "ab12", Search(trials=6)
            )  # opened anew, as after a kill
            number, ratio = search.ask()
            search.tell(number, Outcome(math.log(ratio) ** 2))
            asked.append(ratio)
        ratios.append(asked)
    assert ratios[0] == ratios[1] and len(set(ratios[0])) == 6


def test_a_search_that_asks_for_less_than_before_confirms_what_a_new_one_would(tmp_path):
    def searched(storage, trials):
        search = RatioSearch.begin(storage, "ab12", Search(trials=trials))
        while search.told() < trials:
            number, ratio = search.ask()
            search.tell(number, Outcome(math.log(ratio / 0.5) ** 2))
        return search.best()

    long = searched(open_storage(tmp_path / "journal"), 6)
    short = searched(open_storage(None), 2)
    assert searched(open_storage(tmp_path / "journal"), 2) == short != long
    assert searched(open_storage(tmp_path / "journal"), 6) == long


def test_a_kill_before_the_first_ratio_leaves_the_published_one_first(tmp_path):
    search = RatioSearch.begin(open_storage(tmp_path / "journal"), "ab12", Search())
    search.study.ask()  # as a driver that was killed before it had drawn the ratio
    assert RatioSearch.begin(open_storage(tmp_path / "journal"), "ab12", Search()).ask()[1] == Search().published


def test_two_drivers_share_a_study_and_do_nothing_twice(tmp_path, monkeypatch, study):
    alone = new_queue(tmp_path / "alone", study)
    work(alone)
    queues = list(drivers(tmp_path, monkeypatch, study))
    out, trained = [deque(), deque()], [[], []]
    for turn in range(10_000):
        if all(queue.finished for queue in queues):
            break
        mine = turn % 2
        out[mine].extend(take(queues[mine], 3))
        if len(out[mine]) > 2 or (out[mine] and turn % 3 == 0):
            trial = out[mine].popleft()
            finish(queues[mine], trial)
            trained[mine].append(trial.hash)
    assert all(queue.finished for queue in queues) and queues[0].done == queues[1].done == alone.total
    assert sorted(trained[0] + trained[1]) == sorted(alone.trials) and min(map(len, trained)) > 10
    assert queues[0].allocator.ratios == queues[1].allocator.ratios == alone.allocator.ratios
    assert not list((tmp_path / "ledger" / "leases").iterdir())
    for queue in queues:
        queue.leases.__exit__()


def test_what_another_driver_has_is_waited_for_and_taken_over_when_it_ends(tmp_path, monkeypatch, study):
    first, second = drivers(tmp_path, monkeypatch, study)
    taken = [next_trial(first), *take(first, 4)]
    second.observer = heard = Heard()
    rest = []
    while trial := next_trial(second):
        finish(second, trial)
        rest.append(trial.hash)
    assert second.elsewhere == 5 and not second.finished and not {t.hash for t in taken} & set(rest)
    finish(first, taken[0])
    assert next_trial(second) is None or second.elsewhere  # what it did is known here, and leads on
    assert taken[0].hash in heard.names
    first.leases.__exit__()
    time.sleep(0.02)
    trained = {trial.hash for trial in work(second)}
    assert {trial.hash for trial in taken[1:]} <= trained and second.finished
    second.leases.__exit__()


def test_a_record_that_appears_before_the_lease_is_not_made_again(tmp_path, monkeypatch):
    first, second = drivers(tmp_path, monkeypatch)
    trial = next_trial(first)
    finish(first, trial)  # the second has not looked since, and the lease is free again
    assert trial.hash not in {t.hash for t in take(second, 100)}
    assert trial.hash in second.trials and second.ledger.finished(trial.hash)
    for queue in (first, second):
        queue.leases.__exit__()


def test_a_lost_trial_stays_with_its_driver(tmp_path, monkeypatch):
    first, second = drivers(tmp_path, monkeypatch)
    trial = next_trial(first)
    assert came_back(first, trial)  # without a record: its worker died
    assert trial not in take(second, 100)
    assert next_trial(first) == trial
    for queue in (first, second):
        queue.leases.__exit__()


def test_the_driver_folds_the_ledger(tmp_path, monkeypatch):
    monkeypatch.setattr(search_module, "COMPACT_AT", 8)
    work(new_queue(tmp_path))
    files = list((tmp_path / "ledger" / "records").iterdir())
    assert len(files) < 16 and any(file.suffix == ".parquet" for file in files)
    assert new_queue(tmp_path).finished


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-10],
        lambda data: data[:200] + b"\0" * 50 + data[250:],
        lambda data: b'{"a": 1}\n',
        lambda data: b"[]\n",
        lambda data: data.replace(b'"op_code":0', b'"op_code":99'),
    ],
)
def test_a_damaged_journal_is_put_aside_and_filled_from_the_ledger(tmp_path, damage, capsys):
    first = new_queue(tmp_path)
    work(first)
    journal = tmp_path / "optuna.journal"
    journal.write_bytes(damage(journal.read_bytes()))
    again = new_queue(tmp_path)
    assert again.finished and again.allocator.ratios == first.allocator.ratios
    assert (tmp_path / "optuna.journal.damaged").exists() and new_queue(tmp_path).finished
    assert f"warning {journal}: no journal of Optuna's" in " ".join(capsys.readouterr().out.split())


def test_a_plan_of_thousands_of_trials_is_ready_at_once(tmp_path):
    large = replace(STUDY, finetuning=replace(STUDY.finetuning, seeds=500), search=Search(trials=0))
    queue = new_queue(tmp_path, large)
    assert queue.total == len(queue.trials) == 8 * 500
    packs = []
    while pack := queue.next_pack():
        packs.append([trial.cell.size for trial in pack])
    largest = [max(sizes) for sizes in packs]
    assert sum(map(len, packs)) == queue.total and largest == sorted(largest, reverse=True)


def test_two_drivers_share_a_study_in_packs(tmp_path, monkeypatch, study):
    queues = list(drivers(tmp_path, monkeypatch, study))
    out, trained = [deque(), deque()], [[], []]
    for turn in range(10_000):
        if all(queue.finished for queue in queues):
            break
        mine = turn % 2
        if pack := queues[mine].next_pack(most=5, workers=2):
            out[mine].append(pack)
        if len(out[mine]) > 1 or (out[mine] and turn % 3 == 0):
            names = [trial.hash for trial in out[mine][0]]
            written = [queues[mine].ledger.write([outcome(trial)]).name for trial in out[mine].popleft()]
            assert len(written) == len(names) and queues[mine].pack_came_back(names) == []
            trained[mine] += names
    assert all(queue.finished for queue in queues)
    assert sorted(trained[0] + trained[1]) == sorted(queues[0].trials) and min(map(len, trained)) > 5
    assert queues[0].allocator.ratios == queues[1].allocator.ratios and not list(
        (tmp_path / "ledger" / "leases").iterdir()
    )
    for queue in queues:
        queue.leases.__exit__()


def test_a_pack_leaves_out_what_another_driver_has_and_what_it_has_done(tmp_path, monkeypatch):
    first, second = drivers(tmp_path, monkeypatch)
    theirs = first.next_pack(most=4)
    finish(first, theirs[0])  # the second has not looked since, and its lease is free again
    pack = second.next_pack(most=100)
    assert pack and not {trial.hash for trial in theirs} & {trial.hash for trial in pack}
    assert second.settled(theirs[0].hash) and second.elsewhere == len(theirs) - 1
    for queue in (first, second):
        queue.leases.__exit__()


def test_a_pack_whose_worker_died_stays_with_its_driver(tmp_path, monkeypatch):
    first, second = drivers(tmp_path, monkeypatch)
    pack = first.next_pack(most=4)
    names = [trial.hash for trial in pack]
    first.ledger.write([outcome(pack[0])])
    assert len(pack) > 2 and first.pack_came_back(names, begun=names[:2]) == []
    assert not set(names) & {trial.hash for trial in take(second, 100)}
    assert first.next_pack() == [pack[1]]  # it may have been the reason
    assert set(names[2:]) <= {trial.hash for trial in first.next_pack()}
    for queue in (first, second):
        queue.leases.__exit__()


def test_what_a_dead_driver_had_comes_in_packs(tmp_path, monkeypatch):
    first, second = drivers(tmp_path, monkeypatch)
    theirs = {trial.hash for trial in first.next_pack(most=4)}
    while trial := next_trial(second):
        finish(second, trial)
    first.leases.__exit__()
    time.sleep(0.02)
    assert second.elsewhere == len(theirs) == 4
    packs = [second.next_pack(), second.next_pack()]  # of two: less time is left than a pack may take
    assert [len(pack) for pack in packs] == [2, 1] and {trial.hash for pack in packs for trial in pack} < theirs
    second.leases.__exit__()


def work_in_packs(queue, workers=2, seconds=0.01):
    """Train everything, `workers` packs at a time, the oldest back first; returns the packs."""
    packs, out = [], []
    while not queue.finished:
        while len(out) < workers and (pack := queue.next_pack(workers=workers)):
            out.append(pack)
        packs.append(out.pop(0))
        for trial in packs[-1]:
            queue.ledger.write([outcome(trial) | {"wall_seconds": seconds}])
        assert queue.pack_came_back([trial.hash for trial in packs[-1]]) == []
    return packs


def test_packs_hold_every_trial_once(tmp_path, study):
    queue = new_queue(tmp_path, study)
    packs = work_in_packs(queue)
    trained = [trial.hash for pack in packs for trial in pack]
    assert len(trained) == len(set(trained)) == queue.total == queue.done
    assert queue.packs == len(packs) < len(trained) and max(map(len, packs)) <= PACK_TRIALS


def test_a_pack_has_one_task_and_like_sizes_and_lasts_a_sensible_time(tmp_path):
    study = replace(
        STUDY, search=Search(trials=0), finetuning=replace(STUDY.finetuning, sizes=(100, 180, 1000), seeds=40)
    )
    packs = work_in_packs(new_queue(tmp_path, study), seconds=2.5)
    for pack in packs:
        sizes = [trial.cell.size for trial in pack]
        assert len({trial.cell.task for trial in pack}) == 1 and 2 * min(sizes) >= max(sizes) == sizes[0]
    assert [len(pack) for pack in packs[5:10]] == [8] * 5  # of 2.5 s in 20, once the queue has seen how long they take
    largest = [max(trial.cell.size for trial in pack) for pack in packs]
    assert largest[0] == 1000 and largest[-1] < 1000


def test_the_last_trials_are_spread_over_the_workers(tmp_path):
    study = replace(STUDY, search=Search(trials=0), finetuning=replace(STUDY.finetuning, sizes=(100,), seeds=16))
    packs = work_in_packs(new_queue(tmp_path, study), workers=4, seconds=2.0)
    lengths = [len(pack) for pack in packs]
    assert sum(lengths) == 64 and lengths[-4:] == [1, 1, 1, 1] and max(lengths[4:]) <= 8


def test_trees_and_networks_are_never_in_one_pack(tmp_path):
    """On a GPU machine trees are trained on a CPU: a pack has one device."""
    study = replace(STUDY, finetuning=replace(STUDY.finetuning, baselines=("trees",)))
    queue = filled(study, made_of(study), Ledger(tmp_path / "ledger"), open_storage(None))
    kinds = []
    while pack := queue.next_pack():
        kinds.append({trial.cell.strategy == "trees" for trial in pack})
    assert all(len(kind) == 1 for kind in kinds) and {True} in kinds and {False} in kinds


def test_a_pack_for_a_gpu_has_all_tasks_and_ways_to_train_and_one_length_of_epochs(tmp_path, monkeypatch):
    tuning = replace(
        STUDY.finetuning, sizes=(100, 180, 1000), seeds=4, strategies=("finetune", "frozen"), baselines=("trees",)
    )
    study = replace(STUDY, search=Search(trials=0), finetuning=tuning)
    queue = new_queue(tmp_path, study)
    kinds, lengths = [], []
    while pack := queue.next_pack(stacked=True):
        sizes = [one.cell.size for one in pack]
        assert max(sizes) <= 2 * min(sizes)
        kinds.append((frozenset(one.cell.strategy for one in pack), len({one.cell.task for one in pack})))
        lengths.append(len(pack))
    assert sum(lengths) == queue.total
    together = frozenset({"scratch", "finetune"})
    assert [n for (ways, tasks), n in zip(kinds, lengths, strict=True) if ways == together and tasks == 2] == [16, 32]
    assert {frozenset({"frozen"}), frozenset({"trees"})} == {ways for ways, _ in kinds} - {together}
    queue = new_queue(tmp_path, study)
    assert len(queue.next_pack(workers=2, stacked=True)) == 8  # half of those of a size for each worker
    monkeypatch.setattr(search_module.packs, "STACKED_EVENTS", 6000)
    assert len(new_queue(tmp_path, study).next_pack(stacked=True)) == 3
    monkeypatch.setattr(search_module.packs, "STACKED_EVENTS", 1)
    assert len(new_queue(tmp_path, study).next_pack(stacked=True)) == 1  # one alone may be as large as it is


def test_a_pack_too_short_to_be_worth_its_handling_takes_other_tasks(tmp_path):
    study = replace(STUDY, search=Search(trials=0), finetuning=replace(STUDY.finetuning, sizes=(100, 1000), seeds=2))
    queue = new_queue(tmp_path, study)
    work_in_packs(queue, seconds=1e-3)
    more = new_queue(tmp_path, replace(study, finetuning=replace(study.finetuning, seeds=4)))
    assert len({trial.cell for trial in more.next_pack()}) == 8  # it has learned from the ledger how short they are


def test_a_dead_worker_costs_the_trial_it_was_at_a_try_and_no_other(tmp_path):
    short = replace(STUDY.finetuning, sizes=(100,), seeds=8, epochs=1, steps=0)
    queue = new_queue(tmp_path, replace(STUDY, search=Search(trials=0), finetuning=short))
    culprit, tries, trained = None, 0, []
    while not queue.finished:
        pack = queue.next_pack()
        culprit = culprit or pack[1]
        for trial in pack:
            if trial == culprit:
                tries += 1
                break
            queue.ledger.write([outcome(trial)])
            trained.append(trial.hash)
        names = [trial.hash for trial in pack]
        begun = names[: names.index(culprit.hash) + 1] if culprit in pack else None
        lost = queue.pack_came_back(names, begun)
        assert tries < 2 or culprit not in pack or pack == [culprit]  # a suspect is handed out alone
        for name in lost:
            assert name == culprit.hash
            queue.ledger.write([{**outcome(culprit), "outcome": "failed", "reason": "worker died", "retry": True}])
            queue.give_up(name)
    assert tries == MAX_LOST and len(trained) == len(set(trained)) == queue.total - 1


def test_a_trial_out_of_time_runs_again_only_where_the_limit_is_raised(tmp_path):
    def limited(seconds):
        return replace(STUDY, search=Search(trials=0), finetuning=replace(STUDY.finetuning, trial_seconds=seconds))

    queue = new_queue(tmp_path, limited(5.0))
    slow = next_trial(queue)
    failure = {**outcome(slow), "outcome": "failed", "reason": "OutOfTime", "retry": False, "time_limit": 5.0}
    queue.ledger.write([failure])
    assert came_back(queue, slow) and slow.hash not in {trial.hash for trial in work(queue)}
    assert new_queue(tmp_path, limited(5.0)).finished and new_queue(tmp_path, limited(2.0)).finished
    assert next_trial(new_queue(tmp_path, limited(9.0))) == slow == next_trial(new_queue(tmp_path, limited(0.0)))


def test_the_queue_says_which_ratio_it_chose(tmp_path):
    queue = new_queue(tmp_path)
    assert all(name.endswith(("/scratch/100", "/scratch/300")) for name in queue.chosen()), "nothing is searched there"
    trained = work(queue)
    chosen = {name: ratio for name, ratio in queue.chosen().items() if "/finetune/" in name}
    assert len(chosen) == 4
    for name, ratio in chosen.items():
        tried = {one.ratio for one in trained if one.cell.name == name and one.phase == "search"}
        assert ratio == min(tried, key=lambda one: abs(math.log(one / 0.4)))
        assert {one.ratio for one in trained if one.cell.name == name and one.phase == "confirm"} == {ratio}
