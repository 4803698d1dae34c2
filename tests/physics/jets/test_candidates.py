"""Impact parameters follow from geometry, their errors from the reference, and what leaves no track is seen by calorimeters."""

import numpy as np
import pytest
from physics.jets.builders import particles

from breakeven.physics.jets import response
from breakeven.physics.jets.candidates import CandidateKind, impact_parameters, reconstruct


def test_a_track_that_points_back_to_the_origin_has_no_impact_parameter() -> None:
    eta, phi = np.array([0.3, -2.0, 1.1]), np.array([0.1, 2.9, -1.7])
    flight = np.array([1.0, 30.0, 400.0])
    vertex = np.stack([flight * np.cos(phi), flight * np.sin(phi), flight * np.sinh(eta)], axis=1)
    np.testing.assert_allclose(impact_parameters(vertex, phi, eta), 0, atol=1e-9)


def test_a_track_that_passes_beside_the_origin_has_that_distance() -> None:
    vertex = np.array([[0.0, 2.0, 5.0], [0.0, -2.0, 5.0], [3.0, 2.0, 5.0]])
    d0, dz = impact_parameters(vertex, np.zeros(3), np.array([0.0, 0.0, np.arcsinh(1.0)]))
    np.testing.assert_allclose(d0, [-2, 2, -2])
    np.testing.assert_allclose(dz, [5, 5, 2])  # the last has come 3 mm outwards, and so 3 mm along the beam


@pytest.mark.parametrize(
    ("eta", "which", "expected"),
    [
        (0.5, 0, (0.079, 0.055, 0.031, 0.024, 0.024, 0.038, 0.110)),
        (2.0, 0, (0.161, 0.097, 0.049, 0.037, 0.033, 0.065, 0.181)),
        (0.5, 1, (0.114, 0.082, 0.050, 0.044, 0.050, 0.097, 0.168)),
        (2.0, 1, (0.675, 0.380, 0.185, 0.143, 0.163, 0.292, 0.495)),
    ],
)
def test_impact_parameters_have_the_errors_of_jetclass(eta: float, which: int, expected: tuple[float, ...]) -> None:
    pt = np.array([1.0, 2.0, 5.0, 12.0, 30.0, 130.0, 300.0])
    np.testing.assert_allclose(response.impact_resolution(pt, np.full(7, -eta))[which], expected, atol=6e-4)


def test_errors_are_those_of_what_is_measured() -> None:
    tracks = reconstruct(
        particles([(211, 1, 0, 0, 20.0, 0.5, 0.1)] * 4000), np.zeros((4001, 3)), np.random.default_rng(3)
    )
    tracks_only = tracks.kind == CandidateKind.CHARGED_HADRON
    assert 0.93 < tracks_only.sum() / 4000 < 0.97  # the efficiency of the card
    for value, error in ((tracks.d0, tracks.d0_error), (tracks.dz, tracks.dz_error)):
        pull = value[tracks_only] / error[tracks_only]
        assert abs(pull.mean()) < 0.06 and abs(pull.std() - 1) < 0.05
        assert (value[~tracks_only] == 0).all() and (error[~tracks_only] == 0).all()


def test_what_is_born_beyond_the_tracker_is_a_neutral_hadron_and_neutrinos_are_nothing() -> None:
    event = [(211, 1, 0, 0, 50.0, 0.2, 0.1), (12, 1, 0, 0, 50.0, 0.2, 2.1)]
    vertices = np.array([[0.0, 0, 0], [1500.0, 0, 0], [0, 0, 0]])
    seen = reconstruct(particles(event), vertices, np.random.default_rng(1))
    assert seen.kind.tolist() == [CandidateKind.NEUTRAL_HADRON] and seen.charge.tolist() == [0]


def test_photons_of_one_cell_are_one_candidate_and_of_two_are_two() -> None:
    near = [(22, 1, 0, 0, 30.0, 0.001, 0.001), (22, 1, 0, 0, 10.0, 0.003, 0.003)]
    apart = [(22, 1, 0, 0, 30.0, 0.001, 0.001), (22, 1, 0, 0, 10.0, 0.1, 0.1)]
    seen = reconstruct(particles(near, apart), np.zeros((6, 3)), np.random.default_rng(2))
    assert seen.counts.tolist() == [1, 2] and set(seen.kind) == {CandidateKind.PHOTON}
    assert seen.eta[0] == pytest.approx(0.0015) and seen.pt[0] == pytest.approx(40, rel=0.1)


def test_a_lost_electron_is_a_photon() -> None:
    event = [(11, 1, 0, 0, 60.0, 3.0, 0.1)]  # beyond the tracker's reach
    seen = reconstruct(particles(event), np.zeros((2, 3)), np.random.default_rng(1))
    assert seen.kind.tolist() == [CandidateKind.PHOTON]
