"""The event network as PyTorch Geometric's users write it, in plain torch: lift, concatenate, MLP, scatter.

PyTorch Geometric itself is not installed: this is its MessagePassing and its collate, line for line in spirit, without
its overhead. It is there to be measured against and never trains a result.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from breakeven.models.event_network import EventNetwork
from breakeven.models.graph import edge_features, fully_connected, sum_over


@dataclass(frozen=True)
class Data:
    """One event's graph with raw features. x: [n, 7].  edge_index: [2, e] receiver, sender.  edge_attr: [e, 3]."""

    x: Tensor
    edge_index: Tensor
    edge_attr: Tensor


@dataclass(frozen=True)
class Batch(Data):
    """Graphs side by side. batch: [n] int64, the event of each node.  nodes_per_event: [n_events]."""

    batch: Tensor
    nodes_per_event: Tensor


def event_graphs(nodes: Tensor, offsets: Tensor) -> list[Data]:
    """One graph for each event, as a dataset in memory keeps them; arguments as in EventNetwork.forward."""
    graphs = []
    for first, last in zip(offsets.tolist()[:-1], offsets.tolist()[1:], strict=True):
        pairs = fully_connected(torch.tensor([0, last - first], device=nodes.device))
        x = nodes[first:last]
        edge_index = torch.stack([pairs.receiver, pairs.sender])
        graphs.append(Data(x, edge_index, edge_features(x, pairs.receiver, pairs.sender)))
    return graphs


def collate(graphs: Sequence[Data]) -> Batch:
    """At least one graph in one batch, as its DataLoader does at every step."""
    device = graphs[0].x.device
    n_nodes = torch.tensor([len(graph.x) for graph in graphs], device=device)
    n_edges = torch.tensor([len(graph.edge_attr) for graph in graphs], device=device)
    first_node = (n_nodes.cumsum(0) - n_nodes).repeat_interleave(n_edges)
    return Batch(
        torch.cat([graph.x for graph in graphs]),
        torch.cat([graph.edge_index for graph in graphs], dim=1) + first_node,
        torch.cat([graph.edge_attr for graph in graphs]),
        torch.arange(len(graphs), device=device).repeat_interleave(n_nodes),
        n_nodes,
    )


class GraphNetworkPyG(EventNetwork):
    """Parameters and function of the other engines: see EventNetwork."""

    def pool(self, nodes: Tensor, offsets: Tensor) -> Tensor:
        """The global feature after the last block [n_events, hidden]; arguments as in forward."""
        return self.pool_batch(collate(event_graphs(nodes, offsets)))

    def forward_batch(self, data: Batch) -> Tensor:
        """Outputs [n_events, n_outputs] of collated graphs."""
        outputs: Tensor = self.head(self.decoder(self.pool_batch(data)))
        return outputs

    def pool_batch(self, data: Batch) -> Tensor:
        """The global feature [n_events, hidden] of collated graphs."""
        receiver, sender = data.edge_index
        event_of_edge = data.batch.index_select(0, receiver)
        x = self.encoder.nodes(self.scaling.nodes(data.x))
        y = self.encoder.edges(self.scaling.edges(data.edge_attr))
        z: Tensor = self.encoder.globals(self.scaling.globals(data.nodes_per_event))
        for block in self.blocks_in_order():
            lifted = [x.index_select(0, receiver), x.index_select(0, sender), y, z.index_select(0, event_of_edge)]
            y = block.edges(torch.cat(lifted, dim=1))
            messages = sum_over(y, receiver, len(x))
            x = block.nodes(torch.cat([x, messages, z.index_select(0, data.batch)], dim=1))
            sums = [sum_over(x, data.batch, len(z)), sum_over(y, event_of_edge, len(z)), z]
            z = block.globals(torch.cat(sums, dim=1))
        return z
