"""The event network as an ONNX file: the same function of the same weights, its graph built from operators that ONNX has."""

import math
from pathlib import Path

import torch
from torch import Tensor, nn

from breakeven.feature import OBJECT
from breakeven.models.event_network import EventNetwork, iterations
from breakeven.models.graph import ETA, PHI, Graph
from breakeven.models.onnx_file import features_of, write_onnx

INPUTS = ("nodes", "offsets")
OUTPUTS = ("representation", "outputs")


def export_onnx(model: EventNetwork, path: Path) -> None:
    """Write a model of either engine as ONNX, atomically; any number of events and objects goes into it.

    Its inputs are nodes [n_objects, 7] float32 and offsets [n_events + 1] int64 from 0, as in EventNetwork.forward; its
    outputs are representation [n_events, hidden], the decoder's, and outputs [n_events, n_outputs], the head's.
    Memory grows as n_events x (objects of the largest event)^2.
    model: on CPU. Raises as write_onnx.
    """
    example = torch.rand(9, 7), torch.tensor([0, 2, 5, 9])
    sizes = {"nodes": {0: torch.export.Dim("n_objects", min=1)}, "offsets": {0: torch.export.Dim("n_offsets", min=2)}}
    about = {"features": features_of((OBJECT,))}
    write_onnx(_Exportable(model).eval(), path, dict(zip(INPUTS, example, strict=True)), sizes, OUTPUTS, about)


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
