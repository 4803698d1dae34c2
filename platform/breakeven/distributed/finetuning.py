"""Finetuning with Ray Tune: a Tune trial is a worker, which is given one pack after another of what the queue says.

Tune's grid cannot be combined with its Optuna searcher, and neither knows the ledger; so Tune only places the workers. A worker
lives until all is done: one that Tune gives to the next trial takes it from another that is about to start, so that a node
with slow starts, or a new one, would never have any. Its own state is disposable: the ledger says what is done. Holds no physics
and no training.
"""

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import astuple
from pathlib import Path
from typing import Any, cast

import ray
from ray import tune
from ray.tune.schedulers import FIFOScheduler
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

_LOOK_SECONDS = 2.0
_IDLE_SECONDS = 2.0
"""Longest pause of a worker for whom there is nothing to do at the moment."""
_UNBORN = 3
"""Workers of each slot that may die in a row before they have begun."""


def finetune(
    queue: TrialQueue,
    job_of: Callable[[Trial], TrialJob],
    slots: Slots,
    reserve: dict[str, float],
    scratch: Path,
    train: Train | None = None,
    hold: Callable[[float], None] = lambda devices: None,
) -> None:
    """Train all trials of `queue` on the cluster, in packs, with as many workers as there is room for on the way.

    job_of: turns a trial into a worker's job.  slots: one for each worker, told of all that they do.
    reserve: what Tune holds for each, see `shares`.  scratch: folder for Tune's own files, removed at the end.
    train: what a worker does for one trial, where it is not the training of trial.py.  hold: told how many devices are held,
    where nodes are lost or come.
    A worker that dies gives its trials back; one that was at work three times when it died is recorded as failed.
    """
    if queue.finished:
        return
    shutil.rmtree(scratch, ignore_errors=True)
    stacked = "gpu" in reserve and train is None
    searcher = QueueSearcher(queue, job_of, slots, train, stacked, room=lambda: _room(reserve), hold=hold)
    hands = _Hands(searcher)
    tuner = tune.Tuner(
        tune.with_resources(TrialWorker, reserve),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=hands,
            metric="done_trials",
            mode="max",
            num_samples=-1,
            reuse_actors=False,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(
            name="trials",
            storage_path=str(scratch.resolve()),
            verbose=0,
            stop=hands,
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


def _room(reserve: Mapping[str, float]) -> int:
    """How many workers there is room for now."""
    kind = "GPU" if "gpu" in reserve else "CPU"
    return int(ray.cluster_resources().get(kind, 0)) * int(1 / reserve[kind.lower()] + 1e-9)


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
    """A worker process that trains one pack after another without starting anew; each step is one that it was given before.

    A pack goes to whichever worker is free. What it needs lies in this process already where an earlier pack had
    the same task (the event arrays are kept, and mapped from the page cache else), so that no more is to be gained.
    """

    def setup(self, config: dict[str, Any]) -> None:
        """Called once for each process; the imports are here, so that no trial is charged for them, nor the driver."""
        import torch

        from breakeven.work.stack import run_stacked
        from breakeven.work.trial import run_pack

        torch.set_num_threads(1)
        self.run_pack, self.run_stacked = run_pack, run_stacked
        self.pack: Pack | None = None
        self.name = worker_name()
        self.free_since: float | None = None
        self.idle = 0.0

    def take(self, pack: "Pack") -> None:
        """Be given the pack of the next step; nothing of the last one is kept but open files."""
        self.pack = pack

    def step(self) -> dict[str, Any]:
        """Train the pack to its end; the records are in the ledger when this returns, but for those that it did not take."""
        pack, self.pack = self.pack, None
        if pack is None:  # new, or there was nothing to give
            time.sleep(self.idle)
            self.idle = min(2 * self.idle + 0.1, _IDLE_SECONDS)
            return {"done_trials": 0, "worker": self.name}
        self.idle = 0.0
        began, start = time.time(), time.monotonic()
        try:
            jobs, train = pack.jobs, pack.train
            alone = train is not None or jobs[0].device == "cpu"
            files, used = self.run_pack(jobs, train) if alone else self.run_stacked(jobs)
        except OSError as error:  # the ledger cannot be written to: told, as nothing else will work
            return {"done_trials": 0, "disk": str(error), "worker": self.name}
        end = time.monotonic()
        waited = start - self.free_since if self.free_since is not None else 0.0
        self.free_since = end
        times = PackTimes(self.name, began, time.time(), waited, end - start, used)
        return {"done_trials": len(files), "files": files, "times": astuple(times), "worker": self.name}

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


class _Hands(FIFOScheduler, tune.Stopper):
    """What Tune tells of each step of a worker, and asks whether it is over: gives packs out and takes them back."""

    def __init__(self, searcher: "QueueSearcher") -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.searcher = searcher

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Take what a worker has done, and give it the next pack: the next step, which Tune asks for after this, is that."""
        self.searcher.came_back(trial.trial_id, result)
        if pack := self.searcher.next_pack(trial.trial_id):
            internals.worker_of(trial).take.remote(pack)
        return str(self.CONTINUE)

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """No worker ends before the others."""
        return False

    def stop_all(self) -> bool:
        """Whether there is nothing left to do, and nobody at work; workers that wait for room are not waited for."""
        return self.searcher.over

    def __deepcopy__(self, memo: Any) -> "_Hands":
        return self

    def __getstate__(self) -> dict[str, Any]:
        """As that of the searcher."""
        return {}


class QueueSearcher(Searcher):
    """What Tune asks for the next configuration: another worker, where there is room. What workers do comes from the queue.

    room: how many workers the cluster has room for now.  hold: see `finetune`.
    """

    def __init__(
        self,
        queue: TrialQueue,
        job_of: Callable[[Trial], TrialJob],
        slots: Slots,
        train: Train | None,
        stacked: bool = False,
        room: Callable[[], int] | None = None,
        hold: Callable[[float], None] = lambda devices: None,
    ) -> None:
        super().__init__(metric="done_trials", mode="max")
        self.queue, self.job_of, self.stacked = queue, job_of, stacked
        self.slots, self.train, self.hold = slots, train, hold
        self.room = room or (lambda: slots.workers)
        self.error: Exception | None = None
        self._looked = time.monotonic()
        self._packs: dict[str, Pack] = {}
        """Packs in flight, by Tune's name of the worker."""
        self._workers: dict[str, str] = {}
        """Our names of workers by Tune's; empty before one has begun."""
        self._unborn = 0

    @property
    def over(self) -> bool:
        """Whether every trial has a record, or none can be had, and nobody is at work."""
        return not self._packs and (self.error is not None or self.queue.finished)

    def suggest(self, trial_id: str) -> Any:
        """Another worker where there is room for one, else None; FINISHED when there is nothing to do for it."""
        if self.error is not None or self.queue.finished:
            return Searcher.FINISHED
        if time.monotonic() - self._looked > _LOOK_SECONDS:
            if (room := self.room()) and room != self.slots.workers:
                self.slots.resize(room)
                self.hold(room * self.slots.share)
            self._looked = time.monotonic()
        if len(self._workers) >= self.slots.workers:
            return None
        self._workers[trial_id] = ""
        return {"worker": trial_id}

    def next_pack(self, trial_id: str) -> "Pack | None":
        """What a worker is to do next; None when there is nothing, or all that is left waits for others."""
        if self.error is not None or self.queue.finished:
            return None
        try:
            trials = self.queue.next_pack(workers=self.slots.workers, stacked=self.stacked)
            if not trials:
                return None
            pack = Pack(self.queue.packs, [self.job_of(trial) for trial in trials], self.train)
        except Exception as problem:  # Tune would take it for the worker's own
            self.error = problem
            return None
        self._packs[trial_id] = pack
        self.slots.handed_out(self.queue.packs, [trial.hash for trial in trials])
        return pack

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """A worker is no more: at the end, or because it died."""
        name = self._workers.pop(trial_id, "")
        if not error:
            return
        if trial_id in self._packs:
            self.came_back(trial_id, None)
        elif name:
            self.slots.left(name)
        else:
            self._unborn += 1
            if self._unborn >= _UNBORN * self.slots.workers and self.error is None:
                self.error = StageFailed(
                    "workers of finetuning die before they have begun; look at the Ray logs for a package that a node lacks, or "
                    "memory; nothing is lost: start the same command again"
                )

    def came_back(self, trial_id: str, result: dict[str, Any] | None) -> None:
        """Take the records of the pack of a worker from the ledger, where it had one. result: of its step; None: it died."""
        if result is not None:
            self._workers[trial_id], self._unborn = result["worker"], 0
        if (pack := self._packs.pop(trial_id, None)) is None:
            return
        self.slots.taken_back(pack.number)
        try:
            files = result.get("files") if result else None
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
