"""The page of pictures of jets is written from tables."""

from pathlib import Path

import pytest

from breakeven.events.catalogue import source
from breakeven.events.jets import sample_of
from breakeven.physics.jets.validation import plot_jets


def test_page_is_written(tmp_path: Path) -> None:
    samples = {name: sample_of(source(name).make(20, 1, 0).table, 2) for name in ("HH4b_1000", "QCD_800_1000")}
    qcd = samples["QCD_800_1000"]
    assert len(qcd.pt) == len(qcd.weight) == len(qcd.constituents) and len(qcd.d0_significance) == len(qcd.track_bb)
    assert 10 < qcd.weight.sum() / 2 < 20  # two jets an event, and half of 32 pb as one of two shards
    page = tmp_path / "jets.png"
    plot_jets(samples, page)
    assert page.read_bytes().startswith(b"\x89PNG") and page.stat().st_size > 20_000


def test_nothing_to_plot(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no samples"):
        plot_jets({}, tmp_path / "jets.png")
