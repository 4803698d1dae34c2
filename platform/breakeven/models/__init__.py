"""What learns: torch modules from events to outputs. Never trains, reads no dataset, knows no physics process.

`build` makes the event network in one of two engines that hold the same parameters under the same names:
"native" (graph_network.py, the fast form) and "dgl" (graph_network_dgl.py, the reference).
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from breakeven.models.event_network import EventNetwork

__all__ = ["ENGINES", "NETWORK_VERSION", "UnknownEngine", "build"]

EVENT_GRAPH = "event_graph"
"""The kind of network that is meant where none is named: the one below."""

ENGINES = ("native", "dgl")

NETWORK_VERSION = 1
"""Of the function that the network computes; raise it when the same weights give other outputs."""


class UnknownEngine(ValueError):
    """An engine name that is neither "native" nor "dgl"."""


def build(
    n_outputs: int,
    engine: str = "native",
    *,
    seed: int = 0,
    hidden: int = 64,
    iterations: int = 4,
    shared_blocks: bool = False,
    log_momenta: bool = True,
    initialisation: str = "he",
) -> "EventNetwork":
    """A freshly initialised event network; the same seed gives the same weights in both engines.

    With the defaults and 12 outputs one shared block gives 135,244 parameters, separate ones 372,172; the paper says
    "about 400,000", hence separate blocks by default. Of these the last layer has 64 n + n (780 for 12, 2,665 for 41
    outputs); the paper's 832 and 2,688 are 64 n + 64.

    Args:
        n_outputs: width of the last layer (12 processes, 41 labels, 1 logit).
        engine: "native" or "dgl".
        seed: of the weights.
        hidden: width of every layer.
        iterations: graph-network blocks in a row.
        shared_blocks: one block used in every iteration ("the same update MLPs", arXiv 2412.10665 section III.2) in
            place of one block each.
        log_momenta: take log(pt) and log(energy) before standardising.
        initialisation: "he" or "torch", see layers.py.

    Returns:
        The network, on CPU.

    Raises:
        UnknownEngine: `engine` is neither.
        ValueError: a size is below 1.
        ImportError: dgl is missing; the message says how to get it.
    """
    from breakeven.models.graph_network import GraphNetwork
    from breakeven.models.graph_network_dgl import GraphNetworkDGL, import_dgl
    from breakeven.models.layers import initialise

    if engine not in ENGINES:
        raise UnknownEngine(f"engine {engine!r} is unknown; choose one of {', '.join(ENGINES)}")
    if engine == "dgl":
        import_dgl()  # better here than in the first batch
    network = GraphNetwork if engine == "native" else GraphNetworkDGL
    model = network(
        n_outputs,
        hidden=hidden,
        iterations=iterations,
        shared_blocks=shared_blocks,
        log_momenta=log_momenta,
        initialisation=initialisation,
    )
    initialise(model, seed, initialisation)
    return model
