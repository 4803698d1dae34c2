"""Which engine trains what: whole networks on events, or heads on what their frozen backbones say of them.

Whole networks train in a GPU's own kernels where those serve, else in plain torch.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from breakeven.models import gpu
from breakeven.models.event_network import EventNetwork
from breakeven.training.batches import EventTensors, Sample
from breakeven.training.captured import Captured
from breakeven.training.engine import Engine
from breakeven.training.objectives import Objective
from breakeven.training.plain_engine import heads, whole_networks
from breakeven.training.recipe import Recipe
from breakeven.training.workers import ALONE, Workers


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

            return Kernels(
                models,
                events.nodes,
                events.offsets,
                objective=objective.name,
                batch=batch,
                most_nodes=most_nodes,
                most_edges=most_edges,
                precision=recipe.precision,
            )
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
            represent_events(model, events, torch.cat([sample.index for sample in own]), recipe.evaluation_batch_size)
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


@torch.no_grad()
def represent_events(model: EventNetwork, events: EventTensors, index: Tensor, batch_size: int) -> Tensor:
    """What the head sees of the events `index` [n], [n, hidden]."""
    return torch.cat([model.represent(*events.gather(rows)) for rows in index.split(batch_size)])
