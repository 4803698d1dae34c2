"""Events on their way to a device: whole, in order, in pieces; too many are refused before anything is sent."""

from pathlib import Path

import numpy as np
import pytest
import torch

from breakeven.training import loading
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
    with pytest.raises(TooLarge, match=r"8e-06 GB are to lie on cpu, which has 1.5e-05 GB free.*fewer events"):
        load_arrays([np.zeros(1000)], "cpu", free_bytes=15_000)
    with pytest.raises(TooLarge, match="8e-06 GB are"):
        load_arrays([np.zeros(500)], "cpu", free_bytes=15_000, beside=4_000)


def test_events_that_do_not_fit_stay_where_they_are_and_that_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    arrays = np.ones((3, 7), dtype=np.float32), np.array([0, 1, 3])
    events, fits = (EventTensors.from_arrays(*arrays, "cpu", free_bytes) for free_bytes in (100, 1000))
    assert events.onto == torch.device("cpu") and fits.onto is None
    assert events.nodes.data_ptr() == arrays[0].ctypes.data
    assert "events stay in the host's memory" in capsys.readouterr().out
    assert events.sizes(torch.tensor([1, 0])).tolist() == [[2], [1]]


def test_progress_is_shown_of_what_takes_a_while(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for least, shown in ((3_000_001, ""), (3_000_000, "loading: 3 of 3 MB")):
        monkeypatch.setattr(loading, "_SHOWN_BYTES", least)
        load_arrays([np.ones(3_000_000, np.uint8)], "cpu", piece_bytes=700_000, free_bytes=1 << 30)
        assert shown in (said := capsys.readouterr().out) and bool(shown) == bool(said)


def test_on_cpu_nothing_is_copied() -> None:
    nodes, offsets = np.ones((3, 7), dtype=np.float32), np.array([0, 1, 3])
    events = EventTensors.from_arrays(nodes, offsets)
    nodes[2, 1] = 5.0
    assert events.nodes[2, 1] == 5.0


def test_no_events_at_all() -> None:
    tensors = load_arrays([np.zeros((0, 7), dtype=np.float32), np.zeros(1)], "cpu", free_bytes=1000)
    assert tensors[0].shape == (0, 7) and tensors[1].shape == (1,)
