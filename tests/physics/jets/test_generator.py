"""Real events: as many as asked for, the same for the same arguments, with masses and cross sections that are known."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from physics.jets.builders import candidates

from breakeven.physics.jets.clustering import Jets, cluster
from breakeven.physics.jets.generator import JetEvents, generate, select_whole
from breakeven.physics.jets.processes import CATALOGUE, JETCLASS, QCD_SLICES, SIGNALS
from breakeven.physics.pythia import GenerationError

Sample = Callable[[str, int], JetEvents]
PUBLISHED_PB = {"QCD_300_470": 7823.28, "QCD_470_600": 648.174, "QCD_600_800": 186.946, "QCD_800_1000": 32.2928}


def columns(events: JetEvents) -> list[np.ndarray]:
    jets = events.jets
    names = [field.name for field in dataclasses.fields(Jets) if field.name != "constituents"]
    inside = [getattr(jets.constituents, field.name) for field in dataclasses.fields(jets.constituents)]
    return [
        *(getattr(jets, name) for name in names),
        *inside,
        events.truth.bb,
        events.truth.n_b,
        events.weight,
        events.hard_event,
    ]


def mode(values: np.ndarray, width: float = 10) -> float:
    """Middle of the fullest bin above 20 GeV."""
    counts, edges = np.histogram(values, np.arange(20, 300, width))
    return float(edges[counts.argmax()] + width / 2)


def test_the_same_arguments_give_the_same_events_and_others_give_others(jet_sample: Sample) -> None:
    again, other = (generate(CATALOGUE["HH4b_1000"], 60, seed=1, shard=shard) for shard in (0, 1))
    first = generate(CATALOGUE["HH4b_1000"], 60, seed=1)
    assert all(map(np.array_equal, columns(first), columns(again)))
    assert not np.intersect1d(first.hard_event, other.hard_event).size
    assert not np.intersect1d(first.jets.pt, other.jets.pt).size


@pytest.mark.parametrize("name", ["HH4b_600", "QCD_300_470"])
def test_events_have_the_jets_of_the_reference(name: str, jet_sample: Sample) -> None:
    made = jet_sample(name, 150)
    jets, inside = made.jets, made.jets.constituents
    assert len(jets.counts) == 150 <= made.n_tried
    assert jets.counts.min() == 2 and jets.counts.max() <= 5 and jets.counts.sum() == len(jets.pt) == len(made.truth.bb)
    assert jets.pt.min() > 200 and np.abs(jets.eta).max() < 2.4
    first = np.concatenate([[0], np.cumsum(jets.counts)[:-1]])
    assert (np.delete(np.diff(jets.pt), first[1:] - 1) <= 0).all()  # by falling pT inside each event
    assert inside.counts.sum() == len(inside.pt) and inside.counts.max() <= 100 and inside.pt.min() > 0.95
    assert (np.diff(made.hard_event) > 0).all()
    assert made.weight.sum() == pytest.approx(made.cross_section_pb * 150 / made.n_tried)


def test_jets_of_higgs_bosons_are_bb_with_two_hadrons_and_displaced_tracks(jet_sample: Sample) -> None:
    made, qcd = jet_sample("HH4b_1000", 300), jet_sample("QCD_470_600", 200)
    bb = made.truth.bb == 1
    assert 0.55 < bb.mean() < 0.75 and not qcd.truth.bb.any()
    assert (made.truth.n_b[bb] == 2).mean() > 0.93
    assert (qcd.truth.n_b > 0).mean() < 0.15
    assert mode(made.jets.soft_drop_mass[bb]) == pytest.approx(120, abs=10)

    def displaced(events: JetEvents, jets: np.ndarray) -> float:
        """Share of tracks above 1 GeV whose d0 is more than five errors."""
        inside = events.jets.constituents
        of_jet = np.repeat(jets, inside.counts) & (inside.d0_error > 0)
        return float((np.abs(inside.d0[of_jet]) > 5 * inside.d0_error[of_jet]).mean())

    assert displaced(made, bb) > 1.5 * displaced(qcd, np.ones(len(qcd.jets.pt), bool))


@pytest.mark.parametrize(("name", "mass"), [("jet_Tbqq", 172), ("jet_Wqq", 80), ("jet_Hbb", 120)])
def test_groomed_masses_peak_at_what_decays(name: str, mass: float, jet_sample: Sample) -> None:
    made = jet_sample(name, 150)
    assert (made.jets.counts == 1).all() and len(made.jets.pt) == 150
    assert made.jets.pt.min() > 500 and made.jets.pt.max() < 1000 and np.abs(made.jets.eta).max() < 2
    assert mode(made.jets.soft_drop_mass) == pytest.approx(mass, abs=10)


def test_both_charges_of_a_mirrored_process_are_there(jet_sample: Sample) -> None:
    made = jet_sample("jet_Hqql", 60)
    assert len(made.weight) == 60 and len(np.unique(made.weight)) == 2  # one per instance
    assert made.weight.sum() < made.cross_section_pb
    inside = made.jets.constituents
    jet = np.repeat(np.arange(60), inside.counts)
    leptons = (inside.kind >= 3) & (inside.pt > 30)
    charge = [inside.charge[leptons & (jet >= 30)].mean(), inside.charge[leptons & (jet < 30)].mean()]
    assert max(charge) > 0.5 and min(charge) < -0.5


def test_events_with_one_jet_or_none_or_an_empty_first_jet_do_not_pass() -> None:
    soft = [(0.9, 0.001 * k, 0.0) for k in range(400)]
    one, two = [(300.0, 0.0, 0.0)], [(300.0, 0.0, 0.0), (250.0, 0.5, 3.0)]
    seven = [(300.0 - k, 0.0, 0.9 * k) for k in range(7)]
    empty_second = [(500.0, 0.0, 3.0), *soft]
    jets = cluster(candidates([], one, two, [*soft, (210.0, 0.0, 3.0)], empty_second, seven))
    chosen, counts, collision = select_whole(jets)
    assert collision.tolist() == [2, 4, 5] and counts.tolist() == [2, 2, 5]
    assert len(chosen) == 9 and (np.diff(jets.pt[chosen][-5:]) < 0).all()


def test_a_slice_without_events_says_so() -> None:
    soft = dataclasses.replace(
        CATALOGUE["QCD_300_470"], settings=("HardQCD:all=on", "PhaseSpace:pTHatMin=60.", "PhaseSpace:pTHatMax=70.")
    )
    with pytest.raises(
        GenerationError, match=r"QCD_300_470: 0 of 2000 collisions.*2 jets with pT > 200 GeV.*pTHatMax=70"
    ):
        generate(soft, 10, seed=1)
    beyond = dataclasses.replace(soft, settings=("HardQCD:all=on", "PhaseSpace:pTHatMin=7000."))
    with pytest.raises(GenerationError, match=r"pTHatMin=7000"):
        generate(beyond, 10, seed=1)


@pytest.mark.parametrize(("number", "seed", "shard"), [(0, 1, 0), (1, -1, 0), (1, 1, -1)])
def test_bad_numbers_are_named(number: int, seed: int, shard: int) -> None:
    with pytest.raises(ValueError, match="generate QCD_1000: "):
        generate(CATALOGUE["QCD_1000"], number, seed, shard=shard)


def test_the_catalogue_has_the_masses_slices_and_classes() -> None:
    assert len(SIGNALS) == 11 and len(QCD_SLICES) == 5 and len(JETCLASS) == 10 and len(CATALOGUE) == 26
    for one in QCD_SLICES:
        if one.name in PUBLISHED_PB:
            assert one.cross_section_pb == pytest.approx(PUBLISHED_PB[one.name], rel=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED_PB)
def test_slices_have_the_published_cross_sections(name: str, jet_sample: Sample) -> None:
    made = jet_sample(name, 2000)
    assert made.cross_section_error_pb < 0.015 * made.cross_section_pb
    assert made.cross_section_pb == pytest.approx(PUBLISHED_PB[name], rel=0.05)
    assert made.cross_section_pb == pytest.approx(CATALOGUE[name].cross_section_pb, rel=0.04)


@pytest.mark.slow
@pytest.mark.parametrize("name", [one.name for one in JETCLASS] + [one.name for one in SIGNALS.values()])
def test_every_process_makes_events(name: str, jet_sample: Sample) -> None:
    made = jet_sample(name, 40)
    assert len(made.jets.counts) == 40 and made.cross_section_pb > 0
