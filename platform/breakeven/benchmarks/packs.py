"""Packs of small trainings, as a worker of a GPU has them."""

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from breakeven.models import build
from breakeven.training.batches import EventTensors, Sample, epoch_order
from breakeven.training.pack import train_pack
from breakeven.training.recipe import Recipe
from breakeven.training.training import Failed, Training


def trainings_of(events: EventTensors, signal: Tensor, recipe: Recipe, size: int, n_training: int) -> list[Training]:
    """Trainings of several seeds, each on `n_training` events of its own and half as many to validate on.

    signal: [n_events] float32, 1 for signal and 0 for background.
    """
    trainings = []
    for seed in range(size):
        order = epoch_order(events.n_events, seed, epoch=0).to(events.device)
        training, validation = (
            Sample(part, signal[part]) for part in (order[:n_training], order[-(n_training // 2) :])
        )
        model = build(1).to(events.device)
        trainings.append(Training(model, events, training, validation, replace(recipe, seed=seed)))
    return trainings


def train_all(trainings: Sequence[Training]) -> None:
    """Train a pack. Raises what one of it raised."""
    for outcome in train_pack(trainings):
        if isinstance(outcome, Failed):
            raise outcome.error
