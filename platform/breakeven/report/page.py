"""The page: one HTML file with everything in it, so that it opens offline and can be sent to a referee."""

import json
import math
import re
import textwrap
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import pandas as pd
from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup, escape
from plotly.offline import get_plotlyjs

from breakeven.analysis import frame as ledger_frame
from breakeven.report import headline, links, sentences
from breakeven.report.exports import commits_of
from breakeven.report.look import look, part_colours
from breakeven.report.plot import Bars, Panel, Plot, Series
from breakeven.report.results import Results
from breakeven.report.table import Table

_LONG = 15
_AXIS = 30
"""Letters beside an axis, above which its title has two lines."""
_WORDY = {
    "note",
    "reason or note",
    "reason",
    "charged",
    "against",
    "against trees",
    "quantity",
    "what it does",
    "processor",
    "factor",
    "hours",
    "in words",
    "ours",
}
"""Columns whose texts are broken into lines."""


def page_of(results: Results, tables: Mapping[str, Sequence[Table]], records: Table, plots: Mapping[str, Plot]) -> str:
    """The whole page.

    tables: by section of the page, in order.  records: of all trials.  plots: by name.  Figures are inlined as JSON with five
    significant digits.
    """
    facts = results.facts
    mlflow = facts.get("mlflow") or {"address": links.DEFAULT_ADDRESS, "experiment": ""}
    trials = _trials_by_cell(records)
    shown = {name: plot for name, plot in plots.items() if not plot.empty}
    payload = {name: _plot(plot) for name, plot in shown.items()}
    return _template().render(
        facts=facts,
        results=results,
        title=ledger_frame.title,
        tables={section: [_table(table, mlflow, trials) for table in here] for section, here in tables.items()},
        plots=shown,
        trials=trials,
        trial_columns=list(records.texts),
        headline=[_marked(line) for line in headline.headline(results)],
        details=[_marked(line) for line in sentences.details(results)],
        method=sentences.method(facts["spec"]),
        published_break_even=_marked(sentences.published_break_even()) if results.in_paper else "",
        commits=commits_of(results.frame),
        devices=ledger_frame.devices(results.frame),
        mlflow=mlflow,
        missing=sum((facts.get("missing") or {}).values()),
        runs_path=links.runs_path,
        anchor=links.anchor,
        style=Markup(_file("page.css")),
        script=Markup(_file("page.js")),
        plotly=Markup(get_plotlyjs()),
        payload=Markup(json.dumps(payload, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")),
    )


@cache
def _template() -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_file("page.html.j2"))


@cache
def _file(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _marked(text: str) -> Markup:
    """`**loud**` and `*name*` as HTML, everything else as text."""
    loud = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", str(escape(text)))
    return Markup(re.sub(r"\*(.+?)\*", r"<em>\1</em>", loud))


def _table(table: Table, mlflow: Mapping[str, str], trials: Mapping[str, Any]) -> dict[str, Any]:
    """What the template shows of a table: rows of (text, sort key), the cell each stands for."""
    shown, keys = table.shown, table.sort_keys()
    columns = [list(zip(shown[heading], keys.get(heading, shown[heading]), strict=True)) for heading in shown.columns]
    first = {_family(cell): cell for cell in reversed(list(trials))}
    # A forecast is of a size that nobody trained: it stands for its family.
    cells = [cell if cell in trials else _family(cell) for cell in table.cells()]
    targets = [cell if cell in trials else first.get(cell, "") for cell in cells]
    return {
        "name": table.name, "title": table.title, "caption": table.caption, "empty": table.empty,
        "headings": list(shown.columns), "wordy": [heading in _WORDY for heading in shown.columns],
        "numeric": [heading in keys and _is_number(table, heading) for heading in shown.columns],
        "rows": list(zip(zip(*columns, strict=True), cells, targets, strict=True)) if columns else [],
        "linked": bool(mlflow) and any(targets), "long": len(shown) > _LONG,
    }  # fmt: skip


def _family(cell: str) -> str:
    return cell.rsplit("/", 1)[0] + "/"


def _is_number(table: Table, heading: str) -> bool:
    column = next(column for column in table.columns if column.heading == heading)
    return pd.api.types.is_numeric_dtype(table.frame[column.sort])


def _trials_by_cell(table: Table) -> dict[str, list[Sequence[str]]]:
    trials: dict[str, list[Sequence[str]]] = {}
    for cell, *texts in zip(table.frame["cell"], *table.texts.values(), strict=True):
        trials.setdefault(cell, []).append(texts)
    return trials


def _plot(plot: Plot) -> dict[str, Any]:
    # A list, since JavaScript would sort the sizes among the keys of an object.
    variants = [[words, [_panel(panel) for panel in panels]] for words, panels in plot.variants.items()]
    return {"choice": plot.choice, "variants": variants}


def _panel(panel: Panel) -> dict[str, Any]:
    return {
        "title": panel.title, "x": panel.x_title, "y": "<br>".join(textwrap.wrap(panel.y_title, _AXIS)),
        "xlog": panel.x_log, "ylog": panel.y_log,
        "ticks": list(panel.x_ticks), "references": [list(one) for one in panel.references], "remark": panel.remark,
        "series": [_series(series) for series in panel.series], "bars": [_bars(bars) for bars in panel.bars],
    }  # fmt: skip


def _series(series: Series) -> dict[str, Any]:
    style = look(series.pretraining, series.strategy, series.adapted)
    fields = {
        "label": series.label, "kind": series.kind, "x": _numbers(series.x), "y": _numbers(series.y),
        "low": _numbers(series.low), "high": _numbers(series.high), "split": series.split, "texts": list(series.texts),
        "cells": list(series.cells) if len(set(series.cells)) > 1 else list(series.cells[:1]),
        "colours": [style.colour, style.dark], "symbol": style.symbol, "dash": style.line, "hollow": style.hollow,
    }  # fmt: skip
    return {name: value for name, value in fields.items() if value not in ([], None)}


def _bars(bars: Bars) -> dict[str, Any]:
    colours = list(part_colours(bars.part))
    return {"part": bars.part, "categories": list(bars.categories), "values": _numbers(bars.values), "colours": colours}


def _numbers(values: Sequence[float]) -> list[float | None]:
    return [float(f"{value:.5g}") if math.isfinite(value) else None for value in values]
