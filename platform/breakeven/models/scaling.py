"""Standardisation of the input features, with statistics that travel in the model's state dict.

Holds means and standard deviations of node, edge and global features. Never looks at targets or outputs.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from breakeven.feature import MOMENTUM_FLOOR, OBJECT
from breakeven.models.graph import N_EDGE_FEATURES, N_GLOBAL_FEATURES, N_NODE_FEATURES, edge_features, fully_connected
from breakeven.models.moments import Moments

_LOGARITHMIC = [column for column, feature in enumerate(OBJECT) if feature.log_floor is not None]
_MOMENTA = slice(_LOGARITHMIC[0], _LOGARITHMIC[-1] + 1, _LOGARITHMIC[1] - _LOGARITHMIC[0])
"""The columns of pt and energy as a stride: a list of columns would make a GPU wait at every batch."""

EVENTS_AT_ONCE = 8192


class Scaling(nn.Module):
    """(feature - mean) / std for nodes, edges and the global feature.

    The flag `log_momenta` is a buffer too: weights trained with logarithms are silently wrong without.
    """

    node_mean: Tensor
    node_std: Tensor
    edge_mean: Tensor
    edge_std: Tensor
    global_mean: Tensor
    global_std: Tensor
    log_momenta: Tensor

    def __init__(self, log_momenta: bool) -> None:
        super().__init__()
        for name, width in (("node", N_NODE_FEATURES), ("edge", N_EDGE_FEATURES), ("global", N_GLOBAL_FEATURES)):
            self.register_buffer(f"{name}_mean", torch.zeros(width))
            self.register_buffer(f"{name}_std", torch.ones(width))
        self.register_buffer("log_momenta", torch.tensor(log_momenta))

    def nodes(self, nodes: Tensor) -> Tensor:
        """Standardised node features; nodes: [n_nodes, 7] raw -> [n_nodes, 7]."""
        return (self._momenta(nodes) - self.node_mean) / self.node_std

    def edges(self, edges: Tensor) -> Tensor:
        """Standardised edge features; edges: [n_edges, 3] raw -> [n_edges, 3]."""
        return (edges - self.edge_mean) / self.edge_std

    def globals(self, nodes_per_event: Tensor) -> Tensor:
        """Standardised number of objects; nodes_per_event: [n_events] int64 -> [n_events, 1]."""
        return (nodes_per_event[..., None].to(self.global_mean.dtype) - self.global_mean) / self.global_std

    @torch.no_grad()
    def measure(self, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Set all statistics from nodes [n_nodes, 7] and offsets [n_events + 1] int64 of EVENTS_AT_ONCE events at most.

        Memory stays that of one batch. A feature that never varies (the b-tag of a sample without jets) gets the standard
        deviation 1. Raises ValueError without events and on a feature that is not finite.
        """
        moments = {name: Moments() for name in ("node", "edge", "global")}
        for nodes, offsets in batches:
            raw = nodes.double()
            graph = fully_connected(offsets)
            moments["node"].add(self._momenta(raw))
            moments["edge"].add(edge_features(raw, graph.receiver, graph.sender))
            moments["global"].add(graph.nodes_per_event[:, None].double())
        if moments["global"].count == 0:
            raise ValueError("the scaling is measured on events, and there are none; give the training events")
        for name, running in moments.items():
            mean, std = running.mean_and_std(getattr(self, f"{name}_mean").numel())
            if not bool(torch.isfinite(mean).all() and torch.isfinite(std).all()):
                raise ValueError(
                    f"the {name} features have the means {mean.tolist()}: some feature of these events "
                    "is not finite; check the dataset they come from"
                )
            getattr(self, f"{name}_mean").copy_(mean)
            getattr(self, f"{name}_std").copy_(std)

    def _momenta(self, nodes: Tensor) -> Tensor:
        momenta = nodes[..., _MOMENTA]
        scaled = nodes.clone()
        # No branch on the flag: it too would make a GPU wait.
        scaled[..., _MOMENTA] = torch.where(self.log_momenta, momenta.clamp(min=MOMENTUM_FLOOR).log(), momenta)
        return scaled
