"""A pack of trials or one pretraining, from plain jobs to what the ledger keeps. Needs no Ray, so it is tested without.

Holds the translation between the study's words and training's: which events, which weights, which numbers.
"""

import gc
import hashlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from breakeven.events import evaluated_events
from breakeven.events.arrays import EventArrays, open_arrays, select
from breakeven.events.sampling import SHARED_SEED, Split, by_process, capped_of_class, subset
from breakeven.events.store import Dataset
from breakeven.fingerprint import fingerprint
from breakeven.ledger.embeddings import Embeddings
from breakeven.ledger.ledger import Ledger, now
from breakeven.ledger.responses import Responses
from breakeven.models.backbone import Backbone
from breakeven.study import plan
from breakeven.study.identity import said
from breakeven.training.batches import EventTensors, Sample
from breakeven.training.checkpoint import read_weights
from breakeven.training.content import CorruptCheckpoint, content_hash
from breakeven.training.energy import energy_meter
from breakeven.training.engines import in_batches, kernel_of
from breakeven.training.loading import load_arrays
from breakeven.training.loop import outputs, quality_of, represent, train
from breakeven.training.nonfinite import NonFinite
from breakeven.training.optimiser import apply_strategy
from breakeven.training.probe import listening, quality_of_probe
from breakeven.training.recipe import Epoch, Recipe, Result, Strategy
from breakeven.training.training import Keep, Training
from breakeven.training.trees import train_trees
from breakeven.work.deadline import Check, OutOfTime, deadline
from breakeven.work.job import Train, TrialJob, about
from breakeven.work.network import build_network


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


def training_facts(result: Result, part: float = 1.0) -> dict[str, Any]:
    """What the ledger keeps of a training, NaN-free. part: of the device that it held, which scales its seconds."""
    best, last = result.best, result.curve[-1]
    plateau = result.plateau_seconds
    probed = {} if math.isnan(best.validation_probe_auc) else {"probe_auc": best.validation_probe_auc}
    return {
        "outcome": "finished",
        "validation_loss": best.validation_loss,
        "metrics": measured("validation", {"accuracy": best.validation_accuracy, "auc": best.validation_auc, **probed}),
        "epochs": len(result.curve),
        "best_epoch": result.best_epoch,
        "stopped": result.stopped,
        "events_seen": last.events_seen,
        "plateau_seconds": _finite(plateau * part) if plateau is not None else None,
        "curve": [epoch_line(replace(epoch, device_seconds=epoch.device_seconds * part)) for epoch in result.curve],
    }


def measured(split: str, values: Mapping[str, float]) -> dict[str, float | None]:
    """Metrics by the names that a record has for them, NaN-free."""
    return {f"{split}_{name}": _finite(value) for name, value in values.items()}


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


def trees_facts(job: TrialJob, check: Callable[[Epoch], None]) -> dict[str, Any]:
    """Train and evaluate trees on the same events as a network would get. Raises ValueError where these have no variables."""
    samples = {split: _variables(job, rows) for split, rows in _by_split(seen_by(job)).items()}
    settings, identity = job.settings, job.trial.identity
    recipe = Recipe(epochs=identity["epochs"], patience=settings.patience, seed=job.trial.seed)
    model, result = train_trees(samples[Split.TRAIN], samples[Split.VALIDATION], recipe, check)
    facts = training_facts(result) | {"kernel": "scikit-learn", "validation_events": len(samples[Split.VALIDATION][1])}
    if job.trial.phase == "confirm":
        values, target = samples[Split.TEST]
        on_test = evaluation(job, model.outputs(values), torch.from_numpy(target.astype(np.float32)))
        facts["metrics"] |= on_test.pop("metrics")
        facts |= on_test
    return facts


def _variables(job: TrialJob, rows: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """High-level variables [n, n_variables] of rows of the datasets, the signal's first, and targets [n]."""
    arrays = [_arrays(job.datasets[process]) for process in job.trial.cell.task.processes]
    if (of_events := arrays[0].schema.high_level) is None:
        raise ValueError(
            f"trees need high-level variables, and the schema {arrays[0].schema.version} of {', '.join(job.datasets)} has none: "
            "give it some (EventSchema.high_level), or leave trees out of finetuning.baselines"
        )
    chosen = select(arrays, list(rows))
    values = of_events.compute([(chosen.nodes, chosen.offsets), *chosen.inner])
    if job.backbone is not None:
        values = np.concatenate([values, _scores(job, chosen)], axis=1)
    return values, np.repeat(_is_signal(job), [len(part) for part in rows])


def _scores(job: TrialJob, events: EventArrays) -> np.ndarray:
    """What the pretrained backbone says of each thing of events [n_events, most], as of each jet; NaN where there is none.

    Raises ValueError where the backbone was not pretrained to say anything of them.
    """
    model = build_network(job.network, tuple(level.features for level in events.schema.levels), 1).to(job.device)
    apply_strategy(model, Strategy("frozen"), job.trial.seed, _pretrained(job))
    if not model.probe or model.probe.startswith(tuple(name.rstrip(".") for name in model.new_layers)):
        raise ValueError(
            f"the backbone {job.trial.cell.backbone} gives no scores that trees could have: take one of an xbb pretraining in a "
            "network with the representation S+HLF, or leave trees+score out of finetuning.baselines"
        )
    with listening(model) as heard:
        in_batches(model, EventTensors.of(events, job.device), torch.arange(events.n_events, device=job.device))
    there = np.arange(events.labels.shape[1]) < np.diff(events.offsets)[:, None]
    scores = np.full(there.shape, np.nan, np.float32)
    scores[there] = torch.cat(heard)[:, 0].float().cpu().numpy()
    return scores


def _by_split(seen: "Seen") -> dict[Split, list[np.ndarray]]:
    """The rows of each split, the signal's first."""
    return {split: [rows[split] for rows in seen.values()] for split in next(iter(seen.values()))}


_EMBEDDING_VERSIONS = ("network", "torch", "features")
"""Versions that decide what a backbone says of an event; identities leave out those that are "1"."""

Seen = dict[Dataset, dict[Split, np.ndarray]]
"""Rows of each dataset, the signal's first, by split."""


def seen_by(job: TrialJob) -> Seen:
    """Rows of the datasets, the signal's first, that a trial may see: its subset, validation, test if it confirms.

    Of a class of several processes they are drawn from the events of all, so that each has its share of what there is.
    """
    settings, seen = job.settings, {}
    for of_class in job.trial.cell.task.classes:
        datasets, name = [job.datasets[process] for process in of_class], "+".join(of_class)
        splits = [_arrays(dataset).split for dataset in datasets]
        seed = SHARED_SEED if settings.same_events else job.trial.seed
        training = subset(np.flatnonzero(np.concatenate(splits) == Split.TRAIN), job.trial.cell.size, seed, name)
        rows = {
            Split.TRAIN: by_process(training, list(map(len, splits))),
            Split.VALIDATION: capped_of_class(splits, Split.VALIDATION, settings.validation_events, name),
        }
        if job.trial.phase == "confirm":
            rows[Split.TEST] = capped_of_class(splits, Split.TEST, settings.test_events, name)
        for place, dataset in enumerate(datasets):
            seen[dataset] = {split: of_processes[place] for split, of_processes in rows.items()}
    return seen


def _is_signal(job: TrialJob) -> np.ndarray:
    """Whether each dataset of a trial, in the order of `seen_by`, is of its signal, as float32."""
    return np.repeat(np.array([1.0, 0.0], np.float32), list(map(len, job.trial.cell.task.classes)))


def schema_of(job: TrialJob) -> int | str:
    """The version of the schema of its events."""
    return _arrays(next(iter(job.datasets.values()))).schema.version


def load_events(jobs: Sequence[TrialJob], seen: Sequence[Seen]) -> tuple[EventTensors, list[dict[Split, Sample]]]:
    """The events of all `jobs` on their device, each once, and the samples of each job.

    seen: of each job, see seen_by.  A sample's signal comes first, its events in the order of `seen`.
    """
    datasets = list(dict.fromkeys(dataset for of_job in seen for dataset in of_job))
    rows = [
        np.unique(np.concatenate([part for of_job in seen for part in of_job.get(dataset, {}).values()]))
        for dataset in datasets
    ]
    chosen = select([_arrays(dataset) for dataset in datasets], rows)
    events = EventTensors.of(chosen, jobs[0].device)
    before = dict(zip(datasets, np.cumsum([0, *map(len, rows)]), strict=False))
    place = dict(zip(datasets, rows, strict=True))
    samples = []
    for job, of_job in zip(jobs, seen, strict=True):
        of_split = {}
        for split in next(iter(of_job.values())):
            parts = [before[one] + np.searchsorted(place[one], rows_of[split]) for one, rows_of in of_job.items()]
            signal = np.repeat(_is_signal(job), [len(part) for part in parts])
            events_of = [[one.hash, _hash_of(rows_of[split])] for one, rows_of in of_job.items()]
            sample = Sample(torch.from_numpy(np.concatenate(parts)), torch.from_numpy(signal), fingerprint(events_of))
            of_split[split] = sample
        samples.append(of_split)
    return events, samples


def training_of(
    job: TrialJob, events: EventTensors, samples: Mapping[Split, Sample], check: Callable[[Epoch], None]
) -> Training:
    """The training of a trial. check: called after every epoch; it ends what it raises in."""
    trial, settings = job.trial, job.settings
    levels = tuple(level.features for level in _arrays(next(iter(job.datasets.values()))).schema.levels)
    model = build_network(job.network, levels, 1).to(job.device)
    recipe = Recipe(
        objective="binary",
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
        _pretrained(job),
        prune,
        _keep(job) if job.backbone is not None and job.network.representation else None,
    )


def _pretrained(job: TrialJob) -> dict[str, torch.Tensor] | None:
    """The weights that a trial stands on, None from scratch; raises CorruptCheckpoint where the folder has others by now."""
    if job.backbone is None:
        return None
    if (there := content_hash(job.backbone)) != (asked := job.trial.identity["backbone"]):
        raise CorruptCheckpoint(
            f"{job.backbone}: the weights there hash to {there}, and the trial stands on {asked}: they were trained again "
            "meanwhile; start the study again"
        )
    return read_weights(job.backbone)


def _keep(job: TrialJob) -> Keep:
    """Keeps what the backbone says, which all representations, strategies and ratios of a study begin with."""
    identity = job.trial.identity
    about = {
        "backbone": identity["backbone"],
        "network": said(job.network.backbone),
        "versions": {name: identity["versions"].get(name, "1") for name in _EMBEDDING_VERSIONS},
    }
    embeddings = Embeddings(job.ledger)

    def keep(events: str, compute: Callable[[], torch.Tensor]) -> torch.Tensor:
        name = fingerprint([about, events])
        (tensor,) = load_arrays([embeddings.get(name, lambda: compute().cpu().numpy())], job.device)
        return tensor

    return keep


def _hash_of(rows: np.ndarray) -> str:
    return hashlib.sha256(rows.astype("<i8").tobytes()).hexdigest()


def evaluated(job: TrialJob, training: Training, samples: Mapping[Split, Sample], result: Result) -> dict[str, Any]:
    """What the ledger keeps of a trained trial: a confirming one is evaluated on its test events."""
    kernel = kernel_of(training.model, job.settings.precision, training.strategy)
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
        facts |= on_test | _kept_representation(job, training.model)
    facts["validation_events"] = len(samples[Split.VALIDATION])
    return facts


def evaluation(job: TrialJob, logits: torch.Tensor, target: torch.Tensor) -> dict[str, Any]:
    """What the ledger keeps of the logits of signal [n, 1] of the test events, and of their targets [n], 1 for signal."""
    facts = {"metrics": measured("test", quality_of(logits, target)), "test_events": len(target)}
    if not (most := job.settings.scored_events):
        return facts
    scores, signal = logits.float().cpu().numpy().ravel(), target.cpu().numpy() > 0.5
    classes = {"signal": scores[signal], "background": scores[~signal]}
    largest, identity = float(np.finfo(np.float16).max), job.trial.identity
    kept = {
        name: np.clip(scores[evaluated_events.kept_rows(len(scores), most, len(processes))], -largest, largest)
        for (name, scores), processes in zip(classes.items(), job.trial.cell.task.classes, strict=True)
    }
    try:
        digest = Responses(job.ledger, "scores").write(job.trial.hash, kept)
    except (ValueError, OSError) as error:  # not a number, or too large for the disk: it is a result all the same
        return facts | {"no_scores": f"{type(error).__name__}: {error}"}
    name = evaluated_events.name_of(
        [identity["signal"], identity["background"]], [(len(classes[name]), len(kept[name])) for name in classes]
    )
    return facts | {"scores": digest, "scored_events": name}


def _kept_representation(job: TrialJob, model: Backbone) -> dict[str, Any]:
    """Keep what every layer says of the task's fixed test events, the same for all trials: signal first, then background."""
    most, cell = job.settings.represented_events, job.trial.cell
    if not most or cell.size != max(job.settings.sizes):
        return {}
    arrays, rows, n_events = [], [], []
    for of_class in cell.task.classes:
        of_processes = [_arrays(job.datasets[process]) for process in of_class]
        here = capped_of_class([one.split for one in of_processes], Split.TEST, most, "+".join(of_class))
        n_events.append(sum(map(len, here)))
        arrays += of_processes
        rows += here
    chosen = select(arrays, rows)
    events = EventTensors.of(chosen, job.device)
    layers = represent(model, events, torch.arange(len(chosen.offsets) - 1))
    kept = {name: layer.float().cpu().numpy() for name, layer in layers.items()}
    identity = job.trial.identity
    try:
        digest = Responses(job.ledger, "representations").write(job.trial.hash, kept)
    except (ValueError, OSError) as error:  # too large for half precision, or for the disk: it is a result all the same
        return {"no_representation": f"{type(error).__name__}: {error}"}
    return {
        "representation": digest,
        "represented_events": fingerprint([identity["signal"], identity["background"], n_events]),
    }


@lru_cache(maxsize=64)
def _arrays(dataset: Dataset) -> EventArrays:
    return open_arrays(dataset)


def device_now(job: TrialJob) -> float:
    """Device-seconds: CPU time of the process, or the wall time that a GPU is held, times the part of it that is."""
    if job.device == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter() * share(job)


def share(job: TrialJob) -> float:
    """The part of a device that the worker of a trial holds."""
    return job.settings.gpu_share if job.device != "cpu" else 1.0


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def epoch_line(epoch: Epoch) -> dict[str, Any]:
    """One epoch as a NaN-free dict, that of a network without a probe as it was before there were any."""
    line = {key: _finite(value) for key, value in asdict(epoch).items()}
    if line["validation_probe_auc"] is None:
        del line["validation_probe_auc"]
    return line
