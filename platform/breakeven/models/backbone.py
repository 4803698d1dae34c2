"""What every network here is: a backbone that represents events, and a head, its last linear layer.

Holds the interface that training, checkpoints and workers stand on; event_network.py is the first one behind it.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor, nn

from breakeven.feature import OBJECT, Levels
from breakeven.fingerprint import fingerprint
from breakeven.models import EVENT_GRAPH
from breakeven.models.layers import initialise


class Backbone(nn.Module, ABC):
    """A network from a batch of events to outputs.

    n_outputs: width of the head.  head: the last linear layer, whose name no other parameter begins with.
    initialisation: scheme of its starting weights, see layers.initialise.
    kind, levels: what it is called and which events it takes, set by NetworkSpec.build.
    new_layers: what the names begin with of the weights that no pretrained network brings, the head's among them.
    probe: name of a layer inside whose output is a logit for each thing of the events' first level, as for each jet, of what the
    schema's labels say of it; empty where there is none.
    A batch is, for each level of the events' schema from the outside in, the things' features [n_things, n_features] and
    offsets [n_parents + 1]: for whole events (nodes, offsets), for jets (jets, offsets, constituents, their offsets).
    """

    n_outputs: int
    head: nn.Linear
    initialisation: str = "he"
    kind: str = EVENT_GRAPH
    levels: Levels = (OBJECT,)
    new_layers: tuple[str, ...] = ("head.",)
    probe: str = ""

    @abstractmethod
    def represent(self, *batch: Any, **named: Any) -> Tensor:
        """What the head sees of each event [n_events, width]."""

    @abstractmethod
    def layers(self, *batch: Any, **named: Any) -> dict[str, Tensor]:
        """What each layer says of each event, first to last, [n_events, width] each; the last is what the head sees."""

    @abstractmethod
    def fit_scaling(self, batches: Iterable[Any]) -> None:
        """Set the statistics of the features from batches of training events; they travel in the state dict.

        Raises ValueError without events and on a feature that is not finite.
        """

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """The arguments that build it again, n_outputs among them: plain values for JSON."""

    def fit_new_scaling(self, batches: Iterable[Any]) -> None:
        """Set the statistics that belong to new layers from batches of training events; most networks have none."""

    def from_pretrained(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The state dict of the network that was pretrained, by this one's names; new layers may be missing or be another's."""
        return dict(weights)

    def pretrained(self, *batch: Any) -> Tensor:
        """What the pretrained layers say of each event [n_events, ...], the same whichever new layers are to stand on them."""
        return self.represent(*batch)

    def embed(self, said: Tensor, *batch: Any) -> Tensor:
        """All that new layers need of each event [n_events, ...], by `solve`, from what `pretrained` gives of it."""
        return said

    def solve(self, embedding: Tensor) -> Tensor:
        """The outputs [n_events, n_outputs] of the new layers on what `embed` gives."""
        outputs: Tensor = self.head(embedding)
        return outputs

    def kernel(self) -> str:
        """What computes the backbone where its weights are: hours of two kernels are as different as of two processors."""
        return "torch"

    def forward(self, *batch: Any, **named: Any) -> Tensor:
        """Outputs (logits and regressions) [n_events, n_outputs]."""
        outputs: Tensor = self.head(self.represent(*batch, **named))
        return outputs

    def draw_new_weights(self, seed: int) -> None:
        """Give the new layers fresh weights: a function of the seed alone."""
        for place, prefix in enumerate(self.new_layers):
            # Each from numbers of its own, the first from the seed itself.
            own = int(fingerprint([prefix, seed], length=15), 16) if place else seed
            self.draw_weights(own, self.get_submodule(prefix.removesuffix(".")))

    def draw_weights(self, seed: int, part: nn.Module | None = None) -> None:
        """Give `part`, by default everything, fresh weights: a function of the seed alone."""
        initialise(part or self, seed, self.initialisation)
