"""Twenty seconds of real work on this machine: how fast it generates events and trains on them.

For the price of a study that has no history here. Its result is two numbers in a file beside the ledger; it records no
trial and keeps no event.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from breakeven import atomic, provenance
from breakeven.estimate.speeds import calibration_path
from breakeven.events import store
from breakeven.events.arrays import open_arrays, select
from breakeven.events.catalogue import source
from breakeven.ledger.ledger import now
from breakeven.physics.jets import processes as jets
from breakeven.study.spec import Study
from breakeven.training.batches import EventTensors, Sample
from breakeven.training.loop import train
from breakeven.training.recipe import Recipe
from breakeven.training.training import Training
from breakeven.work.network import build_network

SECONDS = 20.0
PROCESSES = ("ttbar", "ggF")
"""A slow and a quick process of the generator's own, of whole events; of others the first of each class is taken."""
SHARD_EVENTS = 100


def calibrate(study: Study, ledger: Path, say: Callable[[str], None], seconds: float = SECONDS) -> dict[str, Any]:
    """Measure, half the time generating and half training, write it beside the ledger, and return it.

    say: called with a word on what comes next.  Gives generated (events per core-second, with writing, mean of a slow and a
    quick process), trained (event passes per device-second at the study's network and batch size, median of its rounds),
    device, processor, seconds.
    """
    torch.set_num_threads(1)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="calibration-") as folder:
        say(f"generating events of {' and '.join(_processes(study))}")
        datasets, generated = _generate(study, Path(folder), seconds / 2)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        say(f"training on them, on {device}")
        trained = _train(study, datasets, device, seconds - (time.monotonic() - begun))
    measured = {
        "generated": generated,
        "trained": trained,
        "device": device,
        "processor": provenance.processor(),
        "host": provenance.host(),
        "git_commit": provenance.git_commit(),
        "seconds": time.monotonic() - begun,
        "ended": now(),
    }
    atomic.write_json(calibration_path(ledger, study), measured)
    return measured


def _generate(study: Study, root: Path, seconds: float) -> tuple[list[store.Dataset], float]:
    """Datasets of the two processes, and events per core-second over both."""
    settings = study.generation
    recipes = [
        store.Recipe(source(name, mpi=settings.multiparton_interactions), settings.seed, SHARD_EVENTS)
        for name in _processes(study)
    ]
    shards, spent, end = 0, 0.0, time.monotonic() + seconds
    while shards == 0 or time.monotonic() < end:
        for recipe in recipes:
            start = time.process_time()
            store.make_shard(recipe, root, shards)
            spent += time.process_time() - start
        shards += 1
    return [store.complete(recipe, root, shards) for recipe in recipes], shards * len(recipes) * SHARD_EVENTS / spent


def _processes(study: Study) -> tuple[str, ...]:
    of_classes = tuple(of_class[0] for of_class in study.finetuning.resolved()[0].classes)
    return of_classes if set(of_classes) <= set(jets.CATALOGUE) else PROCESSES


def _train(study: Study, datasets: list[store.Dataset], device: str, seconds: float) -> float:
    """Event passes per device-second of short trainings, validation included, the median of as many as there is time for."""
    arrays = [open_arrays(dataset) for dataset in datasets]
    chosen = select(arrays, [np.arange(one.n_events) for one in arrays])
    events = EventTensors.of(chosen, device)
    rows = torch.from_numpy(np.random.default_rng(0).permutation(events.n_events))
    target = torch.from_numpy(chosen.process.astype(np.float32))
    cut = max(4 * events.n_events // 5, 1)
    training, validation = (Sample(part, target[part]) for part in (rows[:cut], rows[cut:]))
    speeds: list[float] = []
    end = time.monotonic() + max(seconds, 1.0)
    while len(speeds) < 2 or time.monotonic() < end:
        model = build_network(study.network, events.levels, 1).to(device)
        recipe = Recipe(objective="binary", epochs=2, batch_size=study.finetuning.batch_size, patience=None)
        last = train(Training(model, events, training, validation, recipe)).curve[-1]
        speeds.append((last.events_seen + 2 * len(validation) / 3) / last.device_seconds)
    return statistics.median(speeds[1:])  # the first one warms up
