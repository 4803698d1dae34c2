"""The page of pictures is written, and its numbers are those of the events."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from breakeven.physics.detector import ObjectKind
from breakeven.physics.generator import Generated
from breakeven.physics.validation import count_per_event, plot_processes


def test_page_is_written(tmp_path: Path, sample: Callable[[str], Generated]) -> None:
    page = tmp_path / "events.png"
    plot_processes({name: sample(name).objects for name in ("ttbar", "stop_pair")}, page)
    assert page.read_bytes().startswith(b"\x89PNG")
    assert page.stat().st_size > 20_000


def test_counts(sample: Callable[[str], Generated]) -> None:
    objects = sample("ttbar").objects
    counted = sum(count_per_event(objects, kind) for kind in ObjectKind)
    assert np.array_equal(counted, objects.counts)
    assert count_per_event(objects, ObjectKind.JET, b_tagged=True).sum() == objects.b_tag.sum()


def test_nothing_to_plot(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no samples"):
        plot_processes({}, tmp_path / "events.png")
