"""A pack of trials or one pretraining, from plain jobs to what the ledger keeps. Needs no Ray, so it is tested without.

Holds the translation between the study's words and training's: which events, which weights, which numbers.
"""

import gc
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from breakeven.events.sampling import Split
from breakeven.ledger.ledger import Ledger, now
from breakeven.study import plan
from breakeven.study.spec import EVEN
from breakeven.training.batches import EventTensors, Sample
from breakeven.training.energy import energy_meter
from breakeven.training.engines import kernel_of
from breakeven.training.loop import outputs, train
from breakeven.training.nonfinite import NonFinite
from breakeven.training.probe import listening, quality_of_probe
from breakeven.training.recipe import Epoch, Recipe, Result, Strategy
from breakeven.training.training import Training
from breakeven.work.deadline import Check, OutOfTime, deadline
from breakeven.work.facts import evaluation, kept_representation, measured, training_facts
from breakeven.work.job import Train, TrialJob, about
from breakeven.work.kept import kept
from breakeven.work.network import build_network, pretrained
from breakeven.work.trees import trees_facts
from breakeven.work.trial_events import arrays_of, load_events, seen_by


def run_pack(jobs: Sequence[TrialJob], train: Train | None = None) -> tuple[list[str], float]:
    """Train the trials of a pack one after another.

    Returns the names of their files in the ledger, in that order, and the device-seconds that they used in all.

    Each record is written when its trial ends, so a worker that dies loses the one that it was at, and a trial that
    fails in whatever way leaves the others as they are. A confirming trial is evaluated on test events, a search trial never
    sees one. A loss or feature that is not finite makes a record with outcome "failed" and the reason, and so does a trial
    that takes longer than it may; neither is tried again, unless the limit is raised.
    """
    files, used = [], 0.0
    for job in jobs:
        record, path = _recorded(job, train or train_and_evaluate)
        files.append(path.name)
        used += record["device_seconds"]
        if record["outcome"] != "finished" and job.device != "cpu":
            gc.collect()  # what an out-of-memory error left must not be in the way of the next
            torch.cuda.empty_cache()
    return files, used


def _recorded(job: TrialJob, train: Train) -> tuple[dict[str, Any], Path]:
    """Train and evaluate one trial and write its record; the record and its file.

    A loss or feature that is not finite makes a record with outcome "failed" and the reason, and so does a trial that
    takes longer than it may; neither is tried again, unless the limit is raised.
    """
    ledger = Ledger(job.ledger)
    meter = energy_meter(job.device, share(job))
    # The members of a pack are trained one after another, so each has all that its worker holds: a whole core, or the
    # part of a GPU that workers share.
    with ledger.claim(job.trial.hash, job.device, share(job)) as claim:
        started, wall, begun = now(), time.perf_counter(), device_now(job)

        def write(result: dict[str, Any]) -> tuple[dict[str, Any], Path]:
            times = {"started": started, "ended": now(), "wasted_seconds": claim.wasted_seconds}
            if meter is not None:
                times["energy_joules"] = meter()
            record = {**about(job), **result, **times}
            path = ledger.write([record])
            claim.release()
            return record, path

        def lost(error: Exception) -> dict[str, Any]:
            facts = failure(job, error, device_now(job) - begun)
            return facts | {"wall_seconds": time.perf_counter() - wall}

        try:
            with deadline(job.settings.trial_seconds, lambda error: write(lost(error))) as check:
                result = train(job, check)
        except Exception as error:
            result = lost(error)
        return write(result)


def failure(job: TrialJob, error: Exception, device_seconds: float) -> dict[str, Any]:
    """What the ledger keeps of a trial that raised `error`: one trial's failure is a result too.

    Whether another try can help depends on the reason.
    """
    facts = {
        "outcome": "failed",
        "reason": f"{type(error).__name__}: {error}",
        "retry": not isinstance(error, NonFinite | ValueError | OutOfTime),
        "time_limit": job.settings.trial_seconds if isinstance(error, OutOfTime) else None,
    }
    return in_seconds(job, facts, device_seconds)


def in_seconds(job: TrialJob, facts: dict[str, Any], device_seconds: float) -> dict[str, Any]:
    """The facts of a trial that had its part of a device for so long; by the clock it took as much as if it had it alone."""
    return facts | {"device_seconds": device_seconds, "wall_seconds": device_seconds / share(job)}


def train_and_evaluate(job: TrialJob, check: Check = lambda: None) -> dict[str, Any]:
    """Train and evaluate one trial; what it gave, without who it is. check: called after every epoch; it ends what it raises in.

    A confirming trial is evaluated on test events, a search trial never sees one.
    Raises NonFinite, and ValueError where events or weights do not fit.
    """
    wall, begun = time.perf_counter(), device_now(job)
    if job.trial.cell.of_trees:
        facts = trees_facts(job, lambda epoch: check())
        return facts | {"wall_seconds": time.perf_counter() - wall, "device_seconds": device_now(job) - begun}
    events, (samples,) = load_events([job], [seen_by(job)])
    training = training_of(job, events, samples, lambda epoch: check())
    facts = evaluated(job, training, samples, train(training))
    facts["wall_seconds"] = time.perf_counter() - wall
    facts["device_seconds"] = device_now(job) - begun
    return facts


def training_of(
    job: TrialJob, events: EventTensors, samples: Mapping[Split, Sample], check: Callable[[Epoch], None]
) -> Training:
    """The training of a trial. check: called after every epoch; it ends what it raises in."""
    trial, settings = job.trial, job.settings
    levels = tuple(level.features for level in arrays_of(next(iter(job.datasets.values()))).schema.levels)
    model = build_network(job.network, levels, 1).to(job.device)
    recipe = Recipe(
        objective="binary" if settings.signal_fraction == EVEN else "weighted",
        epochs=trial.identity["epochs"],
        batch_size=settings.batch_size,
        learning_rate=trial.identity["rate"],
        decay=settings.decay,
        warmup=trial.identity["training"].get("warmup", 0),
        ratio=trial.ratio,
        head_epochs=plan.head_epochs(settings, trial.cell.strategy, trial.cell.size),
        patience=trial.identity["training"]["patience"],
        slow_start=settings.slow_start,
        symmetries=settings.symmetries,
        seed=trial.seed,
        precision=settings.precision,
    )
    best = math.inf

    def prune(epoch: Epoch) -> bool:
        nonlocal best
        check(epoch)
        best = min(best, epoch.validation_loss)
        return best > (job.limits[epoch.epoch] if epoch.epoch < len(job.limits) - 1 else math.inf)

    return Training(
        model,
        events,
        samples[Split.TRAIN],
        samples[Split.VALIDATION],
        recipe,
        Strategy(trial.cell.strategy),  # type: ignore[arg-type]
        pretrained(job),
        prune,
        kept(job),
    )


def evaluated(job: TrialJob, training: Training, samples: Mapping[Split, Sample], result: Result) -> dict[str, Any]:
    """What the ledger keeps of a trained trial: a confirming one is evaluated on its test events."""
    kernel = kernel_of(training)
    facts = training_facts(result, share(job)) | {"kernel": kernel}
    if result.stopped == "asked":
        last = len(result.curve) - 1
        reason = (
            f"pruned after epoch {last + 1}: validation loss {result.best.validation_loss:.4g}, "
            f"median of earlier ratios {job.limits[last]:.4g}"
        )
        facts |= {"outcome": "stopped", "reason": reason}
    elif job.trial.phase == "confirm":
        with listening(training.model) as heard:
            logits = outputs(training, samples[Split.TEST])
        on_test = evaluation(job, logits, samples[Split.TEST].target.to(logits.device))
        heard_of = measured("test", quality_of_probe(heard, training.events, samples[Split.TEST].index))
        facts["metrics"] |= on_test.pop("metrics") | heard_of
        facts |= on_test | kept_representation(job, training.model)
    facts["validation_events"] = len(samples[Split.VALIDATION])
    return facts


def device_now(job: TrialJob) -> float:
    """Device-seconds: CPU time of the process, or the wall time that a GPU is held, times the part of it that is."""
    if job.device == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter() * share(job)


def share(job: TrialJob) -> float:
    """The part of a device that the worker of a trial holds."""
    return job.settings.gpu_share if job.device != "cpu" else 1.0
