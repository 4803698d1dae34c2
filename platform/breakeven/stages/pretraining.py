"""Second stage: the backbones, one for each network, pretraining and seed, trained where they are missing."""

from collections.abc import Callable, Mapping
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
from breakeven.study.spec import InvalidStudy
from breakeven.terminal import console
from breakeven.training.content import content_hash
from breakeven.work.job import PretrainingJob
from breakeven.work.versions import result_versions, schema_versions, trees_versions, variables_versions


@dataclass(frozen=True)
class Inputs:
    """What the trials are trained from: the events and the backbones, by name."""

    datasets: Mapping[str, store.Dataset]
    """Events of each process."""
    ingredients: plan.Ingredients
    backbones: Mapping[str, Path]
    """Folder of each backbone, by its checkpoint's hash."""
    records: tuple[str, ...]
    """Ledger records of generation and pretraining."""


def pretrain_backbones(driver: Driver, datasets: Mapping[str, store.Dataset]) -> Inputs:
    """The backbones of each network and pretraining, trained where they are missing.

    Raises PretrainingFailed and OverBudget, and InvalidStudy where two of them give the same weights.
    """
    study = driver.study
    records = [dataset.hash for dataset in datasets.values()]
    hashes: dict[str, tuple[str, ...]] = {}
    folders: dict[str, Path] = {}
    twins: dict[str, PretrainingJob] = {}
    versions = {name: result_versions(network.kind) for name, network in study.networks_by_name().items()}
    schemas = schema_versions(datasets)
    for network_name, network in study.networks_by_name().items():
        for name, settings in study.pretrainings_by_name().items():
            backbone = plan.backbone_name(network_name, name)
            classes = [datasets[one] for one in plan.pretraining_processes(settings, processes.PRETRAINING)]
            content = [dataset.hash for dataset in classes]
            known = versions[network_name] | plan.schema_version(schemas, [dataset.process for dataset in classes])
            starts = hashes[plan.backbone_name(network_name, settings.start)] if settings.start else ("",)
            for place, of_seed in enumerate(settings.by_seed()):
                start = starts[place % len(starts)]
                identity = pretraining_identity(of_seed, network, content, known, start)
                job = PretrainingJob(
                    name=backbone if settings.seeds == 1 else f"{backbone} (seed {of_seed.seed})",
                    identity=identity,
                    network=network.backbone,
                    settings=of_seed,
                    datasets=tuple(classes),
                    start=folders.get(start),
                    ledger=driver.places.ledger,
                    backbone=driver.places.backbones / fingerprint(identity),
                )
                weights = _backbone(driver, job, network_name, name)
                if (twin := twins.setdefault(weights, job)).hash != job.hash:
                    raise InvalidStudy(
                        f"pretrainings: {twin.name!r} and {job.name!r} have come out with the same weights, so that no trial "
                        f"tells them apart (do their processes have fewer events than both ask for?); leave one of them out"
                    )
                hashes[backbone] = (*hashes.get(backbone, ()), weights)
                folders[weights] = job.backbone
                records.append(job.hash)
    versions["trees"] = trees_versions()
    data = {name: dataset.hash for name, dataset in datasets.items()}
    ingredients = plan.Ingredients(data, hashes, versions, variables_versions(datasets), schemas)
    return Inputs(datasets, ingredients, folders, tuple(records))


def _backbone(driver: Driver, job: PretrainingJob, network: str, pretraining: str) -> str:
    """Hash of the weights of a backbone, which is trained where it is missing."""
    work = Work(f"{job.name} pretraining", job.settings.epochs, "epochs")
    if driver.leases.wait(job.hash, partial(_pretrained, driver, job)):
        with driver.observers.watch(work):
            _pretrain(driver, job, {"network": network, "pretraining": pretraining})
        driver.leases.release(job.hash)
    else:
        with driver.observers.watch(replace(work, done=job.settings.epochs)):
            pass
    driver.observers.recorded([job.hash])
    done, weights = driver.ledger.get(job.hash), content_hash(job.backbone)
    if done is None or done["backbone"] != weights:
        console.print(
            f"[yellow]warning[/] {job.name} pretraining: the weights in {job.backbone} are not those that the ledger "
            "knows (they were lost and trained again): trials on the old ones are not taken for trials on these"
        )
    return weights


def _pretrain(driver: Driver, job: PretrainingJob, names: Mapping[str, str]) -> None:
    """Train a backbone on the cluster, and write its record. names: of its network and pretraining."""
    from breakeven.distributed.pretraining import pretrain, workers_of

    driver.check_budget(
        f"{job.name} pretraining",
        lambda known: pretraining_hours(
            driver.study, job.settings, processes.PRETRAINING, known, sampling.TRAIN_FRACTION
        ),
        names["network"],
    )
    resources = driver.cluster.resources
    job = replace(job, device=resources.device)
    held = workers_of(job.settings, resources)
    with driver.cluster.reserved("pretraining", f"pretraining-{job.hash}", held, resources.device) as reservation:
        result = pretrain(
            job, resources, driver.places.pretraining, _Epochs(driver.observers, held, reservation.hold).tell
        )
    driver.charge(result.facts["device_seconds"] + result.facts["wasted_seconds"])
    about = {"level": "pretraining", "record": job.hash, "identity": job.identity, "backbone": result.hash,
             "start": job.identity.get("start", ""), **names}  # fmt: skip
    driver.ledger.write([{**result.facts, **about, "git_commit": provenance.git_commit(), "host": provenance.host(),
                          "processor": provenance.processor(), "seed": job.settings.seed,
                          "dataset": "+".join(job.identity["datasets"]), "reservation": reservation.name}])  # fmt: skip


class _Epochs:
    """Tells an observer of each epoch, and whom it concerns how many workers there are, where that changes."""

    def __init__(self, observer: Observer, workers: int, hold: Callable[[float], None]) -> None:
        self._observer, self._workers, self._hold = observer, workers, hold
        self._events, self._seconds = 0, 0.0

    def tell(self, epoch: Mapping[str, Any]) -> None:
        """epoch: as the workers wrote it, see work.facts.epoch_line."""
        if (workers := epoch.get("workers", self._workers)) != self._workers:
            self._workers = workers
            self._hold(workers)
        events, seconds = epoch["events_seen"] - self._events, epoch["wall_seconds"] - self._seconds
        self._events, self._seconds = epoch["events_seen"], epoch["wall_seconds"]
        self._observer.advanced(1, f"loss {epoch['validation_loss']:.4f}, accuracy {epoch['validation_accuracy']:.3f}")
        losses = {name: epoch[name] for name in ("train_loss", "validation_loss") if epoch[name] is not None}
        self._observer.measured({**losses, "events_per_second": events / max(seconds, 1e-9), "workers": self._workers})


def _pretrained(driver: Driver, job: PretrainingJob) -> bool:
    return driver.ledger.refresh(certain=True).finished(job.hash) and job.backbone.is_dir()
