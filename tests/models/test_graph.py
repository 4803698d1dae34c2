"""Edge lists and geometry against a plain loop over pairs."""

import math

import pytest
import torch

from breakeven.models.graph import edge_features, fully_connected, sum_over


@pytest.mark.parametrize("counts", [(), (1,), (4,), (1, 1), (3, 1, 5, 2), (60, 1, 7)])
def test_edges_are_all_ordered_pairs_within_events(counts: tuple[int, ...]) -> None:
    offsets = torch.tensor([0, *counts]).cumsum(0)
    graph = fully_connected(offsets)
    expected, first = [], 0
    for count in counts:
        nodes = range(first, first + count)
        expected += [(i, j) for i in nodes for j in nodes if i != j]
        first += count
    assert list(zip(graph.receiver.tolist(), graph.sender.tolist(), strict=True)) == expected
    assert graph.nodes_per_event.tolist() == list(counts)
    assert graph.event_of_node.tolist() == [event for event, n in enumerate(counts) for _ in range(n)]


def test_angles_wrap_and_follow_receiver_minus_sender() -> None:
    nodes = torch.zeros(2, 7, dtype=torch.float64)
    nodes[0, 1:3] = torch.tensor([1.5, 3.0])
    nodes[1, 1:3] = torch.tensor([-0.5, -3.0])
    forth = edge_features(nodes, torch.tensor([0]), torch.tensor([1]))[0]
    back = edge_features(nodes, torch.tensor([1]), torch.tensor([0]))[0]
    d_phi = 6.0 - 2.0 * math.pi
    torch.testing.assert_close(forth, torch.tensor([2.0, d_phi, math.hypot(2.0, d_phi)], dtype=torch.float64))
    torch.testing.assert_close(back, forth * torch.tensor([-1.0, -1.0, 1.0], dtype=torch.float64))


def test_sums_by_group_with_an_empty_group() -> None:
    sums = sum_over(torch.tensor([[1.0], [2.0], [4.0]]), torch.tensor([0, 2, 2]), 3)
    assert sums.tolist() == [[1.0], [0.0], [6.0]]
