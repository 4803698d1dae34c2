"""A table of the report: its figures, which of them a reader is shown, and what they mean. Never computes a figure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pandas as pd

from breakeven.analysis import frame as ledger_frame
from breakeven.analysis.statistics import format_uncertainty
from breakeven.report import wording

Row = Mapping[Any, Any]


@dataclass(frozen=True)
class Column:
    """One shown column. text: of a row.  sort: the column of the frame that it is sorted by, its text if empty."""

    heading: str
    text: Callable[[Row], str]
    sort: str = ""


@dataclass(frozen=True)
class Table:
    """name: of its files.  title, caption: for readers; the caption says what the quantity is, its unit, what is averaged
    over and what the uncertainty is.  frame: all figures, for the CSV.  columns: those shown.  empty: what is said where
    the frame has no rows.
    """

    name: str
    title: str
    caption: str
    frame: pd.DataFrame
    columns: tuple[Column, ...]
    empty: str = "Nothing yet."
    links: bool = True
    meanings: Mapping[str, str] = field(default_factory=dict)
    """What each column of the frame is, with its unit: as the function that computes it says."""

    def meaning(self, column: str) -> str:
        """What a column of the frame is. Raises KeyError naming one that nobody described."""
        if column in self.meanings:
            return self.meanings[column]
        if column.replace(",", "").isdigit():
            return f"at {column} training events per class"
        raise KeyError(f"table {self.name}: column {column!r} has no meaning; say it where the column is computed")

    @cached_property
    def texts(self) -> dict[str, list[str]]:
        """What each column says of each row, by its heading."""
        rows = self.frame.to_dict("records")
        return {column.heading: [column.text(row) for row in rows] for column in self.columns}

    @cached_property
    def shown(self) -> pd.DataFrame:
        """The texts, a column that is empty everywhere left out."""
        return pd.DataFrame({heading: column for heading, column in self.texts.items() if any(column)}, dtype=object)

    def sort_keys(self) -> dict[str, list[str]]:
        """What each shown column that is not sorted by its text is sorted by."""
        sorted_by = {column.heading: column.sort for column in self.columns if column.sort in self.frame.columns}
        return {
            heading: ["" if not wording.known(value) else str(value) for value in self.frame[sorted_by[heading]]]
            for heading in self.shown.columns
            if heading in sorted_by
        }

    def cells(self) -> list[str]:
        """The cell that each row stands for, its family (without a size), or nothing."""
        if not self.links or not set(ledger_frame.CELL[:3]) <= set(self.frame.columns):
            return [""] * len(self.frame)
        return [cell_of(row) for row in self.frame.to_dict("records")]


def cell_of(row: Row) -> str:
    """The name of its cell; without a size, and with a slash at its end, that of its family for a row over all sizes."""
    network = [row["network"]] if row.get("network") else []
    family = "/".join([row["task"], *network, row["pretraining"], row["strategy"]])
    return f"{family}/{int(row['size'])}" if "size" in row and wording.known(row["size"]) else f"{family}/"


def plain(heading: str, name: str = "") -> Column:
    """A column shown as it is, by default that of this name; missing values are blank."""
    name = name or heading
    return Column(heading, lambda row: str(row[name]) if wording.known(row[name]) else "", name)


def count(heading: str, name: str, zero: str = "0") -> Column:
    """A whole number with separators; zero: what is shown for none."""
    return Column(heading, lambda row: text if (text := wording.integer(row[name])) != "0" else zero, name)


def written(heading: str, name: str, write: Callable[..., str] = wording.number, *more: Any, **how: Any) -> Column:
    """A figure as a function of wording.py writes it, which is called with `more` and `how` besides the figure."""
    return Column(heading, lambda row: write(row[name], *more, **how), name)


def in_words(heading: str, name: str) -> Column:
    """The text of a row, sorted by the figure that it words."""
    return Column(heading, lambda row: row["text"], name)


def interval(name: str = "", heading: str = "90 %", digits: int = 1, *, sign: bool = False) -> Column:
    """From the columns `name`_low and `name`_high, or low and high."""
    low, high = (f"{name}_{end}".lstrip("_") for end in ("low", "high"))
    return Column(heading, lambda row: wording.between(row[low], row[high], digits, sign=sign))


def published(heading: str, digits: int = 1, *, sign: bool = False) -> Column:
    """The paper's figure with its uncertainty, blank where it has none."""

    def text(row: Row) -> str:
        if not wording.known(row["published"]):
            return ""
        uncertainty = format_uncertainty(row["published_uncertainty"], digits)
        return f"{wording.number(row['published'], digits, sign=sign)} ± {uncertainty}"

    return Column(heading, text, "published")


TASK = Column("task", lambda row: ledger_frame.title(row["task"]), "task")
PRETRAINING = plain("pretraining")
STRATEGY = Column("strategy", lambda row: wording.STRATEGIES.get(row["strategy"]) or str(row["strategy"]), "strategy")
SIZE = Column("events per class", wording.sizes_of, "size")
N = count("n", "n")
NOTE = plain("note")
CELL = (TASK, PRETRAINING, STRATEGY, SIZE)
FAMILY = CELL[:3]
