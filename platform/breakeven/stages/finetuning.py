"""Third stage: the trials of every cell, searched, confirmed or found."""

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from breakeven import atomic, provenance, search
from breakeven.estimate.budget import Budget
from breakeven.ledger.lease import Leases
from breakeven.ledger.ledger import Ledger
from breakeven.places import Places
from breakeven.stages.cluster import Cluster
from breakeven.stages.pretraining import Made
from breakeven.study import plan
from breakeven.study.remembered import Members
from breakeven.study.spec import Study, task
from breakeven.terminal import console, live
from breakeven.views import board
from breakeven.views.progress import Progress


def finetune_tasks(
    study: Study,
    places: Places,
    ledger: Ledger,
    leases: Leases,
    cluster: Cluster,
    made: Made,
    tracker: Callable[[Sequence[str]], None],
    budget: Budget | None,
    database: str,
) -> tuple[str, ...]:
    """Train all trials that have no record yet; the hashes of all records that the study consists of.

    tracker: called with the hashes of records that are new to this driver.  database: for Optuna; empty: a journal.
    """
    journal = f"journal-{study.name}"  # one driver writes it; another finds all that it needs in the ledger
    first = leases.take(journal)
    storage = (
        search.open_database(database)
        if database and first
        else search.open_storage(places.folder / "optuna.journal" if first else None)
    )
    queue = search.TrialQueue(study, made.ingredients, ledger, storage, leases=leases, budget=budget)
    tracker([name for name in queue.trials if ledger.get(name) is not None])
    remembered = Members(places)

    def taken(names: Sequence[str]) -> None:
        remembered.keep((*made.records, *queue.trials))
        tracker(names)

    try:
        remembered.keep((*made.records, *queue.trials))
        if queue.finished and not queue.out_of_budget:
            console.print(f"  trials: all {queue.total:,} trials are there already")
        elif not queue.finished:
            with _shown(queue, ledger, made.records):
                _train(study, places, leases, cluster, made, queue, taken)
    finally:
        leases.release(journal)
        members = (*made.records, *queue.trials)
        remembered.close(members)
        atomic.write_json(places.folder / "missing.json", queue.missing())
        atomic.write_json(places.folder / "chosen.json", queue.chosen())
    if queue.out_of_budget and budget is not None:
        missing = queue.missing()
        console.print(
            f"[yellow]budget[/] {budget.spent / 3600:.3g} of {budget.seconds / 3600:.3g} device-hours are spent and no trial "
            f"fits into the rest: {sum(missing.values())} trials in {len(missing)} cells are missing; the same command goes on"
        )
    return members


@contextmanager
def _shown(queue: search.TrialQueue, ledger: Ledger, before: Sequence[str]) -> Iterator[None]:
    """Show how the study stands while `queue` is worked through. before: its records that are no trials."""
    progress = Progress(queue.study)

    def count(name: str) -> None:
        if (record := ledger.get(name)) is not None:
            progress.add(record, ledger.wasted_seconds(name))

    for name in (*before, *queue.trials):
        if name in before or queue.settled(name):
            count(name)
    queue.on_known = count

    def notes() -> list[str]:
        return [f"{queue.elsewhere:,} with other drivers"] if queue.elsewhere else []

    with live(
        lambda: board.picture(progress.standing(time.time()), notes()),
        lambda: board.line(progress.standing(time.time()), notes()),
    ):
        yield


def _train(
    study: Study,
    places: Places,
    leases: Leases,
    cluster: Cluster,
    made: Made,
    queue: search.TrialQueue,
    tracker: Callable[[Sequence[str]], None],
) -> None:
    from breakeven.distributed.finetuning import finetune, slots_of
    from breakeven.work.job import TrialJob

    commit = provenance.git_commit()
    resources = cluster.resources
    slots, held = slots_of(resources, study.finetuning.gpu_share)
    devices = slots.workers * slots.share
    with cluster.reserved("finetuning", "finetuning", devices, resources.device) as reservation:
        reservation.measured = slots.measured

        def job_of(trial: plan.Trial) -> TrialJob:
            wanted = task(trial.cell.task)
            return TrialJob(
                trial=trial,
                network=study.network,
                settings=study.finetuning,
                folders={name: made.folders[name] for name in (wanted.signal, wanted.background)},
                backbone=made.backbones.get(trial.cell.pretraining),
                ledger=places.ledger,
                device=resources.device,
                git_commit=commit,
                reservation=reservation.name,
                pack=queue.packs,
                limits=queue.limits(trial.hash),
            )

        def on_records(records: Sequence[dict[str, Any]]) -> None:
            tracker([record["record"] for record in records])

        finetune(queue, job_of, slots, held, _scratch(places, leases), on_records)


def _scratch(places: Places, leases: Leases) -> Path:
    """This driver's folder for Tune's own files; those of drivers that were killed are removed."""
    for old in places.folder.glob("tune/*"):
        if not leases.lives(old.name):
            shutil.rmtree(old, ignore_errors=True)  # another driver may do the same
    return places.folder / "tune" / leases.owner
