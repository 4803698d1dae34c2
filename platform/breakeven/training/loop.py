"""The training loop: one model, one device, one worker or a share of several.

`train` and `evaluate` are the two entrances. It knows objectives, strategies and the plateau rule, and nothing of
files (a hook saves), clusters or tracking.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from breakeven.models.event_network import EventNetwork
from breakeven.models.weights import load_weights
from breakeven.training import optimiser as optimisers
from breakeven.training.batches import EventTensors, Sample, epoch_order, share
from breakeven.training.checkpoint import TrainingState
from breakeven.training.nonfinite import NonFinite, blame
from breakeven.training.objectives import Objective, named_objective
from breakeven.training.plateau import find_plateau
from breakeven.training.recipe import Epoch, Recipe, Result, Strategy
from breakeven.training.workers import ALONE, Workers

SCALING_EVENTS = 100_000
"""Most training events the feature statistics are measured on, evenly spread over the sample."""

_BATCHES_BETWEEN_CHECKS = 256


class CannotResume(ValueError):
    """A saved training was made with another recipe or strategy; the message lists what differs."""


def train(
    model: EventNetwork,
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

    model, events: on one device.  The model's own weights do not matter: the strategy and the seed set them.
    train_sample, validation_sample: rows of `events` and targets as recipe.objective wants them; equal on all workers.
    backbone: state dict of the pretrained model, for the strategies finetune and frozen.
    on_epoch: called after every epoch, on every worker; True ends the training (all workers must agree).
    save: called after every epoch with a state that `resume_from` takes, on every worker; see checkpoint.write_state.
    Raises NonFinite (on all workers alike), ValueError on samples, targets or sizes that make no sense,
    WeightsDoNotFit, CannotResume.
    """
    objective = named_objective(recipe.objective, model.n_outputs)
    training = _on_device(train_sample, events, objective, "training")
    validation = _on_device(validation_sample, events, objective, "validation")
    device = next(model.parameters()).device
    if device != events.device:
        raise ValueError(f"the model is on {device}, the events are on {events.device}; bring them together")
    clock = _Clock(device, workers, resume_from.curve[-1] if resume_from else None)

    adam, progress = _begin(model, events, training, recipe, strategy, backbone, resume_from)
    curve = progress.curve
    training_outputs = _outputs_of(model, events, training, strategy, recipe, workers)
    validation_outputs = _outputs_of(model, events, validation, strategy, recipe, workers)
    stopped: Literal["plateau", "epochs", "asked"] = "epochs"
    for number in range(len(curve), recipe.epochs):
        if find_plateau([epoch.validation_loss for epoch in curve], recipe.patience, recipe.min_delta).reached:
            break
        optimisers.set_rates(adam, recipe, number)
        train_loss = _train_epoch(model, adam, objective, events, training, training_outputs, recipe, number, workers)
        quality = _quality(objective, validation_outputs, validation.target, recipe, workers)
        if not math.isfinite(quality["loss"]):
            why = blame(events, validation.index, model, recipe.rate(number))
            raise NonFinite(f"epoch {number}: the validation loss is {quality['loss']}: {why}", number, None)
        wall_seconds, device_seconds = clock.read()
        epoch = Epoch(
            epoch=number,
            wall_seconds=wall_seconds,
            device_seconds=device_seconds,
            events_seen=(number + 1) * len(training),
            train_loss=train_loss,
            validation_loss=quality["loss"],
            validation_accuracy=quality["accuracy"],
            validation_auc=quality["auc"],
            learning_rate=recipe.rate(number),
        )
        curve.append(epoch)
        if number == 0 or epoch.validation_loss < curve[progress.best_epoch].validation_loss:
            progress.best_epoch, progress.best_weights = number, _copy_of_weights(model)
        if save is not None:
            save(_state(model, adam, recipe, strategy, progress))
        if on_epoch is not None and on_epoch(epoch):
            stopped = "asked"
            break
    plateau = find_plateau([epoch.validation_loss for epoch in curve], recipe.patience, recipe.min_delta)
    load_weights(model, progress.best_weights, source="the best epoch")
    return Result(
        curve=tuple(curve),
        best_epoch=progress.best_epoch,
        plateau_epoch=plateau.last_improving if plateau.reached else None,
        stopped="plateau" if plateau.reached else stopped,
    )


def evaluate(
    model: EventNetwork,
    events: EventTensors,
    sample: Sample,
    objective: str,
    batch_size: int = 1024,
    *,
    workers: Workers = ALONE,
) -> dict[str, float]:
    """Loss (mean over events), accuracy and auc (fractions, see metrics.py) of `model` on `sample`.

    Raises ValueError on an empty sample, rows that are not there, and targets the objective cannot take.
    """
    chosen = named_objective(objective, model.n_outputs)
    ready = _on_device(sample, events, chosen, "evaluation")
    recipe = Recipe(evaluation_batch_size=batch_size)
    outputs = _outputs_of(model, events, ready, Strategy(), recipe, workers)
    return _quality(chosen, outputs, ready.target, recipe, workers)


def represent(
    model: EventNetwork, events: EventTensors, index: Tensor, batch_size: int = 1024, *, workers: Workers = ALONE
) -> Tensor:
    """The decoder's outputs [n, hidden] for the events `index` [n], without gradients, on the events' device."""
    index = index.to(events.device)

    def decoded(rows: Tensor) -> Tensor:
        return model.represent(*events.gather(index[rows]))

    return _in_batches(decoded, len(index), events.device, batch_size, workers)


@dataclass
class _Progress:
    """What grows from epoch to epoch, besides model and optimiser."""

    curve: list[Epoch]
    best_epoch: int
    best_weights: dict[str, Tensor]


def _begin(
    model: EventNetwork,
    events: EventTensors,
    sample: Sample,
    recipe: Recipe,
    strategy: Strategy,
    backbone: Mapping[str, Tensor] | None,
    resume_from: TrainingState | None,
) -> tuple[torch.optim.Adam, _Progress]:
    """Model and optimiser as the first epoch, or the first after a resumption, finds them."""
    if resume_from is None:
        optimisers.apply_strategy(model, strategy, recipe.seed, backbone)
        if strategy.name == "scratch":
            _measure_scaling(model, events, sample, recipe)
        return optimisers.make_optimiser(model, recipe, strategy), _Progress([], -1, {})
    _check_resumption(resume_from, recipe, strategy)
    load_weights(model, resume_from.weights, source="the saved training")
    optimisers.mark_learning(model, strategy)
    adam = optimisers.make_optimiser(model, recipe, strategy)
    optimisers.load_moments(adam, model, resume_from.moments)
    best_weights = {name: tensor.to(events.device) for name, tensor in resume_from.best_weights.items()}
    return adam, _Progress(list(resume_from.curve), resume_from.best_epoch, best_weights)


def _state(
    model: EventNetwork, adam: torch.optim.Adam, recipe: Recipe, strategy: Strategy, progress: _Progress
) -> TrainingState:
    return TrainingState(
        recipe=recipe,
        strategy=strategy,
        curve=tuple(progress.curve),
        best_epoch=progress.best_epoch,
        weights=_copy_of_weights(model),
        best_weights=dict(progress.best_weights),
        moments=optimisers.moments(adam, model),
    )


_Outputs = Callable[[Tensor], Tensor]
"""From rows of a sample [n] to the model's outputs [n, n_outputs]."""


def _outputs_of(
    model: EventNetwork,
    events: EventTensors,
    sample: Sample,
    strategy: Strategy,
    recipe: Recipe,
    workers: Workers,
) -> _Outputs:
    """The model on rows of `sample`. What a frozen backbone says about an event is computed once and kept."""
    if strategy.name != "frozen":
        return lambda rows: model(*events.gather(sample.index[rows]))
    frozen = model.represent if strategy.new_layers == "last" else model.pool
    features = _in_batches(
        lambda rows: frozen(*events.gather(sample.index[rows])),
        len(sample),
        events.device,
        recipe.evaluation_batch_size,
        workers,
    )
    if strategy.new_layers == "last":
        return lambda rows: model.head(features[rows])
    return lambda rows: model.head(model.decoder(features[rows]))


def _train_epoch(
    model: EventNetwork,
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
        loss = objective.loss_sum(outputs_of(rows), sample.target[rows])
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
                why = blame(events, sample.index[batches[first]], model, recipe.rate(epoch))
                raise NonFinite(
                    f"epoch {epoch}, batch {first}: the loss is {summed[bad[0]].item()}: {why}", epoch, first
                )
            total += float(summed.sum())
            losses.clear()
    return total / len(sample)


def _quality(
    objective: Objective, outputs_of: _Outputs, target: Tensor, recipe: Recipe, workers: Workers
) -> dict[str, float]:
    """loss, accuracy and auc; the same numbers on all workers."""
    outputs = _in_batches(outputs_of, len(target), target.device, recipe.evaluation_batch_size, workers)
    loss = float(objective.loss_sum(outputs.double(), target)) / len(target)
    return {"loss": loss} | objective.metrics(objective.scores(outputs), target)


@torch.no_grad()
def _in_batches(function: _Outputs, n: int, device: torch.device, batch_size: int, workers: Workers) -> Tensor:
    """`function` of all rows 0 to n - 1, each worker doing its share; all rows on all workers."""
    own = torch.arange(n, device=device)[share(n, workers.rank, workers.world)]
    return workers.gather(torch.cat([function(rows) for rows in own.split(batch_size)]))


def _on_device(sample: Sample, events: EventTensors, objective: Objective, name: str) -> Sample:
    """The sample on the events' device with its targets checked and converted."""
    if len(sample) == 0:
        raise ValueError(f"the {name} sample is empty; ask for at least one event")
    lowest, highest = int(sample.index.min()), int(sample.index.max())
    if lowest < 0 or highest >= events.n_events:
        raise ValueError(f"the {name} sample asks for the events {lowest} to {highest}, there are {events.n_events:,}")
    try:
        target = objective.prepare(sample.target)
    except ValueError as error:
        raise ValueError(f"the {name} sample: {error}") from error
    return Sample(sample.index.to(events.device), target.to(events.device))


def _measure_scaling(model: EventNetwork, events: EventTensors, sample: Sample, recipe: Recipe) -> None:
    spread = sample.index[:: max(1, -(-len(sample) // SCALING_EVENTS))]
    try:
        model.measure_scaling(*events.gather(spread))
    except ValueError as error:
        why = blame(events, spread, model, recipe.rate(0))
        raise NonFinite(f"before epoch 0: the features cannot be standardised: {why}", 0, None) from error


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


def _copy_of_weights(model: EventNetwork) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


@dataclass
class _Clock:
    """Wall and device seconds since the start of a training, those before a resumption included."""

    device: torch.device
    workers: Workers
    before: Epoch | None

    def __post_init__(self) -> None:
        self._wall, self._device = self._now()

    def read(self) -> tuple[float, float]:
        wall, on_device = self._now()
        spent = torch.tensor([on_device - self._device], dtype=torch.float64, device=self.device)
        total = float(self.workers.sum_scalars(spent))
        if self.before is None:
            return wall - self._wall, total
        return self.before.wall_seconds + wall - self._wall, self.before.device_seconds + total

    def _now(self) -> tuple[float, float]:
        if self.device.type == "cpu":
            return time.perf_counter(), time.process_time()
        torch.cuda.synchronize(self.device)
        return time.perf_counter(), time.perf_counter()
