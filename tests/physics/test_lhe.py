"""LHE files of a user: what a shard reads, and every way in which a file can be wrong."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from breakeven.physics import lhe
from breakeven.physics.generator import generate
from breakeven.physics.hard import HardEvents, shipped
from breakeven.physics.particles import starts
from breakeven.physics.processes import from_lhe


def lhe_text(events: HardEvents, weight: float = 1.0) -> str:
    """The events written as a Les Houches event file, with the decorations that generators add."""
    lines = ['<LesHouchesEvents version="3.0">', "<header>", "<!-- <event> -->", "</header>", "<init>"]
    lines += ["2212 2212 6.5e3 6.5e3 -1 -1 -1 -1 3 1", f"{events.cross_section_pb} 0.003 1.0 1", "</init>"]
    first = starts(events.counts)
    for event, count in enumerate(events.counts):
        lines += ['<event npLO="-1">', f"{count} 1 {weight} {events.scale[event]} 0.0078 0.118"]
        for row in range(first[event], first[event] + count):
            tags = (events.status, events.mother1, events.mother2, events.colour, events.anticolour)
            numbers = [events.pdg[row], *(column[row] for column in tags)]
            momentum = " ".join(f"{value:.12e}" for value in (*events.momentum[row], events.mass[row]))
            lines.append(f"{' '.join(map(str, numbers))} {momentum} 0. 9.")
        lines += ["# a comment", "<rwgt>", "<wgt id='1'> 1.0 </wgt>", "</rwgt>", "</event>"]
    return "\n".join([*lines, "</LesHouchesEvents>", ""])


@pytest.fixture
def hard_events() -> HardEvents:
    return shipped(("ttW.parquet",), 0, 12, np.random.default_rng(0))


@pytest.fixture
def path(tmp_path: Path, hard_events: HardEvents) -> Path:
    place = tmp_path / "ttW.lhe"
    # the comment in the header must not count as an event
    place.write_text(lhe_text(hard_events).replace("<!-- <event> -->", "<!-- no event -->"))
    return place


def test_reading_gives_back_what_was_written(path: Path, hard_events: HardEvents) -> None:
    events = lhe.read((str(path),), 0, 12)
    assert np.allclose(events.momentum, hard_events.momentum, rtol=1e-11)
    for name in ("counts", "pdg", "status", "mother1", "mother2", "colour", "anticolour"):
        assert np.array_equal(getattr(events, name), getattr(hard_events, name))
    assert events.cross_section_pb == pytest.approx(0.381, rel=0.01)
    assert events.beams == (2212, 6500.0, 2212, 6500.0)


def test_shards_are_slices_across_files(path: Path, tmp_path: Path, hard_events: HardEvents) -> None:
    packed = tmp_path / "more.lhe.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    events = lhe.read((str(path), str(packed)), 10, 5)
    assert events.identity.tolist() == [10, 11, 0, 1, 2], "the second file is a copy of the first"
    assert np.allclose(events.scale, hard_events.scale[[10, 11, 0, 1, 2]])


def test_generate_showers_the_events_of_the_shard(path: Path) -> None:
    process = from_lhe("my_ttW", [path], n_top=2)
    made = generate(process, 4, seed=3, shard=2)
    assert made.hard_event.tolist() == [8, 9, 10, 11]
    assert made.truth.n_top.tolist() == [2, 2, 2, 2]
    assert made.cross_section_pb == pytest.approx(0.381, rel=0.01)
    with pytest.raises(ValueError, match="12 events in all, but events 12 to 15 are asked for"):
        generate(process, 4, seed=3, shard=3)


def test_missing_file() -> None:
    with pytest.raises(FileNotFoundError, match="no such LHE file"):
        generate(from_lhe("mine", ["nowhere.lhe"]), 1, seed=1)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("</LesHouchesEvents>", "", "truncated, the closing tag"),
        ("<LesHouchesEvents", "<Something", "not an LHE file"),
        ("</init>", "", "<init> block is missing or not closed"),
        ("2212 2212 6.5e3", "2212 2212", "<init> block is malformed"),
        ("5 1 1.0 ", "6 1 1.0 ", "event 0 is malformed"),
        ("5 1 1.0 ", "5 1 ", "event 0 is malformed"),
        (" 0. 9.", " 0. up", "event 0 is malformed"),
        ("</event>", "", "<event> block is not closed"),
        ("5 1 1.0 ", "5 1 -1.0 ", "unweight the sample first"),
        ("5 1 1.0 ", "5 1 2.0 ", "unweight the sample first"),
    ],
)
def test_broken_files(path: Path, old: str, new: str, message: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ValueError, match=message) as caught:
        lhe.read((str(path),), 0, 12)
    assert "ttW.lhe" in str(caught.value)


def test_truncated_gzip(path: Path, tmp_path: Path) -> None:
    packed = tmp_path / "cut.lhe.gz"
    packed.write_bytes(gzip.compress(path.read_bytes())[:-100])
    with pytest.raises(ValueError, match="truncated or damaged"):
        lhe.read((str(packed),), 0, 1)


def test_differing_beams(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "lhc7.lhe"
    other.write_text(path.read_text().replace("6.5e3 6.5e3", "3.5e3 3.5e3"))
    with pytest.raises(ValueError, match=r"lhc7\.lhe: beams .* differ"):
        lhe.read((str(path), str(other)), 0, 14)
