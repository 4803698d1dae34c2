"""Third stage: the trials of every cell, searched and confirmed; what the ledger has is not trained again."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from breakeven import atomic, provenance, search
from breakeven.observer import Observer, Observers, Work
from breakeven.stages.driver import Driver
from breakeven.stages.pretraining import Inputs
from breakeven.study.folder import Members
from breakeven.study.plan import Trial
from breakeven.terminal import console


def finetune_tasks(driver: Driver, inputs: Inputs, database: str = "") -> tuple[str, ...]:
    """Train all trials that have no outcome yet; the hashes of all records that the study consists of.

    inputs: what they are trained from.  database: SQLAlchemy URL for Optuna's proposals; empty: a journal.
    Raises StageFailed where the cluster ends before the trials do, StorageUnavailable, and OSError on a full disk.
    """
    study, leases, folder = driver.study, driver.leases, driver.places.folder
    journal = f"journal-{study.name}"  # one driver writes it; another finds all that it needs in the ledger
    first = leases.take(journal)
    if database and first:
        storage = search.open_database(database)
    else:
        storage = search.open_storage(folder / "optuna.journal" if first else None)
    order = search.largest_first if driver.budget is None else search.most_telling_first(study)
    allocator = search.SearchThenConfirm(study, inputs.ingredients, storage, order)
    members = Members(driver.places)
    keeper = _MemberKeeper(members, lambda: (*inputs.records, *queue.trials))
    observers = Observers(driver.observers, keeper)
    queue = search.TrialQueue(study, allocator, driver.ledger, leases, driver.budget, observers)
    queue.fill()
    try:
        members.keep(keeper.names())
        if not queue.out_of_budget:
            with driver.observers.watch(Work("finetuning", queue.total, "trials", queue.done, lambda: _note(queue))):
                if not queue.finished:
                    _train(driver, inputs, queue)
    finally:
        leases.release(journal)
        members.write(keeper.names())
        atomic.write_json(folder / "missing.json", queue.missing())
        atomic.write_json(folder / "chosen.json", queue.chosen())
    if queue.out_of_budget and driver.budget is not None:
        missing = queue.missing()
        console.print(
            f"[yellow]budget[/] {driver.budget.spent / 3600:.3g} of {driver.budget.seconds / 3600:.3g} device-hours are "
            f"spent and no trial fits into the rest: {sum(missing.values())} trials in {len(missing)} cells are missing; "
            "the same command goes on"
        )
    return keeper.names()


@dataclass(frozen=True)
class _MemberKeeper(Observer):
    """Writes now and then which records are the study's, so that others can tell how far it is."""

    members: Members
    names: Callable[[], tuple[str, ...]]

    def recorded(self, names: Sequence[str]) -> None:
        self.members.keep(self.names())


def _note(queue: search.TrialQueue) -> str:
    return f"{queue.elsewhere:,} with other drivers" if queue.elsewhere else ""


def _train(driver: Driver, inputs: Inputs, queue: search.TrialQueue) -> None:
    from breakeven.distributed.finetuning import finetune, slots_of
    from breakeven.work.job import TrialJob

    study, commit, resources = driver.study, provenance.git_commit(), driver.cluster.resources
    networks = study.networks_by_name()
    slots, held = slots_of(resources, study.finetuning.gpu_share)
    devices = slots.workers * slots.share
    with driver.cluster.reserved("finetuning", "finetuning", devices, resources.device) as reservation:
        reservation.measured = slots.measured

        def job_of(trial: Trial) -> TrialJob:
            task = trial.cell.task
            return TrialJob(
                trial=trial,
                network=networks.get(trial.cell.network, study.network),
                settings=study.finetuning,
                datasets={name: inputs.datasets[name] for name in task.processes},
                backbone=inputs.backbones.get(trial.identity["backbone"]),
                ledger=driver.places.ledger,
                device="cpu" if trial.cell.of_trees else resources.device,
                git_commit=commit,
                reservation=reservation.name,
                pack=queue.packs,
                limits=queue.allocator.limits(trial.hash),
            )

        finetune(queue, job_of, slots, held, _scratch(driver), hold=reservation.hold)


def _scratch(driver: Driver) -> Path:
    """This driver's folder for Tune's own files; those of drivers that were killed are removed."""
    folder = driver.places.folder
    for old in folder.glob("tune/*"):
        if not driver.leases.lives(old.name):
            shutil.rmtree(old, ignore_errors=True)  # another driver may do the same
    return folder / "tune" / driver.leases.owner
