"""Real events of all sixteen processes: truth, multiplicities, determinism, and errors that help."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from breakeven.physics.detector import ObjectKind, Objects
from breakeven.physics.generator import Generated, generate, versions
from breakeven.physics.particles import event_of
from breakeven.physics.processes import CATALOGUE, Process, process
from breakeven.physics.pythia import GenerationError
from breakeven.physics.truth import Truth

# mean jets and b-tags per event, W and Z per event, from an independent first simulation with a simpler detector
MULTIPLICITIES = {
    "ggF": (1.79, 0.58, 0.39, 0.04),
    "VBF": (2.71, 0.54, 0.39, 0.08),
    "WH": (2.64, 0.51, 1.44, 0.05),
    "ZH": (2.69, 0.69, 0.48, 1.04),
    "ttH": (5.82, 1.79, 2.36, 0.06),
    "tHq": (4.1, 1.31, 1.40, 0.05),
    "single_top": (2.30, 0.58, 1.0, 0.0),
    "ttbar": (4.22, 1.13, 2.0, 0.0),
    "ttyy": (4.5, 1.14, 2.0, 0.0),
    "ttW": (5.0, 1.18, 3.0, 0.0),
    "ttt": (7.7, 2.04, 4.0, 0.0),
    "tttt": (8.5, 2.36, 4.0, 0.0),
    "ttH_yy_even": (4.64, 1.16, 2.0, 0.0),
    "ttH_yy_odd": (4.64, 1.16, 2.0, 0.0),
    "stop_pair": (7.96, 2.50, 2.89, 0.11),
    "FCNC": (4.34, 1.09, 1.48, 0.02),
}


def same(left: Generated, right: Generated) -> bool:
    pairs = [(left.objects, right.objects, Objects), (left.truth, right.truth, Truth)]
    return all(
        np.array_equal(getattr(one, name), getattr(other, name), equal_nan=getattr(one, name).dtype.kind == "f")
        for one, other, kind in pairs
        for name in kind.__dataclass_fields__
    ) and np.array_equal(left.hard_event, right.hard_event)


def per_event(objects: Objects, chosen: np.ndarray) -> np.ndarray:
    return np.bincount(event_of(objects.counts)[chosen], minlength=len(objects.counts))


@pytest.mark.parametrize("name", CATALOGUE)
def test_truth_counts_are_exact(name: str, sample: Callable[[str], Generated]) -> None:
    truth, entry = sample(name).truth, process(name)
    assert set(truth.n_higgs) == {entry.n_higgs}
    assert set(truth.n_top) == {entry.n_top}


@pytest.mark.parametrize("name", CATALOGUE)
def test_multiplicities_are_near_the_reference(name: str, sample: Callable[[str], Generated]) -> None:
    made = sample(name)
    jets = per_event(made.objects, made.objects.kind == ObjectKind.JET)
    tags = per_event(made.objects, made.objects.b_tag == 1)
    expected_jets, expected_tags, expected_w, expected_z = MULTIPLICITIES[name]
    n_events = len(jets)
    assert jets.mean() == pytest.approx(expected_jets, abs=0.13 * expected_jets + 3 * jets.std() / n_events**0.5)
    assert tags.mean() == pytest.approx(expected_tags, abs=0.10 * expected_tags + 3 * tags.std() / n_events**0.5)
    for bosons, expected in ((made.truth.n_w, expected_w), (made.truth.n_z, expected_z)):
        assert bosons.mean() == pytest.approx(expected, abs=0.03 + 3.5 * bosons.std() / n_events**0.5)


@pytest.mark.parametrize("name", [name for name in CATALOGUE if CATALOGUE[name].cross_section_pb])
def test_cross_sections_are_those_of_the_catalogue(name: str, sample: Callable[[str], Generated]) -> None:
    made, entry = sample(name), process(name)
    assert entry.cross_section_pb is not None
    assert made.cross_section_pb == pytest.approx(
        entry.cross_section_pb, abs=0.07 * entry.cross_section_pb + 2.5 * made.cross_section_error_pb
    )
    assert made.n_tried >= len(made.hard_event)


def test_photons_where_they_belong(sample: Callable[[str], Generated]) -> None:
    mean = {
        name: per_event(sample(name).objects, sample(name).objects.kind == ObjectKind.PHOTON).mean()
        for name in ("ttyy", "ttH_yy_even", "ttH_yy_odd", "ttbar")
    }
    assert mean["ttbar"] < 0.05
    assert 0.85 < mean["ttyy"] < 1.4
    assert 1.0 < mean["ttH_yy_even"] < 1.5
    assert 1.0 < mean["ttH_yy_odd"] < 1.55


def test_cp_odd_higgs_is_harder(sample: Callable[[str], Generated]) -> None:
    even, odd = (sample(name).truth.higgs[:, 0].mean() for name in ("ttH_yy_even", "ttH_yy_odd"))
    assert 105 < even < 135
    assert odd > even + 25


@pytest.mark.parametrize("name", ["ttbar", "FCNC", "tHq", "ttH_yy_odd"])
def test_same_arguments_same_events_whatever_came_before(name: str) -> None:
    entry = process(name)
    first = generate(entry, 12, seed=4, shard=1)
    other = generate(entry, 12, seed=4, shard=2)
    again = generate(entry, 12, seed=4, shard=1)
    assert same(first, again)
    assert not same(first, other)
    assert not same(first, generate(entry, 12, seed=5, shard=1))
    assert not set(first.hard_event) & set(other.hard_event)


def test_batches_do_not_show() -> None:
    """More events than one batch holds, all there and in order."""
    made = generate(process("ttt"), 405, seed=2)
    assert made.hard_event.tolist() == list(range(405))
    assert len(made.objects.counts) == len(made.truth.n_top) == 405
    assert set(made.truth.n_top) == {3}


def test_multiparton_interactions_add_activity() -> None:
    entry = process("WH")
    quiet, busy = generate(entry, 60, seed=1), generate(entry, 60, seed=1, mpi=True)
    assert not same(quiet, busy)
    assert len(busy.objects.counts) == 60


def test_fcnc_shares_any_number() -> None:
    """Any number of events can be shared between the two halves, one too."""
    entry = process("FCNC")
    for n_events in (1, 5):
        made = generate(entry, n_events, seed=1, shard=1)
        assert made.truth.n_higgs.tolist() == [1] * n_events


@pytest.mark.parametrize("n_events", [0, -5])
def test_numbers_of_events_must_be_positive(n_events: int) -> None:
    with pytest.raises(ValueError, match=f"generate ttbar: n_events is {n_events}"):
        generate(process("ttbar"), n_events, seed=1)


def test_seed_and_shard_must_not_be_negative() -> None:
    with pytest.raises(ValueError, match="seed is -1"):
        generate(process("ttbar"), 1, seed=-1)
    with pytest.raises(ValueError, match="shard is -2"):
        generate(process("ttbar"), 1, seed=1, shard=-2)


def test_unknown_setting_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    wrong = replace(process("ttbar"), settings=("Top:gg2ttbarr=on",))
    with pytest.raises(GenerationError, match="Top:gg2ttbarr=on"):
        generate(wrong, 1, seed=1)
    capfd.readouterr()


def test_failed_start_names_the_settings(capfd: pytest.CaptureFixture[str]) -> None:
    nothing = Process("nothing", "nothing", "pythia", ("HardQCD:all=off",))
    with pytest.raises(GenerationError, match="HardQCD:all=off"):
        generate(nothing, 1, seed=1)
    capfd.readouterr()


def test_a_source_without_generator_is_named() -> None:
    with pytest.raises(ValueError, match="no generator for source 'herwig'"):
        generate(Process("made_up", "made up", "herwig"), 1, seed=1)


def test_versions_name_every_library() -> None:
    assert set(versions()) == {"pythia8mc", "fastjet", "numpy", "awkward", "physics"}
