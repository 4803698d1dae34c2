"""Lengths of time as people read them."""

import math

import pytest

from breakeven.duration import duration, format_hours


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0 s"), (0.4, "0.4 s"), (40, "40 s"), (59.6, "1 min"), (125, "2.1 min"), (720, "12 min"), (3598, "1 h"),
     (3.4 * 3600, "3.4 h"), (3600 * 1234, "1,234 h")],
)  # fmt: skip
def test_lengths_of_time(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("hours", "text"), [(0.0, "0"), (45.5, "45.5"), (1234.0, "1,234"), (0.00205, "0.00205"), (math.nan, "-")]
)
def test_hours_have_three_significant_figures(hours: float, text: str) -> None:
    assert format_hours(hours) == text
