"""Events on their way to a device: whole, in order, in pieces; too many are refused before anything is sent."""

from pathlib import Path

import numpy as np
import pytest
import torch

from breakeven.training.batches import EventTensors
from breakeven.training.loading import TooLarge, load_arrays


def test_pieces_make_the_whole(tmp_path: Path) -> None:
    nodes = np.random.default_rng(1).random((101, 7), dtype=np.float32)
    np.save(tmp_path / "nodes.npy", nodes)
    mapped = np.load(tmp_path / "nodes.npy", mmap_mode="r")
    offsets = np.arange(102)
    tensors = load_arrays([mapped, offsets], "cpu", piece_bytes=100, free_bytes=1 << 20)
    assert np.array_equal(tensors[0].numpy(), nodes) and np.array_equal(tensors[1].numpy(), offsets)
    assert tensors[1].dtype is torch.int64
    mapped_again = np.load(tmp_path / "nodes.npy", mmap_mode="r")
    wide = load_arrays([mapped_again], "cpu", piece_bytes=1, free_bytes=1 << 20)  # a row is larger than a buffer
    assert np.array_equal(wide[0].numpy(), nodes)


def test_what_does_not_fit_is_refused_with_the_sizes() -> None:
    with pytest.raises(TooLarge, match=r"events are 8e-06 GB and cpu has 1.5e-05 GB free.*events-per-process"):
        load_arrays([np.zeros(1000)], "cpu", free_bytes=15_000)


def test_on_cpu_nothing_is_copied() -> None:
    nodes, offsets = np.ones((3, 7), dtype=np.float32), np.array([0, 1, 3])
    events = EventTensors.from_arrays(nodes, offsets)
    nodes[2, 1] = 5.0
    assert events.nodes[2, 1] == 5.0


def test_no_events_at_all() -> None:
    tensors = load_arrays([np.zeros((0, 7), dtype=np.float32), np.zeros(1)], "cpu", free_bytes=1000)
    assert tensors[0].shape == (0, 7) and tensors[1].shape == (1,)
