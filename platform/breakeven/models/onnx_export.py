"""The event network as an ONNX file, for programs that have neither torch nor this package.

The same function of the same weights, its graph built from operators that ONNX has. It never trains.
"""

import io
import logging
import math
import warnings
from contextlib import redirect_stdout
from pathlib import Path

import torch
from torch import Tensor, nn

from breakeven import atomic
from breakeven.models.event_network import EventNetwork, iterations
from breakeven.models.graph import ETA, PHI, Graph

INPUTS = ("nodes", "offsets")
OUTPUTS = ("representation", "outputs")


class NoOnnx(ImportError):
    """The packages that write ONNX files are not installed; the message says how to get them."""


def export_onnx(model: EventNetwork, path: Path) -> None:
    """Write a model of either engine as ONNX, atomically; any number of events and objects goes into it.

    Its inputs are nodes [n_objects, 7] float32 and offsets [n_events + 1] int64 from 0, as in EventNetwork.forward; its
    outputs are representation [n_events, hidden], the decoder's, and outputs [n_events, n_outputs], the head's.
    Memory grows as n_events x (objects of the largest event)^2.
    model: on CPU. Raises NoOnnx where the packages that write it are not installed, OSError where it cannot be written.
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise NoOnnx(f"{error.name} is not installed: it writes ONNX files; pip install 'breakeven[onnx]'") from error
    nodes = torch.rand(9, 7)
    offsets = torch.tensor([0, 2, 5, 9])
    sizes = {"nodes": {0: torch.export.Dim("n_objects", min=1)}, "offsets": {0: torch.export.Dim("n_offsets", min=2)}}
    exporter = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = exporter.level
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), atomic.replacing(path) as temporary:
        warnings.simplefilter("ignore")  # of the exporter about itself
        exporter.setLevel(logging.ERROR)
        try:
            program = torch.onnx.export(
                _Exportable(model).eval(), (nodes, offsets), dynamo=True, dynamic_shapes=sizes, verbose=False,
                input_names=list(INPUTS), output_names=list(OUTPUTS),
            )  # fmt: skip
        finally:
            exporter.setLevel(level)
        assert program is not None
        program.save(temporary, external_data=False)


class _Exportable(nn.Module):
    """EventNetwork.represent and .head by operators that ONNX has: no repeat_interleave, no hypot, no compiled kernel."""

    def __init__(self, model: EventNetwork) -> None:
        super().__init__()
        self.model = model

    def forward(self, nodes: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
        graph = fully_connected_by_mask(offsets)
        nodes = nodes.to(self.model.scaling.node_mean.dtype)
        for _, _, z in iterations(self.model, nodes, graph, _edge_features(nodes, graph)):
            pooled = z
        represented = self.model.decoder(pooled)
        return represented, self.model.head(represented)


def fully_connected_by_mask(offsets: Tensor) -> Graph:
    """What graph.fully_connected gives, from a mask over all places of the largest event."""
    per_event = offsets[1:] - offsets[:-1]
    place = torch.arange(per_event.max().item(), device=offsets.device)
    there = place < per_event[:, None]
    pairs = there[:, :, None] & there[:, None, :] & (place[:, None] != place)
    event, receiver, sender = pairs.nonzero().unbind(1)
    first = (offsets[:-1] - offsets[0])[event]
    return Graph(first + receiver, first + sender, there.nonzero()[:, 0], per_event)


def _edge_features(nodes: Tensor, graph: Graph) -> Tensor:
    """What graph.edge_features gives."""
    angles = nodes[:, ETA : PHI + 1]
    d_eta, d_phi = (angles[graph.receiver] - angles[graph.sender]).unbind(1)
    d_phi = torch.remainder(d_phi + math.pi, 2.0 * math.pi) - math.pi
    return torch.stack([d_eta, d_phi, torch.sqrt(d_eta * d_eta + d_phi * d_phi)], dim=1)
