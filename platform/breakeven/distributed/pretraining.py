"""Pretraining with Ray Train: data-parallel, a checkpoint every epoch, goes on after a killed worker or driver.

Holds the distribution: who trains which share, where checkpoints lie, how progress comes back. The training itself is
training/loop.py; results do not depend on the number of workers beyond floating point.
"""

import json
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import ray.train
import torch
from ray.train import Checkpoint, CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer

from breakeven import atomic
from breakeven.distributed.session import Resources
from breakeven.errors import StageFailed
from breakeven.events.arrays import open_arrays, select
from breakeven.events.sampling import Split, subset
from breakeven.events.store import open_dataset
from breakeven.models import build
from breakeven.physics.truth import LABEL_NAMES
from breakeven.study.ledger import Ledger, now
from breakeven.study.spec import Network, Pretraining
from breakeven.training import checkpoint as checkpoints
from breakeven.training.batches import EventTensors, Sample
from breakeven.training.energy import energy_meter
from breakeven.training.recipe import Recipe
from breakeven.training.workers import ALONE, TorchWorkers

_SETUP_TRIES = 3
_MOST_CPU_WORKERS = 4


class PretrainingFailed(StageFailed):
    """The pretraining could not be finished; the message carries the workers' reason."""


@dataclass(frozen=True)
class PretrainingJob:
    """All that the workers need: plain values and paths on shared storage."""

    hash: str
    objective: str
    network: Network
    settings: Pretraining
    folders: tuple[Path, ...]
    """Dataset folders of the classes, in the order of the class numbers."""
    validation_events: int
    """Most validation events of each process."""
    ledger: Path
    backbone: Path
    """Folder that the finished backbone is written to."""
    device: str


@dataclass(frozen=True)
class Pretrained:
    """A finished pretraining: the backbone's folder and hash, and what the ledger keeps of it."""

    folder: Path
    hash: str
    facts: dict[str, Any]


def pretrain(
    job: PretrainingJob, resources: Resources, storage: Path, on_epoch: Callable[[dict[str, Any]], None]
) -> Pretrained:
    """Pretrain one backbone; goes on where an earlier run with the same hash and storage stopped.

    storage: folder on storage that all nodes share.  on_epoch: called in the driver with each new epoch.
    Raises PretrainingFailed after three failures in a row.
    """
    workers = workers_of(job.settings, resources)
    progress = storage.resolve() / job.hash / "progress.json"
    share = {"GPU": 1, "CPU": 1} if resources.gpus else {"CPU": 1}
    watcher = _Watcher(progress, on_epoch)
    for last in (False,) * (_SETUP_TRIES - 1) + (True,):
        trainer = TorchTrainer(
            _worker,
            train_loop_config={"job": job, "progress": str(progress)},
            torch_config=TorchConfig(backend="nccl" if resources.gpus else "gloo", timeout_s=300),
            scaling_config=ScalingConfig(
                num_workers=workers,
                use_gpu=bool(resources.gpus),
                resources_per_worker=share,
            ),
            run_config=RunConfig(
                name=job.hash,
                storage_path=str(storage.resolve()),
                failure_config=FailureConfig(max_failures=3),
                checkpoint_config=CheckpointConfig(num_to_keep=2),
            ),
        )
        try:
            with watcher, _ctrl_c():
                trainer.fit()
            break
        except ray.train.ControllerError as error:  # a group that could not be set up: not retried by Ray itself
            if last:
                raise PretrainingFailed(f"{job.objective} pretraining: {error}") from error
        except ray.train.TrainingFailedError as error:
            raise PretrainingFailed(f"{job.objective} pretraining: {error}") from error
    facts = json.loads((job.backbone / "model.json").read_text())["about"]
    return Pretrained(job.backbone, checkpoints.content_hash(job.backbone), facts)


def workers_of(settings: Pretraining, resources: Resources) -> int:
    """Data-parallel workers: as many as asked for and there, else one for each GPU, or for each core up to four."""
    asked = settings.workers or resources.gpus or min(resources.cpus, _MOST_CPU_WORKERS)
    return min(asked, resources.gpus or resources.cpus)


@contextmanager
def _ctrl_c() -> Iterator[None]:
    """Let Ctrl-C raise KeyboardInterrupt as everywhere: Ray Train takes it over, leaves silently, and keeps it."""
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as left:
        raise KeyboardInterrupt from left
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, before)


def _worker(config: dict[str, Any]) -> None:
    """One rank of the data-parallel training."""
    # Imported here, as a driver, which never trains, is spared 140 MB by it.
    from breakeven.distributed.trial import epoch_line, training_facts
    from breakeven.training.loop import train

    torch.set_num_threads(1)
    job: PretrainingJob = config["job"]
    context = ray.train.get_context()
    alone = context.get_world_size() == 1
    workers = ALONE if alone else TorchWorkers()
    device = f"cuda:{torch.cuda.current_device()}" if job.device == "cuda" else "cpu"
    events, train_sample, validation_sample, n_outputs = load_events(job, device)
    model = build(
        n_outputs,
        engine=job.network.engine,
        seed=job.settings.seed,
        iterations=job.network.iterations,
        shared_blocks=job.network.shared_blocks,
        log_momenta=job.network.log_momenta,
        initialisation=job.network.initialisation,
    ).to(device)
    state, done_before = _resume(alone)
    claim = None
    if context.get_world_rank() == 0:  # it speaks for all workers, which do the same work
        claim = Ledger(job.ledger).claim(job.hash, job.device, share=context.get_world_size())
    started, meter = now(), energy_meter(device)
    if claim is not None:
        claim.__enter__()
        # Work that a checkpoint holds is not lost: what the last try spent beyond it is.
        done_before["wasted_seconds"] = max(done_before.get("wasted_seconds", 0.0), claim.wasted_seconds)
    curve: list[dict[str, Any]] = [epoch_line(epoch) for epoch in state.curve] if state else []

    def report(new: checkpoints.TrainingState) -> None:
        """A barrier of all ranks: rank 0 writes the checkpoint, the driver reads the progress."""
        with tempfile.TemporaryDirectory() as folder:
            saved = None
            if claim is not None:
                checkpoints.write_state(Path(folder), new)
                atomic.write_json(Path(folder) / "before.json", {"wasted_seconds": claim.wasted_seconds})
                saved = Checkpoint.from_directory(folder)
            ray.train.report({"epoch": new.curve[-1].epoch}, checkpoint=saved)
            if claim is not None:
                claim.saved()
                curve.append(epoch_line(new.curve[-1]))
                atomic.write_json(Path(config["progress"]), curve)

    result = train(
        model,
        events,
        train_sample,
        validation_sample,
        recipe_of(job),
        workers=workers,
        save=report,
        resume_from=state,
    )
    if claim is not None:
        facts = training_facts(result) | {
            "pretraining": job.objective,
            "device": job.device,
            "workers": context.get_world_size(),
            "wall_seconds": result.curve[-1].wall_seconds,
            "device_seconds": result.curve[-1].device_seconds,
            "wasted_seconds": claim.wasted_seconds,
            "train_events": len(train_sample),
            "started": started,
            "ended": now(),
        }
        if (
            meter is not None and alone and state is None
        ):  # of one GPU from the beginning: anything else would be a guess
            facts["energy_joules"] = meter()
        checkpoints.write_model(job.backbone, model, facts)
        claim.release()


def recipe_of(job: PretrainingJob) -> Recipe:
    """The training numbers of a pretraining."""
    settings = job.settings
    return Recipe(
        objective=job.objective,  # type: ignore[arg-type]
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        decay=settings.decay,
        patience=None,
        seed=settings.seed,
        precision=settings.precision,
    )


def load_events(job: PretrainingJob, device: str) -> tuple[EventTensors, Sample, Sample, int]:
    """Training and validation events of all processes on one device, their samples, and the number of outputs."""
    from breakeven.distributed.trial import capped

    arrays = [open_arrays(open_dataset(folder)) for folder in job.folders]
    rows = []
    for found in arrays:
        train_rows = found.rows(Split.TRAIN)
        if job.settings.events_per_process:
            most = min(job.settings.events_per_process, len(train_rows))
            train_rows = np.sort(subset(train_rows, most, job.settings.seed, found.process_names[0]))
        validation = capped(found, Split.VALIDATION, job.validation_events, found.process_names[0])
        rows.append(np.concatenate([train_rows, validation]))
    chosen = select(arrays, rows)
    events = EventTensors.from_arrays(chosen.nodes, chosen.offsets, device)
    multiclass = job.objective == "multiclass"
    target = torch.from_numpy(chosen.process.astype(np.int64) if multiclass else chosen.labels)
    samples = []
    for split in (Split.TRAIN, Split.VALIDATION):
        found_rows = torch.from_numpy(chosen.rows(split))
        samples.append(Sample(found_rows, target[found_rows]))
    return events, samples[0], samples[1], len(arrays) if multiclass else len(LABEL_NAMES)


def _resume(alone: bool) -> tuple[checkpoints.TrainingState | None, dict[str, Any]]:
    """The state of the newest checkpoint that Ray Train knows, or None at the first start."""
    newest = ray.train.get_checkpoint()
    if newest is None:
        return None, {}
    with newest.as_directory() as folder:
        return checkpoints.read_state(Path(folder)), json.loads((Path(folder) / "before.json").read_text())


class _Watcher:
    """Reads the workers' progress file once a second and tells the driver of each new epoch."""

    def __init__(self, path: Path, on_epoch: Callable[[dict[str, Any]], None]) -> None:
        self.path, self.on_epoch, self.seen = path, on_epoch, 0

    def __enter__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="pretraining progress")
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._look()

    def _run(self) -> None:
        while not self._stop.wait(1.0):
            self._look()

    def _look(self) -> None:
        if not self.path.exists():
            return
        curve = json.loads(self.path.read_text())
        for epoch in curve[self.seen :]:
            self.on_epoch(epoch)
        self.seen = len(curve)
