"""Pretraining with Ray Train: data-parallel, with checkpoints, goes on after a killed worker or driver.

Holds the distribution: who trains which share, where checkpoints lie, how progress comes back. The training itself is
training/loop.py; results do not depend on the number of workers beyond floating point.
"""

import json
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray.train
import torch
from ray.train import Checkpoint, CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer

from breakeven.beat import Beat
from breakeven.distributed.session import Resources
from breakeven.errors import StageFailed
from breakeven.study.spec import Pretraining
from breakeven.training import checkpoint as checkpoints
from breakeven.training.content import content_hash
from breakeven.training.workers import ALONE, TorchWorkers
from breakeven.work.job import PretrainingJob

_SETUP_TRIES = 3
_MOST_CPU_WORKERS = 4


class PretrainingFailed(StageFailed):
    """The pretraining could not be finished; the message carries the workers' reason."""


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
            scaling_config=ScalingConfig(num_workers=workers, use_gpu=bool(resources.gpus), resources_per_worker=share),
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
                raise PretrainingFailed(f"{job.name} pretraining: {error}") from error
        except ray.train.TrainingFailedError as error:
            raise PretrainingFailed(f"{job.name} pretraining: {error}") from error
    facts = json.loads((job.backbone / "model.json").read_text())["about"]
    return Pretrained(job.backbone, content_hash(job.backbone), facts)


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
    from breakeven.work.pretraining import train_share

    torch.set_num_threads(1)
    job: PretrainingJob = config["job"]
    alone = ray.train.get_context().get_world_size() == 1
    device = f"cuda:{torch.cuda.current_device()}" if job.device == "cuda" else "cpu"
    state = None
    if (newest := ray.train.get_checkpoint()) is not None:
        with newest.as_directory() as folder:
            state = checkpoints.read_state(Path(folder))

    def deliver(epoch: int, folder: Path | None) -> None:
        """A barrier of all ranks: rank 0 hands over its checkpoint."""
        ray.train.report({"epoch": epoch}, checkpoint=Checkpoint.from_directory(folder) if folder else None)

    train_share(job, ALONE if alone else TorchWorkers(), device, state, deliver, Path(config["progress"]))


class _Watcher:
    """Reads the workers' progress file once per second and tells the driver of each new epoch."""

    def __init__(self, path: Path, on_epoch: Callable[[dict[str, Any]], None]) -> None:
        self.path, self.on_epoch, self.seen = path, on_epoch, 0

    def __enter__(self) -> None:
        self._beat = Beat(1.0, self._look, "pretraining progress")

    def __exit__(self, *_: object) -> None:
        self._beat.stop()
        self._look()

    def _look(self) -> None:
        if not self.path.exists():
            return
        curve = json.loads(self.path.read_text())
        for epoch in curve[self.seen :]:
            self.on_epoch(epoch)
        self.seen = max(self.seen, len(curve))  # fewer after a worker's death: it goes on from its last checkpoint
