"""The shipped samples: complete, balanced in double precision, reused as promised; foreign files are refused."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from breakeven.physics.hard import SAMPLES, HardEvents, read_parquet, shipped
from breakeven.physics.particles import starts
from breakeven.physics.processes import CATALOGUE

NAMES = [name for name, entry in CATALOGUE.items() if entry.source == "hard_events"]
SIZES = {"tHq": 14_599, "ttW": 20_000, "ttyy": 20_000, "ttt": 10_000, "tttt": 14_351}
REPEATS = {"tHq": 18, "ttW": 7, "ttyy": 21, "ttt": 3, "tttt": 1}


def imbalance(events: HardEvents) -> float:
    """Largest violation of energy-momentum conservation in GeV."""
    sign = np.where(events.status == -1, -1.0, 1.0)
    return float(np.abs(np.add.reduceat(events.momentum * sign[:, None], starts(events.counts))).max())


@pytest.mark.parametrize("name", NAMES)
def test_samples_are_whole_and_balanced(name: str) -> None:
    events = read_parquet(SAMPLES / f"{name}.parquet")
    assert len(events.counts) == SIZES[name] == CATALOGUE[name].n_hard_events
    assert imbalance(events) < 1e-8
    energy, size = events.momentum[:, 3], np.sqrt((events.momentum[:, :3] ** 2).sum(axis=1))
    assert np.allclose(energy**2, size**2 + events.mass**2, rtol=1e-9)
    assert events.cross_section_pb == pytest.approx(CATALOGUE[name].cross_section_pb, rel=0.01)
    first = starts(events.counts)
    assert (events.momentum[first, 2] > 0).all()
    assert (events.momentum[first + 1, 2] < 0).all()
    for kind, expected in ((6, CATALOGUE[name].n_top), (25, CATALOGUE[name].n_higgs)):
        assert (np.add.reduceat(np.abs(events.pdg) == kind, first) == expected).all()


@pytest.mark.parametrize("name", NAMES)
def test_exact_repeats_are_one_hard_event(name: str) -> None:
    events = read_parquet(SAMPLES / f"{name}.parquet")
    table = pq.read_table(SAMPLES / f"{name}.parquet")
    contents = [str(row) for row in table.select(["pdg", "px", "py", "pz", "mass", "scale"]).to_pylist()]
    assert events.identity.tolist() == [contents.index(content, max(0, i - 5)) for i, content in enumerate(contents)]
    assert len(set(contents)) == len(set(events.identity.tolist())) == SIZES[name] - REPEATS[name]


def test_a_repeat_keeps_its_identity_in_a_shard() -> None:
    assert shipped(("tHq.parquet",), 3_848, 6, np.random.default_rng(0)).identity.tolist() == [
        3_848, 3_849, 3_849, 3_849, 3_849, 3_853,
    ]  # fmt: skip


def test_shards_walk_through_the_sample_and_start_again() -> None:
    random = np.random.default_rng(0)
    assert shipped(("ttt.parquet",), 200, 3, random).identity.tolist() == [200, 201, 202]
    assert shipped(("ttt.parquet",), 9_998, 4, random).identity.tolist() == [9_998, 9_999, 0, 1]
    assert shipped(("ttt.parquet",), 20_001, 1, random).identity.tolist() == [1]


def test_a_second_pass_is_turned_but_the_same_event() -> None:
    random = np.random.default_rng(0)
    copies = [shipped(("tHq.parquet",), 0, 50, random) for _ in range(2)]
    assert not np.allclose(copies[0].momentum, copies[1].momentum)
    original = read_parquet(SAMPLES / "tHq.parquet")
    flipped = 0
    for copy in copies:
        assert imbalance(copy) < 1e-8
        assert (copy.momentum[starts(copy.counts), 2] > 0).all()
        rows = np.flatnonzero(copy.status == 1)
        here, there = copy.momentum[rows], original.momentum[rows]
        assert np.allclose(np.hypot(here[:, 0], here[:, 1]), np.hypot(there[:, 0], there[:, 1]))
        assert np.allclose(np.abs(here[:, 2]), np.abs(there[:, 2]))
        flipped += int((here[:, 2] * there[:, 2] < 0).sum())
    assert 60 < flipped < 240  # of 300 outgoing particles in both copies, about half


def test_turning_keeps_each_parton_with_its_flavour() -> None:
    original = read_parquet(SAMPLES / "tHq.parquet")
    copy = shipped(("tHq.parquet",), 0, 200, np.random.default_rng(4))
    pairs = [
        {(int(events.pdg[row]), round(float(events.momentum[row, 3]), 6)) for row in (begin, begin + 1)}
        for events in (original, copy)
        for begin in starts(events.counts)[:200]
    ]
    assert pairs[:200] == pairs[200:]


def table(**changes: pa.Array) -> pa.Table:
    source = pq.read_table(SAMPLES / "ttW.parquet").slice(0, 4)
    for name, column in changes.items():
        source = source.set_column(source.column_names.index(name), name, column)
    return source


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "events.parquet"
    with pytest.raises(FileNotFoundError, match=r"events\.parquet"):
        read_parquet(path)
    path.write_text("not parquet")
    with pytest.raises(ValueError, match=r"events\.parquet: not a Parquet file"):
        read_parquet(path)
    other = tmp_path / "other.parquet"
    pq.write_table(table().drop_columns(["scale", "colour"]), other)
    with pytest.raises(ValueError, match="column colour, scale is missing"):
        read_parquet(other)
    bare = tmp_path / "bare.parquet"
    pq.write_table(table().replace_schema_metadata(None), bare)
    with pytest.raises(ValueError, match="lacks cross_section_pb"):
        read_parquet(bare)
    empty = tmp_path / "empty.parquet"
    pq.write_table(table().slice(0, 0), empty)
    with pytest.raises(ValueError, match="holds no events"):
        read_parquet(empty)
    uneven = tmp_path / "uneven.parquet"
    pq.write_table(table(pz=pa.array([[1.0, 2.0]] * 4, pa.list_(pa.float32()))), uneven)
    with pytest.raises(ValueError, match="differ in length"):
        read_parquet(uneven)
