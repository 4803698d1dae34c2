"""The event network written with DGL message passing: the reference the fast form is held to.

It reads like the equations of arXiv 2412.10665 section III.2 and concatenates inputs as they do. Never
the engine of choice for speed. dgl is imported on first use and nowhere else.
"""

import os
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from breakeven.models.event_network import EventNetwork
from breakeven.models.graph import edge_features, fully_connected
from breakeven.models.layers import Block


class GraphNetworkDGL(EventNetwork):
    """The DGL engine: see EventNetwork for inputs and outputs."""

    def kernel(self) -> str:
        """As in EventNetwork."""
        return "dgl"

    def pool(self, nodes: Tensor, offsets: Tensor) -> Tensor:
        """The global feature after the last block [n_events, hidden]; arguments as in forward."""
        if len(offsets) == 1:  # dgl cannot batch nothing
            nothing: Tensor = self.encoder.globals(self.scaling.globals(offsets.diff()))
            return nothing
        return self.pool_graph(batch(event_graphs(nodes, offsets)))

    def forward_graph(self, graph: Any) -> Tensor:
        """Outputs [n_events, n_outputs] of a batched graph, as `batch(event_graphs(...))` makes it."""
        outputs: Tensor = self.head(self.decoder(self.pool_graph(graph)))
        return outputs

    def pool_graph(self, graph: Any) -> Tensor:
        """The global feature [n_events, hidden] after the last block, of a batched graph."""
        dtype = self.scaling.node_mean.dtype
        with graph.local_scope():
            graph.ndata["x"] = self.encoder.nodes(self.scaling.nodes(graph.ndata["features"].to(dtype)))
            graph.edata["y"] = self.encoder.edges(self.scaling.edges(graph.edata["features"].to(dtype)))
            z: Tensor = self.encoder.globals(self.scaling.globals(graph.batch_num_nodes()))
            for block in self.blocks_in_order():
                z = _apply_block(block, graph, z)
            return z


def event_graphs(nodes: Tensor, offsets: Tensor) -> list[Any]:
    """One DGL graph for each event, with raw features, so that any model with any scaling can take them.

    nodes: [n_nodes, 7], offsets: [n_events + 1] int64. A loop over events, as a DGL dataset does it;
    keep the list to spare it in later epochs.
    """
    dgl = import_dgl()
    graphs = []
    for first, last in zip(offsets.tolist()[:-1], offsets.tolist()[1:], strict=True):
        features = nodes[first:last]
        pairs = fully_connected(torch.tensor([0, last - first], device=nodes.device))
        graph = dgl.graph((pairs.sender, pairs.receiver), num_nodes=last - first)
        graph.ndata["features"] = features
        graph.edata["features"] = edge_features(features, pairs.receiver, pairs.sender)
        graphs.append(graph)
    return graphs


def batch(graphs: Sequence[Any]) -> Any:
    """One batched DGL graph of at least one event graph."""
    return import_dgl().batch(list(graphs))


def _apply_block(block: Block, graph: Any, z: Tensor) -> Tensor:
    """Update edges, nodes and globals; the graph carries x and y, z [n_events, hidden] is returned."""
    dgl = import_dgl()

    def update_edges(edges: Any) -> dict[str, Tensor]:
        inputs = [edges.dst["x"], edges.src["x"], edges.data["y"], edges.data["z"]]
        return {"y": block.edges(torch.cat(inputs, dim=1))}

    def update_nodes(nodes: Any) -> dict[str, Tensor]:
        inputs = [nodes.data["x"], nodes.data["messages"], nodes.data["z"]]
        return {"x": block.nodes(torch.cat(inputs, dim=1))}

    graph.ndata["messages"] = torch.zeros_like(graph.ndata["x"])
    if graph.num_edges() > 0:  # dgl warns, and sends nothing, where every event has one object
        graph.edata["z"] = dgl.broadcast_edges(graph, z)
        graph.apply_edges(update_edges)
        graph.update_all(dgl.function.copy_e("y", "message"), dgl.function.sum("message", "messages"))
    graph.ndata["z"] = dgl.broadcast_nodes(graph, z)
    graph.apply_nodes(update_nodes)
    updated: Tensor = block.globals(torch.cat([dgl.sum_nodes(graph, "x"), dgl.sum_edges(graph, "y"), z], dim=1))
    return updated


def import_dgl() -> Any:
    """The dgl module; raises ImportError with the way out where it cannot be imported."""
    os.environ.setdefault("DGLBACKEND", "pytorch")  # else dgl prints, and writes a file to the home folder
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # dgl 1.1.3 imports names its dependencies have since deprecated
            import dgl
    except ImportError as error:
        raise ImportError(
            f'the "dgl" engine needs DGL ({error}); its wheels end with Python 3.11: install dgl==1.1.3 '
            'there, or choose engine="native", which computes the same function'
        ) from error
    return dgl
