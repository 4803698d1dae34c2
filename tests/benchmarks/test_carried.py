"""The benchmark's events survive the way to a machine without datasets."""

from pathlib import Path

import numpy as np
import pytest
import torch

from breakeven.benchmarks import carried
from breakeven.training.batches import EventTensors


def test_events_come_back_as_they_were(tmp_path: Path) -> None:
    events = EventTensors(torch.rand(6, 7), torch.tensor([0, 1, 4, 6]))
    path, target = tmp_path / "events.npz", torch.tensor([2, 0, 1])
    carried.write(path, events, target)
    again, classes = carried.events_of(path, tmp_path / "no datasets", "cpu")
    assert torch.equal(again.nodes, events.nodes) and torch.equal(again.offsets, events.offsets)
    assert torch.equal(classes, target) and list(tmp_path.iterdir()) == [path]


def test_another_file_is_told_from_it(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", nodes=np.zeros((1, 7)))
    with pytest.raises(ValueError, match=r"other\.npz lacks offsets, target: write it with --sample"):
        carried.read(tmp_path / "other.npz", "cpu")
