"""A pack of trials trained side by side on one GPU: events loaded once, each trial claimed, evaluated and recorded alone.

What a trial gets is what trial.run_pack gives it, to floating point. A record is written as soon as its trial has ended,
so a worker that dies loses those that were still at work. Needs no Ray.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch

from breakeven.ledger.claim import Claim
from breakeven.ledger.ledger import Ledger, now
from breakeven.training.energy import energy_meter
from breakeven.training.pack import train_pack
from breakeven.training.recipe import Epoch, Result
from breakeven.training.training import Failed, Training
from breakeven.work import trial
from breakeven.work.deadline import Check, OutOfTime, deadline
from breakeven.work.job import TrialJob, about
from breakeven.work.trial_events import Seen, load_events, schema_of, seen_by


def run_stacked(jobs: Sequence[TrialJob]) -> tuple[list[str], float]:
    """Train the trials of a pack side by side; all are of one ledger, one device and the same settings.

    Returns the names of their files in the ledger, in the order in which they ended, and the device-seconds used in all.
    Where the device has not the memory for all of them, those that are left are trained in two halves.
    """
    pack = _Pack(jobs)
    try:
        pack.run()
    except torch.OutOfMemoryError as error:
        if len(pack.left) == 1:
            pack.fail(error)
    except Exception as error:  # of all that are left: a deadline, a file that is gone
        pack.fail(error)
    left, files, used = pack.left, pack.files, pack.spent()
    del pack
    half = (len(left) + 1) // 2
    for part in (left[:half], left[half:]):
        if part:
            torch.cuda.empty_cache()
            more, seconds = run_stacked(part)
            files, used = files + more, used + seconds
    return files, used


class _Pack:
    """left: trials without a record.  files: of the others, as they ended."""

    def __init__(self, jobs: Sequence[TrialJob]) -> None:
        self.left, self.files = list(jobs), list[str]()
        self._n, self._like, self._share = len(jobs), jobs[0], trial.share(jobs[0])
        self._ledger = Ledger(self._like.ledger)
        self._claims: dict[str, Claim] = {}
        self._started, self._meter = now(), energy_meter(self._like.device, self._share)
        self._begun = self._lap_begun = trial.device_now(self._like)

    def run(self) -> None:
        """Train and record all. Raises what is no trial's own, with those that it kept from ending still `left`."""
        with ExitStack() as held:
            for job in self.left:
                claim = self._ledger.claim(job.trial.hash, job.device, self._share / self._n)
                self._claims[job.trial.hash] = held.enter_context(claim)
            limit = self._like.settings.trial_seconds * self._n
            check = held.enter_context(deadline(limit, self.fail))
            self._train(check)

    def fail(self, error: Exception) -> None:
        """Record `error` as the outcome of all that have none, each with its part of the time since the last one ended."""
        each = self._lap() / max(1, len(self.left))
        for job in list(self.left):
            self._record(job, trial.failure(job, error, each))

    def spent(self) -> float:
        """Device-seconds since the beginning."""
        return trial.device_now(self._like) - self._begun

    def _train(self, check: Check) -> None:
        seen = {job.trial.hash: rows for job in list(self.left) if (rows := self._tried(job, seen_by, job))}
        by_schema: dict[int | str, list[TrialJob]] = {}
        for job in self.left:  # tasks of plug-ins may have other events, which cannot lie in one list with these
            by_schema.setdefault(schema_of(job), []).append(job)
        for alike in by_schema.values():
            self._train_together(alike, seen, check)

    def _train_together(self, alike: Sequence[TrialJob], seen: Mapping[str, Seen], check: Check) -> None:
        events, loaded = load_events(alike, [seen[job.trial.hash] for job in alike])
        samples = {job.trial.hash: own for job, own in zip(alike, loaded, strict=True)}
        loading = self._lap() / len(alike)
        jobs: list[TrialJob] = []
        trainings: list[Training] = []
        for job in alike:
            own = samples[job.trial.hash]
            training = self._tried(job, trial.training_of, job, events, own, self._in_time(job, check))
            if training is not None:
                jobs.append(job)
                trainings.append(training)

        def ended(number: int, outcome: Result | Failed) -> None:
            job = jobs[number]
            self._lap()
            if isinstance(outcome, Failed):
                facts, trained = trial.failure(job, outcome.error, 0.0), outcome.device_seconds
            else:
                trained = outcome.curve[-1].device_seconds
                try:
                    facts = trial.evaluated(job, trainings[number], samples[job.trial.hash], outcome)
                except Exception as error:  # it is this trial's
                    facts = trial.failure(job, error, 0.0)
            self._record(job, trial.in_seconds(job, facts, loading + trained * self._share + self._lap()))

        train_pack(trainings, ended)

    def _tried(self, job: TrialJob, work: Callable[..., Any], *arguments: Any) -> Any:
        """What `work` gives, or None where it raises an error, which is then the outcome of `job`."""
        try:
            return work(*arguments)
        except Exception as error:  # it is this trial's
            self._record(job, trial.failure(job, error, self._lap()))
            return None

    def _in_time(self, job: TrialJob, check: Check) -> Callable[[Epoch], None]:
        """Raises OutOfTime where the trial's part of the device's time is longer than a trial may take."""
        limit = job.settings.trial_seconds

        def in_time(epoch: Epoch) -> None:
            check()
            if limit and epoch.device_seconds > limit:
                raise OutOfTime(f"not done after {limit:g} s (finetuning.trial-seconds)")

        return in_time

    def _record(self, job: TrialJob, facts: dict[str, Any]) -> None:
        claim = self._claims[job.trial.hash]
        times = {"started": self._started, "ended": now(), "wasted_seconds": claim.wasted_seconds}
        if self._meter is not None:  # its part of the time, at the mean power until now
            times["energy_joules"] = self._meter() * facts["device_seconds"] / max(self.spent(), 1e-9)
        self.files.append(self._ledger.write([{**about(job), **facts, **times}]).name)
        claim.release()
        self.left.remove(job)

    def _lap(self) -> float:
        """Device-seconds since the last call."""
        before, self._lap_begun = self._lap_begun, trial.device_now(self._like)
        return self._lap_begun - before
