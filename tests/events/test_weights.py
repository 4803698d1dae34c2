"""Effective numbers and errors of weighted events."""

import numpy as np
import pytest

from breakeven.events.weights import cross_section, effective_number


def test_equal_weights_are_worth_their_number() -> None:
    assert effective_number(np.full(400, 3e-7)) == pytest.approx(400)
    assert cross_section(np.full(400, 0.5)) == (pytest.approx(200), pytest.approx(10))


def test_weights_over_six_orders_of_magnitude() -> None:
    light, heavy = np.full(1_000_000, 1e-6, np.float32), np.ones(10, np.float32)
    both = np.concatenate([light, heavy])
    # by hand: sum 1 + 10, sum of squares 1e-6 + 10
    assert effective_number(both) == pytest.approx(11**2 / (10 + 1e-6), rel=1e-6)
    total, error = cross_section(both)
    assert total == pytest.approx(11, rel=1e-6) and error == pytest.approx(np.sqrt(10), rel=1e-6)
    assert effective_number(both * np.float32(1e-30)) == pytest.approx(effective_number(both), rel=1e-5)


def test_the_error_is_the_scatter_of_repeated_samples() -> None:
    random = np.random.default_rng(1)
    slices = ((200, 8.0), (50, 0.01), (400, 0.3))
    sums = [sum(random.poisson(n) * w for n, w in slices) for _ in range(4000)]
    weights = np.concatenate([np.full(n, w) for n, w in slices])
    assert np.std(sums) == pytest.approx(cross_section(weights)[1], rel=0.05)


def test_a_slice_without_events_is_worth_nothing() -> None:
    assert effective_number(np.zeros(0)) == 0 and cross_section(np.zeros(0)) == (0, 0)
    assert effective_number(np.zeros(3)) == 0
