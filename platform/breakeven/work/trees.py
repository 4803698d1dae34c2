"""A trial with boosted trees: the same events as a network would get, by their high-level variables."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from breakeven.events.arrays import EventArrays, select
from breakeven.events.sampling import Split
from breakeven.study.spec import EVEN
from breakeven.training.batches import EventTensors, Sample
from breakeven.training.eager import outputs_of
from breakeven.training.optimiser import apply_strategy
from breakeven.training.probe import listening
from breakeven.training.recipe import Epoch, Recipe, Strategy
from breakeven.training.training import Training
from breakeven.training.trees import train_trees
from breakeven.training.workers import ALONE
from breakeven.work.facts import evaluation, training_facts
from breakeven.work.job import TrialJob
from breakeven.work.kept import kept
from breakeven.work.network import build_network, pretrained
from breakeven.work.trial_events import Seen, arrays_of, hash_of, is_signal, seen_by


def trees_facts(job: TrialJob, check: Callable[[Epoch], None]) -> dict[str, Any]:
    """Train and evaluate trees on the same events as a network would get. Raises ValueError where these have no variables."""
    seen = seen_by(job)
    samples = {split: _variables(job, seen, split) for split in next(iter(seen.values()))}
    settings, identity = job.settings, job.trial.identity
    recipe = Recipe(epochs=identity["epochs"], patience=settings.patience, seed=job.trial.seed)
    balance = settings.signal_fraction != EVEN
    model, result = train_trees(samples[Split.TRAIN], samples[Split.VALIDATION], recipe, check, balance=balance)
    facts = training_facts(result) | {"kernel": "scikit-learn", "validation_events": len(samples[Split.VALIDATION][1])}
    if job.trial.phase == "confirm":
        values, target = samples[Split.TEST]
        on_test = evaluation(job, model.outputs(values), torch.from_numpy(target.astype(np.float32)))
        facts["metrics"] |= on_test.pop("metrics")
        facts |= on_test
    return facts


def _variables(job: TrialJob, seen: Seen, split: Split) -> tuple[np.ndarray, np.ndarray]:
    """High-level variables [n, n_variables] of the events of a split, the signal's first, and targets [n]."""
    rows = [of_dataset[split] for of_dataset in seen.values()]
    arrays = [arrays_of(job.datasets[process]) for process in job.trial.cell.task.processes]
    if (of_events := arrays[0].schema.high_level) is None:
        raise ValueError(
            f"trees need high-level variables, and the schema {arrays[0].schema.version} of {', '.join(job.datasets)} has none: "
            "give it some (EventSchema.high_level), or leave trees out of finetuning.baselines"
        )
    chosen = select(arrays, rows)
    values = of_events.compute([(chosen.nodes, chosen.offsets), *chosen.inner])
    if job.backbone is not None:
        values = np.concatenate([values, _scores(job, chosen, hash_of(seen, split))], axis=1)
    return values, np.repeat(is_signal(job), [len(part) for part in rows])


def _scores(job: TrialJob, events: EventArrays, name: str) -> np.ndarray:
    """What the pretrained backbone says of each thing of events [n_events, most], as of each jet; NaN where there is none.

    name: hash of the events, by which what frozen trials begin with is kept.
    Raises ValueError where the backbone was not pretrained to say anything of them.
    """
    model = build_network(job.network, tuple(level.features for level in events.schema.levels), 1).to(job.device)
    apply_strategy(model, Strategy("frozen"), job.trial.seed, pretrained(job))
    if not model.probe or model.probe.startswith(tuple(name.rstrip(".") for name in model.new_layers)):
        raise ValueError(
            f"the backbone {job.trial.cell.backbone} gives no scores that trees could have: take one of an xbb pretraining in a "
            "network with the representation S+HLF, or leave trees+score out of finetuning.baselines"
        )
    every = torch.arange(events.n_events, device=job.device)
    sample = Sample(every, torch.zeros(len(every)), name)
    frozen = Training(
        model, EventTensors.of(events, job.device), sample, sample, Recipe(), Strategy("frozen"), keep=kept(job)
    )
    model.eval()
    with listening(model) as heard:
        outputs_of(frozen, sample, ALONE)
    there = np.arange(events.labels.shape[1]) < np.diff(events.offsets)[:, None]
    scores = np.full(there.shape, np.nan, np.float32)
    scores[there] = torch.cat(heard)[:, 0].float().cpu().numpy()
    return scores
