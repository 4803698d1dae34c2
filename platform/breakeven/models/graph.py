"""From flat events to fully connected graphs: who sends to whom, and the geometry of each pair.

Everything is index arithmetic on whole batches, on any device; there is no loop over events and no padding.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from breakeven.feature import OBJECT, index_of

ETA, PHI = index_of(OBJECT, "eta"), index_of(OBJECT, "phi")
N_NODE_FEATURES = len(OBJECT)
N_EDGE_FEATURES = 3
N_GLOBAL_FEATURES = 1


@dataclass(frozen=True)
class Graph:
    """The flat directed graph of a batch: every object receives from every other object of its event.

    receiver, sender: [n_edges] int64 node numbers; ascending in the receiver, then in the sender, so that
    the edges of a receiver, and of an event, lie side by side.  event_of_node: [n_nodes] int64.
    nodes_per_event: [n_events].
    """

    receiver: Tensor
    sender: Tensor
    event_of_node: Tensor
    nodes_per_event: Tensor

    @property
    def n_events(self) -> int:
        """Number of events in the batch."""
        return self.nodes_per_event.shape[0]  # which torch.export follows, and len not


def fully_connected(offsets: Tensor) -> Graph:
    """The graph of all ordered pairs of different objects within each event; n (n - 1) edges for n objects.

    offsets: [n_events + 1] int64; the objects of event k are the nodes offsets[k] to offsets[k + 1].
    """
    device = offsets.device
    nodes_per_event = offsets.diff()
    # Both sizes at once: a GPU waits only here.
    n_edges_per_event = nodes_per_event * (nodes_per_event - 1)
    n_nodes, n_edges = torch.stack([offsets[-1] - offsets[0], n_edges_per_event.sum()]).tolist()
    event_of_node = torch.repeat_interleave(
        torch.arange(len(nodes_per_event), device=device), nodes_per_event, output_size=n_nodes
    )
    node = torch.arange(n_nodes, device=device)
    first_node = (offsets[:-1] - offsets[0]).index_select(0, event_of_node)
    n_senders = nodes_per_event.index_select(0, event_of_node) - 1
    first_edge = n_senders.cumsum(0) - n_senders
    receiver = torch.repeat_interleave(node, n_senders, output_size=n_edges)
    rank = torch.arange(len(receiver), device=device) - first_edge.index_select(0, receiver)
    receiver_rank = (node - first_node).index_select(0, receiver)
    sender = first_node.index_select(0, receiver) + rank + (rank >= receiver_rank)
    return Graph(receiver, sender, event_of_node, nodes_per_event)


def edge_features(nodes: Tensor, receiver: Tensor, sender: Tensor) -> Tensor:
    """(d_eta, d_phi in [-pi, pi), d_R), receiver minus sender, [n_edges, 3]; nodes: [n_nodes, 7]."""
    angles = nodes[:, ETA : PHI + 1]
    d_eta, d_phi = (angles.index_select(0, receiver) - angles.index_select(0, sender)).unbind(1)
    d_phi = torch.remainder(d_phi + math.pi, 2.0 * math.pi) - math.pi
    return torch.stack([d_eta, d_phi, torch.hypot(d_eta, d_phi)], dim=1)


def sum_over(values: Tensor, group: Tensor, n_groups: int) -> Tensor:
    """Sums [n_groups, hidden] of the rows of `values` [n, hidden] by `group` [n] int64; none gives zero."""
    return values.new_zeros(n_groups, values.shape[1]).index_add(0, group, values)
