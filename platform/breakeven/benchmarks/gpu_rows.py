"""What the GPU's benchmark measures, as rows, and how they are shown: in the terminal and in the README.

Holds values and tables; it measures nothing.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from breakeven.benchmarks.card import Ceilings
from breakeven.benchmarks.forms import FORMS, Form
from breakeven.estimate.cards import PRECISIONS, Card
from breakeven.training.recipe import Precision

DEFINITIONS = {
    "events_per_second": "events of all members over the median time of a step (batch, forward, loss, backward, Adam), steps "
    "following each other without a wait",
    "eager": "the network as it stands, launched kernel by kernel",
    "captured": "the plain formulas on batches filled up to one size, a step being one CUDA graph",
    "triton": "our own kernels, a step being one CUDA graph",
    "geometric": "PyTorch Geometric's MetaLayer, from batches collated beforehand, which are not charged",
    "share_of_products": "two operations for each multiply-add of the split form, forward and twice that backward, per second, "
    "over those of a large square matrix product in the same precision in the same run",
    "share_of_copy": "bytes of the states of all edges, nodes and events (after the encoder and each iteration: written and "
    "read forward, read backward, their gradients written and read), per second, over those of a large copy in the same run",
    "joules_per_million_events": "by the GPU's energy counter, over steps that follow each other",
    "agreement": "length of the difference of a step's gradient from that in float64, over the latter's length",
    "trainings": "whole trainings of a task, one pack: start, feature statistics, epochs, validation; nothing stops early",
    "loading_share": "time to gather a batch of 1,024, over the eager float32 step of that batch",
}


@dataclass(frozen=True)
class Step:
    """A timed step. edges_per_event, flop_per_event: means over its events.  None: not measured, or not told."""

    form: Form
    precision: Precision
    batch: int
    members: int
    seconds: float
    events_per_second: float
    edges_per_event: float
    flop_per_event: float
    share_of_products: float | None = None
    share_of_copy: float | None = None
    joules_per_million_events: float | None = None
    peak_bytes: int | None = None


@dataclass(frozen=True)
class Training:
    """`members` whole trainings in one pack. events_per_second: seen in training, by all of them, over the wall time."""

    precision: Precision
    members: int
    batch: int
    epochs: int
    training_events: int
    seconds: float
    events_per_second: float


def ceilings_table(ceilings: Ceilings, name: str) -> Table:
    """What the card gives at most."""
    table = Table(title=f"{name}: copies {ceilings.copy / 1e12:,.2f} TB/s", title_justify="left")
    for heading in ("precision", "square product, TFLOP/s", "n x 64 by 64 x 64, TFLOP/s"):
        table.add_column(heading, justify="right")
    for precision, wide in ceilings.wide.items():
        table.add_row(precision, f"{wide / 1e12:,.1f}", f"{ceilings.narrow[precision] / 1e12:,.1f}")
    return table


def steps_table(steps: Sequence[Step]) -> Table:
    """One row for each step."""
    table = Table("form", "precision", title="one training step", title_justify="left")
    for heading in ("batch", "members", "ms", "events/s", "% of products", "% of copy", "J/million events", "GB"):
        table.add_column(heading, justify="right")
    for step in steps:
        table.add_row(
            step.form, step.precision, f"{step.batch:,}", str(step.members), f"{1e3 * step.seconds:,.3f}",
            f"{step.events_per_second:,.0f}", _format(step.share_of_products, 100.0), _format(step.share_of_copy, 100.0),
            _format(step.joules_per_million_events), _format(step.peak_bytes, 1e-9),
        )  # fmt: skip
    return table


def trainings_table(trainings: Sequence[Training]) -> Table:
    """One row for each pack of whole trainings."""
    table = Table("precision", title="whole trainings, one pack", title_justify="left")
    for heading in ("K", "batch", "epochs", "events", "seconds", "ms per training", "trained events/s"):
        table.add_column(heading, justify="right")
    for t in trainings:
        table.add_row(
            t.precision, str(t.members), str(t.batch), str(t.epochs), f"{t.training_events:,}", f"{t.seconds:,.2f}",
            f"{1e3 * t.seconds / t.members:,.1f}", f"{t.events_per_second:,.0f}",
        )  # fmt: skip
    return table


def _format(value: float | None, factor: float = 1.0) -> str:
    return "-" if value is None else f"{factor * value:,.3g}"


def markdown(content: Mapping[str, Any]) -> str:
    """The measurements of a card as tables of a README, with its provenance; content: as gpu.Benchmark keeps it."""
    measured = {(step["form"], step["precision"]) for step in content["steps"]}
    columns = [column for column in itertools.product(FORMS, PRECISIONS) if column in measured]
    rates = {
        (step["members"], step["batch"], step["form"], step["precision"]): step["events_per_second"]
        for step in content["steps"]
    }
    lines = [
        "| networks x batch | " + " | ".join(f"{form} {precision}" for form, precision in columns) + " |",
        "| --- |" + " ---: |" * len(columns),
    ]
    for members, batch in sorted({(step["members"], step["batch"]) for step in content["steps"]}):
        of_row = [rates.get((members, batch, *column)) for column in columns]
        lines.append(
            f"| {members} x {batch:,} | " + " | ".join("" if rate is None else f"{rate:,.0f}" for rate in of_row) + " |"
        )
    if content["trainings"]:
        lines += [
            "",
            "| trainings in a pack | precision | ms per training | trained events/s |",
            "| ---: | --- | ---: | ---: |",
        ]
        lines += [
            f"| {t['members']} | {t['precision']} | {1e3 * t['seconds'] / t['members']:,.1f} | {t['events_per_second']:,.0f} |"
            for t in content["trainings"]
        ]
    card, ceilings = Card("", content), content.get("ceilings")
    told = [f"{card.edges_per_event:.1f} edges per event; {card.provenance}."]
    if ceilings:
        products = ", ".join(f"{rate / 1e12:,.0f} in {precision}" for precision, rate in ceilings["wide"].items())
        told.append(
            f"The card copies {ceilings['copy'] / 1e12:,.2f} TB/s and multiplies matrices at {products} TFLOP/s."
        )
    return "\n".join(["Events per second of a training step:", "", *lines, "", *told])
