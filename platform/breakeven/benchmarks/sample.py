"""The benchmark's events: real ones, the first shard of each pretraining process in the runs folder.

Generates what is not there yet, in this process. Never changes a dataset that a study made.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from breakeven.events.arrays import open_arrays, select
from breakeven.events.catalogue import source
from breakeven.events.store import Dataset, Recipe, complete, make_shard, missing_shards
from breakeven.physics.processes import PRETRAINING
from breakeven.training.batches import EventTensors


def real_events(
    datasets: Path,
    device: torch.device | str = "cpu",
    names: Sequence[str] = PRETRAINING,
    on_generation: Callable[[str], None] = lambda name: None,
) -> tuple[EventTensors, Tensor]:
    """The first 500 events of each process `names`, and the number of each event's process [n_events] int64.

    datasets: folder of datasets; the shards are those of a study with default settings.
    on_generation: called with the name of a process before its events are generated (about a second each).
    """
    recipes = [Recipe(source(name)) for name in names]
    arrays = [open_arrays(_dataset(recipe, datasets, on_generation)) for recipe in recipes]
    rows = [np.arange(part.n_events) for part in arrays]
    chosen = select(arrays, rows)
    events = EventTensors.of(chosen, device)
    return events, torch.from_numpy(chosen.process.astype(np.int64)).to(events.device)


def _dataset(recipe: Recipe, datasets: Path, on_generation: Callable[[str], None]) -> Dataset:
    if missing_shards(recipe, datasets, 1):
        on_generation(recipe.source.name)
        make_shard(recipe, datasets, 0)
    return complete(recipe, datasets, 1)
