"""Third stage: the trials of every cell, searched, confirmed or found."""

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from breakeven import board, search
from breakeven.places import Places
from breakeven.stages.pretraining import Made
from breakeven.study import plan, provenance
from breakeven.study.lease import Leases
from breakeven.study.ledger import Ledger
from breakeven.study.progress import Progress
from breakeven.study.remembered import Members
from breakeven.study.spec import Study, task
from breakeven.terminal import console, live


def finetune_tasks(
    study: Study,
    places: Places,
    ledger: Ledger,
    leases: Leases,
    resources: Any,
    made: Made,
    tracker: Callable[[Sequence[str]], None],
) -> tuple[str, ...]:
    from breakeven.distributed.finetuning import finetune
    from breakeven.distributed.job import TrialJob

    commit = provenance.git_commit()

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
        )

    journal = f"journal-{study.name}"  # one driver writes it; another finds all that it needs in the ledger
    storage = search.open_storage(places.folder / "optuna.journal" if leases.take(journal) else None)
    queue = search.TrialQueue(study, made.ingredients, ledger, storage, leases=leases)
    tracker([name for name in queue.trials if ledger.get(name) is not None])
    remembered = Members(places)

    def taken(records: list[dict[str, Any]]) -> None:
        remembered.keep((*made.records, *queue.trials))
        tracker([record["record"] for record in records])

    try:
        remembered.keep((*made.records, *queue.trials))
        with _shown(queue, ledger, made.records):
            finetune(queue, job_of, resources, _scratch(places, leases), taken)
    finally:
        leases.release(journal)
        members = (*made.records, *queue.trials)
        remembered.close(members)
    return members


@contextmanager
def _shown(queue: search.TrialQueue, ledger: Ledger, before: Sequence[str]) -> Iterator[None]:
    """Show how the study stands while `queue` is worked through. before: its records that are no trials."""
    if queue.finished:
        console.print(f"  trials: all {queue.total:,} trials are there already")
        yield
        return
    progress = Progress(queue.study)

    def count(name: str) -> None:
        if (record := ledger.get(name)) is not None:
            progress.add(record, ledger.wasted_seconds(name))

    known = [*before, *(name for name in queue.trials if queue.settled(name))]
    for name in sorted(known, key=lambda name: (ledger.get(name) or {}).get("ended", "")):
        count(name)
    queue.on_known = count

    def notes() -> list[str]:
        return [f"{queue.elsewhere:,} with other drivers"] if queue.elsewhere else []

    with live(
        lambda: board.picture(progress.standing(time.time()), notes()),
        lambda: board.line(progress.standing(time.time()), notes()),
    ):
        yield


def _scratch(places: Places, leases: Leases) -> Path:
    """This driver's folder for Tune's own files; those of drivers that were killed are removed."""
    for old in places.folder.glob("tune/*"):
        if not leases.lives(old.name):
            shutil.rmtree(old)
    return places.folder / "tune" / leases.owner
