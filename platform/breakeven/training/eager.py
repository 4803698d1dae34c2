"""An epoch of one training, each step launched as it comes: on CPU, for frozen backbones and for the reference engine."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from breakeven.models.backbone import Backbone
from breakeven.training import optimiser as optimisers
from breakeven.training.batches import EventTensors, Sample, epoch_order, share
from breakeven.training.nonfinite import not_finite
from breakeven.training.objectives import Objective
from breakeven.training.precision import forward_in, products_in
from breakeven.training.recipe import Recipe, Strategy
from breakeven.training.workers import Workers

_BATCHES_BETWEEN_CHECKS = 256

Outputs = Callable[[Tensor], Tensor]
"""From rows of a sample [n] to the model's outputs [n, n_outputs]."""


class Eager:
    """A learner for loop.train; see its Learner.

    moments: of Adam, to go on from; see optimiser.moments.
    """

    def __init__(
        self,
        model: Backbone,
        events: EventTensors,
        training: Sample,
        validation: Sample,
        objective: Objective,
        recipe: Recipe,
        strategy: Strategy,
        workers: Workers,
        moments: Mapping[str, Tensor] | None,
    ) -> None:
        self._model, self._events, self._objective, self._recipe = model, events, objective, recipe
        self._training, self._validation, self._workers = training, validation, workers
        self._adam = optimisers.make_optimiser(model, recipe, strategy)
        if moments is not None:
            optimisers.load_moments(self._adam, model, moments)
        self._training_outputs = outputs_of(model, events, training, strategy, recipe, workers)
        self._validation_outputs = outputs_of(model, events, validation, strategy, recipe, workers)

    def train_epoch(self, epoch: int) -> float:
        """One pass over the training sample; the mean loss over its events."""
        model, recipe, sample, workers = self._model, self._recipe, self._training, self._workers
        optimisers.set_rates(self._adam, recipe, epoch)
        parameters = [parameter for group in self._adam.param_groups for parameter in group["params"]]
        batches = epoch_order(len(sample), recipe.seed, epoch).to(self._events.device).split(recipe.batch_size)
        losses: list[Tensor] = []
        total = 0.0
        for number, batch in enumerate(batches):
            rows = batch[share(len(batch), workers.rank, workers.world)]
            self._adam.zero_grad(set_to_none=True)
            with products_in(recipe.precision):
                with forward_in(recipe.precision, self._events.device):
                    outputs = self._training_outputs(rows)
                loss = self._objective.loss_sum(outputs.to(model.head.weight.dtype), sample.target[rows])
                (loss / len(batch)).backward()
            workers.sum_gradients(parameters)
            self._adam.step()
            losses.append(loss.detach())
            # Reading a loss makes a GPU wait, so they are read many at a time, and summed so that all workers agree.
            if len(losses) == _BATCHES_BETWEEN_CHECKS or number == len(batches) - 1:
                summed = workers.sum_scalars(torch.stack(losses).double())
                bad = (~torch.isfinite(summed)).nonzero()
                if len(bad):
                    first = number + 1 - len(losses) + int(bad[0])
                    index = sample.index[batches[first]]
                    raise not_finite(summed[bad[0]].item(), self._events, index, model, recipe, epoch, first)
                total += float(summed.sum())
                losses.clear()
        return total / len(sample)

    def predict(self) -> Tensor:
        """Outputs [n, n_outputs] for the validation sample."""
        return all_rows(self._validation_outputs, self._validation, self._recipe, self._workers)

    def moments(self) -> dict[str, Tensor]:
        """Copies of Adam's state by name."""
        return optimisers.moments(self._adam, self._model)


def outputs_of(
    model: Backbone,
    events: EventTensors,
    sample: Sample,
    strategy: Strategy,
    recipe: Recipe,
    workers: Workers,
) -> Outputs:
    """The model on rows of `sample`. What a frozen backbone says about an event is computed once and kept."""
    if strategy.name != "frozen":
        return lambda rows: model(*events.gather(sample.index[rows]))
    features = all_rows(lambda rows: model.represent(*events.gather(sample.index[rows])), sample, recipe, workers)
    return lambda rows: model.head(features[rows])


@torch.no_grad()
def all_rows(function: Outputs, sample: Sample, recipe: Recipe, workers: Workers) -> Tensor:
    """`function` of all rows of `sample`, each worker doing its share; all rows on all workers."""
    own = torch.arange(len(sample), device=sample.index.device)[share(len(sample), workers.rank, workers.world)]
    return workers.gather(torch.cat([function(rows) for rows in own.split(recipe.evaluation_batch_size)]))
