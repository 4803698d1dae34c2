"""How single figures are written: intervals, hours with their unit, p-values. A figure that is not there is left blank."""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from breakeven.analysis.statistics import Estimate
from breakeven.duration import format_hours

SIGNIFICANT = 0.05
"""p-value, corrected for how many were looked at, below which a gain is called significant."""
UNITS = {"cpu_hours": "CPU-hours", "gpu_hours": "GPU-hours", "mixed": "hours of two kinds of device"}
STRATEGIES = {"scratch": "from scratch", "finetune": "finetuned", "trees": "boosted trees",
              "trees+score": "boosted trees with its scores"}  # fmt: skip


def known(value: Any) -> bool:
    """Whether there is a figure: neither None, nor NA, nor NaN; an infinite one counts."""
    return value is not None and value is not pd.NA and not (isinstance(value, float) and math.isnan(value))


def number(value: Any, digits: int = 1, *, sign: bool = False) -> str:
    """With so many decimals, `never` where infinite."""
    if not known(value):
        return ""
    return f"{value:{'+' if sign else ''}.{digits}f}" if math.isfinite(value) else "never"


def significant(value: Any, digits: int = 3, *, sign: bool = False) -> str:
    """With so many significant figures: `4,600`, and never `4.6e+03`."""
    if not known(value) or not math.isfinite(value):
        return ""
    plus, text = "+" if sign else "", f"{value:.{digits}g}"
    return f"{float(text):{plus},.0f}" if "e+" in text else f"{value:{plus},.{digits}g}"


def rounded(value: Any, digits: int = 2) -> str:
    """A count with so many significant figures: `4,600`."""
    return f"{float(f'{value:.{digits}g}'):,.0f}" if known(value) and math.isfinite(value) else ""


def count_of_tasks(value: Any) -> str:
    """A whole number of tasks, above a hundred with two significant figures: more are not known of any."""
    return integer(value) if value < 100 else rounded(value)


def decimals(uncertainty: float, least: int = 0) -> int:
    """Decimals with which an uncertainty has two significant figures; `least` where it is not known."""
    if not math.isfinite(uncertainty) or uncertainty <= 0.0:
        return least
    return max(0, 1 - math.floor(math.log10(uncertainty)))


def integer(value: Any) -> str:
    return f"{int(value):,}" if known(value) and math.isfinite(value) else ""


def mean(row: Mapping[Any, Any], name: str, *, n: str = "n", digits: int = 1, sign: bool = False) -> str:
    """`84.8 ± 1.1 (n=3)`, `84.8 (n=1)`, `missing`; the standard deviation is that of the column `name`_sd."""
    return Estimate(row[name], row[f"{name}_sd"], int(row[n]), math.nan, math.nan).text(digits=digits, sign=sign)


def between(low: Any, high: Any, digits: int = 1, *, sign: bool = False) -> str:
    """`83.7 to 85.9`, nothing where there is no interval."""
    if not (known(low) and known(high)):
        return ""
    return f"{number(low, digits, sign=sign)} to {number(high, digits, sign=sign)}"


def p_value(value: Any) -> str:
    """Two significant figures, `< 0.0001` below that."""
    if not known(value):
        return ""
    return "< 0.0001" if value < 1e-4 else f"{value:.2g}"


def hours(value: Any, unit: str = "") -> str:
    """`0.0123 CPU-hours`; nothing where there is no figure."""
    if not known(value):
        return ""
    return f"{format_hours(float(value))} {UNITS.get(unit, unit)}".strip()


def tasks(row: Mapping[Any, Any]) -> str:
    """`25 tasks (90 %: 18 to 40)`, `never`, with what is known of the interval."""
    return f"{row['text']}{tasks_interval(row)}"


def tasks_interval(row: Mapping[Any, Any]) -> str:
    """` (90 %: 18 to never)`, nothing where there is no interval."""
    between = tasks_between(row, "low", "high")
    return f" (90 %: {between})" if between else ""


def tasks_between(row: Mapping[Any, Any], low: str, high: str) -> str:
    """`18 to never`, `18` where both ends are that, nothing where there is no interval."""
    if not (known(row[low]) and known(row[high])):
        return ""
    ends = ("never" if math.isinf(end) else count_of_tasks(max(1, math.ceil(end))) for end in (row[low], row[high]))
    return " to ".join(dict.fromkeys(ends))


def sizes_of(row: Mapping[Any, Any]) -> str:
    """`1,000`, or `all` where a row is over all sizes."""
    return integer(row["size"]) or "all"


def treatment(pretraining: str, strategy: str) -> str:
    """`from scratch`, `multiclass, finetuned`."""
    return STRATEGIES[strategy] if pretraining == "none" else f"{pretraining}, {STRATEGIES.get(strategy, strategy)}"


def events_in_words(manifest: Mapping[str, Any]) -> str:
    """How many events a dataset has, and of how many hard events where those are fewer."""
    hard = manifest.get("hard_events", manifest["events"])
    return f"{manifest['events']:,} events" + (f" of {hard:,} hard events" if hard < manifest["events"] else "")
