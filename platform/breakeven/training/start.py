"""How a training starts: samples checked and brought to the device, weights set, features standardised."""

from dataclasses import replace

from breakeven.models.scaling import EVENTS_AT_ONCE
from breakeven.training import optimiser as optimisers
from breakeven.training.batches import EventTensors, Sample
from breakeven.training.nonfinite import NonFinite, what_to_look_at
from breakeven.training.objectives import Objective
from breakeven.training.training import Training

SCALING_EVENTS = 100_000
"""Most training events the feature statistics are measured on, evenly spread over the sample."""


def ready(training: Training) -> Training:
    """The training with its samples checked and where the events lie. Raises ValueError where they make no sense."""
    events, objective, device = training.events, training.objective, training.model.head.weight.device
    if device != events.device:
        raise ValueError(f"the model is on {device}, the events are on {events.device}; bring them together")
    return replace(
        training,
        train_sample=ready_sample(training.train_sample, events, objective, "training"),
        validation_sample=ready_sample(training.validation_sample, events, objective, "validation"),
    )


def ready_sample(sample: Sample, events: EventTensors, objective: Objective, name: str) -> Sample:
    """The sample where the events lie, with its targets checked and converted.

    name: of the sample, for errors.  Raises ValueError on an empty sample, rows that are not there, wrong targets.
    """
    if len(sample) == 0:
        raise ValueError(f"the {name} sample is empty; ask for at least one event")
    lowest, highest = int(sample.index.min()), int(sample.index.max())
    if lowest < 0 or highest >= events.n_events:
        raise ValueError(f"the {name} sample asks for the events {lowest} to {highest}, there are {events.n_events:,}")
    try:
        target = objective.prepare(sample.target)
    except ValueError as error:
        raise ValueError(f"the {name} sample: {error}") from error
    return replace(sample, index=sample.index.to(events.home), target=target.to(events.home))


def start_weights(training: Training) -> None:
    """Set weights and scaling of the model for its first epoch on the training sample; see apply_strategy."""
    model, events, recipe = training.model, training.events, training.recipe
    optimisers.apply_strategy(model, training.strategy, recipe.seed, training.backbone)
    index = training.train_sample.index
    spread = index[:: max(1, -(-len(index) // SCALING_EVENTS))]
    fit = model.fit_scaling if training.strategy.name == "scratch" else model.fit_new_scaling
    try:
        fit(events.gather(part) for part in spread.split(EVENTS_AT_ONCE))
    except ValueError as error:
        why = what_to_look_at(training, spread, epoch=0)
        raise NonFinite(f"before epoch 0: the features cannot be standardised: {why}", 0, None) from error
