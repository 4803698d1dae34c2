"""The event network in PyTorch Geometric itself: its MetaLayer, from the same weights (`pip install 'breakeven[pyg]'`).

MetaLayer is the graph-network block that the equations of arXiv 2412.10665 describe. It is there to be measured against
and never trains a result. Where PyTorch Geometric is missing, importing this raises ImportError.
"""

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch_geometric.data import Batch, Data
from torch_geometric.nn import MetaLayer
from torch_geometric.utils import scatter

from breakeven.models.event_network import EventNetwork
from breakeven.models.graph import edge_features, fully_connected


@dataclass(frozen=True)
class Collated:
    """A batch as PyTorch Geometric holds it: x [n, 7], edge_index [2, e] from sender to receiver, edge_attr [e, 3].

    batch: [n] int64, the event of each node.  nodes_per_event: [n_events].
    """

    x: Tensor
    edge_index: Tensor
    edge_attr: Tensor
    batch: Tensor
    nodes_per_event: Tensor


def collate(nodes: Tensor, offsets: Tensor) -> Collated:
    """One batch, by our own index arithmetic, so that PyTorch Geometric is not charged for Python's lists."""
    graph = fully_connected(offsets)
    return Collated(
        nodes,
        torch.stack([graph.sender, graph.receiver]),
        edge_features(nodes, graph.receiver, graph.sender),
        graph.event_of_node,
        graph.nodes_per_event,
    )


def event_graphs(nodes: Tensor, offsets: Tensor) -> list[Data]:
    """One graph for each event, as a dataset in memory keeps them; arguments as in EventNetwork.forward."""
    return [
        Data(one.x, one.edge_index, one.edge_attr)
        for first, last in itertools.pairwise(offsets.tolist())
        for one in [collate(nodes[first:last], offsets.new_tensor([0, last - first]))]
    ]


def batch(graphs: list[Data]) -> Collated:
    """At least one graph in one batch, as its DataLoader does at every step."""
    data = Batch.from_data_list(graphs)
    return Collated(data.x, data.edge_index, data.edge_attr, data.batch, data.ptr.diff())


class GeometricNetwork(nn.Module):
    """The function and the very parameters of `model`, an event network, calculated by MetaLayers."""

    def __init__(self, model: EventNetwork) -> None:
        super().__init__()
        self.model = model
        self.layers = nn.ModuleList(
            MetaLayer(_Edges(block.edges), _Nodes(block.nodes), _Globals(block.globals))
            for block in model.blocks_in_order()
        )

    def forward(self, data: Collated) -> Tensor:
        """Outputs [n_events, n_outputs]."""
        model = self.model
        x = model.encoder.nodes(model.scaling.nodes(data.x))
        y = model.encoder.edges(model.scaling.edges(data.edge_attr))
        z = model.encoder.globals(model.scaling.globals(data.nodes_per_event))
        for layer in self.layers:
            x, y, z = layer(x, data.edge_index, y, z, data.batch)
        outputs: Tensor = model.head(model.decoder(z))
        return outputs


class _Edges(nn.Module):
    def __init__(self, mlp: nn.Module) -> None:
        super().__init__()
        self.mlp = mlp

    def forward(self, source: Tensor, target: Tensor, edge_attr: Tensor, u: Tensor, batch: Tensor) -> Tensor:
        outputs: Tensor = self.mlp(torch.cat([target, source, edge_attr, u[batch]], dim=1))
        return outputs


class _Nodes(nn.Module):
    def __init__(self, mlp: nn.Module) -> None:
        super().__init__()
        self.mlp = mlp

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor, u: Tensor, batch: Tensor) -> Tensor:
        messages = scatter(edge_attr, edge_index[1], dim=0, dim_size=x.size(0), reduce="sum")
        outputs: Tensor = self.mlp(torch.cat([x, messages, u[batch]], dim=1))
        return outputs


class _Globals(nn.Module):
    def __init__(self, mlp: nn.Module) -> None:
        super().__init__()
        self.mlp = mlp

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor, u: Tensor, batch: Tensor) -> Tensor:
        nodes = scatter(x, batch, dim=0, dim_size=u.size(0), reduce="sum")
        edges = scatter(edge_attr, batch[edge_index[0]], dim=0, dim_size=u.size(0), reduce="sum")
        outputs: Tensor = self.mlp(torch.cat([nodes, edges, u], dim=1))
        return outputs
