"""How lengths of time are written for people, the same in every room; tables and axes have hours as plain figures."""

import math


def duration(seconds: float) -> str:
    """A length of time in one unit, with two figures: `40 s`, `12 min`, `3.4 h`, `1,200 h`."""
    unit, size = ("h", 3600) if seconds >= 3597 else ("min", 60) if seconds >= 59.5 else ("s", 1)
    value = seconds / size
    return f"{value:.1f}".removesuffix(".0") + f" {unit}" if value < 9.95 else f"{value:,.0f} {unit}"


def format_hours(hours: float) -> str:
    """A figure of a table or an axis: three significant figures, without an exponent where a reader can do without."""
    if not math.isfinite(hours):
        return "-"
    if hours == 0.0:
        return "0"
    decimals = max(0, 2 - math.floor(math.log10(abs(hours))))
    return f"{hours:,.{min(decimals, 7)}f}"
