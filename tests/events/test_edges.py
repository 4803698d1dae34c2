"""Edges are counted from the sizes of events at rest."""

from pathlib import Path

import numpy as np
import pytest

from breakeven.events.edges import edges_per_event


def test_edges_are_counted_over_all_processes_that_are_there(tmp_path: Path) -> None:
    for process, offsets in {"WH": [0, 1, 4], "ZH": [0, 5]}.items():
        folder = tmp_path / process / "recipe" / "arrays-0"
        folder.mkdir(parents=True)
        np.save(folder / "offsets.npy", np.array(offsets))
    assert edges_per_event(tmp_path, ["WH", "ZH", "ttH"]) == pytest.approx((0 + 6 + 20) / 3)
    assert edges_per_event(tmp_path, ["WH"]) == pytest.approx(3.0)
    assert edges_per_event(tmp_path, ["ttH"]) is None
