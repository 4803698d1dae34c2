"""K event networks of one shape as one network: K weights side by side, each matrix product one batched product.

The formulas are those of graph_network.py, split first layers included; tests hold them to it. On a GPU, K small batches
then cost the launches of one. On CPU it gains nothing, and float32 loses what fused.py gives: there it is for tests.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from breakeven.models.event_network import EventNetwork
from breakeven.models.graph import Graph, edge_features, fully_connected, sum_over
from breakeven.models.scaling import Scaling


@dataclass(frozen=True)
class StackedBatch:
    """K batches filled up to one size, so that the rows of each network form a block of equal length.

    nodes: [K * n_nodes, 7].  graph: of all rows, K * n_edges edges. The last event of each block, the nodes that fill the
    block up, and edges from its last node to itself belong together and touch no real event.
    real: [n] int64, the events that are real, in the order they came in.  sizes: how many each network has.
    """

    nodes: Tensor
    graph: Graph
    real: Tensor
    sizes: tuple[int, ...]


def stack_batches(nodes: Tensor, offsets: Tensor, sizes: Sequence[int]) -> StackedBatch:
    """K batches, one after the other in `nodes` and `offsets`, with `sizes` events each; none may be negative."""
    device, n_batches = nodes.device, len(sizes)
    graph = fully_connected(offsets)
    objects = graph.nodes_per_event
    first_event = torch.tensor([0, *sizes], device=device).cumsum(0)
    edges_before = functional.pad((objects * (objects - 1)).cumsum(0), (1, 0))
    first_node, first_edge = offsets.index_select(0, first_event), edges_before.index_select(0, first_event)
    most_nodes, n_edges = torch.stack([first_node.diff().max(), first_edge.diff().max()]).tolist()
    n_events, n_nodes = max(sizes) + 1, most_nodes + 1

    block = torch.arange(n_batches, device=device)
    block_of_event = block.repeat_interleave(first_event.diff(), output_size=len(objects))
    block_of_node = block_of_event.index_select(0, graph.event_of_node)
    block_of_edge = block_of_node.index_select(0, graph.receiver)
    event_shift = block * n_events - first_event[:-1]
    node_shift = block * n_nodes - first_node[:-1]
    edge_shift = block * n_edges - first_edge[:-1]
    real = torch.arange(len(objects), device=device) + event_shift.index_select(0, block_of_event)
    to_node = torch.arange(len(nodes), device=device) + node_shift.index_select(0, block_of_node)
    to_edge = torch.arange(len(graph.receiver), device=device) + edge_shift.index_select(0, block_of_edge)

    last_event, last_node = (block + 1) * n_events - 1, (block + 1) * n_nodes - 1
    event_of_node = last_event.repeat_interleave(n_nodes)
    event_of_node[to_node] = graph.event_of_node + event_shift.index_select(0, block_of_node)
    receiver = last_node.repeat_interleave(n_edges)
    sender = receiver.clone()
    shift = node_shift.index_select(0, block_of_edge)
    receiver[to_edge], sender[to_edge] = graph.receiver + shift, graph.sender + shift
    nodes_per_event = objects.new_ones(n_batches * n_events)
    nodes_per_event[real] = objects
    filled = nodes.new_zeros(n_batches * n_nodes, nodes.shape[1])
    filled[to_node] = nodes
    return StackedBatch(filled, Graph(receiver, sender, event_of_node, nodes_per_event), real, tuple(sizes))


class StackedNetwork:
    """K networks with equal EventNetwork.config(), copied from `models`.

    weights: [K, n_parameters], a leaf that takes gradients; the columns are the parameters in the order of
    named_parameters(), each flat. The gradient of one network's outputs lies in its row alone.
    """

    def __init__(self, models: Sequence[EventNetwork]) -> None:
        self._like = models[0]
        self._scaling = _stacked_scaling([model.scaling for model in models])
        rows = [torch.cat([parameter.detach().reshape(-1) for parameter in model.parameters()]) for model in models]
        self.weights = torch.stack(rows).requires_grad_()

    def head_columns(self) -> Tensor:
        """Which columns of `weights` belong to the heads, [n_parameters] bool."""
        n_head = sum(parameter.numel() for parameter in self._like.head.parameters())  # named last
        return torch.arange(self.weights.shape[1], device=self.weights.device) >= self.weights.shape[1] - n_head

    @torch.no_grad()
    def copy_to(self, model: EventNetwork, number: int) -> None:
        """Set the parameters of `model` to those of network `number`."""
        parameters = list(model.parameters())
        parts = self.weights[number].split([parameter.numel() for parameter in parameters])
        for parameter, part in zip(parameters, parts, strict=True):
            parameter.copy_(part.view_as(parameter))

    def outputs(self, batch: StackedBatch) -> tuple[Tensor, ...]:
        """The outputs [n_events, n_outputs] of each network for its own events; see EventNetwork.forward."""
        w, graph, n_stacked = self._named(), batch.graph, len(self.weights)
        nodes = batch.nodes.to(self.weights.dtype)
        edges = edge_features(nodes, graph.receiver, graph.sender)
        x = _mlp(w, "encoder.nodes", self._scaling.nodes(_blocks(nodes, n_stacked)))
        y = _mlp(w, "encoder.edges", self._scaling.edges(_blocks(edges, n_stacked)))
        z = _mlp(w, "encoder.globals", self._scaling.globals(graph.nodes_per_event.view(n_stacked, -1)))
        for iteration in range(self._like.iterations):
            x, y, z = _apply_block(w, f"blocks.{0 if self._like.shared_blocks else iteration}", graph, x, y, z)
        outputs = _linear(_mlp(w, "decoder", z), w["head.weight"], w["head.bias"])
        parts: tuple[Tensor, ...] = outputs.flatten(0, 1).index_select(0, batch.real).split(batch.sizes)
        return parts

    def _named(self) -> dict[str, Tensor]:
        """Every parameter by name, [K, ...]; one split, so that all gradients meet in one concatenation."""
        named = dict(self._like.named_parameters())
        parts = self.weights.split([parameter.numel() for parameter in named.values()], dim=1)
        return {
            name: part.view(len(part), *parameter.shape)
            for (name, parameter), part in zip(named.items(), parts, strict=True)
        }


def _apply_block(
    w: dict[str, Tensor], block: str, graph: Graph, x: Tensor, y: Tensor, z: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Edges, then nodes, then globals; x, y, z: [K, n_nodes, n_edges or n_events, hidden]."""
    from_receiver, from_sender, from_edge, from_global = w[f"{block}.edges.first.weight"].chunk(4, dim=2)
    of_event = _linear(z, from_global, w[f"{block}.edges.first.bias"])
    receiver_term = _linear(x, from_receiver) + _select(of_event, graph.event_of_node)
    terms = _select(receiver_term, graph.receiver) + _select(_linear(x, from_sender), graph.sender)
    y = _after_first_layer(w, f"{block}.edges", terms + _linear(y, from_edge))
    messages = _sum(y, graph.receiver, x.shape[1])

    from_node, from_messages, from_global = w[f"{block}.nodes.first.weight"].chunk(3, dim=2)
    of_event = _linear(z, from_global, w[f"{block}.nodes.first.bias"])
    of_node = _linear(x, from_node) + _linear(messages, from_messages)
    x = _after_first_layer(w, f"{block}.nodes", of_node + _select(of_event, graph.event_of_node))

    from_nodes, from_edges, from_global = w[f"{block}.globals.first.weight"].chunk(3, dim=2)
    n_events = z.shape[1]
    z = _after_first_layer(
        w,
        f"{block}.globals",
        _linear(_sum(x, graph.event_of_node, n_events), from_nodes)
        + _linear(_sum(messages, graph.event_of_node, n_events), from_edges)
        + _linear(z, from_global, w[f"{block}.globals.first.bias"]),
    )
    return x, y, z


def _mlp(w: dict[str, Tensor], mlp: str, inputs: Tensor) -> Tensor:
    return _after_first_layer(w, mlp, _linear(inputs, w[f"{mlp}.first.weight"], w[f"{mlp}.first.bias"]))


def _after_first_layer(w: dict[str, Tensor], mlp: str, activations: Tensor) -> Tensor:
    for layer in ("second", "third", "fourth"):
        activations = _linear(torch.relu_(activations), w[f"{mlp}.{layer}.weight"], w[f"{mlp}.{layer}.bias"])
    normalised = functional.layer_norm(activations, activations.shape[2:])
    return torch.addcmul(w[f"{mlp}.norm.bias"][:, None], normalised, w[f"{mlp}.norm.weight"][:, None])


def _linear(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Each network's rows through its own layer: [K, n, i], [K, o, i], [K, o] -> [K, n, o]."""
    return rows @ weight.mT if bias is None else torch.baddbmm(bias[:, None], rows, weight.mT)


def _select(values: Tensor, index: Tensor) -> Tensor:
    """Rows `index` [K * m] of all blocks of `values` [K, n, hidden] -> [K, m, hidden]."""
    return _blocks(values.flatten(0, 1).index_select(0, index), len(values))


def _sum(values: Tensor, group: Tensor, n_groups: int) -> Tensor:
    """Sums of rows by `group` [K * m], over all blocks: [K, m, hidden] -> [K, n_groups, hidden]."""
    return _blocks(sum_over(values.flatten(0, 1), group, len(values) * n_groups), len(values))


def _blocks(rows: Tensor, n_blocks: int) -> Tensor:
    return rows.view(n_blocks, len(rows) // n_blocks, rows.shape[1])


def _stacked_scaling(scalings: Sequence[Scaling]) -> Scaling:
    """One scaling whose statistics are [K, 1, width], for features [K, n, width]."""
    stacked = Scaling(bool(scalings[0].log_momenta)).to(scalings[0].node_mean)
    for name, _ in list(stacked.named_buffers()):
        if name != "log_momenta":
            setattr(stacked, name, torch.stack([getattr(scaling, name) for scaling in scalings])[:, None])
    return stacked
