"""What a trial costs the driver: a whole study on real Ray whose trials do nothing but their bookkeeping.

Queue, Optuna, packs, workers, leases, claims and ledger records with a curve are those of any study; only training is a formula.
Beside it Ray Tune alone with its Optuna searcher, reading the ledger back, and writing to MLflow.
"""

import math
import resource
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

import breakeven.distributed.pretraining  # noqa: F401  as in any study: it brings torch, which counts in the driver's memory
from breakeven.distributed import finetuning, plain_tune
from breakeven.distributed.session import Resources
from breakeven.events.store import Dataset
from breakeven.ledger.lease import Leases
from breakeven.ledger.ledger import Ledger
from breakeven.observer import Observer
from breakeven.search import SearchThenConfirm, TrialQueue, open_storage
from breakeven.study import plan
from breakeven.study.spec import Finetuning, Generation, Pretraining, Search, Study
from breakeven.tracking import Tracker
from breakeven.training.recipe import Epoch, Result
from breakeven.work.deadline import Check
from breakeven.work.job import TrialJob

EPOCHS = 10
"""Epochs on the curve of every record."""

DEFINITIONS = {
    "trials": "trials of the study, a third of them proposed by Optuna",
    "driver_cpu_ms_per_trial": "CPU time of the driver process, all its threads, from an empty queue to the last record",
    "tune_optuna_cpu_ms_per_trial": "the same for Ray Tune with OptunaSearch, a tenth as many trials, no ledger",
    "driver_rss_mb": "most memory that the driver held, torch and MLflow imported",
    "driver_rss_growth_mb": "by how much that grew from a tenth of the trials to the end",
    "wall_seconds": "from an empty queue to the last record",
    "packs": "packs that Tune handed out",
    "ledger_read_seconds": "wall time to read the finished ledger into a frame, by a new reader",
    "mlflow_cpu_ms_per_run": "CPU time to write one of these records to MLflow on a new SQLite file",
}


def measure(trials: int, resources: Resources, folder: Path) -> dict[str, float]:
    """The figures of DEFINITIONS for a study of about `trials` trials; `folder` must be empty and is filled."""
    study = study_of(trials)
    figures = _measure_house(study, resources, folder)
    begun = time.process_time()
    plain = plain_tune.search_ratio(max(trials // 10, 1), resources, folder / "plain")
    figures["tune_optuna_cpu_ms_per_trial"] = 1e3 * (time.process_time() - begun) / plain
    begun = time.perf_counter()
    frame = Ledger(folder / "ledger").refresh().frame()
    figures["ledger_read_seconds"] = time.perf_counter() - begun
    if len(frame) != figures["trials"] or not (frame["outcome"] == "finished").all():
        raise RuntimeError(
            f"{folder}: {len(frame)} records of {figures['trials']:.0f} trials, or failed ones among them"
        )
    tracker = Tracker(f"sqlite:///{folder / 'mlflow.db'}", study.name, folder / "artifacts")
    rows = [row for _, row in frame.head(200).iterrows()]
    begun = time.process_time()
    for row in rows:
        tracker.record(row)
    figures["mlflow_cpu_ms_per_run"] = 1e3 * (time.process_time() - begun) / len(rows)
    return figures


def study_of(trials: int) -> Study:
    """A study of about this many trials, a third of them search trials: 75 cells, of which 50 are searched."""
    return Study(
        name="scheduler",
        generation=Generation(events_per_process=1000),
        pretraining=Pretraining(objectives=("multiclass", "multilabel")),
        finetuning=Finetuning(
            strategies=("finetune",),
            sizes=(100, 200, 300, 600, 1000),
            seeds=max(1, round(trials * 2 / 3 / 75)),
            epochs=EPOCHS,
            steps=0,
        ),
        search=Search(trials=max(1, round(trials / 3 / 50))),
    )


def table(figures: Mapping[str, float]) -> Table:
    """One row for each figure with its definition."""
    shown = Table("figure", title="bookkeeping of a trial", title_justify="left")
    shown.add_column("", justify="right")
    shown.add_column("definition")
    for name, definition in DEFINITIONS.items():
        shown.add_row(name, f"{figures[name]:,.4g}", definition)
    return shown


def bookkeeping(job: TrialJob, check: Check) -> dict[str, Any]:
    """The facts of a trial that took no training: ten epochs towards a loss that only seed and ratio decide."""
    from breakeven.work.facts import measured, training_facts  # in the worker: a driver never trains

    begun = time.perf_counter(), time.process_time()
    end = 0.3 + 0.05 * math.log10(job.trial.ratio / 0.3) ** 2 + 1e-3 * (job.trial.seed % 7)
    curve = []
    for number in range(EPOCHS):
        loss = end + math.exp(-number)
        seconds = time.perf_counter() - begun[0], time.process_time() - begun[1]
        seen = (number + 1) * 2 * job.trial.cell.size
        curve.append(Epoch(number, *seconds, seen, loss, loss, math.exp(-loss), math.exp(-loss), 1e-3 * 0.99**number))
        check()
    facts = training_facts(Result(tuple(curve), best_epoch=EPOCHS - 1, plateau_epoch=None, stopped="epochs"))
    if job.trial.phase == "confirm":
        facts["metrics"] |= measured("test", {"accuracy": math.exp(-end), "auc": math.exp(-end), "loss": end})
    spent = {"wall_seconds": time.perf_counter() - begun[0], "device_seconds": time.process_time() - begun[1]}
    return facts | spent


def _measure_house(study: Study, resources: Resources, folder: Path) -> dict[str, float]:
    wanted = {name for task in study.finetuning.resolved() for name in task.processes}
    made_of = plan.Ingredients(
        {name: name for name in wanted}, {name: (name,) for name in study.pretrainings_by_name()}
    )

    def job_of(trial: plan.Trial) -> TrialJob:
        datasets = {name: Dataset(folder / name, name, 0, ()) for name in trial.cell.task.processes}
        return TrialJob(trial, study.network, study.finetuning, datasets, None, folder / "ledger", "cpu", "benchmark")

    wall, cpu = time.perf_counter(), time.process_time()
    ledger = Ledger(folder / "ledger")
    observer = _Memory()
    with Leases(folder / "ledger") as leases:
        allocator = SearchThenConfirm(study, made_of, open_storage(folder / "optuna.journal"))
        queue = TrialQueue(study, allocator, ledger, leases, observer=observer).fill()
        slots, held = finetuning.slots_of(resources, gpu_share=1.0)
        finetuning.finetune(queue, job_of, slots, held, folder / "tune", bookkeeping)
    memory = observer.most
    return {
        "trials": float(len(queue.trials)),
        "packs": float(queue.packs),
        "driver_cpu_ms_per_trial": 1e3 * (time.process_time() - cpu) / len(queue.trials),
        "driver_rss_mb": memory[-1],
        "driver_rss_growth_mb": memory[-1] - memory[len(memory) // 10],
        "wall_seconds": time.perf_counter() - wall,
    }


class _Memory(Observer):
    """Keeps how much memory this process had held at most, whenever a pack came back."""

    def __init__(self) -> None:
        self.most: list[float] = []

    def recorded(self, names: Sequence[str]) -> None:
        self.most.append(_most_memory())


def _most_memory() -> float:
    """Most memory that this process has held so far, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
