"""A loss that is not finite: the error, and the search for what to blame."""

import torch
from torch import Tensor, nn

from breakeven.training.batches import EventTensors
from breakeven.training.recipe import Recipe


class NonFinite(ValueError):
    """A loss or feature that is NaN or infinite.

    epoch: counted from 0.  batch: number within the epoch, counted from 0, None outside of training batches.
    """

    def __init__(self, message: str, epoch: int, batch: int | None) -> None:
        super().__init__(message)
        self.epoch, self.batch = epoch, batch

    def __reduce__(self) -> tuple[type["NonFinite"], tuple[str, int, int | None]]:
        return NonFinite, (str(self), self.epoch, self.batch)  # so that it survives the way from a worker


def not_finite(
    loss: float,
    events: EventTensors,
    index: Tensor,
    model: nn.Module,
    recipe: Recipe,
    epoch: int,
    batch: int | None = None,
) -> NonFinite:
    """The error for a `loss` over the events `index` that is not finite; batch None means the validation sample."""
    which = f"epoch {epoch}: the validation loss" if batch is None else f"epoch {epoch}, batch {batch}: the loss"
    return NonFinite(f"{which} is {loss}: {blame(events, index, model, recipe.rate(epoch))}", epoch, batch)


def blame(events: EventTensors, index: Tensor, model: nn.Module, rate: float) -> str:
    """What to look at after a loss over the events `index` was not finite: a feature, or else the learning rate."""
    batch = events.gather(index)
    for depth, features in enumerate(events.levels):
        values, bad = batch[2 * depth], (~torch.isfinite(batch[2 * depth])).nonzero()
        if len(bad):
            row, column = bad[0].tolist()
            what = f"{features[column].name} = {values[row, column].item()}"
            for offsets in batch[2 * depth + 1 :: -2]:
                row = int(torch.searchsorted(offsets, row, right=True)) - 1
            return f"event {int(index[row])} has {what}; look at the dataset it is from"
    broken = [name for name, parameter in model.named_parameters() if not bool(torch.isfinite(parameter).all())]
    which = f"{len(broken)} weights, {broken[0]} first, are not finite; " if broken else ""
    return f"all features are finite; {which}the training diverged: lower the learning rate (now {rate:.3g})"
