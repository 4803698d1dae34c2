"""What learns: torch modules from events to outputs. Never trains, reads no dataset, knows no physics process.

`build` makes the event network in one of two engines that hold the same parameters under the same names:
"native" (graph_network.py, the fast form) and "dgl" (graph_network_dgl.py, the reference).
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from breakeven.models.event_network import EventNetwork

__all__ = ["ENGINES", "NETWORK_VERSION", "UnknownEngine", "build"]

EVENT_GRAPH = "event_graph"
"""The kind of network that is meant where none is named: the one below."""

JET_TRANSFORMER = "jet_transformer"
"""The Particle Transformer on jets and the event networks on it, of arXiv 2401.13536."""

ENGINES = ("native", "dgl")

NETWORK_VERSION = 1
"""Of the function that the network computes; raise it when the same weights give other outputs."""

JET_NETWORK_VERSION = 1
"""The same, of the kind "jet_transformer"."""


class UnknownEngine(ValueError):
    """An engine name that is neither "native" nor "dgl"."""


def build(n_outputs: int, engine: str = "native", *, seed: int = 0, **arguments: Any) -> "EventNetwork":
    """A freshly initialised event network; the same seed gives the same weights in both engines.

    With the defaults and 12 outputs one shared block gives 135,244 parameters, separate ones 372,172; the paper says
    "about 400,000", hence separate blocks by default. Of these the last layer has 64 n + n (780 for 12, 2,665 for 41
    outputs); the paper's 832 and 2,688 are 64 n + 64.

    Args:
        n_outputs: width of the last layer (12 processes, 41 labels, 1 logit).
        engine: "native" or "dgl".
        seed: of the weights.
        arguments: those of EventNetwork.

    Returns:
        The network, on CPU.

    Raises:
        UnknownEngine: `engine` is neither.
        ValueError: a size is below 1.
        ImportError: dgl is missing; the message says how to get it.
    """
    from breakeven.models.graph_network import GraphNetwork
    from breakeven.models.graph_network_dgl import GraphNetworkDGL, import_dgl

    if engine not in ENGINES:
        raise UnknownEngine(f"engine {engine!r} is unknown; choose one of {', '.join(ENGINES)}")
    if engine == "dgl":
        import_dgl()  # better here than in the first batch
    network = GraphNetwork if engine == "native" else GraphNetworkDGL
    model = network(n_outputs, **arguments)
    model.draw_weights(seed)
    return model
