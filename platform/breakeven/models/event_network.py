"""What both engines of the event network share: parameters, their names, the decoder and the head.

An engine adds `pool`, the message passing. The parameters live here once, so that either engine loads the
other's weights and both are initialised alike.
"""

from abc import abstractmethod
from collections.abc import Iterable
from typing import cast

from torch import Tensor, nn

from breakeven.models.backbone import Backbone
from breakeven.models.graph import N_EDGE_FEATURES, N_GLOBAL_FEATURES, N_NODE_FEATURES
from breakeven.models.layers import MLP, Block, Encoder
from breakeven.models.scaling import Scaling

__all__ = ["EventNetwork"]


class EventNetwork(Backbone):
    """A network from whole events, as fully connected graphs of their objects, to outputs (arXiv 2412.10665).

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
        """The global feature after the last block.

        Args:
            nodes: as in `forward`.
            offsets: as in `forward`.

        Returns:
            [n_events, hidden].
        """

    def represent(self, nodes: Tensor, offsets: Tensor) -> Tensor:
        """The decoder's output, which the head sees.

        Args:
            nodes: as in `forward`.
            offsets: as in `forward`.

        Returns:
            [n_events, hidden].
        """
        represented: Tensor = self.decoder(self.pool(nodes, offsets))
        return represented

    def layers(self, nodes: Tensor, offsets: Tensor) -> dict[str, Tensor]:
        """What each layer says of each event, as graph_network.layers, which serves both engines.

        Args:
            nodes: as in `forward`.
            offsets: as in `forward`.

        Returns:
            [n_events, hidden] by name, first layer to last: "encoder", "block 1" ..., "decoder".
        """
        from breakeven.models.graph_network import layers

        return layers(self, nodes, offsets)

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
        """See Scaling.measure_batches."""
        self.scaling.measure_batches(batches)

    def measure_scaling(self, nodes: Tensor, offsets: Tensor) -> None:
        """Set the feature statistics from training events.

        Args:
            nodes: as in `forward`.
            offsets: as in `forward`.

        Raises:
            ValueError: there are no events, or a value is not finite.
        """
        self.scaling.measure(nodes, offsets)

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
