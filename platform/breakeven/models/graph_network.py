"""The native engine of the event network: plain torch on one flat edge list without padding, see event_network.iterations.

Where fused.py has a compiled kernel for the case at hand (float32 on CPU), the backbone runs there.
"""

from torch import Tensor

from breakeven.models import fused
from breakeven.models.event_network import EventNetwork, iterations
from breakeven.models.graph import N_NODE_FEATURES, edge_features, fully_connected


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
