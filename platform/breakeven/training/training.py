"""What goes into a pack for each training, and what comes out of it where that fails. Trains nothing."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from breakeven.models.backbone import Backbone
from breakeven.training.batches import Sample
from breakeven.training.recipe import Epoch, Recipe, Strategy


@dataclass(frozen=True)
class Member:
    """One training of a pack: the arguments of loop.train. No two members may share a model."""

    model: Backbone
    training: Sample
    validation: Sample
    recipe: Recipe
    strategy: Strategy = Strategy()  # noqa: RUF009  (frozen)
    backbone: Mapping[str, Tensor] | None = None
    on_epoch: Callable[[Epoch], bool | None] | None = None


@dataclass(frozen=True)
class Failed:
    """A member that raised an error, and the device seconds it had used by then."""

    error: Exception
    device_seconds: float
