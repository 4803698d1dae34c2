"""K event networks of one shape as one network: K weights side by side, each matrix product one batched product.

The formulas are those of event_network.iterations, split first layers included; tests hold them to it. Batches are filled up to
sizes that are known before, and made on the device, so that nothing here waits for the host: a step can be captured as a
CUDA graph. On CPU it gains nothing, and float32 loses what fused.py gives: there it is for tests.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from breakeven.models.event_network import EventNetwork
from breakeven.models.graph import edge_features
from breakeven.models.scaling import Scaling
from breakeven.models.segments import Segments


@dataclass(frozen=True)
class StackedBatch:
    """K batches filled up to one size, so that the rows of each network form a block of equal length.

    nodes: [K, n_nodes, 7].  nodes_per_event: [K, n_events].  node_events: of each node.  receivers, senders: of each edge.
    The last event of each block and its last node stand for all that fills the block up; they touch no real event. The
    graph's edges are in the order of graph.Graph.
    """

    nodes: Tensor
    nodes_per_event: Tensor
    node_events: Segments
    receivers: Segments
    senders: Segments


def stack_batches(
    nodes: Tensor, offsets: Tensor, index: Tensor, count: Tensor, most_nodes: int, most_edges: int
) -> StackedBatch:
    """The events `index` [K, n] int64 of a dataset as K batches, of which the first `count` [K] events each are real.

    nodes: [n_objects, 7].  offsets: [n_events + 1].  most_nodes, most_edges: of any of the batches; what lies beyond is cut
    off, so they must be right.
    """
    n_blocks, n_events = index.shape
    n_nodes, n_edges = most_nodes + 1, max(1, most_edges)
    real = torch.arange(n_events, device=index.device) < count[:, None]
    first = offsets.index_select(0, index.flatten()).view_as(index)
    objects = (offsets.index_select(0, index.flatten() + 1).view_as(index) - first) * real
    # One more event, of no objects: whatever lies beyond the last object or edge belongs to it.
    objects, first = functional.pad(objects, (0, 1)), functional.pad(first, (0, 1))
    edges = objects * (objects - 1).clamp(min=0)
    node_offsets, edge_offsets = (functional.pad(sizes.cumsum(1), (1, 0)) for sizes in (objects, edges))

    event_of_node, node_in_event, is_node = _places(node_offsets, n_nodes)
    source = torch.where(is_node, first.gather(1, event_of_node) + node_in_event, 0)
    filled = torch.where(is_node[..., None], nodes.index_select(0, source.flatten()).view(n_blocks, n_nodes, -1), 0.0)

    event_of_edge, edge_in_event, is_edge = _places(edge_offsets, n_edges)
    others = (objects.gather(1, event_of_edge) - 1).clamp(min=1)
    receiver, sender = edge_in_event // others, edge_in_event % others
    sender = sender + (sender >= receiver)
    # The edge from j to i is where i and j change places.
    reverse = edge_offsets.gather(1, event_of_edge) + sender * others + receiver - (receiver > sender).long()
    node = node_offsets.gather(1, event_of_edge)
    receiver, sender = (torch.where(is_edge, node + end, most_nodes) for end in (receiver, sender))
    reverse = torch.where(is_edge, reverse, torch.arange(n_edges, device=index.device))

    first_edge = edge_offsets.gather(1, event_of_node) + node_in_event * (objects.gather(1, event_of_node) - 1)
    last_edge = edge_offsets[:, -1:]
    of_receiver = torch.cat([torch.where(is_node, first_edge, last_edge), last_edge], dim=1)
    return StackedBatch(
        nodes=filled,
        nodes_per_event=objects,
        node_events=Segments(_over_blocks(event_of_node, n_events + 1), node_offsets),
        receivers=Segments(_over_blocks(receiver, n_nodes), of_receiver),
        senders=Segments(_over_blocks(sender, n_nodes), of_receiver, _over_blocks(reverse, n_edges)),
    )


def _places(offsets: Tensor, n_rows: int) -> tuple[Tensor, Tensor, Tensor]:
    """Group and place within it of the rows 0 to n_rows - 1 of each block, and whether they are in a group at all.

    offsets: [K, n + 1], of groups whose last one is empty: rows that are in none are said to be in that one.
    """
    row = torch.arange(n_rows, device=offsets.device).repeat(len(offsets), 1)
    group = torch.searchsorted(offsets[:, 1:].contiguous(), row, right=True).clamp(max=offsets.shape[1] - 2)
    return group, row - offsets.gather(1, group), row < offsets[:, -1:]


def _over_blocks(index: Tensor, n: int) -> Tensor:
    """Numbers within each block [K, m] as numbers over all blocks of n [K * m]."""
    return (index + n * torch.arange(len(index), device=index.device)[:, None]).flatten()


class StackedWeights:
    """The parameters of K modules of one shape side by side.

    weights: [K, n_parameters], a leaf that takes gradients; the columns are the parameters in the order of
    named_parameters(), each flat.
    """

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        self.shapes = {name: parameter.shape for name, parameter in modules[0].named_parameters()}
        rows = [torch.cat([parameter.detach().reshape(-1) for parameter in module.parameters()]) for module in modules]
        self.weights = torch.stack(rows).requires_grad_()

    def named(self, rows: Tensor) -> dict[str, Tensor]:
        """Every parameter by name, [n, ...]; rows: [n, n_parameters], such as the weights or Adam's moments.

        One split, so that all gradients meet in one concatenation.
        """
        parts = rows.split([shape.numel() for shape in self.shapes.values()], dim=1)
        return {
            name: part.view(len(part), *shape) for (name, shape), part in zip(self.shapes.items(), parts, strict=True)
        }

    def columns(self, prefix: str | tuple[str, ...]) -> Tensor:
        """Which columns belong to the parameters whose names begin with `prefix`, [n_parameters] bool."""
        parts = [torch.full((shape.numel(),), name.startswith(prefix)) for name, shape in self.shapes.items()]
        return torch.cat(parts).to(self.weights.device)


@torch.no_grad()
def set_parameters(module: nn.Module, row: Tensor) -> None:
    """Set the parameters of `module` to those in `row` [n_parameters], a row of StackedWeights of such modules."""
    parameters = list(module.parameters())
    for parameter, part in zip(parameters, row.split([parameter.numel() for parameter in parameters]), strict=True):
        parameter.copy_(part.view_as(parameter))


class StackedNetwork:
    """K networks with equal EventNetwork.config(), copied from `models`.

    The gradient of one network's outputs lies in its row of stack.weights alone.
    """

    def __init__(self, models: Sequence[EventNetwork]) -> None:
        self._like = models[0]
        self._scaling = _stacked_scaling([model.scaling for model in models])
        self.stack = StackedWeights(models)

    def outputs(self, batch: StackedBatch) -> Tensor:
        """The outputs [K, n_events, n_outputs] of each network for its own events, those that fill up included."""
        w, n_stacked = self.stack.named(self.stack.weights), len(batch.nodes)
        nodes = batch.nodes.to(self.stack.weights.dtype)
        edges = edge_features(nodes.flatten(0, 1), batch.receivers.group, batch.senders.group)
        x = _mlp(w, "encoder.nodes", self._scaling.nodes(nodes))
        y = _mlp(w, "encoder.edges", self._scaling.edges(edges.view(n_stacked, -1, edges.shape[1])))
        z = _mlp(w, "encoder.globals", self._scaling.globals(batch.nodes_per_event))
        for iteration in range(self._like.iterations):
            x, y, z = _apply_block(w, f"blocks.{0 if self._like.shared_blocks else iteration}", batch, x, y, z)
        return linear(_mlp(w, "decoder", z), w["head.weight"], w["head.bias"])


def linear(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Each network's rows through its own layer: [K, n, i], [K, o, i], [K, o] -> [K, n, o]."""
    return rows @ weight.mT if bias is None else torch.baddbmm(bias[:, None], rows, weight.mT)


def _apply_block(
    w: dict[str, Tensor], block: str, batch: StackedBatch, x: Tensor, y: Tensor, z: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Edges, then nodes, then globals; x, y, z: [K, n_nodes, n_edges or n_events, hidden]."""
    from_receiver, from_sender, from_edge, from_global = w[f"{block}.edges.first.weight"].chunk(4, dim=2)
    of_event = linear(z, from_global, w[f"{block}.edges.first.bias"])
    receiver_term = linear(x, from_receiver) + batch.node_events.spread(of_event)
    terms = batch.receivers.spread(receiver_term) + batch.senders.spread(linear(x, from_sender))
    y = _after_first_layer(w, f"{block}.edges", terms + linear(y, from_edge))
    messages = batch.receivers.sum(y)

    from_node, from_messages, from_global = w[f"{block}.nodes.first.weight"].chunk(3, dim=2)
    of_event = linear(z, from_global, w[f"{block}.nodes.first.bias"])
    of_node = linear(x, from_node) + linear(messages, from_messages)
    x = _after_first_layer(w, f"{block}.nodes", of_node + batch.node_events.spread(of_event))

    from_nodes, from_edges, from_global = w[f"{block}.globals.first.weight"].chunk(3, dim=2)
    z = _after_first_layer(
        w,
        f"{block}.globals",
        linear(batch.node_events.sum(x), from_nodes)
        + linear(batch.node_events.sum(messages), from_edges)
        + linear(z, from_global, w[f"{block}.globals.first.bias"]),
    )
    return x, y, z


def _mlp(w: dict[str, Tensor], mlp: str, inputs: Tensor) -> Tensor:
    return _after_first_layer(w, mlp, linear(inputs, w[f"{mlp}.first.weight"], w[f"{mlp}.first.bias"]))


def _after_first_layer(w: dict[str, Tensor], mlp: str, activations: Tensor) -> Tensor:
    for layer in ("second", "third", "fourth"):
        activations = linear(torch.relu_(activations), w[f"{mlp}.{layer}.weight"], w[f"{mlp}.{layer}.bias"])
    normalised = functional.layer_norm(activations, activations.shape[2:])
    return torch.addcmul(w[f"{mlp}.norm.bias"][:, None], normalised, w[f"{mlp}.norm.weight"][:, None])


def _stacked_scaling(scalings: Sequence[Scaling]) -> Scaling:
    """One scaling whose statistics are [K, 1, width], for features [K, n, width]."""
    stacked = Scaling(bool(scalings[0].log_momenta)).to(scalings[0].node_mean)
    for name, _ in list(stacked.named_buffers()):
        if name != "log_momenta":
            setattr(stacked, name, torch.stack([getattr(scaling, name) for scaling in scalings])[:, None])
    return stacked
