"""Flat-array questions, on records small enough to check by eye."""

import numpy as np

from breakeven.physics.particles import (
    Particles,
    delta_r_squared,
    event_of,
    last_copies,
    pairs_within_event,
    starts,
)


def test_starts_and_events_of_ragged_counts() -> None:
    counts = np.array([2, 0, 3])
    assert starts(counts).tolist() == [0, 2, 2]
    assert event_of(counts).tolist() == [0, 0, 2, 2, 2]


def test_pairs_are_all_pairs_of_one_event() -> None:
    left, right = pairs_within_event(np.array([0, 2, 2]), np.array([2, 1, 2]))
    assert list(zip(left.tolist(), right.tolist(), strict=True)) == [(0, 0), (0, 1), (1, 3), (1, 4), (2, 3), (2, 4)]


def test_pairs_with_an_empty_event() -> None:
    left, right = pairs_within_event(np.array([1]), np.array([2, 0]))
    assert len(left) == len(right) == 0


def test_delta_r_goes_the_short_way_round() -> None:
    squared = delta_r_squared(np.array([1.0]), np.array([3.1]), np.array([1.0]), np.array([-3.1]))
    assert np.isclose(squared[0], (2 * np.pi - 6.2) ** 2)


def test_last_copies_skip_recoils_and_final_particles() -> None:
    # two events alike: system line, top, its copy after a recoil, W, b, a final photon
    pdg = np.array([90, 6, 6, 24, 5, 22] * 2, np.int32)
    status = np.array([-11, -22, -62, -22, -23, 1] * 2, np.int32)
    daughter1 = np.array([0, 2, 3, 5, 5, 0] * 2, np.int32)
    daughter2 = np.array([0, 2, 4, 5, 5, 0] * 2, np.int32)
    momentum = np.linspace(1, 12, 12)
    particles = Particles(
        np.array([6, 6]),
        pdg,
        status,
        daughter1,
        daughter2,
        momentum,
        momentum,
        momentum,
        momentum,
        np.zeros(12, np.int8),
        np.zeros(12, bool),
    )
    assert last_copies(particles, (6,)).tolist() == [2, 8]
    assert last_copies(particles, (6, 24)).tolist() == [2, 3, 8, 9]
    assert last_copies(particles, (22,)).tolist() == []
    assert last_copies(particles, (6,), min_pt=10).tolist() == [8]
