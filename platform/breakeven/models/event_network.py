"""What both engines of the event network share: parameters, their names, the decoder and the head.

An engine adds `pool`, the message passing; `iterations` is its plain form, for all that is wanted of the way. The parameters
live here once, so that either engine loads the other's weights and both are initialised alike.

The first layer of an update MLP acts on concatenated inputs, W [x_i, x_j, y_ij, z] = A x_i + B x_j + C y_ij + D z. In the
plain form A, B and D multiply nodes and events once and only the products are gathered to the edges: two thirds of the
FLOPs. The parameter stays the one weight W, so state dicts agree with graph_network_dgl.py, which spells out the formula.
"""

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from breakeven.models.backbone import Backbone
from breakeven.models.graph import (
    N_EDGE_FEATURES,
    N_GLOBAL_FEATURES,
    N_NODE_FEATURES,
    Graph,
    edge_features,
    fully_connected,
    sum_over,
)
from breakeven.models.layers import MLP, Block, Encoder
from breakeven.models.scaling import Scaling


class EventNetwork(Backbone):
    """A network from whole events, as fully connected graphs of their objects, to outputs (arXiv 2412.10665).

    hidden: width of every layer.  iterations: graph-network blocks in a row.  shared_blocks: one block used in every
    iteration ("the same update MLPs", section III.2) in place of one block each.  log_momenta: take log(pt) and
    log(energy) before standardising.  initialisation: "he" or "torch", see layers.py.
    scaling: feature statistics.  encoder, blocks, decoder: the backbone.  head: the last linear layer.
    """

    def __init__(
        self,
        n_outputs: int,
        *,
        hidden: int = 64,
        iterations: int = 4,
        shared_blocks: bool = False,
        log_momenta: bool = True,
        initialisation: str = "he",
    ) -> None:
        super().__init__()
        for name, value in (("n_outputs", n_outputs), ("hidden", hidden), ("iterations", iterations)):
            if value < 1:
                raise ValueError(f"{name} is {value}; it must be at least 1")
        self.n_outputs, self.hidden, self.iterations = n_outputs, hidden, iterations
        self.shared_blocks, self.initialisation = shared_blocks, initialisation
        self.scaling = Scaling(log_momenta)
        self.encoder = Encoder(N_NODE_FEATURES, N_EDGE_FEATURES, N_GLOBAL_FEATURES, hidden)
        self.blocks = nn.ModuleList(Block(hidden) for _ in range(1 if shared_blocks else iterations))
        self.decoder = MLP(hidden, hidden)
        self.head = nn.Linear(hidden, n_outputs)

    @abstractmethod
    def pool(self, nodes: Tensor, offsets: Tensor) -> Tensor:
        """The global feature after the last block [n_events, hidden]; arguments as in `forward`."""

    def represent(self, nodes: Tensor, offsets: Tensor) -> Tensor:
        """The decoder's output [n_events, hidden], which the head sees; arguments as in `forward`."""
        represented: Tensor = self.decoder(self.pool(nodes, offsets))
        return represented

    def layers(self, nodes: Tensor, offsets: Tensor) -> dict[str, Tensor]:
        """What each layer says of each event, [n_events, hidden] by name, first layer to last: "encoder", "block 1" ...,
        "decoder". One form for both engines; arguments as in `forward`.
        """
        nodes, graph = nodes.to(self.scaling.node_mean.dtype), fully_connected(offsets)
        layers: dict[str, Tensor] = {}
        pairs = edge_features(nodes, graph.receiver, graph.sender)
        for number, (x, _, z) in enumerate(iterations(self, nodes, graph, pairs)):
            if number:
                layers[f"block {number}"] = z
            else:
                layers["encoder"] = sum_over(x, graph.event_of_node, graph.n_events) / graph.nodes_per_event[:, None]
        return {**layers, "decoder": self.decoder(z)}

    def forward(self, nodes: Tensor, offsets: Tensor) -> Tensor:
        """Logits and regressions of events.

        Args:
            nodes: [n_nodes, 7] = pt (GeV), eta, phi (rad), energy (GeV), b_tag, charge, kind, unscaled.
            offsets: [n_events + 1] int64 from 0 to n_nodes; every event has at least one object.

        Returns:
            [n_events, n_outputs].
        """
        outputs: Tensor = self.head(self.represent(nodes, offsets))
        return outputs

    def blocks_in_order(self) -> list[Block]:
        """The block of each iteration; the same one every time where blocks are shared."""
        return [cast(Block, self.blocks[0 if self.shared_blocks else k]) for k in range(self.iterations)]

    def backbone_parameters(self) -> list[nn.Parameter]:
        """All parameters but the head's, in the order of the state dict."""
        return [parameter for name, parameter in self.named_parameters() if not name.startswith("head.")]

    def fit_scaling(self, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Set the feature statistics from (nodes, offsets) of training events, see Scaling.measure."""
        self.scaling.measure(batches)

    def config(self) -> dict[str, int | bool | str]:
        """The arguments that build this network again."""
        return {
            "n_outputs": self.n_outputs,
            "hidden": self.hidden,
            "iterations": self.iterations,
            "shared_blocks": self.shared_blocks,
            "log_momenta": bool(self.scaling.log_momenta),
            "initialisation": self.initialisation,
        }


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
    from_receiver, from_sender, from_edge, from_global = _columns(block.edges, 4)
    of_event = functional.linear(z, from_global, block.edges.first.bias)
    receiver_term = functional.linear(x, from_receiver) + of_event.index_select(0, graph.event_of_node)
    sender_term = functional.linear(x, from_sender)
    # index_select and not indexing: its backward is an index_add, five times as fast on CPU.
    terms = receiver_term.index_select(0, graph.receiver).add_(sender_term.index_select(0, graph.sender))
    y = block.edges.after_first_layer(torch.addmm(terms, y, from_edge.t()))
    messages = sum_over(y, graph.receiver, x.shape[0])  # not len(x), which an ONNX export would take for a constant

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
