"""An epoch of one training, each step launched as it comes: on CPU, for frozen backbones and for the reference engine."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from breakeven.training import optimiser as optimisers
from breakeven.training.batches import Sample, epoch_order, share
from breakeven.training.nonfinite import check_batches
from breakeven.training.precision import forward_in, products_in
from breakeven.training.recipe import Recipe
from breakeven.training.training import Training
from breakeven.training.workers import Workers

_BATCHES_BETWEEN_CHECKS = 256
BATCHES_BETWEEN_PAUSES = 16

Pause = Callable[[Callable[[], Tensor]], None]
"""Called between batches, on all workers alike, with a function that gives the losses of the epoch's batches so far, over all
workers [n_done] float64, which all must call or none."""
Outputs = Callable[[Tensor], Tensor]
"""From rows of a sample [n] to the model's outputs [n, n_outputs]."""


class Eager:
    """A learner for loop.train; see its Learner.

    moments: of Adam, to go on from; see optimiser.moments.
    """

    def __init__(self, training: Training, workers: Workers, moments: Mapping[str, Tensor] | None) -> None:
        self._training, self._workers = training, workers
        training.model.eval()  # dropout acts in an epoch's steps alone
        self._adam = optimisers.make_optimiser(training.model, training.recipe, training.strategy)
        if moments is not None:
            optimisers.load_moments(self._adam, training.model, moments)
        self._training_outputs = outputs_of(training, training.train_sample, workers)
        self._validation_outputs = outputs_of(training, training.validation_sample, workers)

    def train_epoch(self, epoch: int, done: Tensor, pause: Pause | None = None) -> float:
        """One pass over the training sample, or what is left of it; the mean loss over its events."""
        training, recipe, sample, workers = (
            self._training,
            self._training.recipe,
            self._training.train_sample,
            self._workers,
        )
        objective, device = training.objective, training.events.device
        training.begin_epoch(epoch, workers.rank)
        training.model.train()
        optimisers.set_rates(self._adam, recipe, epoch)
        parameters = [parameter for group in self._adam.param_groups for parameter in group["params"]]
        batches = epoch_order(len(sample), recipe.seed, epoch).to(sample.index.device).split(recipe.batch_size)
        told, losses = [done.to(device)], list[Tensor]()

        def tell() -> Tensor:
            """Losses of all batches so far. Reading one makes a GPU wait, so that many are read, and summed, at a time."""
            if losses:
                summed = workers.add_up(torch.stack(losses).double())
                check_batches(training, summed, epoch, first=sum(map(len, told)))
                told.append(summed)
                losses.clear()
            return torch.cat(told)

        for number, batch in enumerate(batches[len(done) :], len(done) + 1):
            rows = batch[share(len(batch), workers.rank, workers.world)]
            self._adam.zero_grad(set_to_none=True)
            with products_in(recipe.precision):
                with forward_in(recipe.precision, device):
                    outputs = self._training_outputs(rows)
                target = sample.target[rows].to(device)
                loss = objective.loss_sum(outputs.to(training.model.head.weight.dtype), target)
                (loss / len(batch)).backward()
            workers.sum_gradients(parameters)
            self._adam.step()
            losses.append(loss.detach())
            if len(losses) == _BATCHES_BETWEEN_CHECKS:
                tell()
            if pause is not None and number % BATCHES_BETWEEN_PAUSES == 0 and number < len(batches):
                pause(tell)
        # In the same pieces, wherever there was a pause: the sum has the same bits.
        total = sum(float(part.sum()) for part in tell().split(_BATCHES_BETWEEN_CHECKS))
        training.model.eval()
        return total / len(sample)

    def predict(self) -> Tensor:
        """Outputs [n, n_outputs] for the validation sample."""
        return all_rows(
            self._validation_outputs, self._training.validation_sample, self._training.recipe, self._workers
        )

    def moments(self) -> dict[str, Tensor]:
        """Copies of Adam's state by name."""
        return optimisers.moments(self._adam, self._training.model)

    def close(self) -> None:
        """It holds nothing of its own."""


def outputs_of(training: Training, sample: Sample, workers: Workers) -> Outputs:
    """The model on rows of `sample`. What a frozen backbone says about an event is computed once, or read where it is kept."""
    model, events = training.model, training.events

    def batch(rows: Tensor) -> tuple[Tensor, ...]:
        return events.gather(sample.index[rows])

    def ask() -> Tensor:
        return all_rows(lambda rows: model.pretrained(*batch(rows)), sample, training.recipe, workers)

    if training.strategy.name != "frozen":
        return lambda rows: model(*batch(rows))
    said = training.keep(sample.events, ask) if training.keep is not None and sample.events else ask()
    embedding = all_rows(lambda rows: model.embed(said[rows], *batch(rows)), sample, training.recipe, workers)
    return lambda rows: model.solve(embedding[rows])


@torch.no_grad()
def all_rows(function: Outputs, sample: Sample, recipe: Recipe, workers: Workers) -> Tensor:
    """`function` of all rows of `sample`, each worker doing its share; all rows on all workers."""
    own = torch.arange(len(sample), device=sample.index.device)[share(len(sample), workers.rank, workers.world)]
    return workers.gather(torch.cat([function(rows) for rows in own.split(recipe.evaluation_batch_size)]))
