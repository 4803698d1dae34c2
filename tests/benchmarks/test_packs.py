"""Packs are timed as they are trained, in both forms."""

import torch

from breakeven.benchmarks import packs
from breakeven.benchmarks.timing import Timing
from breakeven.training.batches import EventTensors


def test_both_forms_are_timed() -> None:
    counts = torch.full((400,), 2)
    nodes = 1.0 + 50.0 * torch.rand(800, 7, generator=torch.Generator().manual_seed(0))
    events = EventTensors(nodes, torch.cat([counts.new_zeros(1), counts.cumsum(0)]))
    measured = packs.measure(events, torch.arange(400) % 3, (1, 2), rounds=1)
    assert [(m.form, m.size) for m in measured] == [
        ("sequential", 1), ("stacked", 1), ("sequential", 2), ("stacked", 2),
    ]  # fmt: skip
    figures = packs.figures(measured, "cpu")
    assert figures.keys() == {"pack_1_stacked_over_sequential", "pack_2_stacked_over_sequential"}
    assert all(value > 0.0 for value in figures.values())
    assert packs.table(measured, "cpu").row_count == 4


def test_the_figure_is_the_ratio_of_times() -> None:
    slow, fast = Timing((6.0,), (4.0,), (4.0,)), Timing((1.0,), (2.0,), (2.0,))
    measured = [packs.MeasuredPack("sequential", 4, slow), packs.MeasuredPack("stacked", 4, fast)]
    assert packs.figures(measured, "cpu") == {"pack_4_stacked_over_sequential": 2.0}
    assert packs.figures(measured, "cuda") == {"pack_4_stacked_over_sequential": 6.0}
