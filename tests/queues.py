"""Queues as the finetuning stage makes them, and trials one at a time, through what it and its workers call."""

from dataclasses import replace
from typing import Any

import optuna

from breakeven.estimate.budget import Budget
from breakeven.ledger.lease import Leases
from breakeven.ledger.ledger import Ledger
from breakeven.observer import Observer
from breakeven.search import SearchThenConfirm, TrialQueue, largest_first, most_telling_first
from breakeven.study.plan import Ingredients, Trial, cells
from breakeven.study.spec import Network, Pretraining, Study
from breakeven.study.task import JET_TASKS
from breakeven.work.job import TrialJob
from breakeven.work.trial import run_pack


class Heard(Observer):
    """An observer that keeps the names of the records that it was told of."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def recorded(self, names) -> None:
        self.names += names


def on_jets(study: Study) -> Study:
    """A study of jets with as many cells as this one of whole events: a network in place of each of its tasks."""
    names = ("V", "V-HLF")[: len(study.finetuning.tasks)]
    networks = {name: Network(kind="jet_transformer", representation=name.replace("-", "+")) for name in names}
    task = JET_TASKS["HH4b_vs_QCD"]
    return replace(
        study,
        networks=networks,
        pretraining=Pretraining(objectives=("xbb",), processes=task.processes),
        finetuning=replace(study.finetuning, tasks=(task.name,), merit="rejection_90"),
        search=replace(study.search, published=0.3),
    )


def made_of(study: Study) -> Ingredients:
    """What the trials of a study would be made of: each process and backbone has its name for a hash."""
    found = cells(study)
    processes = {name: name for cell in found for name in cell.task.processes}
    return Ingredients(processes, {cell.backbone: (cell.backbone,) for cell in found if cell.backbone})


def filled(
    study: Study,
    made_of: Ingredients,
    ledger: Ledger,
    storage: optuna.storages.BaseStorage,
    leases: Leases | None = None,
    budget: Budget | None = None,
    observer: Observer | None = None,
) -> TrialQueue:
    """A queue of all trials of `study`, with the order that goes with its budget."""
    order = largest_first if budget is None else most_telling_first(study)
    return TrialQueue(study, SearchThenConfirm(study, made_of, storage, order), ledger, leases, budget, observer).fill()


def next_trial(queue: TrialQueue) -> Trial | None:
    """The next trial alone, or None where there is nothing to hand out at the moment."""
    return next(iter(queue.next_pack(most=1)), None)


def take(queue: TrialQueue, most: int) -> list[Trial]:
    """The next trials, up to `most`, in packs of one."""
    taken: list[Trial] = []
    while len(taken) < most and (trial := next_trial(queue)) is not None:
        taken.append(trial)
    return taken


def came_back(queue: TrialQueue, trial: Trial) -> bool:
    """A worker is done with a trial; False where it was lost for the third time."""
    return queue.pack_came_back([trial.hash]) == []


def run_alone(job: TrialJob) -> dict[str, Any] | None:
    """Train a trial as a pack of one; its record as the ledger has it."""
    return Ledger(job.ledger).read(run_pack([job])[0]).get(job.trial.hash)
