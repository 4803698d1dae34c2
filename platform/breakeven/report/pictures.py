"""Plots as PNG and PDF, drawn by matplotlib for papers and talks. Never computes a figure: it draws what a Plot holds."""

import math
import textwrap
from collections.abc import Sequence
from hashlib import sha256
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf, PdfPages
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

from breakeven import atomic
from breakeven.report.look import look, part_colours
from breakeven.report.plot import Panel, Plot, Series

_MOST_TICKS = 6
_DOTS_PER_INCH = 160
_TITLE_WIDTH = 34
_LEFT, _ABOVE, _BELOW = 0.92, 0.35, 0.55
"""Inches around a panel: ticks and title of its y axis, its own title, ticks and title of its x axis."""
_BOUNDS = {"above": "^", "below": "v"}
_STYLE: Any = {
    "figure.facecolor": "white",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#8a8a8a",
    "axes.linewidth": 0.8,
    "axes.labelcolor": "#333333",
    "axes.titley": 1.0,  # else each drawing measures all tick labels to find room for a title
    "xtick.color": "#555555",
    "ytick.color": "#555555",
}


def write_pictures(plot: Plot, folder: Path) -> list[Path]:
    """Write `folder`/`plot.name`.png, its first variant, and .pdf, a page for each variant; nothing for an empty plot.

    The same plot gives the same bytes, so pictures that are there already, drawn from the same figures by the same code,
    are kept: drawing takes longer than everything else in a report.
    """
    if plot.empty:
        return []
    paths = [folder / f"{plot.name}.png", folder / f"{plot.name}.pdf"]
    stamp = _stamp(plot)
    if all(path.exists() for path in paths) and stamp in paths[0].read_bytes()[:1000]:
        return paths
    image, document = BytesIO(), BytesIO()
    with rc_context(_STYLE), PdfPages(document, metadata={"CreationDate": None}) as pages:
        for number, (words, panels) in enumerate(plot.variants.items()):
            figure = draw(plot, words, panels)
            # The canvases' own methods draw once; Figure.savefig draws twice, and each time lays the panels out anew.
            if number == 0:
                figure.set_dpi(_DOTS_PER_INCH)
                FigureCanvasAgg(figure).print_png(image, metadata={"Description": stamp.decode()})  # type: ignore[no-untyped-call]
                figure.set_layout_engine("none")
            FigureCanvasPdf(figure).print_pdf(pages)  # type: ignore[no-untyped-call]
    # The image, which has the stamp, last: a run that is killed in between draws both again.
    for path, content in reversed(list(zip(paths, (image, document), strict=True))):
        with atomic.replacing(path) as temporary:
            temporary.write_bytes(content.getvalue())
    return paths


def _stamp(plot: Plot) -> bytes:
    """Names the figures of a plot and the code that draws them."""
    code = [files(__package__).joinpath(name).read_bytes() for name in ("pictures.py", "look.py")]
    return sha256(b"".join([repr(plot).encode(), *code, matplotlib.__version__.encode()])).hexdigest().encode()


def draw(plot: Plot, words: str, panels: Sequence[Panel]) -> Figure:
    """One variant as a figure, at most three panels in a row; words: of the choice it stands for."""
    columns = min(3, len(panels))
    rows = math.ceil(len(panels) / columns)
    handles = _legend(panels)
    spare_panel, beside = rows * columns > len(panels), columns == 1
    below = bool(handles) and not spare_panel and not beside
    height = sum(_height(panels[start : start + columns]) for start in range(0, len(panels), columns))
    height += 0.5 if spare_panel or beside else 1.0
    # Bars have names for ticks, which need measuring; all other panels fit into margins that are known before.
    measured = any(panel.bars for panel in panels)
    figure = Figure(
        figsize=(3.5 * columns + (3.1 if beside else 0.3), height), layout="constrained" if measured else None
    )
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, panel in zip(grid, panels, strict=False):
        _draw_panel(axes, panel)
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    titled = bool(words) and len(plot.variants) > 1
    if titled:
        title = f"{plot.choice}: {words}" if plot.choice else words
        figure.suptitle(title, fontsize=10, x=0.01, ha="left", color="#555555")
    n_columns = min(1 + columns, len(handles))
    if not measured:
        extra = max(_title(panel).count("\n") for panel in panels)
        strip = 0.25 * math.ceil(len(handles) / n_columns) + 0.1 if below else 0.0
        _set_margins(
            figure,
            (rows, columns),
            right=3.0 if beside and handles else 0.15,
            top=0.3 * titled + 0.2 * extra,
            bottom=strip,
        )
    places: Any = ("outside right center", "outside lower center") if measured else ("center right", "lower center")
    side, under = places
    if not handles:
        return figure
    if spare_panel:
        grid[-1].legend(handles=handles, loc="center", frameon=False, handlelength=3.0, labelspacing=0.8)
    elif beside:
        figure.legend(handles=handles, loc=side, frameon=False, handlelength=3.0, labelspacing=0.8)
    else:
        figure.legend(handles=handles, loc=under, frameon=False, ncols=n_columns)
    return figure


def _set_margins(figure: Figure, grid: tuple[int, int], *, right: float, top: float, bottom: float) -> None:
    """Room for ticks, titles and what stands around the panels, in inches: to measure it takes as long as to draw it."""
    (rows, columns), (width, height) = grid, figure.get_size_inches()
    left, above, below, apart = _LEFT, _ABOVE + top, _BELOW + bottom, (_LEFT, _ABOVE + _BELOW)
    wide = (width - left - right - (columns - 1) * apart[0]) / columns
    high = (height - above - below - (rows - 1) * apart[1]) / rows
    figure.subplots_adjust(left=left / width, right=1 - right / width, top=1 - above / height, bottom=below / height,
                           wspace=apart[0] / wide, hspace=apart[1] / high)  # fmt: skip


def _height(panels: Sequence[Panel]) -> float:
    """Of a row of panels, in inches: bars need room for their categories."""
    return max(1.2 + 0.35 * len(panel.bars[0].categories) if panel.bars else 2.75 for panel in panels)


def _draw_panel(axes: Axes, panel: Panel) -> None:
    axes.set_title(_title(panel), fontsize=11, fontweight="bold", loc="left", color="#222222")
    axes.set_xlabel(panel.x_title)
    axes.set_ylabel(textwrap.fill(panel.y_title, _TITLE_WIDTH))
    axes.set_axisbelow(True)
    if panel.bars:
        _draw_bars(axes, panel)
        return
    axes.grid(axis="y", color="#e8e8e8", linewidth=0.8)
    points = [series.label for series in panel.series if series.kind == "points"]
    for series in panel.series:
        _draw_series(axes, series, _shift(points, series) if panel.x_log else 1.0)
    for height, words in panel.references:
        axes.axhline(height, color="#9a9a9a", linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
        axes.annotate(words, (1.0, height), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=8,
                      color="#777777")  # fmt: skip
    if panel.remark:
        remark = textwrap.fill(panel.remark, 62, break_long_words=False, break_on_hyphens=False)
        axes.annotate(remark, (0.02, 0.02), xycoords="axes fraction", fontsize=6.5, color="#777777", va="bottom")
    _set_scales(axes, panel)


def _title(panel: Panel) -> str:
    """In lines that are as wide as a panel."""
    return textwrap.fill(panel.title, _TITLE_WIDTH)


def _shift(points: Sequence[str], series: Series) -> float:
    """A small sideways factor that keeps error bars of different lines apart; points: the labels of those lines."""
    beside = series.kind in ("points", *_BOUNDS) and series.label in points
    return 1.0 + 0.05 * (points.index(series.label) - (len(points) - 1) / 2) if beside else 1.0


def _draw_series(axes: Axes, series: Series, shift: float) -> None:
    style = look(series.pretraining, series.strategy, series.adapted)
    x, y = np.array(series.x) * shift, np.array(series.y)
    if series.kind == "curve":
        split = series.split if series.split is not None else math.inf
        for part, dash in ((np.array(series.x) <= split, style.dash), (np.array(series.x) >= split, (0, (1.5, 1.5)))):
            axes.plot(x[part], y[part], color=style.colour, linestyle=dash, linewidth=1.8, zorder=3)
        if series.low:
            axes.fill_between(x, series.low, series.high, color=style.colour, alpha=0.13, linewidth=0, zorder=2)
        return
    if series.kind == "published":
        axes.plot(x, y, linestyle=":", linewidth=1.0, marker=style.marker, markersize=8, markerfacecolor="none",
                  markeredgewidth=1.3, color=style.colour, alpha=0.35, zorder=2)  # fmt: skip
        return
    errors = np.abs(np.nan_to_num(np.array([y - series.low, series.high - y]))) if series.low else None
    size, face = (4.5, "white") if style.hollow else (5.5, style.colour)
    marker: dict[str, Any] = {"marker": style.marker, "markersize": size, "markerfacecolor": face}
    if series.kind in _BOUNDS:
        marker = {"marker": _BOUNDS[series.kind], "markersize": 8, "markerfacecolor": "white", "markeredgewidth": 1.4}
    axes.errorbar(x, y, yerr=errors, color=style.colour, linestyle=style.dash if series.kind == "points" else "none",
                  linewidth=1.4 if style.hollow else 2.0, elinewidth=1.2, capsize=2.0,
                  zorder=3 if style.hollow else 4, **marker)  # fmt: skip


def _draw_bars(axes: Axes, panel: Panel) -> None:
    left = np.zeros(len(panel.bars[0].categories))
    for bar in panel.bars:
        axes.barh(bar.categories, bar.values, left=left, color=part_colours(bar.part)[0], height=0.65)
        left += np.array(bar.values)
    axes.invert_yaxis()
    axes.grid(axis="x", color="#e8e8e8", linewidth=0.8)


def _set_scales(axes: Axes, panel: Panel) -> None:
    ticks = sorted({*panel.x_ticks, *(x for one in panel.series if one.kind == "published" for x in one.x)})
    if panel.x_log:
        axes.set_xscale("log")
        # The sizes themselves where they are few; more would run into each other.
        few = ticks and len(ticks) <= _MOST_TICKS
        axes.xaxis.set_major_locator(FixedLocator(ticks) if few else LogLocator(numticks=8))
        axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(_count))
    if len(ticks) == 1 and panel.x_log:
        axes.set_xlim(ticks[0] / 2, ticks[0] * 2)
    if panel.y_log:
        heights = {y for one in panel.series for y in (*one.y, *one.low, *one.high) if y > 0}
        if len(heights | {y for y, _ in panel.references}) == 1:
            axes.set_ylim(min(heights) / 2, max(heights) * 2)
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=12))
        axes.yaxis.set_major_formatter(FuncFormatter(_count))
        axes.yaxis.set_minor_locator(NullLocator())
    else:
        axes.yaxis.set_major_locator(MaxNLocator(5, min_n_ticks=3))


def _legend(panels: Sequence[Panel]) -> list[Line2D | Patch]:
    handles: dict[str, Line2D | Patch] = {}
    for panel in panels:
        for bar in panel.bars:
            handles.setdefault(bar.part, Patch(color=part_colours(bar.part)[0], label=bar.part))
    # A curve and the points it belongs to share a label: the points' marker is the one to show.
    shown = sorted(
        (one for panel in panels for one in panel.series), key=lambda one: (one.kind != "points", one.kind == "curve")
    )
    for series in shown:
        if series.kind == "published":
            continue
        style, curve = look(series.pretraining, series.strategy, series.adapted), series.kind == "curve"
        handles.setdefault(series.label, Line2D([], [], label=series.label, color=style.colour, linestyle=style.dash,
                           linewidth=1.4 if style.hollow else 2.0, marker="none" if curve else style.marker,
                           markersize=5, markerfacecolor="white" if style.hollow else style.colour))  # fmt: skip
    ordered = {series.label: None for panel in panels for series in panel.series if series.label in handles}
    entries = [handles[label] for label in [*ordered, *(part for part in handles if part not in ordered)]]
    if any(series.kind == "published" for series in shown):
        entries.append(Line2D([], [], linestyle=":", linewidth=1.0, marker="o", markersize=8, markerfacecolor="none",
                            markeredgewidth=1.3, color="#777777", alpha=0.6, label="published (arXiv 2412.10665)"))  # fmt: skip
    return entries


def _count(value: float, _position: int = 0) -> str:
    """`300`, `1k`, `10k`, `1M`: ticks that read at a glance."""
    for factor, suffix in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= factor:
            return f"{value / factor:g}{suffix}"
    return f"{value:g}"
