"""Every high-level variable of jets against the same quantity computed for one event at a time, by other formulas."""

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from breakeven.events.arrays import things_of
from breakeven.events.jets import CONSTITUENT, JET, JETS, to_table, variables_of
from breakeven.physics.jets.generator import JetEvents
from breakeven.physics.jets.variables import MAX_SIGNIFICANCE, VARIABLES

Levels = Sequence[tuple[np.ndarray, np.ndarray]]
NAMES = [variable.name for variable in VARIABLES]
JET_NAMES, INNER_NAMES = ([feature.name for feature in level] for level in (JET, CONSTITUENT))


def flat(made: JetEvents) -> list[tuple[np.ndarray, np.ndarray]]:
    """The flat arrays that a training reads."""
    levels = things_of(to_table(made), JETS, "test")
    return [(values, np.concatenate([[0], np.cumsum(counts)])) for values, counts in levels]


def by_hand(
    *events: Sequence[tuple[Sequence[float], Sequence[Sequence[float]]]],
) -> list[tuple[np.ndarray, np.ndarray]]:
    """The same of events that are lists of (jet, constituents), with the features of the schema in their order."""
    jets = [jet for event in events for jet, _ in event]
    inside = [one for event in events for _, constituents in event for one in constituents]
    return [
        (np.array(jets, np.float32).reshape(-1, 5), np.cumsum([0, *map(len, events)])),
        (
            np.array(inside, np.float32).reshape(-1, 9),
            np.cumsum([0, *(len(constituents) for event in events for _, constituents in event)]),
        ),
    ]


def vector(jet: dict[str, float]) -> tuple[float, float, float, float]:
    """px, py, pz, E of a jet."""
    momentum = jet["pt"] * math.cosh(jet["eta"])
    return (
        jet["pt"] * math.cos(jet["phi"]),
        jet["pt"] * math.sin(jet["phi"]),
        jet["pt"] * math.sinh(jet["eta"]),
        math.sqrt(momentum**2 + jet["mass"] ** 2),
    )


def tau(inside: list[dict[str, float]], axes: list[tuple[float, float]]) -> float:
    """sum pt min dR^2, not normalised."""
    return sum(
        one["pt"] * min((one["d_eta"] - eta) ** 2 + (one["d_phi"] - phi) ** 2 for eta, phi in axes) for one in inside
    )


def centre(inside: list[dict[str, float]]) -> tuple[float, float]:
    total = sum(one["pt"] for one in inside)
    return sum(one["pt"] * one["d_eta"] for one in inside) / total, sum(
        one["pt"] * one["d_phi"] for one in inside
    ) / total


def tau21(inside: list[dict[str, float]]) -> float:
    """With axes that begin at the hardest constituent and the one with the largest pt dR from it, moved six times."""
    hardest = max(inside, key=lambda one: one["pt"])
    far = max(
        inside,
        key=lambda one: one["pt"] * math.dist((one["d_eta"], one["d_phi"]), (hardest["d_eta"], hardest["d_phi"])),
    )
    axes = [(hardest["d_eta"], hardest["d_phi"]), (far["d_eta"], far["d_phi"])]
    for _ in range(6):
        groups: list[list[dict[str, float]]] = [[], []]
        for one in inside:
            first, second = (math.dist((one["d_eta"], one["d_phi"]), axis) for axis in axes)
            groups[first > second].append(one)
        axes = [centre(group) if group else axis for group, axis in zip(groups, axes, strict=True)]
    return tau(inside, axes) / tau(inside, [centre(inside)])


def expected(event: int, levels: Levels) -> dict[str, float]:
    """All variables of one event that it has."""
    (nodes, offsets), (inner, inner_offsets) = levels
    numbers = range(offsets[event], offsets[event + 1])
    jets = [dict(zip(JET_NAMES, map(float, nodes[number]), strict=True)) for number in numbers]
    found = {"n_jets": float(len(jets)), "ht": sum(jet["pt"] for jet in jets)}
    for place, (number, jet) in enumerate(zip(numbers, jets, strict=True), start=1):
        if place > 3:
            break
        found |= {f"{name}_jet{place}": jet[name] for name in ("pt", "mass", "soft_drop_mass")}
        found[f"eta_jet{place}"] = abs(jet["eta"])
        if place > 2:
            break
        rows = inner[inner_offsets[number] : inner_offsets[number + 1]]
        inside = [dict(zip(INNER_NAMES, map(float, row), strict=True)) for row in rows]
        tracks = [one for one in inside if one["kind"] in (0, 3, 4)]
        significance = sorted((abs(one["d0"]) / one["d0_error"] for one in tracks), reverse=True)
        found |= {
            f"n_constituents_jet{place}": float(len(inside)),
            f"n_displaced_jet{place}": float(sum(value > 3 for value in significance)),
            f"displacement_jet{place}": sum(min(value, 100.0) for value in significance[:3]),
        }
        if inside:
            total = math.fsum(one["pt"] for one in inside)
            found |= {
                f"width_jet{place}": sum(one["pt"] * math.hypot(one["d_eta"], one["d_phi"]) for one in inside) / total,
                f"dispersion_jet{place}": math.sqrt(sum(one["pt"] ** 2 for one in inside)) / total,
                f"track_fraction_jet{place}": max((one["pt"] for one in tracks), default=0.0) / total,
            }
        if len(inside) > 1:
            found[f"tau21_jet{place}"] = tau21(inside)
    if len(jets) > 1:
        one, other = jets[:2]
        px, py, pz, energy = (a + b for a, b in zip(vector(one), vector(other), strict=True))
        cosine = math.cos(one["phi"] - other["phi"])
        found |= {
            "mass_pair": math.sqrt(energy**2 - px**2 - py**2 - pz**2),
            "pt_pair": math.hypot(px, py),
            "deta_pair": abs(one["eta"] - other["eta"]),
            "dphi_pair": math.acos(cosine),
            "dr_pair": math.hypot(one["eta"] - other["eta"], math.acos(cosine)),
            "pt_asymmetry": (one["pt"] - other["pt"]) / (one["pt"] + other["pt"]),
        }
    masses = sorted((jet["soft_drop_mass"] for jet in jets[:2]), key=lambda mass: abs(mass - 125.0))
    return found | dict(zip(("soft_drop_mass_near", "soft_drop_mass_far"), masses, strict=False))


@pytest.mark.parametrize("name", ["HH4b_1000", "QCD_470_600", "jet_Tbqq"])
def test_one_event_at_a_time(name: str, jet_sample: Callable[[str, int], JetEvents]) -> None:
    levels = flat(jet_sample(name, 60))
    together = variables_of(levels)
    assert together.shape == (60, len(set(NAMES))) and together.dtype == np.float32
    for event, row in enumerate(together):
        known = expected(event, levels)
        assert {one for one, value in zip(NAMES, row, strict=True) if not np.isnan(value)} == set(known), event
        for one, value in zip(NAMES, row, strict=True):
            if one in known:
                assert value == pytest.approx(known[one], rel=1e-4, abs=1e-3 if one == "dphi_pair" else 1e-6), (
                    event,
                    one,
                )


def test_they_tell_a_higgs_boson_from_a_parton(jet_sample: Callable[[str, int], JetEvents]) -> None:
    signal, background = (
        dict(zip(NAMES, np.nanmedian(variables_of(flat(jet_sample(name, 60))), axis=0), strict=True))
        for name in ("HH4b_1000", "QCD_470_600")
    )
    assert signal["tau21_jet1"] < background["tau21_jet1"]
    assert signal["displacement_jet1"] > 1.5 * background["displacement_jet1"]
    assert abs(signal["soft_drop_mass_near"] - 125) < 15 < abs(background["soft_drop_mass_near"] - 125)


def test_events_without_jets_and_jets_with_nothing_one_or_an_infinite_significance_inside() -> None:
    jet = (500.0, 0.5, 1.0, 100.0, 90.0)
    track, sure = (10.0, 0.1, 0.0, 3.0, 0.0, 0, 0, -1, 0), (20.0, 0.0, 0.1, 0.2, 0.05, 0, 0, 1, 3)
    prompt, photon = (5.0, 0.0, 0.0, 0.0, 0.0, 0, 0, 1, 0), (8.0, 0.0, 0.2, 0.0, 0.0, 0, 0, 0, 2)
    rows = variables_of(by_hand([], [(jet, [])], [(jet, [photon])], [(jet, [track, sure, prompt, photon]), (jet, [])]))
    none, empty, one, several = (dict(zip(NAMES, map(float, row), strict=True)) for row in rows)
    assert none["n_jets"] == none["ht"] == 0 and np.isnan([none["pt_jet1"], none["soft_drop_mass_near"]]).all()
    assert empty["n_constituents_jet1"] == empty["n_displaced_jet1"] == empty["displacement_jet1"] == 0
    assert np.isnan([empty[f"{name}_jet1"] for name in ("width", "dispersion", "tau21", "track_fraction")]).all()
    assert empty["soft_drop_mass_near"] == 90 and np.isnan([empty["soft_drop_mass_far"], empty["mass_pair"]]).all()
    assert one["dispersion_jet1"] == 1 and one["track_fraction_jet1"] == 0 and np.isnan(one["tau21_jet1"])
    assert several["displacement_jet1"] == pytest.approx(MAX_SIGNIFICANCE + 4) and several["n_displaced_jet1"] == 2
    assert several["n_constituents_jet2"] == 0 and np.isfinite(several["tau21_jet1"])
    assert np.isfinite(rows).sum(axis=1).tolist() == [2, 10, 13, 28]
    assert variables_of(by_hand()).shape == (0, len(NAMES))


def test_the_order_of_jets_does_not_matter() -> None:
    inside = [(10.0, 0.1, 0.0, 3.0, 0.1, 0, 0, -1, 0), (20.0, 0.0, 0.1, 0.2, 0.05, 0, 0, 1, 3)]
    jets = [((400.0 + 50 * k, 0.5 * k, 1.0, 100.0 * k, 90.0 * k), inside[: k % 3]) for k in range(4)]
    first, *others = (variables_of(by_hand(order)) for order in itertools.permutations(jets))
    assert all(np.array_equal(first, other, equal_nan=True) for other in others)
