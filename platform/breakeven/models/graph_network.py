"""The event network in plain torch, on one flat edge list without padding, with split first layers.

The first layer of an update MLP acts on concatenated inputs, W [x_i, x_j, y_ij, z] =
A x_i + B x_j + C y_ij + D z. A, B and D multiply nodes and events once and only the products are gathered to the
edges: two thirds of the FLOPs. The parameter stays the one weight W, so state dicts agree with
graph_network_dgl.py, which spells out the formula.

Where fused.py has a compiled kernel for the case at hand (float32 on CPU), the backbone runs there.
"""

from collections.abc import Iterator

from torch import Tensor
from torch.nn import functional

from breakeven.models import fused
from breakeven.models.edge_block import EdgeWeights, update_edges
from breakeven.models.event_network import EventNetwork
from breakeven.models.graph import N_NODE_FEATURES, Graph, edge_features, fully_connected, sum_over
from breakeven.models.layers import MLP, Block


class GraphNetwork(EventNetwork):
    """The native engine: see EventNetwork for inputs and outputs."""

    def kernel(self) -> str:
        """As in EventNetwork: the compiled one where it serves."""
        return "fused" if fused.serves(self, self.head.weight.new_empty(0, N_NODE_FEATURES)) else super().kernel()

    def represent(self, nodes: Tensor, offsets: Tensor) -> Tensor:
        """The decoder's output [n_events, hidden]; arguments as in forward."""
        if fused.serves(self, nodes):
            return fused.represent(self, nodes, offsets)
        return super().represent(nodes, offsets)

    def pool(self, nodes: Tensor, offsets: Tensor) -> Tensor:
        """The global feature after the last block [n_events, hidden]; arguments as in forward."""
        nodes, graph = nodes.to(self.scaling.node_mean.dtype), fully_connected(offsets)
        for _, _, z in iterations(self, nodes, graph, edge_features(nodes, graph.receiver, graph.sender)):
            pooled = z
        return pooled


def layers(model: EventNetwork, nodes: Tensor, offsets: Tensor) -> dict[str, Tensor]:
    """What each layer of a model of either engine says of an event, first to last, [n_events, hidden] each.

    "encoder": mean over the event's encoded objects.  "block 1" ...: the global feature after that iteration.
    "decoder": what the head sees.  nodes, offsets: as in EventNetwork.forward.
    """
    nodes, graph = nodes.to(model.scaling.node_mean.dtype), fully_connected(offsets)
    found: dict[str, Tensor] = {}
    pairs = edge_features(nodes, graph.receiver, graph.sender)
    for number, (x, _, z) in enumerate(iterations(model, nodes, graph, pairs)):
        if number:
            found[f"block {number}"] = z
        else:
            found["encoder"] = sum_over(x, graph.event_of_node, graph.n_events) / graph.nodes_per_event[:, None]
    return {**found, "decoder": model.decoder(z)}


def iterations(
    model: EventNetwork, nodes: Tensor, graph: Graph, pairs: Tensor
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Nodes, edges and globals after the encoder and after each block.

    nodes: as in EventNetwork.forward, in the model's precision.  pairs: of the graph's edges, see graph.edge_features.
    """
    x = model.encoder.nodes(model.scaling.nodes(nodes))
    y = model.encoder.edges(model.scaling.edges(pairs))
    z = model.encoder.globals(model.scaling.globals(graph.nodes_per_event))
    yield x, y, z
    for block in model.blocks_in_order():
        x, y, z = _apply_block(block, graph, x, y, z)
        yield x, y, z


def _apply_block(block: Block, graph: Graph, x: Tensor, y: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Edges, then nodes, then globals (arXiv 2412.10665 section III.2); x: nodes, y: edges, z: globals."""
    from_receiver, from_sender, _, from_global = _columns(block.edges, 4)
    of_event = functional.linear(z, from_global, block.edges.first.bias)
    receiver_term = functional.linear(x, from_receiver) + of_event.index_select(0, graph.event_of_node)
    sender_term = functional.linear(x, from_sender)
    y, messages = update_edges(y, receiver_term, sender_term, graph.receiver, graph.sender, EdgeWeights.of(block.edges))

    from_node, from_messages, from_global = _columns(block.nodes, 3)
    of_event = functional.linear(z, from_global, block.nodes.first.bias)
    of_node = functional.linear(x, from_node) + functional.linear(messages, from_messages)
    x = block.nodes.after_first_layer(of_node + of_event.index_select(0, graph.event_of_node))

    from_nodes, from_edges, from_global = _columns(block.globals, 3)
    z = block.globals.after_first_layer(
        functional.linear(sum_over(x, graph.event_of_node, graph.n_events), from_nodes)
        + functional.linear(sum_over(messages, graph.event_of_node, graph.n_events), from_edges)
        + functional.linear(z, from_global, block.globals.first.bias)
    )
    return x, y, z


def _columns(mlp: MLP, n_inputs: int) -> tuple[Tensor, ...]:
    """The first weight of `mlp`, cut into the parts that act on each of its concatenated inputs."""
    return mlp.first.weight.chunk(n_inputs, dim=1)
