"""From what a study asks for to the network that learns it: the only place that turns the one into the other."""

from breakeven.feature import Levels
from breakeven.models import EVENT_GRAPH
from breakeven.models.backbone import Backbone
from breakeven.models.spec import NetworkSpec
from breakeven.study.spec import Network


def spec_of(network: Network) -> NetworkSpec:
    """The network of a study in the words of models."""
    if network.kind != EVENT_GRAPH:
        represented = {"representation": network.representation} if network.representation else {}
        return NetworkSpec(network.kind, {**network.options, **represented})
    names = ("engine", "hidden", "iterations", "shared_blocks", "log_momenta", "initialisation")
    return NetworkSpec(EVENT_GRAPH, {name: getattr(network, name) for name in names})


def build_network(network: Network, levels: Levels, n_outputs: int, seed: int = 0) -> Backbone:
    """A fresh network for events with these features. Raises ValueError where it cannot take them, UnknownNetwork."""
    return spec_of(network).build(levels, n_outputs, seed)
