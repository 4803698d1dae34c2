"""Which network and how large, as plain values, and the kinds of networks there are.

Plug-ins bring further kinds as `NETWORKS`: name -> a callable as `Builder`. The only place that knows kinds by name.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from breakeven import plugins
from breakeven.feature import OBJECT, Levels
from breakeven.models import EVENT_GRAPH, JET_NETWORK_VERSION, JET_TRANSFORMER, NETWORK_VERSION, build

if TYPE_CHECKING:
    from breakeven.models.backbone import Backbone

Builder = Callable[..., "Backbone"]
"""(levels, n_outputs, seed=..., **arguments) -> a network with fresh weights; raises ValueError where they do not fit."""


class UnknownNetwork(ValueError):
    """No network of that kind is known; the message names those that are."""


@dataclass(frozen=True)
class NetworkSpec:
    """A kind of network and its arguments."""

    kind: str = EVENT_GRAPH
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def build(self, levels: Levels, n_outputs: int, seed: int = 0) -> "Backbone":
        """The network for events with these features, with fresh weights. Raises UnknownNetwork, ValueError, TypeError."""
        network = _builder(self.kind)(levels, n_outputs, seed=seed, **self.arguments)
        network.kind, network.levels = self.kind, levels
        return network


def version_of(kind: str) -> str:
    """What decides, besides its arguments, which function a network computes: our version, or the plug-in's files."""
    own = {EVENT_GRAPH: NETWORK_VERSION, JET_TRANSFORMER: JET_NETWORK_VERSION}
    if kind in own:
        return str(own[kind])
    _builder(kind)  # it is known
    return plugins.version("NETWORKS", kind)


def event_graph(levels: Levels, n_outputs: int, *, seed: int, **arguments: Any) -> "Backbone":
    """The graph network on whole events of arXiv 2412.10665; arguments: as models.build takes them."""
    if [tuple(features) for features in levels] != [OBJECT]:
        names = " / ".join(", ".join(feature.name for feature in features) for features in levels)
        raise ValueError(
            f"the network event_graph takes whole events ({', '.join(f.name for f in OBJECT)}), these have {names}; choose a "
            "network of another kind"
        )
    return build(n_outputs, seed=seed, **arguments)


def jet_transformer(levels: Levels, n_outputs: int, *, seed: int, **arguments: Any) -> "Backbone":
    """The Particle Transformer on jets, and the event networks on it, of arXiv 2401.13536; arguments: those of JetNetwork.

    Whole numbers may come as floats, and a single one for `pairs`, of which there are then `pair_layers`: a study's options
    are numbers.
    """
    from breakeven.models.jet_network import JetNetwork

    arguments = {
        name: int(value) if isinstance(value, float) and value.is_integer() else value
        for name, value in arguments.items()
    }
    layers = arguments.pop("pair_layers", 1)
    if isinstance(arguments.get("pairs"), int):
        arguments["pairs"] = [arguments["pairs"]] * layers
    network = JetNetwork(levels, n_outputs, **arguments)
    network.draw_weights(seed)
    return network


def _builder(kind: str) -> Builder:
    own: dict[str, Builder] = {EVENT_GRAPH: event_graph, JET_TRANSFORMER: jet_transformer}
    known: dict[str, Builder] = own | plugins.brought("NETWORKS") | own  # what is there already is nobody's to replace
    if kind not in known:
        raise UnknownNetwork(f"network.kind is {kind!r}; known are {', '.join(known)}; name its plug-in with --plugin")
    return known[kind]
