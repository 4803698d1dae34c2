import math

import numpy as np
import pytest
from scipy import stats

from breakeven.analysis.statistics import estimate, format_uncertainty, root_sum_of_squares


def test_mean_and_sample_standard_deviation_and_interval_match_scipy() -> None:
    values = [0.84, 0.86, 0.83, 0.88]
    found = estimate(values, level=0.9)
    low, high = stats.t.interval(0.9, 3, loc=np.mean(values), scale=stats.sem(values))
    assert found.n == 4
    assert found.mean == pytest.approx(np.mean(values))
    assert found.sd == pytest.approx(np.std(values, ddof=1))
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))


def test_one_value_has_no_uncertainty_and_says_so() -> None:
    found = estimate([84.8])
    assert math.isnan(found.sd) and math.isnan(found.low)
    assert found.text() == "84.8 (n=1)"


def test_values_that_are_not_finite_do_not_count() -> None:
    assert estimate([1.0, math.nan, 3.0, math.inf]).n == 2
    assert estimate([math.nan]).text() == "missing"


@pytest.mark.parametrize("level", [0.0, 1.0, 90])
def test_a_level_that_is_none_is_named(level: float) -> None:
    with pytest.raises(ValueError, match=f"level={level}"):
        estimate([1.0, 2.0], level=level)


def test_a_small_spread_is_never_printed_as_zero() -> None:
    assert estimate([80.0, 80.03]).text() == "80.0 ± 0.02 (n=2)"
    assert format_uncertainty(1.14, 1) == "1.1"
    assert format_uncertainty(0.004, 1) == "0.004"
    assert format_uncertainty(3e-6, 1) == "0.000003"
    assert estimate([5.0, 7.0]).text(sign=True) == "+6.0 ± 1.4 (n=2)"


def test_equal_values_have_no_spread_whatever_the_last_bit_says() -> None:
    assert 0.1 + 0.2 != 0.3
    assert estimate([0.1 + 0.2, 0.3]).text() == "0.3 ± 0 (n=2)"


def test_intervals_cover_the_mean_at_the_stated_rate() -> None:
    random = np.random.default_rng(3)
    intervals = [estimate(random.normal(5.0, 2.0, size=3), level=0.9) for _ in range(1000)]
    coverage = np.mean([found.low <= 5.0 <= found.high for found in intervals])
    assert 0.87 < coverage < 0.93


def test_root_sum_of_squares() -> None:
    assert root_sum_of_squares(3.0, 4.0) == 5.0
    assert math.isnan(root_sum_of_squares(3.0, math.nan))
