"""The amplitude against a closed form, its symmetries, and its limits."""

import numpy as np
import pytest
from numpy.typing import NDArray

from breakeven.physics.matrix_element import squared_amplitude

MASS = 173.0
HIGGS_MASS = 125.0
COUPLINGS = [(1.0, 0.0), (0.0, 1.0), (0.6, 0.8)]


def phase_space(masses: list[float], energy: float, n_events: int, seed: int) -> NDArray[np.float64]:
    """Two gluons along z and k outgoing particles of these masses: balanced, on-shell momenta [n, 2 + k, 4]."""
    random = np.random.default_rng(seed)
    momentum = random.standard_normal((n_events, len(masses), 3))
    momentum -= momentum.mean(axis=1, keepdims=True)
    squared = (momentum**2).sum(axis=2)
    low, high = np.zeros(n_events), energy / np.sqrt(squared.max(axis=1))
    for _ in range(200):
        middle = (low + high) / 2
        too_much = np.sqrt(np.array(masses) ** 2 + middle[:, None] ** 2 * squared).sum(axis=1) > energy
        low, high = np.where(too_much, low, middle), np.where(too_much, middle, high)
    momentum *= low[:, None, None]
    outgoing_energy = np.sqrt(np.array(masses) ** 2 + (momentum**2).sum(axis=2))
    outgoing = np.concatenate([outgoing_energy[:, :, None], momentum], axis=2)
    beam = np.broadcast_to(energy / 2 * np.array([[1.0, 0, 0, 1], [1.0, 0, 0, -1]]), (n_events, 2, 4))
    return np.concatenate([beam, outgoing], axis=1)


def boosted(momenta: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same events seen by an observer in another frame, turned as well."""
    rotation, _ = np.linalg.qr(np.random.default_rng(9).standard_normal((3, 3)))
    rotation *= np.linalg.det(rotation)
    turned = np.concatenate([momenta[..., :1], momenta[..., 1:] @ rotation.T], axis=-1)
    gamma, beta_gamma = np.cosh(0.7), np.sinh(0.7)
    energy, along = turned[..., 0].copy(), turned[..., 1].copy()
    turned[..., 0], turned[..., 1] = gamma * energy + beta_gamma * along, gamma * along + beta_gamma * energy
    return turned


def test_top_pairs_match_the_closed_form() -> None:
    """B. L. Combridge, Nucl. Phys. B151 (1979) 429, times the 256 initial states that it averages over."""
    momenta = phase_space([MASS, MASS], 900.0, 50, seed=1)
    product = momenta[:, :2, None] * momenta[:, None, 2:3] @ np.array([1.0, -1, -1, -1])
    tau1, tau2 = 2 * product[:, 0, 0] / 900**2, 2 * product[:, 1, 0] / 900**2
    rho = 4 * MASS**2 / 900**2
    mean = (1 / (6 * tau1 * tau2) - 3 / 8) * (tau1**2 + tau2**2 + rho - rho**2 / (4 * tau1 * tau2))
    assert np.allclose(squared_amplitude(momenta, MASS).total, 256 * mean, rtol=1e-11)


@pytest.mark.parametrize("yukawa", COUPLINGS)
@pytest.mark.parametrize("gluon", [0, 1])
def test_gauge_invariance(yukawa: tuple[float, float], gluon: int) -> None:
    momenta = boosted(phase_space([MASS, MASS, HIGGS_MASS], 800.0, 20, seed=2))
    true = squared_amplitude(momenta, MASS, yukawa)
    longitudinal = squared_amplitude(momenta, MASS, yukawa, replace_polarisation=gluon)
    # compare with a gluon energy squared, the size that single diagrams have
    size = momenta[:, gluon, 0] ** 2
    for part in ("total", "order_12", "order_21"):
        assert (getattr(longitudinal, part) / (getattr(true, part) * size)).max() < 1e-24


@pytest.mark.parametrize("yukawa", COUPLINGS)
def test_lorentz_invariance(yukawa: tuple[float, float]) -> None:
    momenta = phase_space([MASS, MASS, HIGGS_MASS], 700.0, 20, seed=3)
    here, there = squared_amplitude(momenta, MASS, yukawa), squared_amplitude(boosted(momenta), MASS, yukawa)
    assert np.allclose(here.total, there.total, rtol=1e-9)
    assert np.allclose(here.order_12, there.order_12, rtol=1e-9)


@pytest.mark.parametrize("yukawa", COUPLINGS)
def test_bose_symmetry(yukawa: tuple[float, float]) -> None:
    momenta = phase_space([MASS, MASS, HIGGS_MASS], 700.0, 20, seed=4)
    here = squared_amplitude(momenta, MASS, yukawa)
    swapped = squared_amplitude(momenta[:, [1, 0, 2, 3, 4]], MASS, yukawa)
    assert np.allclose(here.total, swapped.total, rtol=1e-10)
    assert np.allclose(here.order_12, swapped.order_21, rtol=1e-10)


def test_massless_quarks_do_not_know_cp() -> None:
    momenta = phase_space([0.0, 0.0, HIGGS_MASS], 700.0, 20, seed=5)
    even, odd = (squared_amplitude(momenta, 0.0, yukawa) for yukawa in COUPLINGS[:2])
    assert np.allclose(even.total, odd.total, rtol=1e-9)


def test_cp_odd_is_suppressed_at_threshold() -> None:
    momenta = phase_space([MASS, MASS, HIGGS_MASS], 2 * MASS + HIGGS_MASS + 5, 20, seed=6)
    even, odd = (squared_amplitude(momenta, MASS, yukawa) for yukawa in COUPLINGS[:2])
    assert (odd.total < 0.1 * even.total).all()


def test_pure_couplings_use_parity_rightly() -> None:
    momenta = phase_space([MASS, MASS, HIGGS_MASS], 700.0, 20, seed=7)
    # a vanishing second coupling takes the full helicity sum, an exact zero the half
    half, full = (squared_amplitude(momenta, MASS, (1.0, tiny)) for tiny in (0.0, 1e-300))
    assert np.allclose(half.total, full.total, rtol=1e-12)
    assert np.allclose(half.order_21, full.order_21, rtol=1e-12)


def test_wrong_shape_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"shape \(3, 4, 4\), expected \[n, 5, 4\]"):
        squared_amplitude(np.zeros((3, 4, 4)), MASS, (1.0, 0.0))
