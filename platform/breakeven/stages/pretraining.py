"""Second stage: the backbones, one for each objective, trained or found."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from breakeven import provenance
from breakeven.estimate.price import pretraining_hours
from breakeven.events import sampling, store
from breakeven.fingerprint import fingerprint
from breakeven.observer import Observer, Work
from breakeven.physics import processes
from breakeven.stages.driver import Driver
from breakeven.study import plan
from breakeven.study.identity import pretraining_identity
from breakeven.work.job import PretrainingJob
from breakeven.work.versions import result_versions


@dataclass(frozen=True)
class Inputs:
    """What the trials are trained from: the events and the backbones, by name."""

    datasets: Mapping[str, store.Dataset]
    """Events of each process."""
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
    content, versions = [dataset.hash for dataset in classes.values()], result_versions(study.network.kind)
    for objective in study.pretraining.objectives:
        identity = pretraining_identity(study.pretraining, study.network, objective, content, versions)
        name = fingerprint(identity)
        backbone = driver.places.backbones / name
        work = Work(f"{objective} pretraining", epochs, "epochs")
        if driver.leases.wait(name, partial(_pretrained, driver, name, backbone)):
            with driver.observers.watch(work):
                _pretrain(driver, objective, name, identity, classes)
            driver.leases.release(name)
        else:
            with driver.observers.watch(replace(work, done=epochs)):
                pass
        driver.observers.recorded([name])
        done = driver.ledger.get(name)
        assert done is not None
        records.append(name)
        hashes[objective], backbones[objective] = done["backbone"], backbone
    ingredients = plan.Ingredients({name: dataset.hash for name, dataset in datasets.items()}, hashes, versions)
    return Inputs(datasets, ingredients, backbones, tuple(records))


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
        datasets=tuple(classes.values()),
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


def _tell_epoch(observer: Observer, epoch: dict[str, Any]) -> None:
    observer.advanced(1, f"loss {epoch['validation_loss']:.4f}, accuracy {epoch['validation_accuracy']:.3f}")


def _pretrained(driver: Driver, name: str, backbone: Path) -> bool:
    return driver.ledger.refresh(certain=True).finished(name) and backbone.is_dir()
