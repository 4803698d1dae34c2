"""The training loop: one model, one device, one worker or a share of several.

`train` and `evaluate` are the two entrances. It knows objectives, strategies and the plateau rule, and nothing of
files (a hook saves), clusters or tracking.
"""

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from typing import Literal, Protocol

import torch
from torch import Tensor

from breakeven.models.backbone import Backbone
from breakeven.models.weights import load_weights
from breakeven.training import optimiser as optimisers
from breakeven.training.batches import EventTensors, Sample
from breakeven.training.captured_alone import CapturedAlone, can_be_captured
from breakeven.training.checkpoint import NOTHING, TrainingState
from breakeven.training.clock import Clock
from breakeven.training.eager import Eager, Pause, all_rows, outputs_of
from breakeven.training.engines import events_at_once, in_batches
from breakeven.training.metrics import working_points
from breakeven.training.nonfinite import check_validation
from breakeven.training.objectives import Objective, binary, named_objective, quality
from breakeven.training.probe import listening, quality_of_probe
from breakeven.training.progress import Progress, copy_of_weights
from breakeven.training.recipe import Recipe, Result, Strategy
from breakeven.training.start import ready, ready_sample, start_weights
from breakeven.training.symmetry import with_turns
from breakeven.training.training import Training
from breakeven.training.workers import ALONE, Workers

__all__ = ["CannotResume", "evaluate", "outputs", "represent", "train"]

Form = Literal["eager", "captured"]


class CannotResume(ValueError):
    """A saved training was made with another recipe or strategy; the message lists what differs."""


class Learner(Protocol):
    """One training between its epochs; it changes the weights of the model that it was made with."""

    def train_epoch(self, epoch: int, done: Tensor, pause: Pause | None = None) -> float:
        """One pass over the training sample; the mean loss over its events. Raises NonFinite, on all workers alike.

        done: losses of the batches that were trained before, [n_done] float64.  pause: called now and then between batches.
        """

    def predict(self) -> Tensor:
        """Outputs [n, n_outputs] for the validation sample, on all workers, on any device."""

    def moments(self) -> dict[str, Tensor]:
        """Copies of Adam's state under names such as "exp_avg.head.weight"."""

    def close(self) -> None:
        """Give back what the device holds for it."""


def train(
    training: Training,
    *,
    workers: Workers = ALONE,
    save: Callable[[TrainingState], None] | None = None,
    due: Callable[[], bool] | None = None,
    resume_from: TrainingState | None = None,
    form: Form | None = None,
) -> Result:
    """Train the model in place and leave it with the weights of its best epoch (lowest validation loss).

    Args:
        training: what learns, from which events, and how.
        workers: those that train together; ALONE: this process.
        save: called after every epoch with a state that `resume_from` takes, on every worker; see write_state.
        due: asked now and then between batches, on every worker, which all must say the same; True has `save` called there too.
            Layers that draw numbers, as dropout does, draw others after a resumption from within an epoch.
        resume_from: state of an earlier call with the same recipe and strategy.
        form: None captures steps as CUDA graphs on a GPU where the model can be, and launches them as they come elsewhere.

    Returns:
        The curve, the best epoch and why the training ended.

    Raises:
        NonFinite: a loss or a feature is not finite; on all workers alike.
        ValueError: samples, targets or sizes make no sense.
        WeightsDoNotFit: the backbone is of another network.
        CannotResume: `resume_from` was made with another recipe or strategy.
    """
    (training,) = with_turns([ready(training)])
    model, validation, device = training.model, training.validation_sample, training.events.device
    clock = Clock(device, workers, resume_from.seconds if resume_from else (0.0, 0.0))

    progress = _begin(training, resume_from)
    kind = Eager if _form(form, training) == "eager" else CapturedAlone
    learner: Learner = kind(training, workers, resume_from.moments if resume_from else None)
    # Graphs are replayed, and a worker hears its share alone.
    heard_of = model if kind is Eager and workers.world == 1 else None
    asked, done = False, resume_from.losses if resume_from else NOTHING

    def pause(losses: Callable[[], Tensor]) -> None:
        if save is not None and due is not None and due():
            partial = {"losses": losses(), "seconds": torch.tensor(clock.read(), dtype=torch.float64)}
            save(_state(training, learner, progress, partial))

    with closing(learner):
        while not asked and progress.goes_on:
            number = len(progress.curve)
            train_loss, done = learner.train_epoch(number, done, pause if due else None), NOTHING
            with listening(heard_of) as heard:
                outputs = learner.predict()
            values = quality(training.objective, outputs, validation.target.to(outputs.device))
            values |= quality_of_probe(heard, training.events, validation.index)
            check_validation(training, values["loss"], number)
            epoch = progress.add(train_loss, values, clock.read())
            if progress.is_best:
                progress.best_weights = copy_of_weights(model)
            if save is not None:
                save(_state(training, learner, progress, {}))
            asked = training.on_epoch is not None and bool(training.on_epoch(epoch))
    load_weights(model, progress.best_weights, source="the best epoch")
    return progress.result(asked)


def outputs(training: Training, sample: Sample) -> Tensor:
    """What the trained model says of a sample.

    Args:
        training: as it was given to `train`, which has ended.
        sample: of its events.

    Returns:
        Outputs [n, n_outputs]; what a frozen backbone says is read where it is kept.

    Raises:
        ValueError: the sample is empty, rows are not there, or the objective cannot take the targets.
    """
    prepared = ready_sample(sample, training.events, training.objective, "evaluation")
    if training.strategy.name == "frozen" and training.keep is not None:
        return all_rows(outputs_of(training, prepared, ALONE), prepared, training.recipe, ALONE)
    return in_batches(training.model, training.events, prepared.index)


def evaluate(model: Backbone, events: EventTensors, sample: Sample, objective: str) -> dict[str, float]:
    """How well `model` does on `sample`.

    Args:
        model: on the device of `events`.
        events: all that the sample points into.
        sample: rows and targets.
        objective: name of the loss, see objectives.py.

    Returns:
        Loss (mean over events), accuracy and auc (fractions, see metrics.py); with the binary objective also
        metrics.working_points, those that the sample is large enough for.

    Raises:
        ValueError: the sample is empty, rows are not there, or the objective cannot take the targets.
    """
    chosen = named_objective(objective, model.n_outputs)
    prepared = ready_sample(sample, events, chosen, "evaluation")
    return _quality(chosen, in_batches(model, events, prepared.index), prepared.target)


def quality_of(outputs: Tensor, target: Tensor) -> dict[str, float]:
    """What `evaluate` gives, of the logits of signal [n, 1] of whatever classifier, and targets [n], 1 for signal."""
    return _quality(binary(), outputs, target)


def _quality(objective: Objective, outputs: Tensor, target: Tensor) -> dict[str, float]:
    values = quality(objective, outputs, target)
    return values | working_points(objective.scores(outputs), target) if objective.name == "binary" else values


@torch.no_grad()
def represent(model: Backbone, events: EventTensors, index: Tensor) -> dict[str, Tensor]:
    """What every layer says of events.

    Args:
        model: on the device of `events`.
        events: all that `index` points into.
        index: rows [n].

    Returns:
        [n, hidden] by name, first layer to last, on the events' device. The last is what the head sees; see Backbone.layers
        for the others.
    """
    parts = index.to(events.device).split(events_at_once(events.device))
    batches = [model.layers(*events.gather(rows)) for rows in parts]
    return {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}


def _form(asked: Form | None, training: Training) -> Form:
    possible = can_be_captured(training)
    if asked == "captured" and not possible:
        raise ValueError(
            f"form is 'captured', which a {type(training.model).__name__} with the strategy {training.strategy.name} has not; "
            "leave it out"
        )
    return asked or ("captured" if possible and training.events.device.type == "cuda" else "eager")


def _begin(training: Training, resume_from: TrainingState | None) -> Progress:
    """Set the model for the first epoch, or the first after a resumption; what is known from before."""
    if resume_from is None:
        if training.recipe.head_epochs and training.strategy.name == "finetune":
            _train_new_layers(training)
        else:
            start_weights(training)
        return Progress(training)
    _check_resumption(resume_from, training.recipe, training.strategy)
    load_weights(training.model, resume_from.weights, source="the saved training")
    optimisers.mark_learning(training.model, training.strategy)
    best_weights = {name: tensor.to(training.events.device) for name, tensor in resume_from.best_weights.items()}
    return Progress(training, list(resume_from.curve), resume_from.best_epoch, best_weights)


def _train_new_layers(training: Training) -> None:
    """Set the model for the first epoch with new layers that have learnt alone, on what the pretrained ones say of each event."""
    recipe = replace(training.recipe, epochs=training.recipe.head_epochs, head_epochs=0, warmup=0, symmetries=False)
    train(replace(training, recipe=recipe, strategy=Strategy("frozen"), on_epoch=None, turns=None))
    optimisers.mark_learning(training.model, training.strategy)


def _state(training: Training, learner: Learner, progress: Progress, partial: dict[str, Tensor]) -> TrainingState:
    return TrainingState(
        recipe=training.recipe,
        strategy=training.strategy,
        curve=tuple(progress.curve),
        best_epoch=progress.best_epoch,
        weights=copy_of_weights(training.model),
        best_weights=dict(progress.best_weights),
        moments=learner.moments(),
        partial=partial,
    )


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
