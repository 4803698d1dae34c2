"""The detector on particles placed by hand, and the spectra of real events."""

from collections.abc import Callable

import numpy as np
import pytest

from breakeven.physics.detector import ObjectKind, Objects, reconstruct, take
from breakeven.physics.generator import Generated
from breakeven.physics.particles import Particles, concatenate, event_of

Placed = tuple[int, int, float, float, float]
"""pdg, charge, pT in GeV, eta, phi of a final massless particle."""


def particles_of(events: list[list[Placed]]) -> Particles:
    flat = [particle for event in events for particle in event]
    pt, eta, phi = (np.array([particle[place] for particle in flat], float) for place in (2, 3, 4))
    return Particles(
        counts=np.array([len(event) for event in events]),
        pdg=np.array([particle[0] for particle in flat], np.int32),
        status=np.ones(len(flat), np.int32),
        daughter1=np.zeros(len(flat), np.int32),
        daughter2=np.zeros(len(flat), np.int32),
        px=pt * np.cos(phi),
        py=pt * np.sin(phi),
        pz=pt * np.sinh(eta),
        energy=pt * np.cosh(eta),
        charge=np.array([particle[1] for particle in flat], np.int8),
        invisible=np.isin(np.abs([particle[0] for particle in flat]), (12, 14, 16, 1000022)),
    )


def observe(events: list[list[Placed]]) -> Objects:
    return reconstruct(particles_of(events), np.random.default_rng(5))


def mean_count(objects: Objects, kind: ObjectKind) -> float:
    return float((objects.kind == kind).sum() / len(objects.counts))


def test_events_without_particles_have_only_missing_momentum() -> None:
    objects = observe([[], []])
    assert objects.counts.tolist() == [1, 1]
    assert (objects.kind == ObjectKind.MET).all()
    assert objects.pt.tolist() == [0, 0]


def test_invisible_particles_leave_nothing() -> None:
    objects = observe([[(12, 0, 100.0, 0.0, 0.0), (1000022, 0, 100.0, 1.0, 1.0), (-16, 0, 50.0, 0.3, 2.0)]])
    assert objects.counts.tolist() == [1]
    assert objects.pt[0] == 0


def test_isolated_photon_is_a_photon_and_no_jet() -> None:
    objects = observe([[(22, 0, 60.0, 0.5, 1.0)]] * 400)
    assert mean_count(objects, ObjectKind.PHOTON) == pytest.approx(0.95, abs=0.04)
    # one that is not identified stays a jet, never both
    assert (np.bincount(event_of(objects.counts)[objects.kind != ObjectKind.MET]) == 1).all()
    photon = objects.kind == ObjectKind.PHOTON
    assert objects.pt[photon].mean() == pytest.approx(60.0, rel=0.01)
    met = objects.kind == ObjectKind.MET
    assert objects.pt[met].mean() == pytest.approx(60.0, rel=0.01)
    assert np.allclose(np.abs(objects.phi[met] - 1.0), np.pi, atol=0.05)


def test_photon_beside_hadrons_is_not_isolated() -> None:
    crowded = [(22, 0, 60.0, 0.5, 1.0), (2112, 0, 20.0, 0.6, 1.1)]
    assert mean_count(observe([crowded] * 50), ObjectKind.PHOTON) == 0


def test_photon_in_the_crack_is_a_jet() -> None:
    objects = observe([[(22, 0, 60.0, 1.45, 1.0)]] * 50)
    assert mean_count(objects, ObjectKind.PHOTON) == 0
    assert mean_count(objects, ObjectKind.JET) == 1


def test_leptons_carry_charge_and_efficiency() -> None:
    event = [(13, -1, 40.0, 0.2, 0.3), (-11, 1, 40.0, -0.8, -2.0)]
    objects = observe([event] * 600)
    muon, electron = objects.kind == ObjectKind.MUON, objects.kind == ObjectKind.ELECTRON
    assert set(objects.charge[muon]) == {-1}
    assert set(objects.charge[electron]) == {1}
    assert mean_count(objects, ObjectKind.MUON) == pytest.approx(0.99 * 0.95, abs=0.04)
    assert mean_count(objects, ObjectKind.ELECTRON) == pytest.approx(0.95 * 0.95, abs=0.04)
    assert objects.pt[muon].std() == pytest.approx(40 * np.hypot(0.01, 40e-4 * 0.025), rel=0.2)
    assert (objects.charge[~muon & ~electron] == 0).all()


def test_hard_hadrons_are_jets_near_the_particle_scale() -> None:
    objects = observe([[(211, 1, 200.0, 0.1, 0.5), (2112, 0, 200.0, 0.1, -2.5)]] * 300)
    jet = objects.kind == ObjectKind.JET
    assert jet.sum() == 600
    assert objects.pt[jet].mean() == pytest.approx(200.0, rel=0.05)
    assert 0.03 < objects.pt[jet].std() / 200 < 0.1


def test_take_and_concatenate_keep_events_whole(sample: Callable[[str], Generated]) -> None:
    objects = sample("ttbar").objects
    order = np.arange(len(objects.counts))[::-1]
    twice_reversed = take(take(objects, order), order)
    halves = concatenate([take(objects, order[150:][::-1]), take(objects, order[:150][::-1])])
    for name in Objects.__dataclass_fields__:
        assert np.array_equal(getattr(objects, name), getattr(twice_reversed, name))
        assert np.array_equal(getattr(objects, name), getattr(halves, name))


@pytest.mark.parametrize("name", ["ttH", "ttyy", "stop_pair"])
def test_objects_of_real_events_obey_the_selection(name: str, sample: Callable[[str], Generated]) -> None:
    objects = sample(name).objects
    assert objects.counts.sum() == len(objects.pt)
    last = np.cumsum(objects.counts) - 1
    assert np.array_equal(np.flatnonzero(objects.kind == ObjectKind.MET), last)
    assert (objects.eta[last] == 0).all()
    limits = {
        ObjectKind.JET: (25, 2.5),
        ObjectKind.ELECTRON: (10, 2.47),
        ObjectKind.MUON: (10, 2.5),
        ObjectKind.PHOTON: (20, 2.37),
    }
    for kind, (min_pt, max_eta) in limits.items():
        chosen = objects.kind == kind
        assert chosen.any()
        assert objects.pt[chosen].min() >= min_pt
        assert np.abs(objects.eta[chosen]).max() <= max_eta
    calorimetric = np.isin(objects.kind, (ObjectKind.ELECTRON, ObjectKind.PHOTON))
    crack = (np.abs(objects.eta) > 1.3701) & (np.abs(objects.eta) < 1.5199)
    assert not (calorimetric & crack).any()
    assert (np.abs(objects.phi) <= np.float32(np.pi)).all()
    assert (objects.b_tag[objects.kind != ObjectKind.JET] == 0).all()
    event = event_of(objects.counts)
    ordered = np.lexsort((-objects.pt, objects.kind, event))
    assert np.array_equal(ordered, np.arange(len(event)))


def test_jet_spectrum_falls(sample: Callable[[str], Generated]) -> None:
    objects = sample("ttbar").objects
    counts, _ = np.histogram(objects.pt[objects.kind == ObjectKind.JET], (25, 50, 75, 100, 150, 250, 400))
    density = counts / np.diff((25, 50, 75, 100, 150, 250, 400))
    assert (np.diff(density) < 0).all()


def test_missing_momentum_tells_processes_apart(sample: Callable[[str], Generated]) -> None:
    mean = {}
    for name in ("ggF", "ttbar", "stop_pair"):
        objects = sample(name).objects
        mean[name] = objects.pt[objects.kind == ObjectKind.MET].mean()
    # resolution alone; neutrinos of leptonic tops; two neutralinos on top
    assert 10 < mean["ggF"] < 25
    assert 35 < mean["ttbar"] < 60
    assert 130 < mean["stop_pair"] < 220


def test_b_tag_rates(sample: Callable[[str], Generated]) -> None:
    rate = {}
    for name in ("ttbar", "ttW", "tttt"):
        objects = sample(name).objects
        rate[name] = objects.b_tag[objects.kind == ObjectKind.JET].mean()
    # two (four) b quarks among about four (nine) jets, tagged at 55 to 70 %
    assert 0.2 < rate["ttbar"] < 0.33
    assert 0.17 < rate["ttW"] < 0.3
    assert 0.2 < rate["tttt"] < 0.35
