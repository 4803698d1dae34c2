"""One rank of a pretraining: its events, its claim, its checkpoints, and what the ledger keeps of the result. Needs no Ray.

The training itself is training/loop.py; whoever starts the ranks says how they exchange gradients and where a
checkpoint goes.
"""

import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from breakeven import atomic
from breakeven.events.arrays import open_arrays, select
from breakeven.events.sampling import Split, capped, subset
from breakeven.events.single_jets import single_jets
from breakeven.ledger.ledger import Ledger, now
from breakeven.training import checkpoint as checkpoints
from breakeven.training.batches import EventTensors, Sample
from breakeven.training.energy import energy_meter
from breakeven.training.engines import in_batches, kernel_of
from breakeven.training.loop import train
from breakeven.training.metrics import working_points
from breakeven.training.recipe import Recipe, Strategy
from breakeven.training.training import Training
from breakeven.training.workers import Workers
from breakeven.work.facts import epoch_line, measured, training_facts
from breakeven.work.job import PretrainingJob
from breakeven.work.network import build_network

CHECKPOINT_SHARE = 0.05
"""Most of the time that goes into checkpoints between epochs: Ray Train takes up one in one or two seconds, and training waits
for it. What a kill can lose is twenty times what the last one took, and an epoch, but no more than `checkpoint_seconds`."""


def train_share(
    job: PretrainingJob,
    workers: Workers,
    device: str,
    state: checkpoints.TrainingState | None,
    deliver: Callable[[int, Path | None], None],
    progress: Path,
) -> None:
    """Train this rank's share to the end; rank 0 speaks for all, which do the same work, and writes the backbone.

    state: what the newest checkpoint holds; None at the first start.
    deliver: called on all ranks after the first epoch, then after one where it keeps to CHECKPOINT_SHARE, and within one where
    the last time was `checkpoint_seconds` ago, with the number of epochs that have ended and, on rank 0, the folder of a
    checkpoint, which is gone when it returns.  progress: file to which rank 0 writes the curve, each epoch with its workers.
    """
    events, train_sample, validation_sample, n_outputs = load_events(job, device)
    model = build_network(job.network, events.levels, n_outputs, job.settings.seed).to(device)
    claim = Ledger(job.ledger).claim(job.hash, job.device, share=workers.world) if workers.rank == 0 else None
    started, meter = now(), energy_meter(device)
    if claim is not None:
        claim.__enter__()
    curve = [epoch_line(epoch) for epoch in state.curve] if state else []
    kept, took = time.monotonic(), 0.0  # the first epoch of a start is kept, whatever that takes

    def due(after: float = math.inf) -> bool:
        """Whether the last checkpoint is older than `after`, and at most `checkpoint_seconds`, by the clock of rank 0."""
        late = workers.rank == 0 and time.monotonic() - kept >= min(after, job.settings.checkpoint_seconds)
        return bool(workers.add_up(torch.tensor(float(late), device=device)))

    def save(new: checkpoints.TrainingState) -> None:
        nonlocal kept, took
        if new.partial or due(took / CHECKPOINT_SHARE):
            begun = time.monotonic()
            with tempfile.TemporaryDirectory() as folder:
                if claim is not None:
                    checkpoints.write_state(Path(folder), new)
                deliver(len(new.curve), Path(folder) if claim is not None else None)
            kept = time.monotonic()
            took = kept - begun
            if claim is not None:
                claim.saved()
        if claim is not None and not new.partial:
            curve.append({**epoch_line(new.curve[-1]), "workers": workers.world})
            atomic.write_json(progress, curve)

    strategy = Strategy("finetune" if job.start else "scratch")
    backbone = checkpoints.read_weights(job.start) if job.start else None
    training = Training(model, events, train_sample, validation_sample, recipe_of(job), strategy, backbone)
    result = train(training, workers=workers, save=save, due=due, resume_from=state)
    if claim is not None:
        facts = training_facts(result) | {
            "pretraining": job.name,
            "device": job.device,
            "kernel": kernel_of(training),
            "workers": workers.world,
            "wall_seconds": result.curve[-1].wall_seconds,
            "device_seconds": result.curve[-1].device_seconds,
            "wasted_seconds": claim.wasted_seconds,
            "train_events": len(train_sample),
            "started": started,
            "ended": now(),
        }
        facts["metrics"] |= _tagging(job, training)
        if meter is not None and workers.world == 1 and state is None:
            facts["energy_joules"] = meter()  # of one GPU from the beginning: anything else would be a guess
        checkpoints.write_model(job.backbone, model, facts)
        claim.release()


def _tagging(job: PretrainingJob, training: Training) -> dict[str, float | None]:
    """The background rejection of a tagger, on its validation sample."""
    if job.settings.objective != "xbb":
        return {}
    sample, events = training.validation_sample, training.events
    outputs = in_batches(training.model, events, sample.index.to(events.device))
    points = working_points(outputs[:, 0], sample.target, efficiencies=(0.8,))
    return measured("validation", {name: value for name, value in points.items() if name == "rejection_80"})


def recipe_of(job: PretrainingJob) -> Recipe:
    """The training numbers of a pretraining; one that starts from another backbone trains all layers at one rate."""
    settings = job.settings
    return Recipe(
        objective="binary" if settings.objective == "xbb" else settings.objective,
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        decay=settings.decay,
        patience=settings.patience or None,
        symmetries=settings.symmetries,
        seed=settings.seed,
        precision=settings.precision,
    )


def load_events(job: PretrainingJob, device: str) -> tuple[EventTensors, Sample, Sample, int]:
    """Training and validation events of all processes on one device, their samples, and the number of outputs.

    To be told by their own label, jets are events of their own. Raises ValueError where events have no jets with constituents.
    """
    arrays = [open_arrays(dataset) for dataset in job.datasets]
    rows = []
    for one in arrays:
        train_rows = one.rows(Split.TRAIN)
        if job.settings.events_per_process:
            most = min(job.settings.events_per_process, len(train_rows))
            train_rows = np.sort(subset(train_rows, most, job.settings.seed, one.process_names[0]))
        validation = capped(one.split, Split.VALIDATION, job.settings.validation_events, one.process_names[0])
        rows.append(np.concatenate([train_rows, validation]))
    chosen = select(arrays, rows)
    objective = job.settings.objective
    if objective == "xbb":
        chosen = single_jets(chosen)
    multiclass = objective == "multiclass"
    beside = 8 * chosen.n_events if multiclass else 4 * chosen.labels.size
    if job.settings.symmetries:  # turned events lie beside those as they were
        beside += 2 * chosen.nodes.nbytes
    events = EventTensors.of(chosen, device, beside=beside)
    labels = chosen.labels[:, 0] if objective == "xbb" else chosen.labels
    target = torch.from_numpy(chosen.process.astype(np.int64) if multiclass else labels)
    samples = []
    for split in (Split.TRAIN, Split.VALIDATION):
        own_rows = torch.from_numpy(chosen.rows(split))
        samples.append(Sample(own_rows, target[own_rows]))
    return events, samples[0], samples[1], len(arrays) if multiclass else chosen.labels.shape[1]
