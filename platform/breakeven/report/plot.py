"""A plot as data: panels of series with their uncertainties. Knows neither Plotly nor matplotlib; both draw the same.

Figures are numbers in the unit of the axis title. A point's `cells` names the cell whose trials it stands for.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

Numbers = tuple[float, ...]


@dataclass(frozen=True)
class Series:
    """One line, band or set of points.

    pretraining, strategy: give its colour, marker and dash.  low, high: ends of the uncertainty at each x, NaN where
    there is none.  kind: `points` (markers joined by a line, error bars), `markers` (no line), `curve` (line, band
    between low and high), `published` (hollow, faint),
    `above` and `below` (bounds: the truth lies beyond).  split: x from which on a curve is a forecast.  texts: what is
    said of each point.  adapted: of a backbone whose pretraining started from another's, which has a dash of its own.
    """

    label: str
    pretraining: str
    strategy: str
    x: Numbers
    y: Numbers
    low: Numbers = ()
    high: Numbers = ()
    kind: str = "points"
    split: float | None = None
    texts: tuple[str, ...] = ()
    cells: tuple[str, ...] = ()
    adapted: bool = False


def with_bounds(series: Series, beyond: Sequence[int]) -> list[Series]:
    """`series` as up to three: its points, those that only say `above` (beyond is 1), and those that say `below` (-1)."""
    parts = []
    for kind, sign in (("points", 0), ("above", 1), ("below", -1)):
        here = [place for place, which in enumerate(beyond) if which == sign]
        if here:
            filled = [name for name in ("x", "y", "low", "high", "texts", "cells") if getattr(series, name)]
            columns: dict[str, Any] = {name: tuple(getattr(series, name)[place] for place in here) for name in filled}
            parts.append(replace(series, kind=kind, **columns))
    return parts


@dataclass(frozen=True)
class Bars:
    """One part of stacked horizontal bars: values by category. part: gives its colour."""

    part: str
    categories: tuple[str, ...]
    values: Numbers


@dataclass(frozen=True)
class Panel:
    """One pair of axes. references: (y, words) of horizontal lines.  remark: said below the panel."""

    title: str
    x_title: str
    y_title: str
    series: tuple[Series, ...] = ()
    bars: tuple[Bars, ...] = ()
    x_log: bool = True
    y_log: bool = False
    x_ticks: Numbers = ()
    references: tuple[tuple[float, str], ...] = ()
    remark: str = ""


@dataclass(frozen=True)
class Plot:
    """name: of its files.  variants: panels by the words of a choice (one without words: no choice to make)."""

    name: str
    title: str
    caption: str
    variants: dict[str, tuple[Panel, ...]] = field(default_factory=dict)
    choice: str = ""

    def adapted(self, pretrainings: Collection[str]) -> "Plot":
        """The same with the lines of these pretrainings as those of adapted backbones."""
        if not pretrainings:
            return self
        variants = {
            words: tuple(
                replace(
                    panel, series=tuple(replace(one, adapted=one.pretraining in pretrainings) for one in panel.series)
                )
                for panel in panels
            )
            for words, panels in self.variants.items()
        }
        return replace(self, variants=variants)

    @property
    def empty(self) -> bool:
        return not any(panel.series or panel.bars for panels in self.variants.values() for panel in panels)
