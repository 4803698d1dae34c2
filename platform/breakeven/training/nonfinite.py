"""A loss that is not finite: the error, and the search for what to blame."""

import math

import torch
from torch import Tensor

from breakeven.training.batches import epoch_order
from breakeven.training.training import Training


class NonFinite(ValueError):
    """A loss or feature that is NaN or infinite.

    epoch: counted from 0.  batch: number within the epoch, counted from 0, None outside of training batches.
    """

    def __init__(self, message: str, epoch: int, batch: int | None) -> None:
        super().__init__(message)
        self.epoch, self.batch = epoch, batch

    def __reduce__(self) -> tuple[type["NonFinite"], tuple[str, int, int | None]]:
        return NonFinite, (str(self), self.epoch, self.batch)  # so that it survives the way from a worker


def mean_loss(training: Training, losses: Tensor, epoch: int) -> float:
    """Mean over the events of an epoch, from the sum of each batch [n_batches]. Raises NonFinite for the first bad one."""
    check_batches(training, losses, epoch)
    return float(losses.sum()) / len(training.train_sample)


def check_batches(training: Training, losses: Tensor, epoch: int, first: int = 0) -> None:
    """Raise NonFinite where the loss of a batch is not finite; first: number of the first of these batches."""
    bad = (~torch.isfinite(losses)).nonzero()
    if len(bad):
        number = first + int(bad[0])
        order = epoch_order(len(training.train_sample), training.recipe.seed, epoch)
        batch = order.split(training.recipe.batch_size)[number]
        index = training.train_sample.index[batch.to(training.events.home)]
        which = f"epoch {epoch}, batch {number}: the loss is {losses[bad[0]].item()}"
        raise NonFinite(f"{which}: {what_to_look_at(training, index, epoch)}", epoch, number)


def check_validation(training: Training, loss: float, epoch: int) -> None:
    """Raise NonFinite where the loss of the validation sample is not finite."""
    if not math.isfinite(loss):
        why = what_to_look_at(training, training.validation_sample.index, epoch)
        raise NonFinite(f"epoch {epoch}: the validation loss is {loss}: {why}", epoch, None)


def what_to_look_at(training: Training, index: Tensor, epoch: int) -> str:
    """What to look at after a loss over the events `index` was not finite: a feature, or else the learning rate."""
    batch = training.events.gather(index)
    for depth, features in enumerate(training.events.levels):
        values, bad = batch[2 * depth], (~torch.isfinite(batch[2 * depth])).nonzero()
        if len(bad):
            row, column = bad[0].tolist()
            what = f"{features[column].name} = {values[row, column].item()}"
            for offsets in batch[2 * depth + 1 :: -2]:
                row = int(torch.searchsorted(offsets, row, right=True)) - 1
            number = int(index[row])
            number = number if training.turns is None else training.turns.origin(number)
            return f"event {number} has {what}; look at the dataset it is from"
    broken = [
        name for name, parameter in training.model.named_parameters() if not bool(torch.isfinite(parameter).all())
    ]
    which = f"{len(broken)} weights, {broken[0]} first, are not finite; " if broken else ""
    rate = f"{training.recipe.rate(epoch):.3g}"
    return f"all features are finite; {which}the training diverged: lower the learning rate (now {rate})"
