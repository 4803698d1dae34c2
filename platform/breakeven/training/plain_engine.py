"""The engine in plain torch: any stacked network, any objective, any device. See engine.py for its contract.

On CPU it is what tests hold the trainer's logic to; on a GPU it serves where there is no kernel for the case at hand.
"""

from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor
from torch.func import functional_call

from breakeven.models.event_network import EventNetwork
from breakeven.models.filled_jets import JetEvents, Room
from breakeven.models.stacked import StackedNetwork, StackedWeights, linear, stack_batches
from breakeven.training.batches import EventTensors
from breakeven.training.engine import Engine
from breakeven.training.precision import forward_in, products_in
from breakeven.training.training import Training

_BETAS, _EPSILON = (0.9, 0.999), 1e-8
"""torch.optim.Adam's own, which optimiser.make_optimiser leaves as they are."""


def whole_networks(
    trainings: Sequence[Training], batch: int, most_nodes: int, most_edges: int, events: EventTensors | None = None
) -> Engine:
    """An engine that trains all weights of GraphNetworks of one configuration on whole events; targets prepared.

    events: those that the engine's event numbers are of; None: the trainings'.
    """
    network = StackedNetwork([cast(EventNetwork, training.model) for training in trainings])
    events = events or trainings[0].events

    def outputs(index: Tensor, count: Tensor) -> Tensor:
        stacked = stack_batches(events.nodes, events.offsets, index, count, most_nodes, most_edges)
        return network.outputs(stacked)[:, :batch]

    return PlainEngine(trainings[0], network.stack, "head.", outputs, batch)


def jet_network(training: Training, events: JetEvents, batch: int, room: Room) -> Engine:
    """An engine that trains all weights of one network on jets."""
    model = training.model
    stack = StackedWeights([model])

    def outputs(index: Tensor, count: Tensor) -> Tensor:
        weights = {name: rows[0] for name, rows in stack.named(stack.weights).items()}
        called: Tensor = functional_call(model, weights, events.fill(index[0], count[0], room), {"room": room})
        return called[None]

    return PlainEngine(training, stack, model.new_layers, outputs, batch)


def heads(trainings: Sequence[Training], features: Tensor, batch: int) -> Engine:
    """An engine that trains last layers on what their frozen backbones say of events.

    features: [n, hidden]; the event numbers of the engine are its rows.
    """
    stack = StackedWeights([training.model.head for training in trainings])

    def outputs(index: Tensor, count: Tensor) -> Tensor:
        w = stack.named(stack.weights)
        return linear(features[index], w["weight"], w["bias"])

    return PlainEngine(trainings[0], stack, "", outputs, batch)


class PlainEngine:
    """K members whose outputs are a function of their weights and the batch's event numbers and counts.

    like: any of them, for what they have in common.  head: what the names of the head's parameters begin with.
    outputs: (index, count) -> [K, batch, n_outputs].
    """

    def __init__(
        self,
        like: Training,
        stack: StackedWeights,
        head: str | tuple[str, ...],
        outputs: Callable[[Tensor, Tensor], Tensor],
        batch: int,
    ) -> None:
        self._outputs, self._objective, self._precision = outputs, like.objective, like.recipe.precision
        self.weights = stack.weights
        n, device, target = len(self.weights), self.weights.device, like.train_sample.target
        self._rate_of_column = (~stack.columns(head)).long()
        self._place = torch.arange(batch, device=device)
        self.index = torch.zeros(n, batch, dtype=torch.int64, device=device)
        self.target = torch.zeros(n, batch, *target.shape[1:], dtype=target.dtype, device=device)
        self.count, self.divisor = (torch.zeros(n, dtype=torch.int32, device=device) for _ in range(2))
        self.rates = self.weights.detach().new_zeros(n, 2)
        self.loss = self.weights.detach().new_zeros(n)
        self.gradient, self.first, self.second = (torch.zeros_like(self.weights) for _ in range(3))
        self.steps = torch.zeros(n, dtype=torch.float64, device=device)

    def backward(self) -> None:
        """Loss and gradient of the batch."""
        with products_in(self._precision):
            with forward_in(self._precision, self.weights.device):
                outputs = self._outputs(self.index, self.count)
            each = self._objective.losses(outputs.flatten(0, 1).to(self.weights.dtype), self.target.flatten(0, 1))
            real = self._place < self.count[:, None]
            loss = torch.where(real, each.view_as(real), 0.0).sum(1) / self.divisor.clamp(min=1)
            (gradient,) = torch.autograd.grad(loss.sum(), self.weights)
        self.loss.copy_(loss.detach())
        self.gradient.copy_(gradient)

    @torch.no_grad()
    def update(self) -> None:
        """One step of Adam for the members that take one."""
        steps = self.steps + 1.0
        first = self.first.lerp(self.gradient, 1.0 - _BETAS[0])
        second = self.second.lerp(self.gradient.square(), 1.0 - _BETAS[1])
        unbiased = (1.0 - _BETAS[1] ** steps).sqrt().to(first)[:, None]
        size = (1.0 - _BETAS[0] ** steps).to(first)[:, None]
        rates = self.rates.index_select(1, self._rate_of_column)
        weights = self.weights - rates / size * first / (second.sqrt() / unbiased + _EPSILON)
        steps_taken = self.divisor > 0
        for old, new in (
            (self.steps, steps), (self.first, first), (self.second, second), (self.weights, weights),
        ):  # fmt: skip
            old.copy_(torch.where(steps_taken.view(-1, *[1] * (old.ndim - 1)), new, old))

    @torch.no_grad()
    def predict(self) -> Tensor:
        """Outputs [K, batch, n_outputs], in the precision of the weights."""
        with products_in("float32"):
            return self._outputs(self.index, self.count)
