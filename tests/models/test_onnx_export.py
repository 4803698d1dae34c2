"""The exported network against torch, on real events of other numbers and sizes than it was exported with."""

import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from breakeven.events.arrays import open_arrays
from breakeven.events.store import Dataset
from breakeven.models import build
from breakeven.models.graph import fully_connected
from breakeven.models.onnx_export import INPUTS, OUTPUTS, export_onnx, fully_connected_by_mask
from breakeven.models.onnx_file import NoOnnx


@pytest.mark.parametrize("counts", [(1,), (4,), (1, 1), (3, 1, 5, 2), (30, 1, 7)])
def test_the_graph_from_a_mask_is_the_graph(counts: tuple[int, ...]) -> None:
    offsets = torch.tensor([0, *counts]).cumsum(0)
    written, expected = fully_connected_by_mask(offsets), fully_connected(offsets)
    for name in ("receiver", "sender", "event_of_node", "nodes_per_event"):
        assert torch.equal(getattr(written, name), getattr(expected, name)), name


@pytest.mark.timeout(300)
def test_the_exported_network_gives_what_torch_gives(datasets: dict[str, Dataset], tmp_path: Path) -> None:
    arrays = open_arrays(datasets["WH"])
    nodes, offsets = torch.from_numpy(np.array(arrays.nodes)), torch.from_numpy(np.array(arrays.offsets))
    model = build(12, seed=3, shared_blocks=True)
    model.fit_scaling([(nodes, offsets)])
    export_onnx(model, tmp_path / "backbone.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["backbone.onnx"], "one file, with its weights in it"
    session = onnxruntime.InferenceSession(tmp_path / "backbone.onnx")
    for first, last in ((0, len(offsets) - 1), (7, 8)):
        here = nodes[offsets[first] : offsets[last]], offsets[first : last + 1] - offsets[first]
        inputs = {name: tensor.numpy() for name, tensor in zip(INPUTS, here, strict=True)}
        written = session.run(list(OUTPUTS), inputs)
        with torch.no_grad():
            represented = model.represent(*here)
            expected = represented, model.head(represented)
        for one, other in zip(written, expected, strict=True):
            assert one.shape == other.shape
            np.testing.assert_allclose(one, other.numpy(), rtol=1e-4, atol=1e-5)


def test_without_the_packages_the_way_to_them_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(NoOnnx, match=r"onnxscript is not installed.*pip install 'breakeven\[onnx\]'"):
        export_onnx(build(2), tmp_path / "backbone.onnx")
    assert not list(tmp_path.iterdir())
