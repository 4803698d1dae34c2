"""Pretraining with Ray Train: data-parallel, with checkpoints, goes on after a killed worker, node or driver.

Holds the distribution: who trains which share, where checkpoints lie, how progress comes back. The training itself is
training/loop.py; results do not depend on the number of workers beyond floating point, so that it may change on the way.
"""

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import ray.train
import torch
from ray.train import Checkpoint, CheckpointConfig, FailureConfig, RunConfig, ScalingConfig, UserCallback
from ray.train.torch import TorchTrainer
from rich.markup import escape

from breakeven import atomic
from breakeven.beat import Beat
from breakeven.distributed import internals
from breakeven.distributed.interface import NodesTorchConfig
from breakeven.distributed.session import Resources
from breakeven.errors import StageFailed
from breakeven.study.spec import Pretraining
from breakeven.terminal import console
from breakeven.training import checkpoint as checkpoints
from breakeven.training.content import content_hash
from breakeven.training.workers import ALONE, TorchWorkers
from breakeven.work.job import PretrainingJob

_SETUP_TRIES = 3
_WORKER_FAILURES = 3
_START_TIMEOUTS = 5
"""Times in one go that no room is found for the workers, RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S each."""
_RESTART_SECONDS = 10.0
"""How long a group that starts again waits for its room: a node that is gone is known to be by then, so that a smaller one is
asked for."""
_SETTLE_SECONDS = 4.0
"""How long after workers have failed a lost node may still count: their connections break before it is known to be dead."""
_RESIZE_SECONDS = 5.0
_MOST_CPU_WORKERS = 4
_REFUSED = "refused.json"
"""File beside the progress in which a training says what no other try would mend."""


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
    Raises PretrainingFailed where a loss or a feature is not finite, and after failures in a row without a new checkpoint: four
    of workers, or three starts of a group that found no room, or could not be set up, in minutes.
    """
    most = job.settings.workers or workers_of(job.settings, resources)
    folder = storage.resolve() / job.hash
    share = {"GPU": 1, "CPU": 1} if resources.gpus else {"CPU": 1}
    watcher = _Watcher(job.name, folder, on_epoch)
    (folder / _REFUSED).unlink(missing_ok=True)
    failures, kept = 0, internals.newest_checkpoint(folder)
    while True:
        trainer = TorchTrainer(
            _worker,
            train_loop_config={"job": job, "progress": str(folder / "progress.json")},
            torch_config=NodesTorchConfig(backend="nccl" if resources.gpus else "gloo", timeout_s=300),
            scaling_config=ScalingConfig(  # type: ignore[call-arg]  # mypy sees the one before version 2, as of all these
                num_workers=(1, most),  # type: ignore[arg-type]
                use_gpu=bool(resources.gpus),
                resources_per_worker=share,
                elastic_resize_monitor_interval_s=_RESIZE_SECONDS,
            ),
            run_config=RunConfig(
                name=job.hash,
                storage_path=str(storage.resolve()),
                failure_config=FailureConfig(  # type: ignore[call-arg]
                    _WORKER_FAILURES, controller_failure_limit=_START_TIMEOUTS
                ),
                checkpoint_config=CheckpointConfig(num_to_keep=2),
                callbacks=[_Faults(folder)],  # type: ignore[list-item]
            ),
        )
        try:
            with watcher, _ctrl_c():
                trainer.fit()
            break
        except ray.train.TrainingFailedError as error:
            before, kept = kept, internals.newest_checkpoint(folder)
            failures = failures + 1 if kept == before else 0
            # A group that could not be set up is not retried by Ray itself.
            if failures >= (_SETUP_TRIES if isinstance(error, ray.train.ControllerError) else 1):
                raise PretrainingFailed(f"{job.name} pretraining: {error}") from error
    if (refused := folder / _REFUSED).exists():
        raise PretrainingFailed(f"{job.name} pretraining: {json.loads(refused.read_text())['reason']}")
    facts = json.loads((job.backbone / "model.json").read_text())["about"]
    return Pretrained(job.backbone, content_hash(job.backbone), facts)


def workers_of(settings: Pretraining, resources: Resources) -> int:
    """Data-parallel workers to begin with: as many as asked for and there, else one for each GPU, or for each core up to four."""
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
    from breakeven.training.nonfinite import NonFinite
    from breakeven.work.pretraining import train_share

    torch.set_num_threads(1)
    job: PretrainingJob = config["job"]
    alone = ray.train.get_context().get_world_size() == 1
    device = f"cuda:{torch.cuda.current_device()}" if job.device == "cuda" else "cpu"
    progress = Path(config["progress"])
    state: checkpoints.TrainingState | None
    if (newest := ray.train.get_checkpoint()) is not None:
        with newest.as_directory() as folder:
            state = checkpoints.read_state(Path(folder))
    else:  # it may have lost its list of them
        state = checkpoints.newest_state(sorted(progress.parent.glob("checkpoint_*")))

    def deliver(epochs: int, folder: Path | None) -> None:
        """A barrier of all ranks: rank 0 hands over its checkpoint."""
        ray.train.report({"epochs": epochs}, checkpoint=Checkpoint.from_directory(folder) if folder else None)

    workers = ALONE if alone else TorchWorkers()
    try:
        train_share(job, workers, device, state, deliver, progress)
    except NonFinite as error:  # on all ranks alike, and at every other try
        if workers.rank == 0:
            atomic.write_json(progress.with_name(_REFUSED), {"reason": str(error)})


class _Faults(UserCallback):
    """In Ray Train's controller: says what befell the workers, in a file beside their progress, and how patient starts are."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "fault.json"

    def after_report(self, run_context: Any, metrics: Any, checkpoint: Any) -> None:
        """The first start has had its time: those that follow are held to another, which Ray Train reads at each."""
        first = os.environ.get(internals.START_TIMEOUT, "")
        os.environ[internals.START_TIMEOUT] = str(min(float(first or _RESTART_SECONDS), _RESTART_SECONDS))

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
        """Called before the group starts again, or the training ends."""
        reason = next(
            (line for error in worker_exceptions.values() for line in str(error).splitlines() if line.strip()), ""
        )
        atomic.write_json(self._path, {"workers": len(worker_exceptions), "reason": reason})
        if sum(node["Alive"] for node in ray.nodes()) > 1:
            time.sleep(_SETTLE_SECONDS)
        internals.nodes_have_changed(wait=True)


class _Watcher:
    """Reads what the workers and the controller write once per second and tells the driver of each new epoch, and the user of
    faults.
    """

    def __init__(self, name: str, folder: Path, on_epoch: Callable[[dict[str, Any]], None]) -> None:
        self.name, self.path, self.on_epoch, self.seen = name, folder / "progress.json", on_epoch, 0
        self.fault = folder / "fault.json"
        self.fault.unlink(missing_ok=True)

    def __enter__(self) -> None:
        self._beat = Beat(1.0, self._look, "pretraining progress")

    def __exit__(self, *_: object) -> None:
        self._beat.stop()
        self._look()

    def _look(self) -> None:
        if self.fault.exists():
            fault = json.loads(self.fault.read_text())
            self.fault.unlink()
            console.print(
                f"[yellow]warning[/] {self.name} pretraining: {fault['workers']} worker(s) died or failed, it goes on from the "
                f"last checkpoint ({escape(fault['reason'])})"
            )
        if not self.path.exists():
            return
        curve = json.loads(self.path.read_text())
        for epoch in curve[self.seen :]:
            self.on_epoch(epoch)
        self.seen = max(self.seen, len(curve))  # fewer after a worker's death: it goes on from its last checkpoint
