"""Finetuning with Ray Tune: reused workers, a searcher of our own that hands out what the queue says.

Tune's grid cannot be combined with its Optuna searcher, and neither knows the ledger; so Tune only places the work. Its
own state is disposable: the ledger says what is done. Holds no physics and no training.
"""

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.search import Searcher

from breakeven.distributed.session import Resources
from breakeven.distributed.trial import TrialJob, lost_record, run_trial
from breakeven.errors import StageFailed
from breakeven.search import TrialQueue
from breakeven.study.plan import Trial
from breakeven.terminal import console

# Tune looks for result files that nobody needs and complains of each, and shows a traceback for each lost worker: the
# ledger has the results, the searcher says in a line which trial is trained again, the session that a cluster is gone.
for _room in ("analysis.experiment_analysis", "execution.tune_controller", "utils.resource_updater", "utils.util"):
    logging.getLogger(f"ray.tune.{_room}").setLevel(logging.CRITICAL)


def finetune(
    queue: TrialQueue,
    job_of: Callable[[Trial], TrialJob],
    resources: Resources,
    scratch: Path,
    on_record: Callable[[dict[str, Any]], None] = lambda record: None,
) -> None:
    """Train all trials of `queue` on the cluster.

    job_of: turns a trial into a worker's job.  scratch: folder for Tune's own files, removed at the end.
    on_record: called in the driver with each new record, finished or failed.
    A worker that dies gives its trial back; a trial lost three times is recorded as failed.
    """
    if queue.finished:
        return
    shutil.rmtree(scratch, ignore_errors=True)
    searcher = QueueSearcher(queue, job_of, on_record)
    share = {"gpu": 1.0, "cpu": 1.0} if resources.gpus else {"cpu": 1.0}
    tuner = tune.Tuner(
        tune.with_resources(TrialWorker, share),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            metric="done_trials",
            mode="max",
            num_samples=-1,
            max_concurrent_trials=resources.workers,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(
            name="trials",
            storage_path=str(scratch.resolve()),
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=0),
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
        ),
    )
    tuner.fit()
    if searcher.error is not None:
        raise searcher.error
    if not queue.finished:
        raise StageFailed("Ray Tune ended before the trials did; nothing is lost: start the same command again")
    shutil.rmtree(scratch, ignore_errors=True)


class TrialWorker(tune.Trainable):
    """A worker process that trains one pack after another without starting anew."""

    def setup(self, config: dict[str, Any]) -> None:
        """Called once for each process, and by `reset_config` for each later pack."""
        import torch

        torch.set_num_threads(1)
        self.jobs: list[TrialJob] = config["pack"].jobs

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next pack; nothing of the last one is kept but open files."""
        self.jobs = new_config["pack"].jobs
        return True

    def step(self) -> dict[str, Any]:
        """Train the pack to its end; the records are in the ledger when this returns."""
        records = [run_trial(job) for job in self.jobs]
        return {"done_trials": len(records), tune.result.DONE: True}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing to save: the ledger has it."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing to load."""


class Pack:
    """Jobs that one worker trains together; opaque to Tune, which would otherwise flatten and print them."""

    def __init__(self, jobs: list[TrialJob]) -> None:
        self.jobs = jobs

    def __repr__(self) -> str:
        return f"Pack({len(self.jobs)})"

    def __deepcopy__(self, memo: Any) -> "Pack":
        return self


_LOST = "its worker died three times; look at the Ray logs for out of memory"


class QueueSearcher(Searcher):
    """What Tune asks for the next configuration; the answers come from the queue."""

    def __init__(
        self, queue: TrialQueue, job_of: Callable[[Trial], TrialJob], on_record: Callable[[dict[str, Any]], None]
    ) -> None:
        super().__init__(metric="done_trials", mode="max")
        self.queue, self.job_of, self.on_record = queue, job_of, on_record
        self.error: Exception | None = None
        self._packs: dict[str, list[TrialJob]] = {}

    def suggest(self, trial_id: str) -> Any:
        """The next pack, FINISHED when every trial has a record, None when all that is left waits for others."""
        if self.error is not None or self.queue.finished:
            return Searcher.FINISHED
        trial = self.queue.next()
        if trial is None:
            return None
        self._packs[trial_id] = [self.job_of(trial)]
        return {"pack": Pack(self._packs[trial_id])}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Take the records of a pack from the ledger, whether its worker lived or died."""
        self.queue.ledger.refresh()
        for job in self._packs.pop(trial_id, []):
            try:
                self._take(job)
            except Exception as problem:  # Tune would swallow it: keep it, stop handing out, raise in the driver
                self.error = problem

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its searcher beside its own state, which nobody reads: a queue and a progress bar cannot be."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Nothing of Tune's state is kept."""
        Path(checkpoint_path).write_text("the ledger is the truth\n")

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore: the queue was filled from the ledger."""

    def _take(self, job: TrialJob) -> None:
        name = job.trial.hash
        if not self.queue.came_back(name):
            self.queue.ledger.write([lost_record(job, _LOST)])
            self.queue.give_up(name)
        if (record := self.queue.ledger.get(name)) is not None:
            self.on_record(record)
        else:
            cell = f"{job.trial.cell.name} seed {job.trial.seed}"
            console.print(f"[yellow]warning[/] a worker died in {cell}; it is trained again")


def prepare_arrays(folders: dict[str, Path]) -> None:
    """Build the flat arrays of all datasets, each once, before many workers want them at the same time."""
    try:
        ray.get([_prepare.remote(str(folder)) for folder in folders.values()])
    except ray.exceptions.RayTaskError as error:
        raise (error.cause if isinstance(error.cause, Exception) else error) from None


@ray.remote(num_cpus=1, max_retries=3)
def _prepare(folder: str) -> None:
    from breakeven.events.arrays import open_arrays
    from breakeven.events.store import open_dataset

    open_arrays(open_dataset(Path(folder)))
