"""Which engine trains what: whole networks on events, or heads on what their frozen backbones say of them.

Whole networks train in a GPU's own kernels where those serve, else in plain torch.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from breakeven.models import gpu
from breakeven.models.event_network import EventNetwork
from breakeven.models.filled_jets import JetEvents, Room
from breakeven.models.graph_network import GraphNetwork
from breakeven.models.jet_network import JetNetwork
from breakeven.training.batches import EventTensors, Sample
from breakeven.training.captured import Captured
from breakeven.training.engine import Engine
from breakeven.training.feeds import Ring
from breakeven.training.plain_engine import heads, jet_network, whole_networks
from breakeven.training.precision import forward_in
from breakeven.training.training import Training
from breakeven.training.workers import ALONE, Workers

if TYPE_CHECKING:
    from breakeven.models.gpu.engine import Engine as Kernels

_compiled: set[tuple[str, str]] = set()
"""Objectives and precisions whose kernels this process has had compiled in parallel: a first step would do it in turn."""
_AT_ONCE_ON_CPU, _AT_ONCE_ON_GPU = 1024, 16384


def captured_networks(
    trainings: Sequence[Training], *, workers: Workers = ALONE, moments: Sequence[Tensor] | None = None
) -> Captured:
    """Trainings of all weights: of GraphNetworks of one configuration, objective and precision, or one of a JetNetwork."""
    if isinstance(trainings[0].model, JetNetwork):
        return _captured_jets(trainings[0], workers, moments)
    events = trainings[0].events
    objects, ring = events.offsets.diff(), _ring_of(events)

    def sizes(index: Tensor) -> Tensor:
        of_events = objects[index]
        return torch.stack([of_events, of_events * (of_events - 1)], dim=1)

    def make_engine(batch: int, most_nodes: int, most_edges: int) -> Engine:
        seen = events if ring is None else ring.events
        if not _have_kernels(trainings[0]):
            return whole_networks(trainings, batch, most_nodes, most_edges, seen)
        kernels = kernels_of(trainings, batch, most_nodes, most_edges, seen)
        if (kind := (trainings[0].recipe.objective, trainings[0].recipe.precision)) not in _compiled:
            kernels.compile()
            _compiled.add(kind)
        return kernels

    return Captured(make_engine, trainings, sizes, ring=ring, workers=workers, moments=moments)


def _ring_of(events: EventTensors) -> Ring | None:
    return None if events.onto is None else Ring(events)


def _captured_jets(training: Training, workers: Workers, moments: Sequence[Tensor] | None) -> Captured:
    model, events = cast(JetNetwork, training.model), training.events
    ring = _ring_of(events)

    def jets_of(some: EventTensors) -> JetEvents:
        return JetEvents(some.nodes, some.offsets, *some.inner[0], model.most_jets, model.most_constituents)

    known = jets_of(events)

    def make_engine(batch: int, jets: int, constituents: int, pairs: int) -> Engine:
        seen = known if ring is None else jets_of(ring.events)
        return jet_network(training, seen, batch, Room(jets, constituents, pairs, known.longest))

    return Captured(make_engine, [training], known.sizes, ring=ring, workers=workers, moments=moments)


def kernels_of(
    trainings: Sequence[Training], batch: int, most_nodes: int, most_edges: int, events: EventTensors | None = None
) -> "Kernels":
    """The GPU's own kernels for these trainings. Raises ValueError, and ImportError without Triton; see gpu.refusal.

    events: those that the engine's event numbers are of; None: the trainings'.
    """
    from breakeven.models.gpu.engine import Engine as Kernels  # here, as Triton is an extra
    from breakeven.models.gpu.networks import Room

    all_events, recipe, n = trainings[0].events, trainings[0].recipe, len(trainings)
    events = events or all_events
    room = Room(n, batch, n * most_nodes, n * most_edges)
    models = _networks_of(trainings)
    return Kernels(
        models, events.nodes, events.offsets, room,
        objective=recipe.objective, precision=recipe.precision, typical=all_events.offsets,
    )  # fmt: skip


def _networks_of(trainings: Sequence[Training]) -> list[EventNetwork]:
    return [cast(EventNetwork, training.model) for training in trainings]  # see pack and loop: no other is captured


def captured_heads(trainings: Sequence[Training]) -> Captured:
    """Trainings of the last layers of models whose backbones see each event once, here."""
    samples = [sample for one in trainings for sample in (one.train_sample, one.validation_sample)]
    features = torch.cat(
        [
            in_batches(
                one.model.represent, one.events, torch.cat([one.train_sample.index, one.validation_sample.index])
            )
            for one in trainings
        ]
    )
    places = torch.arange(len(features), device=features.device).split([len(sample) for sample in samples])
    moved = [Sample(place, sample.target.to(place.device)) for place, sample in zip(places, samples, strict=True)]
    of_heads = [
        replace(one, train_sample=training, validation_sample=validation)
        for one, training, validation in zip(trainings, moved[::2], moved[1::2], strict=True)
    ]

    def make_engine(batch: int) -> Engine:
        return heads(trainings, features, batch)

    return Captured(make_engine, of_heads, lambda index: index.new_zeros(len(index), 0))


def _have_kernels(training: Training) -> bool:
    """Whether the GPU's own kernels train a GraphNetwork so: they know no weights."""
    return training.recipe.objective != "weighted" and gpu.serves(
        _networks_of([training])[0], training.recipe.precision
    )


def kernel_of(training: Training) -> str:
    """What trains a model where it lies: "triton", "captured", or on CPU and for other networks what the model says."""
    model, precision = training.model, training.recipe.precision
    on_gpu, frozen = model.head.weight.device.type == "cuda", training.strategy.name == "frozen"
    if on_gpu and isinstance(model, GraphNetwork):
        return "triton" if not frozen and _have_kernels(training) else "captured"
    captured = on_gpu and isinstance(model, JetNetwork) and not (frozen or model.dropout)
    with forward_in(precision, model.head.weight.device):
        return "captured" if captured else model.kernel()


def events_at_once(device: torch.device) -> int:
    """Events to evaluate at a time: on CPU what a cache holds, on a GPU what keeps it busy."""
    return _AT_ONCE_ON_GPU if device.type == "cuda" else _AT_ONCE_ON_CPU


@torch.no_grad()
def in_batches(function: Callable[..., Tensor], events: EventTensors, index: Tensor) -> Tensor:
    """What a model, or its `represent`, gives for the events `index` [n], one row per event, in the model's precision."""
    parts = index.split(events_at_once(events.device))
    return torch.cat([function(*events.gather(rows)) for rows in parts])
