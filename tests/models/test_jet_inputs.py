"""The inputs of jet networks against formulas written out by hand, and at the edges of what events may hold."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from models.jet_batches import LEVELS, random_batch

from breakeven.events.jets import CONSTITUENT, JET
from breakeven.feature import OBJECT
from breakeven.models.jet_inputs import FEATURES, HIGH_LEVEL, PAIR_FEATURES, JetInputs, kinematics, pair_features


def test_the_17_features_of_one_constituent_by_hand() -> None:
    jet = torch.tensor([[500.0, -0.8, 3.0, 120.0, 90.0]])
    one = torch.tensor([[20.0, 0.1, -0.2, 0.3, 2.5, -0.7, 0.05, -1.0, 3.0]])
    features, moving = JetInputs(LEVELS).constituents(jet, one, torch.tensor([0]))
    eta = -0.8 + float(one[0, 1])
    energy = 20.0 * math.cosh(eta)
    jet_energy = math.sqrt((500.0 * math.cosh(0.8)) ** 2 + 90.0**2)
    expected = {
        "log_pt": (math.log(20.0) - 1.7) * 0.7,
        "log_energy": (math.log(energy) - 2.0) * 0.7,
        "log_pt_fraction": (math.log(20.0 / 500.0) + 4.7) * 0.7,
        "log_energy_fraction": (math.log(energy / jet_energy) + 4.7) * 0.7,
        "delta_r": (math.sqrt(0.01 + 0.04) - 0.2) * 4.0,
        "charge": -1.0,
        "charged_hadron": 0.0,
        "neutral_hadron": 0.0,
        "photon": 0.0,
        "electron": 1.0,
        "muon": 0.0,
        "d0": math.tanh(0.3),
        "d0_error": 1.0,  # 2.5 mm, cut at 1
        "dz": math.tanh(-0.7),
        "dz_error": 0.05,
        "d_eta": -0.1,  # the jet is at negative eta
        "d_phi": -0.2,
    }
    assert tuple(expected) == FEATURES
    np.testing.assert_allclose(features[0], list(expected.values()), rtol=3e-7, atol=3e-7)
    phi = 3.0 - 0.2
    momentum = [20 * math.cos(phi), 20 * math.sin(phi), 20 * math.sinh(eta), energy]
    np.testing.assert_allclose(moving[0], [20.0, eta, phi, *momentum], rtol=1e-6)


@pytest.mark.parametrize("kind", range(5))
def test_a_constituent_is_of_one_kind(kind: int) -> None:
    jets, _, inside, _ = random_batch([[1]])
    inside[0, 8] = kind
    features, _ = JetInputs(LEVELS).constituents(jets, inside, torch.tensor([0]))
    assert features[0, 6:11].tolist() == [float(k == kind) for k in range(5)]


def test_pairs_against_four_vectors() -> None:
    """By numpy, from four-vectors alone: rapidity, azimuth and mass as arXiv 2202.03772 defines them."""
    random = np.random.default_rng(1)
    pt, eta, phi = random.uniform(1, 90, (2, 50)), random.uniform(-2, 2, (2, 50)), random.uniform(-3.1, 3.1, (2, 50))
    moving = [kinematics(*map(torch.from_numpy, one)) for one in zip(pt, eta, phi, strict=True)]
    p = np.stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), pt * np.cosh(eta)])
    transverse = np.hypot(p[0], p[1])
    rapidity = 0.5 * np.log((p[3] + p[2]) / (p[3] - p[2]))
    angle = np.arctan2(p[1], p[0])
    turned = np.angle(np.exp(1j * (angle[0] - angle[1])))
    delta = np.sqrt((rapidity[0] - rapidity[1]) ** 2 + turned**2)
    least = transverse.min(0)
    # of massless particles, without the difference of large numbers
    m2 = 2 * pt[0] * pt[1] * (np.cosh(eta[0] - eta[1]) - np.cos(phi[0] - phi[1]))
    expected = np.log([least * delta, least / transverse.sum(0), delta, m2]).T
    assert len(PAIR_FEATURES) == 4
    np.testing.assert_allclose(pair_features(*moving), expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(pair_features(*moving), pair_features(*reversed(moving)), rtol=1e-12)


def test_the_mass_of_a_hard_collinear_pair_is_no_noise() -> None:
    """In float32, E^2 - p^2 of these is rounding alone."""
    pt, eta, phi = torch.tensor([400.0, 300.0]), torch.tensor([2.0, 2.001]), torch.tensor([1.0, 1.001])
    moving = kinematics(pt.double(), eta.double(), phi.double())
    m2 = 4 * 400.0 * 300.0 * (math.sinh(0.0005) ** 2 + math.sin(0.0005) ** 2)
    assert float(pair_features(moving[:1], moving[1:])[0, 3]) == pytest.approx(math.log(m2), abs=1e-3)


def test_a_pair_of_one_with_itself_and_of_nothing_is_finite() -> None:
    zero = kinematics(*(torch.zeros(1, dtype=torch.float64) for _ in range(3)))
    some = kinematics(*(torch.full((1,), value, dtype=torch.float64) for value in (5.0, 1.0, 2.0)))
    floor = math.log(1e-8)
    assert pair_features(some, some)[0].tolist() == pytest.approx([floor, math.log(0.5), floor, floor])
    assert pair_features(zero, zero)[0].tolist() == pytest.approx([floor] * 4)
    assert bool(torch.isfinite(pair_features(zero, some)).all())


def test_high_level_features() -> None:
    jets = torch.tensor([[500.0, -0.8, 3.0, 120.0, 90.0], [0.0, 1.0, -2.0, 0.0, 0.0]])
    found = JetInputs(LEVELS).high_level(jets)
    expected = [[math.log(500), -0.8, 3.0, math.log(120), math.log(90)], [0.0, 1.0, -2.0, 0.0, 0.0]]
    assert len(HIGH_LEVEL) == 5
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_all_that_the_schema_allows_is_finite() -> None:
    """Zeros and the largest numbers, each column at a time and together, an infinite significance among them."""
    jets, _, inside, _ = random_batch([[3]], dtype=torch.float32)
    jet_of = torch.zeros(3, dtype=torch.int64)
    inputs = JetInputs(LEVELS)
    largest = torch.finfo(torch.float32).max
    for features, rows in ((JET, jets), (CONSTITUENT, inside)):
        every = []
        for column, feature in enumerate(features):
            for value in (max(feature.low, -largest), 0.0, min(feature.high, largest)):
                changed = rows.clone()
                changed[0, column] = value
                every.append(changed)
        low, high = rows.clone(), rows.clone()
        for column, feature in enumerate(features):
            low[0, column], high[0, column] = max(feature.low, -largest), min(feature.high, largest)
        for changed in (*every, low, high):
            of_jets, of_inside = (changed, inside) if features is JET else (jets, changed)
            known, moving = inputs.constituents(of_jets, of_inside, jet_of)
            pairs = pair_features(moving.repeat(3, 1), moving.repeat_interleave(3, 0))
            for values in (known, pairs, inputs.high_level(of_jets)):
                assert bool(torch.isfinite(values.float()).all())


def test_columns_are_found_by_name() -> None:
    jets, _, inside, _ = random_batch([[4, 2]])
    jet_of = torch.tensor([0, 0, 0, 0, 1, 1])
    expected = JetInputs(LEVELS).constituents(jets, inside, jet_of)
    levels = tuple(reversed(JET)), (*reversed(CONSTITUENT), replace(JET[0], name="other"))
    inside = torch.cat([inside.flip(1), torch.full((6, 1), torch.nan)], dim=1)
    found = JetInputs(levels).constituents(jets.flip(1), inside, jet_of)
    assert all(map(torch.equal, found, expected))
    assert torch.equal(JetInputs(levels).high_level(jets.flip(1)), JetInputs(LEVELS).high_level(jets))


def test_other_events_are_refused_with_what_they_lack() -> None:
    with pytest.raises(ValueError, match=r"jets with constituents, these have pt, eta, phi, energy"):
        JetInputs((OBJECT,))
    with pytest.raises(ValueError, match=r"of a constituent d0_error is missing, kind is missing; bring events"):
        JetInputs((JET, [one for one in CONSTITUENT if one.name not in ("kind", "d0_error")]))
    with pytest.raises(ValueError, match=r"of a constituent d0 is in cm, not mm"):
        JetInputs((JET, [replace(one, unit="cm") if one.name == "d0" else one for one in CONSTITUENT]))
