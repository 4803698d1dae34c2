"""Finetuning with Ray Tune: reused workers, a searcher of our own that hands out what the queue says.

Tune's grid cannot be combined with its Optuna searcher, and neither knows the ledger; so Tune only places the work. Its
own state is disposable: the ledger says what is done. Holds no physics and no training.
"""

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import astuple
from pathlib import Path
from typing import Any, cast

from ray import tune
from ray.tune.search import Searcher

from breakeven.distributed import internals
from breakeven.distributed.session import Resources
from breakeven.errors import StageFailed
from breakeven.ledger import levels
from breakeven.ledger.claim import last_try, worker_name
from breakeven.search import TrialQueue
from breakeven.study.plan import Trial
from breakeven.terminal import console
from breakeven.work.job import Train, TrialJob, lost_record
from breakeven.work.slots import PackTimes, Slots

internals.silence_tune()


def finetune(
    queue: TrialQueue,
    job_of: Callable[[Trial], TrialJob],
    slots: Slots,
    reserve: dict[str, float],
    scratch: Path,
    train: Train | None = None,
) -> None:
    """Train all trials of `queue` on the cluster, in packs.

    job_of: turns a trial into a worker's job.  slots: one for each worker, told of all that they do.
    reserve: what Tune holds for each, see `shares`.  scratch: folder for Tune's own files, removed at the end.
    train: what a worker does for one trial, where it is not the training of trial.py.
    A worker that dies gives its trials back; one that was at work three times when it died is recorded as failed.
    """
    if queue.finished:
        return
    shutil.rmtree(scratch, ignore_errors=True)
    searcher = QueueSearcher(queue, job_of, slots, train, stacked="gpu" in reserve and train is None)
    tuner = tune.Tuner(
        tune.with_resources(TrialWorker, reserve),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            metric="done_trials",
            mode="max",
            num_samples=-1,
            max_concurrent_trials=slots.workers,
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


def slots_of(resources: Resources, gpu_share: float) -> tuple[Slots, dict[str, float]]:
    """The slots that a cluster offers, and what Tune holds for each; their time begins to count now."""
    workers, held = shares(resources, gpu_share)
    return Slots(workers, held.get("gpu", 1.0)), held


def shares(resources: Resources, gpu_share: float) -> tuple[int, dict[str, float]]:
    """How many packs are trained at once, and what Tune reserves for each: a core, or a part of a GPU and of the cores."""
    if not resources.gpus:
        return max(1, resources.cpus), {"cpu": 1.0}
    workers = resources.gpus * int(1 / gpu_share + 1e-9)
    return workers, {"gpu": gpu_share, "cpu": min(1.0, resources.cpus / workers)}


class TrialWorker(tune.Trainable):
    """A worker process that trains one pack after another without starting anew.

    Tune gives a pack to whichever worker is free. What it needs lies in this process already where an earlier pack had
    the same task (the event arrays are kept, and mapped from the page cache else), so that no more is to be gained.
    """

    def setup(self, config: dict[str, Any]) -> None:
        """Called once for each process; the imports are here, so that no trial is charged for them, nor the driver."""
        import torch

        from breakeven.work.stack import run_stacked
        from breakeven.work.trial import run_pack

        torch.set_num_threads(1)
        self.run_pack, self.run_stacked = run_pack, run_stacked
        self.pack: Pack = config["pack"]
        self.name = worker_name()
        self.free_since: float | None = None

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next pack; nothing of the last one is kept but open files."""
        self.pack = new_config["pack"]
        return True

    def step(self) -> dict[str, Any]:
        """Train the pack to its end; the records are in the ledger when this returns, but for those that it did not take."""
        began, start = time.time(), time.monotonic()
        try:
            jobs, train = self.pack.jobs, self.pack.train
            alone = train is not None or jobs[0].device == "cpu"
            files, used = self.run_pack(jobs, train) if alone else self.run_stacked(jobs)
        except OSError as error:  # the ledger cannot be written to: told, as nothing else will work
            return {"done_trials": 0, "disk": str(error), "worker": self.name, tune.result.DONE: True}
        end = time.monotonic()
        waited = start - self.free_since if self.free_since is not None else 0.0
        self.free_since = end
        times = PackTimes(self.name, began, time.time(), waited, end - start, used)
        return {"done_trials": len(files), "files": files, "times": astuple(times), tune.result.DONE: True}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing to save: the ledger has it."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing to load."""


class Pack:
    """Jobs that one worker trains together; opaque to Tune, which would otherwise flatten and print them."""

    def __init__(self, number: int, jobs: list[TrialJob], train: Train | None) -> None:
        self.number, self.jobs, self.train = number, jobs, train
        self.handed_out = time.time()

    def __repr__(self) -> str:
        return f"Pack({len(self.jobs)})"

    def __deepcopy__(self, memo: Any) -> "Pack":
        return self


def _is_of(record: levels.Trial, job: TrialJob) -> bool:
    """Whether a record was made by this handing out of its trial, and not by an earlier one."""
    return record.get("reservation") == job.reservation and record.get("pack") == job.pack


_LOST = "its worker died three times; look at the Ray logs for out of memory"
_UNREADABLE = "its record could not be read back three times; look at the ledger's folder and its disk"


class QueueSearcher(Searcher):
    """What Tune asks for the next configuration; the answers come from the queue."""

    def __init__(
        self,
        queue: TrialQueue,
        job_of: Callable[[Trial], TrialJob],
        slots: Slots,
        train: Train | None,
        stacked: bool = False,
    ) -> None:
        super().__init__(metric="done_trials", mode="max")
        self.queue, self.job_of, self.stacked = queue, job_of, stacked
        self.slots, self.train = slots, train
        self.error: Exception | None = None
        self._packs: dict[str, Pack] = {}

    def suggest(self, trial_id: str) -> Any:
        """The next pack, FINISHED when every trial has a record, None when all that is left waits for others."""
        if self.error is not None or self.queue.finished:
            return Searcher.FINISHED
        trials = self.queue.next_pack(workers=self.slots.workers, stacked=self.stacked)
        if not trials:
            return None
        self._packs[trial_id] = Pack(self.queue.packs, [self.job_of(trial) for trial in trials], self.train)
        self.slots.handed_out(self.queue.packs, [trial.hash for trial in trials])
        return {"pack": self._packs[trial_id]}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Take the records of a pack from the ledger, whether its worker lived or died."""
        if (pack := self._packs.pop(trial_id, None)) is None:
            return
        self.slots.taken_back(pack.number)
        try:
            files = result.get("files") if result and not error else None
            if result and result.get("disk") and self.error is None:
                self.error = OSError(f"a worker could not write to the ledger: {result['disk']}")
            if result and files is not None:
                times = PackTimes(*result["times"])
                self.slots.came_back(times, pack.handed_out)
                self.queue.charge(times.used)
            self._take(pack, files, (result or {}).get("worker", ""))
        except Exception as problem:  # Tune would swallow it: keep it, stop handing out, raise in the driver
            self.error = self.error or problem
        pack.jobs = []  # Tune keeps the configurations of all its trials

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its searcher beside its own state, which nobody reads: a queue and a progress bar cannot be."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Nothing of Tune's state is kept."""
        Path(checkpoint_path).write_text("the ledger is the truth\n")

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore: the queue was filled from the ledger."""

    def _take(self, pack: "Pack", files: list[str] | None, worker: str) -> None:
        """files: what the worker wrote, so that the driver need not look through the ledger; None: it died."""
        queue, ledger = self.queue, self.queue.ledger
        alive = files is not None
        if files is None:
            ledger.refresh(certain=True)  # what it finished before must be seen, or it is trained again
        else:
            ledger.read(files)
        jobs = {job.trial.hash: job for job in pack.jobs}
        known = {name: cast(levels.Trial, record) for name in jobs if (record := ledger.get(name))}
        tried = {name: one for name, one in known.items() if _is_of(one, jobs[name])}
        for name, one in tried.items():
            if not queue.settled(name):  # it failed, and is tried again
                self.slots.lost(name, one["device_seconds"])
        suspect = None
        if not alive:
            suspect, spent, of = self._at_work(jobs, tried)
            used = sum(one["device_seconds"] for one in tried.values()) + spent
            self.slots.died(pack.handed_out, used, worker or of)
            queue.charge(used)
            if suspect:
                self.slots.lost(suspect, spent)
        lost = queue.pack_came_back(list(jobs), None if alive else {*tried, suspect or ""})
        for name in lost:
            if not alive or ledger.get(name) is None:  # else its last failure stands
                ledger.write([lost_record(jobs[name], _UNREADABLE if alive else _LOST)])
            queue.give_up(name)
        if suspect and suspect not in lost and self.error is None:
            trial = jobs[suspect].trial
            console.print(
                f"[yellow]warning[/] a worker died in {trial.cell.name} seed {trial.seed}; it is trained again"
            )

    def _at_work(
        self, jobs: Mapping[str, TrialJob], tried: Mapping[str, levels.Trial]
    ) -> tuple[str | None, float, str]:
        """The trial that a dead worker was at, the device-seconds that this try has lost, and the worker.

        A worker trains a pack in its order, and claims what it begins: it was at the first without a record that has a
        claim. On a GPU it claims all at once, and the first of those that are left stands for them: it is tried alone. A
        worker that died before its first claim died of something else, but the first trial is held to it, so that it does
        not go on for ever. One that ended itself after a record, as for a trial out of time, was at none.
        """
        ledger = self.queue.ledger
        claims = {name: path for name in jobs if name not in tried and (path := ledger.claim_path(name)).exists()}
        if not claims:
            return (None if tried else next(iter(jobs))), 0.0, ""
        lost = [last_try(path) for path in claims.values()]
        return next(iter(claims)), sum(seconds for seconds, _ in lost), lost[0][1]
