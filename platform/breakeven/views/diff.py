"""Two studies compared for the reader: read from their ledgers, printed as tables, written as JSON and CSV.

The figures are those of analysis/comparison.py; here is how they look. It changes neither study.
"""

import dataclasses
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from breakeven import atomic
from breakeven.analysis import comparison
from breakeven.analysis import frame as ledger_frame
from breakeven.analysis.comparison import CORRECTION, Difference
from breakeven.analysis.statistics import LEVEL, Estimate
from breakeven.duration import format_hours
from breakeven.ledger.ledger import Ledger
from breakeven.physics.processes import PRETRAINING
from breakeven.study.folder import StudyFolder, folder_with_trials
from breakeven.study.naming import Names
from breakeven.study.spec import InvalidStudy
from breakeven.terminal import page_width, show
from breakeven.views.misfits import find_misfits

_WIDE = 120
"""Width from which on accuracies and hours stand in one table."""


@dataclass(frozen=True)
class Comparison:
    """All that two studies have and have not in common."""

    a: StudyFolder
    b: StudyFolder
    specification: list[Difference]
    provenance: list[Difference]
    cells: pd.DataFrame
    only_a: pd.DataFrame
    only_b: pd.DataFrame
    costs: pd.DataFrame
    problems: tuple[str, ...] = ()
    """Records that could not be read, whose content is in neither study, and what does not fit in the studies' folders."""


def show_diff(a: str, b: str, runs_dir: Path, *, json_path: Path | None = None, csv_path: Path | None = None) -> None:
    """Print how the studies `a` and `b` differ, each the name of one below `runs_dir` or the path of its folder.

    json_path, csv_path: where all of it, and the table of cells, are written as well; None: nowhere.
    Raises FileNotFoundError, naming those that there are, where there is no such study or it has no trial yet, and OSError
    where the files cannot be written.
    """
    both = compare(folder_with_trials(a, runs_dir), folder_with_trials(b, runs_dir))
    show(*_pages(both))
    if json_path is not None:
        atomic.write_text(json_path, json.dumps(as_json(both), indent=1, allow_nan=False) + "\n")
    if csv_path is not None:
        atomic.write_text(csv_path, both.cells.to_csv(index=False))


def compare(a: StudyFolder, b: StudyFolder) -> Comparison:
    """The comparison of two studies, from their ledgers."""
    folders = {study.places.ledger for study in (a, b)}
    ledgers = {folder: Ledger(folder).refresh() for folder in folders}
    one, other = (_frame(ledgers[study.places.ledger], study) for study in (a, b))
    records = (_records(ledgers[study.places.ledger], study) for study in (a, b))
    unread = [f"{problem}; what it holds is missing here" for ledger in ledgers.values() for problem in ledger.problems]
    unfit = dict.fromkeys(problem for study in (a, b) for problem in _misfits(study, ledgers[study.places.ledger]))
    return Comparison(
        a=a,
        b=b,
        specification=comparison.specifications(a.spec, b.spec),
        provenance=comparison.provenance(*records),
        cells=comparison.cells(one, other),
        only_a=comparison.only_in(one, other),
        only_b=comparison.only_in(other, one),
        costs=comparison.costs(one, other),
        problems=(*unread, *unfit),
    )


def as_json(both: Comparison) -> dict[str, Any]:
    """The comparison as plain values; what is not a number is null."""
    return {
        "a": str(both.a.places.folder),
        "b": str(both.b.places.folder),
        "level": LEVEL,
        "correction": CORRECTION,
        "specification": [dataclasses.asdict(one) for one in both.specification],
        "provenance": [dataclasses.asdict(one) for one in both.provenance],
        "cells": _rows(both.cells),
        "only_in_a": _rows(both.only_a),
        "only_in_b": _rows(both.only_b),
        "costs": _rows(both.costs),
        "problems": list(both.problems),
    }


def _frame(ledger: Ledger, study: StudyFolder) -> pd.DataFrame:
    """The study's rows; a pretraining of one of several networks is called as its backbone is."""
    return ledger_frame.by_backbone(ledger.frame(study.members, _names(study)))


def _names(folder: StudyFolder) -> Callable[[Mapping[str, Any]], Mapping[str, str]]:
    """What the study calls the parts of a record; as its records have it where another version wrote its specification."""
    try:
        return Names(folder.study, PRETRAINING).of
    except InvalidStudy:
        return lambda record: {}


def _misfits(folder: StudyFolder, ledger: Ledger) -> list[str]:
    try:
        return find_misfits(folder, ledger)
    except InvalidStudy as error:
        return [str(error)]


def _records(ledger: Ledger, study: StudyFolder) -> Iterator[dict[str, Any]]:
    names = _names(study)
    return ({**record, **names(record)} for name in study.members if (record := ledger.get(name)) is not None)


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    finite = table.astype(object).where(table.notna(), None)
    return [{str(name): value for name, value in row.items()} for row in finite.to_dict("records")]


def _pages(both: Comparison) -> list[RenderableType]:
    pages: list[RenderableType] = [
        Text.assemble((f"{side}  {study.places.study}", "bold"), (f"  {study.places.folder}", "dim"), overflow="fold")
        for side, study in (("A", both.a), ("B", both.b))
    ]
    pages += [Text(), _differences("what was asked", both.specification, "the same in all fields")]
    pages += [Text(), _differences("where it comes from", both.provenance, "the same commit, hardware and data")]
    pages += [Text(), *_cells(both.cells)]
    pages += [page for side, table in (("A", both.only_a), ("B", both.only_b)) for page in _only_in(side, table)]
    warnings = [Text(f"warning  {problem}", style="yellow", overflow="fold") for problem in both.problems]
    return [*pages, Text(), _costs(both.costs), *warnings]


def _differences(title: str, differences: Sequence[Difference], none: str) -> RenderableType:
    if not differences:
        return Text.assemble((title, "bold"), f": {none}")
    table = _table(title, "A", "B")
    for one in differences:
        table.add_row(Text(one.field), _text_of(one.a), _text_of(one.b))
    return table


def _cells(cells: pd.DataFrame) -> list[RenderableType]:
    if cells.empty:
        return [Text("no cell has results in both studies", style="bold")]
    tested = int(cells["p"].notna().sum())
    changed = int((cells["p_adjusted"] < 1 - LEVEL).sum())
    accuracies = ("A", "B", "B - A", f"{LEVEL:.0%} interval", "p"), _accuracies
    hours = ("hours A", "hours B", "B / A"), _hours
    together = (*accuracies[0], *hours[0]), lambda row: [*_accuracies(row), *_hours(row)]
    kinds = [together] if page_width() >= _WIDE else [accuracies, hours]
    tables = [_cell_table(cells, *kind) for kind in kinds]
    methods = ", ".join(f"{n} {name}" for name, n in cells["method"].value_counts(sort=False).items())
    said = [
        "test accuracy in percent: mean ± standard deviation over seeds (n); B - A in percentage points",
        methods,
        f"p corrected after {CORRECTION} for {tested} cells: {changed} of them below {1 - LEVEL:.2f}" if tested else "",
        "hours: all that the cell was charged on its device: search, reported, failed and lost",
    ]
    return [*tables, Text("; ".join(filter(None, said)), style="dim")]


def _cell_table(cells: pd.DataFrame, columns: Sequence[str], entries: Callable[[dict[Any, Any]], list[Text]]) -> Table:
    """One row for each cell below the name of its task."""
    table = _table("cell")
    for name in columns:
        table.add_column(name, justify="right", no_wrap=name in ("A", "B", "p"))
    for task, rows in cells.groupby("task", sort=False):
        table.add_row(Text(str(task), style="bold"))
        for row in rows.to_dict("records"):
            table.add_row(Text(f"  {_treatment(row)}"), *entries(row))
    return table


def _treatment(row: dict[Any, Any]) -> str:
    return f"{row['pretraining']} {row['strategy']} {row['size']:,}".replace("none scratch", "scratch")


def _accuracies(row: dict[Any, Any]) -> list[Text]:
    interval = row["note"] or f"{row['low']:+.1f} to {row['high']:+.1f}"
    style = "bold" if row["p_adjusted"] < 1 - LEVEL else ""
    return [
        *(Text(_accuracy(row, side)) for side in "ab"),
        Text(f"{row['difference']:+.1f}", style=style),
        Text(interval, style="dim" if row["note"] else style),
        Text(_probability(row["p_adjusted"]), style=style),
    ]


def _hours(row: dict[Any, Any]) -> list[Text]:
    """With their units where these differ; no ratio then."""
    units = (
        ["", ""] if row["unit_a"] == row["unit_b"] else [f" {row[f'unit_{side}'].replace('_', '-')}" for side in "ab"]
    )
    hours = [format_hours(row[f"hours_{side}"]) + unit for side, unit in zip("ab", units, strict=True)]
    return [*map(Text, hours), Text(f"{row['hours_ratio']:.2f}" if math.isfinite(row["hours_ratio"]) else "-")]


def _accuracy(row: dict[Any, Any], side: str) -> str:
    text = Estimate(row[f"accuracy_{side}"], row[f"sd_{side}"], row[f"n_{side}"], math.nan, math.nan).text()
    failed = row[f"failed_{side}"]
    return text.replace("n=", "") + (f", {failed} failed" if failed else "")


def _probability(p: float) -> str:
    if not math.isfinite(p):
        return "-"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _only_in(side: str, table: pd.DataFrame) -> list[RenderableType]:
    if table.empty:
        return []
    other = "B" if side == "A" else "A"
    names = [
        f"{row['task']} {_treatment(row)}" + (f" (failed in {other})" if row["there"] == "failed" else "")
        for row in table.to_dict("records")
    ]
    return [Text(), Text.assemble((f"only in {side}", "bold"), f" ({len(names)} cells): {', '.join(names)}")]


def _costs(costs: pd.DataFrame) -> Table:
    table = _table("device-hours")
    for name in ("unit", "A useful", "A wasted", "B useful", "B wasted", "B / A"):
        table.add_column(name, justify="right" if name != "unit" else "left")
    for row in costs.to_dict("records"):
        hours = [format_hours(row[name]) for name in ("useful_a", "wasted_a", "useful_b", "wasted_b")]
        ratio = f"{row['ratio']:.2f}" if math.isfinite(row["ratio"]) else "-"
        table.add_row(row["stage"], row["unit"].replace("_", "-"), *hours, ratio)
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    table.add_column(title, overflow="fold")
    for name in columns:
        table.add_column(name, overflow="fold")
    return table


def _text_of(value: Any) -> Text:
    return Text(value if isinstance(value, str) else json.dumps(value))
