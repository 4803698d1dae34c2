"""Pictures of the tables. Never computes a number that a table does not hold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

from breakeven.analysis import accuracy, published
from breakeven.analysis import frame as ledger_frame

# Okabe and Ito's palette keeps its contrasts under every kind of colour blindness; markers repeat the distinction.
_COLOURS = {"none": "#3c3c3c", "multiclass": "#0072B2", "multilabel": "#D55E00"}
_SPARE_COLOURS = ("#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_MARKERS = {"none": "o", "multiclass": "s", "multilabel": "D"}
_LINES = {"scratch": "-", "finetune": "-", "frozen": (0, (2.5, 1.8))}
_MOST_TICKS = 6
_STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#8a8a8a",
    "axes.linewidth": 0.8,
    "axes.labelcolor": "#333333",
    "xtick.color": "#555555",
    "ytick.color": "#555555",
    "svg.fonttype": "none",
    "svg.hashsalt": "breakeven",
}


def accuracy_against_size(
    frame: pd.DataFrame, directory: Path, *, name: str = "accuracy", formats: tuple[str, ...] = ("png", "svg", "pdf")
) -> list[Path]:
    """Draw test accuracy against training events per class, one panel a task, to `directory`/`name`.`format`.

    A line for each strategy and pretraining, error bars are the standard deviation over seeds (none where n = 1), the
    published points stand faintly behind. Returns the paths written, none where no trial is confirmed.
    """
    cells = accuracy.cells(frame)
    cells = cells[cells["n"] > 0]
    if cells.empty:
        return []
    directory.mkdir(parents=True, exist_ok=True)
    with rc_context(_STYLE):
        figure = _draw(cells)
        paths = [directory / f"{name}.{suffix}" for suffix in formats]
        for path in paths:
            figure.savefig(path, dpi=160, facecolor="white", metadata=_METADATA.get(path.suffix))
    return paths


# Without dates the same ledger gives the same bytes.
_METADATA: dict[str, dict[str, Any]] = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}


def _draw(cells: pd.DataFrame) -> Figure:
    tasks = ledger_frame.ordered_tasks(cells)
    columns = min(3, len(tasks))
    rows = math.ceil(len(tasks) / columns)
    spare_panel = rows * columns > len(tasks)
    beside = columns == 1
    width, height = 3.5 * columns + (3.1 if beside else 0.3), 2.75 * rows + (0.5 if spare_panel or beside else 1.0)
    figure = Figure(figsize=(width, height), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel, task in zip(grid, tasks, strict=False):
        _panel(panel, cells[cells["task"] == task])
    for panel in grid[len(tasks) :]:
        panel.set_axis_off()
    for index, panel in enumerate(grid[: len(tasks)]):
        if index % columns == 0:
            panel.set_ylabel("test accuracy (%)")
        if index + columns >= len(tasks):
            panel.set_xlabel("training events per class")
    handles = _legend(cells)
    if spare_panel:
        grid[-1].legend(handles=handles, loc="center", frameon=False, fontsize=10, handlelength=3.0, labelspacing=0.8)
    elif beside:
        figure.legend(handles=handles, loc="outside right center", frameon=False, handlelength=3.0, labelspacing=0.8)
    else:
        figure.legend(handles=handles, loc="outside lower center", frameon=False, ncols=min(1 + columns, len(handles)))
    return figure


def _panel(panel: Axes, cells: pd.DataFrame) -> None:
    sizes = sorted(set(cells["size"]))
    shown = _published_sizes(sizes) if _known(cells) else []
    _published(panel, cells, shown)
    treatments = ledger_frame.treatments(cells)
    for position, (pretraining, strategy) in enumerate(treatments):
        line = cells[(cells["pretraining"] == pretraining) & (cells["strategy"] == strategy)].sort_values("size")
        # A small sideways shift keeps error bars of different lines apart.
        shift = 1.0 + 0.05 * (position - (len(treatments) - 1) / 2)
        panel.errorbar(
            line["size"] * shift,
            line["accuracy"],
            yerr=np.nan_to_num(line["accuracy_sd"].to_numpy(dtype=float)),
            zorder=4 if strategy != "frozen" else 3,
            **_look(pretraining, strategy),
        )
    panel.set_xscale("log")
    title = ledger_frame.title(cells["task"].iloc[0])
    panel.set_title(title, fontsize=11, fontweight="bold", loc="left", color="#222222")
    panel.grid(axis="y", color="#e8e8e8", linewidth=0.8)
    panel.set_axisbelow(True)
    ticks = sorted({*sizes, *shown})
    # The sizes themselves where they are few; more would run into each other.
    panel.xaxis.set_major_locator(FixedLocator(ticks) if len(ticks) <= _MOST_TICKS else LogLocator(numticks=8))
    panel.xaxis.set_major_formatter(FuncFormatter(_events))
    panel.xaxis.set_minor_locator(NullLocator())
    if len(ticks) == 1:
        panel.set_xlim(ticks[0] / 2, ticks[0] * 2)
    panel.yaxis.set_major_locator(MaxNLocator(5, min_n_ticks=3))


def _published_sizes(sizes: list[int]) -> list[int]:
    """The paper's sizes that ours reach, or its smallest where that is at most a decade above our largest."""
    every = sorted({int(size) for size in published.accuracy()["events_per_class"]})
    reached = [size for size in every if sizes[0] / 1.5 <= size <= sizes[-1] * 1.5]
    return reached or [size for size in every[:1] if sizes[-1] < size <= sizes[-1] * 10]


def _known(cells: pd.DataFrame) -> bool:
    """Whether the paper has one of these tasks."""
    pairs = zip(cells["signal"], cells["background"], strict=True)
    return any(published.task_name(signal, background) for signal, background in pairs)


def _published(panel: Axes, cells: pd.DataFrame, sizes: list[int]) -> None:
    """Table 1 of the paper at these sizes."""
    first = cells.iloc[0]
    for pretraining in ("none", *sorted(set(cells.loc[cells["strategy"] == "finetune", "pretraining"]))):
        points = []
        for size in sizes:
            baseline = published.accuracy_value(first["signal"], first["background"], "none", size)
            gain = published.accuracy_value(first["signal"], first["background"], pretraining, size)
            if baseline and gain:
                points.append((size, baseline[0] + (0.0 if pretraining == "none" else gain[0])))
        if points:
            panel.plot(
                *zip(*points, strict=True), linestyle=":", linewidth=1.0, marker=_MARKERS.get(pretraining, "^"), markersize=8,
                markerfacecolor="none", markeredgewidth=1.3, color=_colour(pretraining), alpha=0.35, zorder=2,
            )  # fmt: skip


def _legend(cells: pd.DataFrame) -> list[Line2D]:
    handles = []
    for pretraining, strategy in ledger_frame.treatments(cells):
        look = {key: value for key, value in _look(pretraining, strategy).items() if key not in _ERROR_BAR_ONLY}
        handles.append(Line2D([], [], label=_label(pretraining, strategy), **look))
    if _known(cells) and _published_sizes(sorted(set(cells["size"]))):
        handles.append(
            Line2D([], [], linestyle=":", linewidth=1.0, marker="o", markersize=8, markerfacecolor="none", markeredgewidth=1.3,
                   color="#777777", alpha=0.6, label="published (arXiv 2412.10665)")
        )  # fmt: skip
    return handles


_ERROR_BAR_ONLY = ("capsize", "elinewidth", "ecolor")


def _look(pretraining: str, strategy: str) -> Mapping[str, Any]:
    frozen = strategy == "frozen"
    return {
        "color": _colour(pretraining),
        "linestyle": _LINES.get(strategy, ":"),
        "linewidth": 1.4 if frozen else 2.0,
        "marker": _MARKERS.get(pretraining, "^"),
        "markersize": 4.5 if frozen else 5.5,
        "markerfacecolor": "white" if frozen else _colour(pretraining),
        "elinewidth": 1.2,
        "capsize": 2.0,
    }


def _colour(pretraining: str) -> str:
    return _COLOURS.get(pretraining) or _SPARE_COLOURS[sum(pretraining.encode()) % len(_SPARE_COLOURS)]


def _label(pretraining: str, strategy: str) -> str:
    if strategy == "scratch":
        return "from scratch"
    return f"{pretraining}, {'finetuned' if strategy == 'finetune' else strategy}"


def _events(size: float, _position: int) -> str:
    """`300`, `1k`, `10k`, `1M`: ticks that read at a glance."""
    for factor, suffix in ((1e6, "M"), (1e3, "k")):
        if size >= factor:
            return f"{size / factor:g}{suffix}"
    return f"{size:g}"
