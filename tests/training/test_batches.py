"""Gathering events, orders and shares against plain Python."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from breakeven.training.batches import EventTensors, Sample, epoch_order, share


@pytest.mark.parametrize("index", [[], [4], [0, 1, 2], [5, 0, 5, 3]], ids=str)
def test_gather_takes_whole_events_in_the_order_asked_for(make_events: Callable, index: list[int]) -> None:
    events, _ = make_events(6)
    nodes, offsets = events.gather(torch.tensor(index, dtype=torch.int64))
    parts = [events.nodes[events.offsets[k] : events.offsets[k + 1]] for k in index]
    assert offsets.tolist() == [0, *np.cumsum([len(part) for part in parts]).tolist()]
    assert torch.equal(nodes, torch.cat([events.nodes[:0], *parts]))


def test_read_only_maps_are_taken_without_a_copy(make_events: Callable, tmp_path: Path) -> None:
    events, _ = make_events(5)
    np.save(tmp_path / "nodes.npy", events.nodes.numpy())
    np.save(tmp_path / "offsets.npy", events.offsets.numpy())
    mapped = np.load(tmp_path / "nodes.npy", mmap_mode="r")
    opened = EventTensors.from_arrays(mapped, np.load(tmp_path / "offsets.npy", mmap_mode="r"))
    assert opened.nodes.data_ptr() == mapped.ctypes.data
    assert opened.n_events == 5
    assert torch.equal(opened.gather(torch.tensor([3]))[0], events.gather(torch.tensor([3]))[0])


def test_orders_are_permutations_that_depend_on_seed_and_epoch_alone() -> None:
    state = torch.get_rng_state()
    orders = {(seed, epoch): epoch_order(50, seed, epoch) for seed in (0, 1) for epoch in (0, 1, 2)}
    assert torch.equal(state, torch.get_rng_state())
    for (seed, epoch), order in orders.items():
        assert order.sort().values.tolist() == list(range(50))
        assert torch.equal(order, epoch_order(50, seed, epoch))
    assert len({tuple(order.tolist()) for order in orders.values()}) == 6


@pytest.mark.parametrize(("n", "world"), [(0, 2), (1, 3), (10, 3), (7, 7), (64, 2)])
def test_shares_are_contiguous_even_and_cover_everything(n: int, world: int) -> None:
    shares = [range(n)[share(n, rank, world)] for rank in range(world)]
    assert [row for part in shares for row in part] == list(range(n))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_sample_needs_a_target_for_each_event() -> None:
    with pytest.raises(ValueError, match="3 events but 2 targets"):
        Sample(torch.arange(3), torch.zeros(2))
