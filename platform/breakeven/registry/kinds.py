"""What is said of a backbone by its kind, and what writes it as ONNX: one entry for each kind of network that is given away."""

from collections.abc import Callable
from dataclasses import dataclass

from breakeven.models import EVENT_GRAPH, JET_TRANSFORMER
from breakeven.study.spec import Network


@dataclass(frozen=True)
class Kind:
    """Words of the model card.

    network: what it is.  row: of its input, one of them.  frame: how its input looks.  says: what its output is.
    size: of a network, in words.  detector: whose response its events have.  onnx: module that has export_onnx.
    """

    network: str
    row: str
    frame: str
    says: str
    size: Callable[[Network], str]
    detector: str
    onnx: str


KINDS = {
    EVENT_GRAPH: Kind(
        network="a graph network on whole collision events",
        row="event",
        frame="A pandas frame, one row per event, each column a list with one entry per object; the Parquet files of the study's "
        "events are such frames. The energy follows from pt and eta: objects are massless.",
        says="what the last hidden layer says of each event",
        size=lambda network: f"{network.iterations} message-passing iterations",
        detector="an ATLAS-like fast detector response",
        onnx="breakeven.models.onnx_export",
    ),
    JET_TRANSFORMER: Kind(
        network="a Particle Transformer on the constituents of large-radius jets, one jet at a time",
        row="jet",
        frame="A pandas frame, one row per jet: a number in each of its own columns, a list with one entry per constituent, the "
        "hardest first, in each of theirs. `events[columns].explode(columns).dropna()` makes it of a Parquet file of the study's "
        "events, with all columns below. Constituents are massless, and impact parameters are in mm.",
        says="the class token of each jet, zeros for one without constituents",
        size=lambda network: (
            ", ".join(f"{name} {value:g}" for name, value in network.options.items()) or "published size"
        ),
        detector="anti-kt jets of radius 0.8, a CMS-like fast detector response",
        onnx="breakeven.models.jet_onnx",
    ),
}
"""By the name of the kind; those of plug-ins have none."""
