"""What a training is, as one value: what learns, from which events, and how; and what comes out where it fails."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from breakeven.fingerprint import fingerprint
from breakeven.models.backbone import Backbone
from breakeven.training.batches import EventTensors, Sample
from breakeven.training.objectives import Objective, named_objective
from breakeven.training.optimiser import backbone_ratio
from breakeven.training.recipe import Epoch, Recipe, Strategy

__all__ = ["Failed", "Training"]


Keep = Callable[[str, Callable[[], Tensor]], Tensor]
"""From the hash of a sample's events, and a way to compute it, to what the pretrained layers say of each [n_events, ...], on the
events' device: what is kept, where there is something."""


class Turning(Protocol):
    """Events of a training's own that change from epoch to epoch, see symmetry.py."""

    def turn(self, epoch: int) -> None:
        """Make them those of `epoch`, in place."""

    def origin(self, event: int) -> int:
        """The number of the event that one of them was copied from, or its own."""


@dataclass(frozen=True)
class Training:
    """One training, to be done alone (loop.train) or in a pack (pack.train_pack), no two of which may share a model."""

    model: Backbone
    """On the device of `events`. Its own weights do not matter: the strategy and the seed set them."""
    events: EventTensors
    """All that the samples point into."""
    train_sample: Sample
    """Rows of `events` and targets as recipe.objective wants them; equal on all workers."""
    validation_sample: Sample
    """Likewise."""
    recipe: Recipe
    strategy: Strategy = Strategy()  # noqa: RUF009  (frozen)
    """What is taken over from `backbone` and what may move."""
    backbone: Mapping[str, Tensor] | None = None
    """State dict of the pretrained model, for the strategies finetune and frozen."""
    on_epoch: Callable[[Epoch], bool | None] | None = None
    """Called after every epoch, on every worker; True ends the training (all workers must agree)."""
    keep: Keep | None = None
    """Where what frozen layers say of samples that have a hash is kept; None: it is computed here."""
    turns: Turning | None = None
    """Set by symmetry.with_turns."""

    @property
    def objective(self) -> Objective:
        """What is minimised; raises ValueError where the model has another number of outputs."""
        return named_objective(self.recipe.objective, self.model.n_outputs)

    @property
    def learns(self) -> nn.Module:
        """The part of the model that learns."""
        return self.model.head if self.strategy.name == "frozen" else self.model

    def begin_epoch(self, epoch: int, rank: int = 0) -> None:
        """To be called before an epoch's first step.

        Args:
            epoch: its number, from 0.
            rank: of the worker, whose layers draw numbers of their own.
        """
        torch.manual_seed(int(fingerprint(["layers", self.recipe.seed, epoch, rank], length=15), 16))
        if self.turns is not None:
            self.turns.turn(epoch)

    def rates(self, epoch: int) -> tuple[float, float]:
        """The learning rates of head and backbone."""
        rate = self.recipe.rate(epoch)
        return rate, rate * backbone_ratio(self.recipe, self.strategy)


@dataclass(frozen=True)
class Failed:
    """A training that raised an error, and the device seconds it had used by then."""

    error: Exception
    device_seconds: float
