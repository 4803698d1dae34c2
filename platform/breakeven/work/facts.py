"""What the ledger keeps of a training and of what it was evaluated on: plain numbers, scores, representations."""

import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch

from breakeven.events import evaluated_events
from breakeven.events.arrays import select
from breakeven.events.sampling import Split, capped_of_class
from breakeven.fingerprint import fingerprint
from breakeven.ledger.responses import Responses
from breakeven.models.backbone import Backbone
from breakeven.training.batches import EventTensors
from breakeven.training.loop import quality_of, represent
from breakeven.training.recipe import Epoch, Result
from breakeven.work.job import TrialJob
from breakeven.work.trial_events import arrays_of


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
        "plateau_seconds": finite(plateau * part) if plateau is not None else None,
        "curve": [epoch_line(replace(epoch, device_seconds=epoch.device_seconds * part)) for epoch in result.curve],
    }


def measured(split: str, values: Mapping[str, float]) -> dict[str, float | None]:
    """Metrics by the names that a record has for them, NaN-free."""
    return {f"{split}_{name}": finite(value) for name, value in values.items()}


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


def kept_representation(job: TrialJob, model: Backbone) -> dict[str, Any]:
    """Keep what every layer says of the task's fixed test events, the same for all trials: signal first, then background."""
    most, cell = job.settings.represented_events, job.trial.cell
    if not most or cell.size != max(job.settings.sizes):
        return {}
    arrays, rows, n_events = [], [], []
    for of_class in cell.task.classes:
        of_processes = [arrays_of(job.datasets[process]) for process in of_class]
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


def finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def epoch_line(epoch: Epoch) -> dict[str, Any]:
    """One epoch as a NaN-free dict, that of a network without a probe as it was before there were any."""
    line = {key: finite(value) for key, value in asdict(epoch).items()}
    if line["validation_probe_auc"] is None:
        del line["validation_probe_auc"]
    return line
