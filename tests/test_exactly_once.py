"""Two drivers with two workers each on one ledger, all killed with -9 at random: every trial has one finished record.

Real processes, queues, leases, claims and ledger, without Ray; the trainer is a formula and some milliseconds of sleep. A
worker outlives its killed driver until its pack is done, as one on a cluster does.
"""

import math
import multiprocessing
import os
import random
import signal
import time
from collections import Counter, defaultdict
from contextlib import suppress
from multiprocessing.connection import wait
from pathlib import Path

import pytest
from queues import filled, made_of, on_jets

from breakeven.ledger.lease import Leases
from breakeven.ledger.ledger import Ledger, now
from breakeven.search import TrialQueue, open_storage
from breakeven.search import queue as search
from breakeven.study.spec import Finetuning, Pretraining, Search, Study

fork = multiprocessing.get_context("fork")

STUDY = Study(
    pretraining=Pretraining(objectives=("multiclass",)),
    finetuning=Finetuning(
        tasks=("WH_vs_ZH", "stop_vs_ttH"), strategies=("finetune",), sizes=(100, 300, 1000), seeds=40
    ),
    search=Search(trials=3, seeds=3),
)
PACK = 4
KILLS = 24


def outcome(trial, interrupted=0.0):
    loss = 0.5 + math.log(trial.ratio / 0.4) ** 2 + 1e-3 * (trial.seed % 7)
    return {"level": "trial", "record": trial.hash, "outcome": "finished", "device": "cpu", "device_seconds": 1.0,
            "started": now(), "ended": now(), "validation_loss": loss, "ratio": trial.ratio, "phase": trial.phase,
            "interrupted": interrupted}  # fmt: skip


def note(folder: Path, *words: object) -> None:
    """One line in the log, whole even when its writer is killed."""
    file = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(file, (" ".join(map(str, words)) + "\n").encode())
    os.close(file)


def worker(pipe, folder: Path, driver: int) -> None:
    ledger, dice = Ledger(folder / "ledger"), random.Random(os.getpid())
    while os.getppid() == driver:
        if not pipe.poll(0.05):
            continue
        pack, records, claims = pipe.recv(), [], []
        note(folder, "begun", os.getpid(), *(trial.hash for trial in pack))
        for trial in pack:
            claims.append(ledger.claim(trial.hash, share=1 / len(pack)).__enter__())
            time.sleep(dice.uniform(0.0, 0.04))
            records.append(outcome(trial, claims[-1].wasted_seconds))
        ledger.write(records)
        for claim in claims:
            claim.release()
            claim.__exit__()
        if os.getppid() == driver:
            pipe.send(None)


def start_worker(folder: Path):
    mine, theirs = fork.Pipe()
    process = fork.Process(target=worker, args=(theirs, folder, os.getpid()))
    process.start()
    theirs.close()
    note(folder, "worker", os.getpid(), process.pid)
    return mine, process


def drive(folder: Path, study: Study) -> None:
    """A driver: hands packs to two workers, starts dead ones anew, until every trial has a record."""
    me = os.getpid()
    with Leases(folder / "ledger", beat_seconds=0.1, patience_seconds=5.0) as leases:
        ledger = Ledger(folder / "ledger").refresh()
        queue = filled(study, made_of(study), ledger, open_storage(None), leases=leases)
        workers, busy = [start_worker(folder) for _ in range(2)], {}
        while not queue.finished:
            for pipe, process in workers:
                if pipe not in busy and (pack := queue.next_pack(PACK, workers=2)):
                    note(folder, "out", me, *(trial.hash for trial in pack))
                    busy[pipe] = pack
                    if process.is_alive():
                        pipe.send(pack)
            for pipe in wait(list(busy), timeout=0.02):
                alive = True
                try:
                    pipe.recv()
                except (EOFError, ConnectionResetError):
                    alive = False
                    [dead] = [one for one in workers if one[0] is pipe]
                    dead[1].join()
                    workers[workers.index(dead)] = start_worker(folder)
                pack = busy.pop(pipe)
                queue.ledger.refresh()
                names = [trial.hash for trial in pack]
                done = [name for name in names if queue.settled(name)]
                begun = None if alive else [*done, *(name for name in names if name not in done)][: len(done) + 1]
                assert not queue.pack_came_back(names, begun), "lost three times"
                note(folder, "back", me, *(trial.hash for trial in pack))
        for _, process in workers:
            process.kill()
            process.join()
    note(folder, "finished", me, *ratios_of(queue))


def ratios_of(queue: TrialQueue) -> list[str]:
    return [
        f"{cell.name}={ratio:.17g}"
        for cell, ratio in sorted(queue.allocator.ratios.items(), key=lambda item: item[0].name)
    ]


def start_driver(folder: Path, study: Study):
    process = fork.Process(target=drive, args=(folder, study))
    process.start()
    return process


def read_log(folder: Path):
    lines = (folder / "log").read_text().splitlines() if (folder / "log").exists() else []
    return [line.split() for line in lines]


def in_flight(before, after, driver: int) -> set[str]:
    """Trials that a driver had handed out when it or its worker was killed, between the two states of the log."""
    out: dict[str, int] = defaultdict(int)
    for words in before:
        if words[0] in ("out", "back") and words[1] == str(driver):
            for name in words[2:]:
                out[name] += 1 if words[0] == "out" else -1
    meanwhile = {name for words in after[len(before) :] if words[:2] == ["out", str(driver)] for name in words[2:]}
    return {name for name, times in out.items() if times > 0} | meanwhile


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(search, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(search, "COMPACT_AT", 10)  # so that kills hit the folding too
    monkeypatch.setattr(search, "MAX_LOST", 50)


def undisturbed(folder: Path, study: Study) -> TrialQueue:
    queue = filled(study, made_of(study), Ledger(folder / "ledger"), open_storage(None))
    while not queue.finished:
        pack = queue.next_pack(PACK)
        queue.ledger.write([outcome(trial) for trial in pack])
        assert queue.pack_came_back([trial.hash for trial in pack]) == []
    return queue


@pytest.mark.parametrize(
    "study",
    [pytest.param(STUDY, id="whole events"), pytest.param(on_jets(STUDY), id="jets", marks=pytest.mark.slow)],
)
def test_kills_at_random_moments_lose_nothing_and_do_nothing_twice(tmp_path, study):
    dice = random.Random(20241210)
    quiet = undisturbed(tmp_path / "quiet", study)
    folder = tmp_path / "killed"
    folder.mkdir()
    drivers = [start_driver(folder, study) for _ in range(2)]
    in_flight_at_a_kill: set[str] = set()
    kills: Counter[str] = Counter()
    while sum(kills.values()) < KILLS and any(driver.is_alive() for driver in drivers):
        time.sleep(dice.uniform(0.02, 0.25))
        number, what = dice.randrange(2), dice.choice(["driver", "driver and workers", "worker"])
        driver = drivers[number]
        workers = [int(words[2]) for words in read_log(folder) if words[:2] == ["worker", str(driver.pid)]][-2:]
        victims = {"driver": [driver.pid], "worker": workers[-1:], "driver and workers": [driver.pid, *workers]}[what]
        before = read_log(folder)
        for victim in victims:
            with suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
        if what != "worker":
            driver.join()
        in_flight_at_a_kill |= in_flight(before, read_log(folder), driver.pid)
        kills[what] += 1
        if what != "worker":
            drivers[number] = start_driver(folder, study)
    for driver in drivers:
        driver.join(60)
    assert [driver.exitcode for driver in drivers] == [0, 0]
    assert sum(kills.values()) == KILLS, f"the study was over after {kills}"

    view = Ledger(folder / "ledger").refresh()
    frame = view.frame()
    assert not view.problems
    assert set(frame["record"]) == set(quiet.trials) and len(frame) == quiet.total
    assert (frame["outcome"] == "finished").all()
    finished = [words[2:] for words in read_log(folder) if words[0] == "finished"]
    assert finished and all(ratios == ratios_of(quiet) for ratios in finished)
    figures = frame.set_index("record")["validation_loss"]
    assert figures.to_dict() == quiet.ledger.frame().set_index("record")["validation_loss"].to_dict()

    # What was trained to its end twice was in flight at a kill, and the second time is counted as waste.
    repeated = dict(frame.loc[frame["wasted_seconds"] > 0, ["record", "wasted_seconds"]].to_numpy())
    assert set(repeated) <= in_flight_at_a_kill
    assert all(float(seconds).is_integer() for seconds in repeated.values())
    begun = Counter(name for words in read_log(folder) if words[0] == "begun" for name in words[2:])
    assert {name for name, times in begun.items() if times > 1} <= in_flight_at_a_kill
    print(f"{quiet.total} trials, {dict(kills)}: {sum(begun.values())} begun, {len(in_flight_at_a_kill)} in flight at "
          f"a kill, {int(sum(repeated.values()))} trained twice")  # fmt: skip
