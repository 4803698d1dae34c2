"""Second stage: the backbones, one for each objective, trained or found."""

import dataclasses
import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from breakeven import models, training
from breakeven.events import sampling, store
from breakeven.fingerprint import fingerprint
from breakeven.physics import processes
from breakeven.places import Places
from breakeven.stages.cluster import Cluster
from breakeven.study import plan, provenance
from breakeven.study.budget import Budget
from breakeven.study.lease import Leases
from breakeven.study.ledger import Ledger
from breakeven.study.price import pretraining_hours
from breakeven.study.spec import Study
from breakeven.study.speeds import read_calibration, speeds
from breakeven.terminal import Bar, bar, console


@dataclass(frozen=True)
class Made:
    """What generation and pretraining gave, by name."""

    folders: Mapping[str, Path]
    """Dataset folder of each process."""
    ingredients: plan.Ingredients
    backbones: Mapping[str, Path]
    """Backbone folder of each objective."""
    records: tuple[str, ...]
    """Ledger records of generation and pretraining."""


def pretrain_backbones(
    study: Study,
    places: Places,
    ledger: Ledger,
    leases: Leases,
    cluster: Cluster,
    datasets: Mapping[str, store.Dataset],
    generated: tuple[str, ...],
    budget: Budget | None,
) -> Made:
    """The backbone of each objective, trained where it is missing. Raises PretrainingFailed and OverBudget."""
    folders = {name: dataset.folder for name, dataset in datasets.items()}
    names = plan.pretraining_processes(study, processes.PRETRAINING) if study.pretraining.objectives else ()
    hashes: dict[str, str] = {}
    backbones: dict[str, Path] = {}
    records = list(generated)
    content = [datasets[name].hash for name in names]
    for objective in study.pretraining.objectives:
        identity = {
            "kind": "pretraining",
            "objective": objective,
            "datasets": content,
            "network": dataclasses.asdict(study.network),
            "training": {
                key: getattr(study.pretraining, key)
                for key in ("events_per_process", "epochs", "batch_size", "learning_rate", "decay", "seed")
            },
            "validation_events": study.finetuning.validation_events,
            "versions": _versions(),
        } | plan.of_precision(study.pretraining.precision)
        name = fingerprint(identity)
        backbone = places.backbones / name
        records.append(name)
        epochs = study.pretraining.epochs
        if leases.wait(name, partial(_pretrained, ledger, name, backbone)):
            from breakeven.distributed.pretraining import PretrainingJob, pretrain, workers_of

            if budget is not None:
                known = speeds(study, ledger.records(), read_calibration(places.ledger, study))
                expected = pretraining_hours(study, processes.PRETRAINING, known, sampling.TRAIN_FRACTION)
                budget.check(f"{objective} pretraining", expected.expected)
            resources = cluster.resources
            job = PretrainingJob(
                hash=name,
                objective=objective,
                network=study.network,
                settings=study.pretraining,
                folders=tuple(folders[process] for process in names),
                validation_events=study.finetuning.validation_events,
                ledger=places.ledger,
                backbone=backbone,
                device=resources.device,
            )
            held = workers_of(job.settings, resources)
            leases.doing = f"{objective} pretraining"
            with (
                bar(f"{objective} pretraining", epochs, "epochs") as progress,
                cluster.reserved("pretraining", f"pretraining-{name}", held, resources.device) as reservation,
            ):
                result = pretrain(job, resources, places.pretraining, partial(_show, progress, leases))
            if budget is not None:
                budget.charge(result.facts["device_seconds"] + result.facts["wasted_seconds"])
            about = {"level": "pretraining", "record": name, "identity": identity, "backbone": result.hash}
            ledger.write([{**result.facts, **about, "git_commit": provenance.git_commit(), "host": provenance.host(),
                           "processor": provenance.processor(), "seed": study.pretraining.seed,
                           "dataset": "+".join(content), "reservation": reservation.name}])  # fmt: skip
            leases.release(name)
        else:
            console.print(f"  {objective} pretraining: done before ({epochs} epochs)")
        done = ledger.get(name)
        assert done is not None
        hashes[objective], backbones[objective] = done["backbone"], backbone
    ingredients = plan.Ingredients({name: dataset.hash for name, dataset in datasets.items()}, hashes, _versions())
    return Made(folders, ingredients, backbones, tuple(records))


def _show(progress: Bar, leases: Leases, epoch: dict[str, Any]) -> None:
    progress.advance(note=f"loss {epoch['validation_loss']:.4f}, accuracy {epoch['validation_accuracy']:.3f}")
    leases.doing = f"{progress.title}, {progress.count} of {progress.total} epochs"


def _pretrained(ledger: Ledger, name: str, backbone: Path) -> bool:
    return ledger.refresh(certain=True).finished(name) and backbone.is_dir()


def _versions() -> dict[str, str]:
    """Versions of what decides a training's result."""
    return {
        "network": str(models.NETWORK_VERSION),
        "training": str(training.TRAINING_VERSION),
        "torch": importlib.metadata.version("torch").split(".")[0],
    }
