"""Colours, markers and dashes of treatments and of kinds of time, the same on the page and in the pictures."""

from dataclasses import dataclass
from typing import Any

from breakeven.study.spec import BASELINES

# Okabe and Ito's palette keeps its contrasts under every kind of colour blindness; markers repeat the distinction.
# The second of each pair is for a dark ground.
_COLOURS = {
    "none": ("#3c3c3c", "#d4d4d4"),
    "trees": ("#009E73", "#2DCB9C"),
    "multiclass": ("#0072B2", "#56B4E9"),
    "multilabel": ("#D55E00", "#F08C4A"),
}
_SPARE_COLOURS = (("#CC79A7", "#E3A3C6"), ("#B07D00", "#E6B93A"), ("#7A3E9D", "#B98AD4"), ("#6B6B00", "#C2C25A"))
_NUMBERED = (*_COLOURS.values(), *_SPARE_COLOURS)
"""Of lines that are told apart by a number, as sizes."""
_PARTS = {"useful": ("#0072B2", "#56B4E9"), "search": ("#B07D00", "#E6B93A"), "stopped": ("#B07D00", "#E6B93A"),
          "wasted": ("#D55E00", "#F08C4A"), "idle": ("#c4c4c4", "#555b63")}  # fmt: skip
_MARKERS = {
    "none": ("o", "circle"),
    "trees": ("v", "triangle-down"),
    "multiclass": ("s", "square"),
    "multilabel": ("D", "diamond"),
}
_SPARE_MARKER = ("^", "triangle-up")
_DASHES: dict[str, tuple[Any, str]] = {
    "scratch": ("-", "solid"),
    "finetune": ("-", "solid"),
    "trees": ("-", "solid"),
    "trees+score": ((0, (2.5, 1.8)), "dash"),
    "frozen": ((0, (2.5, 1.8)), "dash"),
}
_SPARE_DASH: tuple[Any, str] = (":", "dot")
_ADAPTED: dict[str, tuple[Any, str]] = {"finetune": ("--", "longdash"), "frozen": (":", "dot")}
"""Of backbones whose pretraining started from another's."""


@dataclass(frozen=True)
class Look:
    """colour, dark: on light and on dark ground.  marker, dash: matplotlib's words.  symbol, line: Plotly's.  hollow:
    whether markers are empty, as those of frozen backbones are.
    """

    colour: str
    dark: str
    marker: str
    symbol: str
    dash: Any
    line: str
    hollow: bool


def look(pretraining: str, strategy: str, adapted: bool = False) -> Look:
    """How a treatment is drawn; pretrainings and strategies that the paper has not get spare ones, numbers their own."""
    kind = "trees" if strategy in BASELINES else pretraining
    spare = _SPARE_COLOURS[sum(kind.encode()) % len(_SPARE_COLOURS)]
    colours = _NUMBERED[int(kind) % len(_NUMBERED)] if kind.isdigit() else _COLOURS.get(kind, spare)
    dashes = _DASHES | _ADAPTED if adapted else _DASHES
    return Look(*colours, *_MARKERS.get(kind, _SPARE_MARKER), *dashes.get(strategy, _SPARE_DASH), strategy == "frozen")


def part_colours(part: str) -> tuple[str, str]:
    """Of a kind of device time, on light and on dark ground."""
    return _PARTS[part]
