"""Second stage: the backbones, one for each objective, trained or found."""

import dataclasses
import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from breakeven import models, provenance, training
from breakeven.estimate.price import pretraining_hours
from breakeven.events import sampling, store
from breakeven.fingerprint import fingerprint
from breakeven.observer import Observer, Work
from breakeven.physics import processes
from breakeven.stages.driver import Driver
from breakeven.study import plan
from breakeven.study.spec import Study
from breakeven.work.job import PretrainingJob


@dataclass(frozen=True)
class Inputs:
    """What the trials are trained from: the events and the backbones, by name."""

    folders: Mapping[str, Path]
    """Dataset folder of each process."""
    ingredients: plan.Ingredients
    backbones: Mapping[str, Path]
    """Backbone folder of each objective."""
    records: tuple[str, ...]
    """Ledger records of generation and pretraining."""


def pretrain_backbones(driver: Driver, datasets: Mapping[str, store.Dataset]) -> Inputs:
    """The backbone of each objective, trained where it is missing. Raises PretrainingFailed and OverBudget."""
    study, epochs = driver.study, driver.study.pretraining.epochs
    names = plan.pretraining_processes(study, processes.PRETRAINING) if study.pretraining.objectives else ()
    classes = {name: datasets[name] for name in names}
    records = [dataset.hash for dataset in datasets.values()]
    hashes: dict[str, str] = {}
    backbones: dict[str, Path] = {}
    for objective in study.pretraining.objectives:
        identity = _identity(study, objective, classes)
        name = fingerprint(identity)
        backbone = driver.places.backbones / name
        work = Work(f"{objective} pretraining", epochs, "epochs")
        if driver.leases.wait(name, partial(_pretrained, driver, name, backbone)):
            with driver.observers.watch(work):
                _pretrain(driver, objective, name, identity, classes)
            driver.leases.release(name)
        else:
            with driver.observers.watch(dataclasses.replace(work, done=epochs)):
                pass
        driver.observers.recorded([name])
        done = driver.ledger.get(name)
        assert done is not None
        records.append(name)
        hashes[objective], backbones[objective] = done["backbone"], backbone
    ingredients = plan.Ingredients({name: dataset.hash for name, dataset in datasets.items()}, hashes, _versions())
    folders = {name: dataset.folder for name, dataset in datasets.items()}
    return Inputs(folders, ingredients, backbones, tuple(records))


def _pretrain(
    driver: Driver, objective: str, name: str, identity: dict[str, Any], classes: Mapping[str, store.Dataset]
) -> None:
    """Train a backbone on the cluster, and write its record.

    name: of the record.  classes: the datasets in the order of the class numbers.
    """
    from breakeven.distributed.pretraining import pretrain, workers_of

    study = driver.study
    driver.check_budget(
        f"{objective} pretraining",
        lambda known: pretraining_hours(study, processes.PRETRAINING, known, sampling.TRAIN_FRACTION),
    )
    resources = driver.cluster.resources
    job = PretrainingJob(
        hash=name,
        objective=objective,
        network=study.network,
        settings=study.pretraining,
        folders=tuple(dataset.folder for dataset in classes.values()),
        validation_events=study.finetuning.validation_events,
        ledger=driver.places.ledger,
        backbone=driver.places.backbones / name,
        device=resources.device,
    )
    held = workers_of(job.settings, resources)
    with driver.cluster.reserved("pretraining", f"pretraining-{name}", held, resources.device) as reservation:
        result = pretrain(job, resources, driver.places.pretraining, partial(_tell_epoch, driver.observers))
    driver.charge(result.facts["device_seconds"] + result.facts["wasted_seconds"])
    about = {"level": "pretraining", "record": name, "identity": identity, "backbone": result.hash}
    driver.ledger.write([{**result.facts, **about, "git_commit": provenance.git_commit(), "host": provenance.host(),
                          "processor": provenance.processor(), "seed": study.pretraining.seed,
                          "dataset": "+".join(identity["datasets"]), "reservation": reservation.name}])  # fmt: skip


def _identity(study: Study, objective: str, classes: Mapping[str, store.Dataset]) -> dict[str, Any]:
    """All that defines a backbone. classes: the datasets in the order of the class numbers."""
    return {
        "kind": "pretraining",
        "objective": objective,
        "datasets": [dataset.hash for dataset in classes.values()],
        "network": dataclasses.asdict(study.network),
        "training": {
            key: getattr(study.pretraining, key)
            for key in ("events_per_process", "epochs", "batch_size", "learning_rate", "decay", "seed")
        },
        "validation_events": study.finetuning.validation_events,
        "versions": _versions(),
    }


def _tell_epoch(observer: Observer, epoch: dict[str, Any]) -> None:
    observer.advanced(1, f"loss {epoch['validation_loss']:.4f}, accuracy {epoch['validation_accuracy']:.3f}")


def _pretrained(driver: Driver, name: str, backbone: Path) -> bool:
    return driver.ledger.refresh(certain=True).finished(name) and backbone.is_dir()


def _versions() -> dict[str, str]:
    """Versions of what decides a training's result."""
    return {
        "network": str(models.NETWORK_VERSION),
        "training": str(training.TRAINING_VERSION),
        "torch": importlib.metadata.version("torch").split(".")[0],
    }
