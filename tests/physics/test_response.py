"""Numbers of the detector card at single points, and the properties of the smearing."""

import numpy as np
import pytest

from breakeven.physics import response


def test_tracking_efficiency_points() -> None:
    pt, eta = np.array([0.05, 0.5, 0.5, 5.0, 5.0, 5.0]), np.array([0.0, 1.0, -2.0, 1.5, 2.0, 2.6])
    assert response.tracking_efficiency("hadron", pt, eta).tolist() == [0, 0.70, 0.60, 0.95, 0.85, 0]
    assert response.tracking_efficiency("muon", pt, eta).tolist() == [0, 0.75, 0.70, 0.99, 0.98, 0]
    hard = response.tracking_efficiency("electron", np.array([50.0, 150.0, 150.0]), np.array([0.0, 0.0, 2.0]))
    assert hard.tolist() == [0.95, 0.99, 0.90]


def test_resolutions_at_known_points() -> None:
    at_zero, forward = np.zeros(1), np.array([4.0])
    energy = np.array([100.0])
    assert np.isclose(response.ecal_resolution(energy, at_zero)[0], np.sqrt(0.17**2 + 0.101**2 * 100))
    assert np.isclose(response.hcal_resolution(energy, at_zero)[0], np.sqrt(3.02**2 + 0.5205**2 * 100 + 1.59**2))
    assert np.isclose(response.hcal_resolution(energy, forward)[0], np.sqrt(9.42**2 + 100))
    muon = response.track_resolution("muon", energy, np.array([0.5]))
    assert np.isclose(muon[0], np.hypot(0.01, 0.01))


def test_scale_and_tagging_at_known_points() -> None:
    pt = np.array([100.0, 100.0, 100.0])
    assert np.isclose(response.jet_energy_scale(pt, np.zeros(3))[0], np.sqrt(1.09))
    efficiency = response.b_tag_efficiency(np.array([5, 4, 0], np.int8), pt)
    expected = [0.8 * np.tanh(0.3) * 30 / 9.6, 0.2 * np.tanh(2.0) / 1.34, 0.00273]
    assert np.allclose(efficiency, expected)


def test_energy_fractions() -> None:
    fractions = response.ecal_fraction(np.array([11, -11, 22, 310, -3122, 211, 2112], np.int32))
    assert fractions.tolist() == [1, 1, 1, 0.3, 0.3, 0, 0]


def test_log_normal_has_the_mean_and_width_asked_for() -> None:
    draws = response.log_normal(np.full(200_000, 10.0), np.full(200_000, 3.0), np.random.default_rng(0))
    assert draws.min() > 0
    assert draws.mean() == pytest.approx(10.0, abs=0.05)
    assert draws.std() == pytest.approx(3.0, abs=0.05)


@pytest.mark.parametrize("cell_of", [response.ecal_cell, response.hcal_cell])
def test_cells_are_small_and_never_shared_across_the_seam(cell_of: object) -> None:
    assert callable(cell_of)
    random = np.random.default_rng(1)
    eta, phi = random.uniform(-4.9, 4.9, 20_000), random.uniform(-np.pi, np.pi, 20_000)
    cell = cell_of(eta, phi)
    order = np.argsort(cell, kind="stable")
    same = cell[order][1:] == cell[order][:-1]
    assert same.any()
    assert np.abs(np.diff(eta[order]))[same].max() <= 0.21
    assert np.abs(np.diff(phi[order]))[same].max() <= np.pi / 9 + 1e-9
