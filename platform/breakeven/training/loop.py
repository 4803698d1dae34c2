"""The training loop: one model, one device, one worker or a share of several.

`train` and `evaluate` are the two entrances. It knows objectives, strategies and the plateau rule, and nothing of
files (a hook saves), clusters or tracking.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor

from breakeven.models.backbone import Backbone
from breakeven.models.event_network import EventNetwork
from breakeven.models.weights import load_weights
from breakeven.training import optimiser as optimisers
from breakeven.training.batches import EventTensors, Sample, epoch_order, share
from breakeven.training.checkpoint import TrainingState
from breakeven.training.clock import Clock
from breakeven.training.metrics import working_points
from breakeven.training.nonfinite import not_finite
from breakeven.training.objectives import Objective, named_objective, quality
from breakeven.training.precision import forward_in
from breakeven.training.progress import Progress, copy_of_weights
from breakeven.training.recipe import Epoch, Recipe, Result, Strategy
from breakeven.training.start import check_device, ready_sample, start_weights
from breakeven.training.workers import ALONE, Workers

__all__ = ["CannotResume", "evaluate", "represent", "train"]

_BATCHES_BETWEEN_CHECKS = 256


class CannotResume(ValueError):
    """A saved training was made with another recipe or strategy; the message lists what differs."""


def train(
    model: Backbone,
    events: EventTensors,
    train_sample: Sample,
    validation_sample: Sample,
    recipe: Recipe,
    *,
    strategy: Strategy = Strategy(),  # noqa: B008  (frozen)
    backbone: Mapping[str, Tensor] | None = None,
    workers: Workers = ALONE,
    on_epoch: Callable[[Epoch], bool | None] | None = None,
    save: Callable[[TrainingState], None] | None = None,
    resume_from: TrainingState | None = None,
) -> Result:
    """Train `model` in place and leave it with the weights of its best epoch (lowest validation loss).

    Args:
        model: on the device of `events`. Its own weights do not matter: the strategy and the seed set them.
        events: all that the samples point into.
        train_sample: rows of `events` and targets as recipe.objective wants them; equal on all workers.
        validation_sample: likewise.
        recipe: rates, epochs, batch size, seed.
        strategy: what is taken over from `backbone` and what may move.
        backbone: state dict of the pretrained model, for the strategies finetune and frozen.
        workers: those that train together; ALONE: this process.
        on_epoch: called after every epoch, on every worker; True ends the training (all workers must agree).
        save: called after every epoch with a state that `resume_from` takes, on every worker; see write_state.
        resume_from: state of an earlier call with the same recipe and strategy.

    Returns:
        The curve, the best epoch and why the training ended.

    Raises:
        NonFinite: a loss or a feature is not finite; on all workers alike.
        ValueError: samples, targets or sizes make no sense.
        WeightsDoNotFit: `backbone` is of another network.
        CannotResume: `resume_from` was made with another recipe or strategy.
    """
    objective = named_objective(recipe.objective, model.n_outputs)
    training = ready_sample(train_sample, events, objective, "training")
    validation = ready_sample(validation_sample, events, objective, "validation")
    check_device(model, events)
    clock = Clock(events.device, workers, resume_from.curve[-1] if resume_from else None)

    adam, progress = _begin(model, events, training, recipe, strategy, backbone, resume_from)
    training_outputs = _outputs_of(model, events, training, strategy, recipe, workers)
    validation_outputs = _outputs_of(model, events, validation, strategy, recipe, workers)
    asked = False
    while not asked and progress.goes_on(recipe):
        number = len(progress.curve)
        optimisers.set_rates(adam, recipe, number)
        train_loss = _train_epoch(model, adam, objective, events, training, training_outputs, recipe, number, workers)
        outputs = _all_rows(validation_outputs, validation, recipe, workers)
        found = quality(objective, outputs, validation.target)
        if not math.isfinite(found["loss"]):
            raise not_finite(found["loss"], events, validation.index, model, recipe, number)
        epoch = progress.add(model, recipe, len(training), train_loss, found, clock.read())
        if save is not None:
            save(_state(model, adam, recipe, strategy, progress))
        asked = on_epoch is not None and bool(on_epoch(epoch))
    load_weights(model, progress.best_weights, source="the best epoch")
    return progress.result(recipe, asked)


def evaluate(
    model: Backbone,
    events: EventTensors,
    sample: Sample,
    objective: str,
    batch_size: int = 1024,
    *,
    workers: Workers = ALONE,
) -> dict[str, float]:
    """How well `model` does on `sample`.

    Args:
        model: on the device of `events`.
        events: all that the sample points into.
        sample: rows and targets.
        objective: name of the loss, see objectives.py.
        batch_size: events per pass; it changes no figure beyond rounding.
        workers: those that share the sample.

    Returns:
        Loss (mean over events), accuracy and auc (fractions, see metrics.py); with the binary objective also
        metrics.working_points, those that the sample is large enough for.

    Raises:
        NonFinite: the loss is not finite.
        ValueError: the sample is empty, rows are not there, or the objective cannot take the targets.
    """
    chosen = named_objective(objective, model.n_outputs)
    ready = ready_sample(sample, events, chosen, "evaluation")
    recipe = Recipe(evaluation_batch_size=batch_size)
    outputs_of = _outputs_of(model, events, ready, Strategy(), recipe, workers)
    outputs = _all_rows(outputs_of, ready, recipe, workers)
    found = quality(chosen, outputs, ready.target)
    return found | working_points(chosen.scores(outputs), ready.target) if objective == "binary" else found


@torch.no_grad()
def represent(model: Backbone, events: EventTensors, index: Tensor, batch_size: int = 1024) -> dict[str, Tensor]:
    """What every layer says of events.

    Args:
        model: on the device of `events`.
        events: all that `index` points into.
        index: rows [n].
        batch_size: events per pass.

    Returns:
        [n, hidden] by name, first layer to last, on the events' device. The last is what the head sees; see Backbone.layers
        for the others.
    """
    batches = [model.layers(*events.gather(rows)) for rows in index.to(events.device).split(batch_size)]
    return {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}


def _begin(
    model: Backbone,
    events: EventTensors,
    sample: Sample,
    recipe: Recipe,
    strategy: Strategy,
    backbone: Mapping[str, Tensor] | None,
    resume_from: TrainingState | None,
) -> tuple[torch.optim.Adam, Progress]:
    """Model and optimiser as the first epoch, or the first after a resumption, finds them."""
    if resume_from is None:
        start_weights(model, events, sample, recipe, strategy, backbone)
        return optimisers.make_optimiser(model, recipe, strategy), Progress()
    _check_resumption(resume_from, recipe, strategy)
    load_weights(model, resume_from.weights, source="the saved training")
    optimisers.mark_learning(model, strategy)
    adam = optimisers.make_optimiser(model, recipe, strategy)
    optimisers.load_moments(adam, model, resume_from.moments)
    best_weights = {name: tensor.to(events.device) for name, tensor in resume_from.best_weights.items()}
    return adam, Progress(list(resume_from.curve), resume_from.best_epoch, best_weights)


def _state(
    model: Backbone, adam: torch.optim.Adam, recipe: Recipe, strategy: Strategy, progress: Progress
) -> TrainingState:
    return TrainingState(
        recipe=recipe,
        strategy=strategy,
        curve=tuple(progress.curve),
        best_epoch=progress.best_epoch,
        weights=copy_of_weights(model),
        best_weights=dict(progress.best_weights),
        moments=optimisers.moments(adam, model),
    )


_Outputs = Callable[[Tensor], Tensor]
"""From rows of a sample [n] to the model's outputs [n, n_outputs]."""


def _outputs_of(
    model: Backbone,
    events: EventTensors,
    sample: Sample,
    strategy: Strategy,
    recipe: Recipe,
    workers: Workers,
) -> _Outputs:
    """The model on rows of `sample`. What a frozen backbone says about an event is computed once and kept."""
    if strategy.name != "frozen":
        return lambda rows: model(*events.gather(sample.index[rows]))
    frozen = model.represent if strategy.new_layers == "last" else cast(EventNetwork, model).pool
    features = _in_batches(
        lambda rows: frozen(*events.gather(sample.index[rows])),
        len(sample),
        events.device,
        recipe.evaluation_batch_size,
        workers,
    )
    if strategy.new_layers == "last":
        return lambda rows: model.head(features[rows])
    return lambda rows: model.head(cast(EventNetwork, model).decoder(features[rows]))


def _train_epoch(
    model: Backbone,
    adam: torch.optim.Adam,
    objective: Objective,
    events: EventTensors,
    sample: Sample,
    outputs_of: _Outputs,
    recipe: Recipe,
    epoch: int,
    workers: Workers,
) -> float:
    """One pass over the sample; the mean loss over its events."""
    parameters = [parameter for group in adam.param_groups for parameter in group["params"]]
    batches = epoch_order(len(sample), recipe.seed, epoch).to(events.device).split(recipe.batch_size)
    losses: list[Tensor] = []
    total = 0.0
    for number, batch in enumerate(batches):
        rows = batch[share(len(batch), workers.rank, workers.world)]
        adam.zero_grad(set_to_none=True)
        with forward_in(recipe.precision, events.device):
            outputs = outputs_of(rows)
        loss = objective.loss_sum(outputs.to(model.head.weight.dtype), sample.target[rows])
        (loss / len(batch)).backward()
        workers.sum_gradients(parameters)
        adam.step()
        losses.append(loss.detach())
        # Reading a loss makes a GPU wait, so they are read many at a time, and summed so that all workers agree.
        if len(losses) == _BATCHES_BETWEEN_CHECKS or number == len(batches) - 1:
            summed = workers.sum_scalars(torch.stack(losses).double())
            bad = (~torch.isfinite(summed)).nonzero()
            if len(bad):
                first = number + 1 - len(losses) + int(bad[0])
                index = sample.index[batches[first]]
                raise not_finite(summed[bad[0]].item(), events, index, model, recipe, epoch, first)
            total += float(summed.sum())
            losses.clear()
    return total / len(sample)


def _all_rows(outputs_of: _Outputs, sample: Sample, recipe: Recipe, workers: Workers) -> Tensor:
    return _in_batches(outputs_of, len(sample), sample.index.device, recipe.evaluation_batch_size, workers)


@torch.no_grad()
def _in_batches(function: _Outputs, n: int, device: torch.device, batch_size: int, workers: Workers) -> Tensor:
    """`function` of all rows 0 to n - 1, each worker doing its share; all rows on all workers."""
    own = torch.arange(n, device=device)[share(n, workers.rank, workers.world)]
    return workers.gather(torch.cat([function(rows) for rows in own.split(batch_size)]))


def _check_resumption(state: TrainingState, recipe: Recipe, strategy: Strategy) -> None:
    """More epochs than before may be asked for; nothing else may differ."""
    if replace(state.recipe, epochs=recipe.epochs) == recipe and state.strategy == strategy:
        return
    differences = [
        f"{name} was {getattr(before, name)!r}, is {getattr(now, name)!r}"
        for before, now in ((state.recipe, recipe), (state.strategy, strategy))
        for name in vars(now)
        if getattr(before, name) != getattr(now, name) and name != "epochs"
    ]
    raise CannotResume(
        f"the saved training is another one: {'; '.join(differences)}; resume with the same, or start anew elsewhere"
    )
