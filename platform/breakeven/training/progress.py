"""A training between its epochs: the curve so far, which epoch is the best, whether it goes on. Never runs a model."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from torch import Tensor

from breakeven.models.backbone import Backbone
from breakeven.training.plateau import Plateau, find_plateau
from breakeven.training.recipe import Epoch, Result
from breakeven.training.training import Training


@dataclass
class Progress:
    """What grows from epoch to epoch, besides model and optimiser. best_epoch: -1 before the first."""

    training: Training
    curve: list[Epoch] = field(default_factory=list)
    best_epoch: int = -1
    best_weights: dict[str, Tensor] = field(default_factory=dict)

    @property
    def goes_on(self) -> bool:
        """Whether epochs are left and the plateau is not reached."""
        return len(self.curve) < self.training.recipe.epochs and not self._plateau().reached

    @property
    def is_best(self) -> bool:
        """Whether the last epoch has the lowest validation loss, so that its weights are to be kept."""
        return bool(self.curve) and self.best_epoch == len(self.curve) - 1

    def add(self, train_loss: float, quality: Mapping[str, float], seconds: tuple[float, float]) -> Epoch:
        """The next epoch, appended to the curve.

        quality: loss, accuracy and auc on validation events, with a probe its auc.  seconds: wall and device since the start.
        """
        number = len(self.curve)
        epoch = Epoch(
            epoch=number,
            wall_seconds=seconds[0],
            device_seconds=seconds[1],
            events_seen=(number + 1) * len(self.training.train_sample),
            train_loss=train_loss,
            validation_loss=quality["loss"],
            validation_accuracy=quality["accuracy"],
            validation_auc=quality["auc"],
            learning_rate=self.training.recipe.rate(number),
            validation_probe_auc=quality.get("probe_auc", math.nan),
        )
        self.curve.append(epoch)
        if number == 0 or epoch.validation_loss < self.curve[self.best_epoch].validation_loss:
            self.best_epoch = number
        return epoch

    def result(self, asked: bool) -> Result:
        """What the training gave. asked: whether it was asked to end."""
        plateau = self._plateau()
        return Result(
            curve=tuple(self.curve),
            best_epoch=self.best_epoch,
            plateau_epoch=plateau.last_improving if plateau.reached else None,
            stopped="plateau" if plateau.reached else "asked" if asked else "epochs",
        )

    def _plateau(self) -> Plateau:
        losses, train_losses = (
            [getattr(epoch, name) for epoch in self.curve] for name in ("validation_loss", "train_loss")
        )
        return find_plateau(losses, self.training.recipe, train_losses, self._constant)

    @cached_property
    def _constant(self) -> float:
        """Loss of the best constant output on the training sample."""
        return self.training.objective.constant_loss(self.training.train_sample.target)


def copy_of_weights(model: Backbone) -> dict[str, Tensor]:
    """The state dict of `model`, in memory of its own."""
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
