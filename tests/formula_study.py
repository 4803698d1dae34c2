"""Studies on disk as a driver leaves them: real queue, leases, ledger and folder; the training alone is a formula."""

import dataclasses
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from queues import came_back, filled, next_trial

from breakeven import atomic
from breakeven.ledger.ledger import Ledger, now
from breakeven.places import Places
from breakeven.search import TrialQueue, open_storage
from breakeven.study.folder import Members
from breakeven.study.plan import Ingredients, Trial
from breakeven.study.spec import Finetuning, Pretraining, Search, Study
from breakeven.work.job import TrialJob, about

STUDY = Study(
    name="first",
    pretraining=Pretraining(objectives=("multiclass",)),
    finetuning=Finetuning(tasks=("WH_vs_ZH", "stop_vs_ttH"), strategies=("finetune",), sizes=(100, 300), seeds=3),
    search=Search(strategies=("finetune",), trials=2),
)
"""8 cells: 24 reported trials and 8 search trials."""
DATA = {name: f"data-{name}" for name in ("WH", "ZH", "ttH", "stop_pair")}
SECONDS = 2.0
"""What every trial takes."""


def accuracy(trial: Trial, gain: float = 0.0) -> float:
    """A test accuracy: it grows with the size, is better with a backbone by `gain`, and differs from seed to seed."""
    spread = random.Random(f"{trial.cell.name} {trial.seed}").gauss(0.0, 0.01)
    return 0.7 + trial.cell.size / 1e4 + (gain if trial.cell.strategy == "finetune" else 0.0) + spread


def record(runs: Path, study: Study, trial: Trial, **facts: Any) -> dict[str, Any]:
    """The record of a trial as a worker writes it."""
    job = TrialJob(trial, study.network, study.finetuning, {}, None, Places(runs, study.name).ledger, "cpu", "abc123")
    ended = datetime.now(UTC)
    return {
        **about(job), "outcome": "finished", "validation_loss": 0.5, "validation_accuracy": 0.7, "epochs": 4,
        "device_seconds": SECONDS, "wall_seconds": SECONDS, "ended": ended.isoformat(timespec="milliseconds"),
        "started": (ended - timedelta(seconds=SECONDS)).isoformat(timespec="milliseconds"), **facts,
    }  # fmt: skip


def begin(runs: Path, study: Study = STUDY, data: dict[str, str] = DATA, **queue: Any) -> TrialQueue:
    """A study that has its events and its backbone, and all its trials before it."""
    places = Places(runs, study.name)
    atomic.write_json(places.folder / "study.json", dataclasses.asdict(study))
    atomic.write_text(places.folder / "command.txt", f"python studies/scaling.py --name {study.name}")
    ledger = Ledger(places.ledger).refresh()
    whole = {"outcome": "finished", "device": "cpu", "wall_seconds": 1.0, "git_commit": "abc123", "started": now(),
             "ended": now()}  # fmt: skip
    for process, name in data.items():
        if not ledger.finished(name):
            ledger.write([{**whole, "level": "generation", "record": name, "process": process, "events": 100,
                           "dataset": name, "device_seconds": 3.0}])  # fmt: skip
    if not ledger.finished("backbone"):
        ledger.write([{**whole, "level": "pretraining", "record": "backbone", "pretraining": "multiclass", "workers": 1,
                       "backbone": "b", "device_seconds": 60.0}])  # fmt: skip
    made_of = Ingredients(data, {"multiclass": ("b",)})
    made = filled(study, made_of, ledger, open_storage(None), **queue)
    remember(runs, made)
    return made


def remember(runs: Path, queue: TrialQueue) -> None:
    """Write which records are the study's, as the driver does now and then."""
    before = (*queue.allocator.made_of.datasets.values(), "backbone")
    Members(Places(runs, queue.study.name)).write((*before, *queue.trials))


def work(
    runs: Path, queue: TrialQueue, most: int = 10_000, facts: Callable[[Trial], dict[str, Any]] = lambda _: {}
) -> int:
    """Train up to `most` trials of a study that has begun; returns how many. facts: more than a finished record has."""
    trained = 0
    while trained < most and (trial := next_trial(queue)) is not None:
        judged = {"test_accuracy": accuracy(trial), "test_auc": 0.8} if trial.phase == "confirm" else {}
        queue.ledger.write([record(runs, queue.study, trial, **{**judged, **facts(trial)})])
        if not came_back(queue, trial):
            queue.give_up(trial.hash)
        trained += 1
    remember(runs, queue)
    return trained
