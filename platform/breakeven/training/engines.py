"""Which engine trains what: whole networks on events, or heads on what their frozen backbones say of them.

Whole networks train in a GPU's own kernels where those serve, else in plain torch.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from breakeven.models import gpu
from breakeven.models.backbone import Backbone
from breakeven.models.event_network import EventNetwork
from breakeven.models.graph_network import GraphNetwork
from breakeven.training.batches import EventTensors, Sample
from breakeven.training.captured import Captured
from breakeven.training.engine import Engine
from breakeven.training.objectives import Objective
from breakeven.training.plain_engine import heads, whole_networks
from breakeven.training.recipe import Precision, Recipe, Strategy
from breakeven.training.workers import ALONE, Workers

_compiled: set[tuple[str, str]] = set()
"""Objectives and precisions whose kernels this process has had compiled in parallel: a first step would do it in turn."""
_AT_ONCE_ON_CPU, _AT_ONCE_ON_GPU = 1024, 16384


def captured_networks(
    models: Sequence[EventNetwork],
    events: EventTensors,
    training: Sequence[Sample],
    validation: Sequence[Sample],
    batch_sizes: Sequence[int],
    objective: Objective,
    recipe: Recipe,
    *,
    workers: Workers = ALONE,
    moments: Sequence[Tensor] | None = None,
) -> Captured:
    """Trainings of all weights of `models`, GraphNetworks of one configuration; see Captured.

    recipe: says the precision, which all have in common.
    """

    def engine(batch: int, most_nodes: int, most_edges: int) -> Engine:
        if gpu.serves(models[0], recipe.precision):
            from breakeven.models.gpu.engine import Engine as Kernels  # here, as Triton is an extra

            kernels = Kernels(
                models,
                events.nodes,
                events.offsets,
                objective=objective.name,
                batch=batch,
                most_nodes=most_nodes,
                most_edges=most_edges,
                precision=recipe.precision,
            )
            if (kind := (objective.name, recipe.precision)) not in _compiled:
                kernels.compile()
                _compiled.add(kind)
            return kernels
        targets = training[0].target
        return whole_networks(models, events, objective, targets, batch, most_nodes, most_edges, recipe.precision)

    objects = events.offsets.diff()
    return Captured(
        engine, training, validation, batch_sizes, models[0].n_outputs, objects, workers=workers, moments=moments
    )


def captured_heads(
    models: Sequence[EventNetwork],
    events: EventTensors,
    training: Sequence[Sample],
    validation: Sequence[Sample],
    batch_sizes: Sequence[int],
    objective: Objective,
    recipe: Recipe,
) -> Captured:
    """Trainings of the last layers of `models`, whose backbones see each event once, here."""
    samples = [[training[number], validation[number]] for number in range(len(models))]
    features = torch.cat(
        [
            represent_events(model, events, torch.cat([sample.index for sample in own]))
            for model, own in zip(models, samples, strict=True)
        ]
    )
    sizes = [len(sample) for own in samples for sample in own]
    places = torch.arange(len(features), device=features.device).split(sizes)
    targets = [sample.target for own in samples for sample in own]
    moved = [Sample(place, target) for place, target in zip(places, targets, strict=True)]

    def engine(batch: int, most_nodes: int, most_edges: int) -> Engine:
        return heads(models, features, objective, targets[0], batch, recipe.precision)

    objects = torch.zeros(len(features), dtype=torch.int64, device=features.device)
    return Captured(engine, moved[::2], moved[1::2], batch_sizes, models[0].n_outputs, objects)


def kernel_of(model: Backbone, precision: Precision, strategy: Strategy) -> str:
    """What trains `model` where it lies: "triton", "captured", or on CPU and for other networks what the model says."""
    if model.head.weight.device.type != "cuda" or not isinstance(model, GraphNetwork):
        return model.kernel()
    return "triton" if strategy.name != "frozen" and gpu.serves(model, precision) else "captured"


def predict_events(model: Backbone, events: EventTensors, index: Tensor, at_once: int | None = None) -> Tensor:
    """The outputs of `model` for the events `index` [n], [n, n_outputs] in the model's precision.

    at_once: events at a time; None: as many as suit the device.
    """
    return _in_batches(model, events, index, at_once)


def represent_events(model: Backbone, events: EventTensors, index: Tensor, at_once: int | None = None) -> Tensor:
    """What the head of `model` sees of the events `index` [n], [n, hidden]; at_once: see predict_events."""
    return _in_batches(model.represent, events, index, at_once)


def events_at_once(device: torch.device) -> int:
    """Events to evaluate at a time: on CPU what a cache holds, on a GPU what keeps it busy."""
    return _AT_ONCE_ON_GPU if device.type == "cuda" else _AT_ONCE_ON_CPU


@torch.no_grad()
def _in_batches(
    function: Callable[[Tensor, Tensor], Tensor], events: EventTensors, index: Tensor, at_once: int | None
) -> Tensor:
    parts = index.split(at_once or events_at_once(events.device))
    return torch.cat([function(*events.gather(rows)) for rows in parts])
