"""What estimate/scale.py predicts for the published study's pretraining and for its finetuning, as tables for the terminal."""

from rich.table import Table

from breakeven.estimate import scale
from breakeven.estimate.cards import card
from breakeven.models import build
from breakeven.terminal import console

EVENTS, BYTES_AN_EVENT = 120e6, 108.0
"""Training events of the published pretraining, and what one takes as ragged arrays."""
BATCHES = (1024, 16384)
GPUS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
PASSES = 30_000.0
"""Event passes of a trial: 1,000 events in 30 epochs, a small one of the published study."""


def simulate(name: str, cluster: scale.Cluster | None = None) -> None:
    """Print both predictions for the card `name`; raises UnknownCard."""
    cluster, chosen = cluster or scale.Cluster(), card(name)
    gradient = 4.0 * sum(weight.numel() for weight in build(12).parameters())
    precision = chosen.precisions[-1]
    table = Table(title=f"a pretraining of {EVENTS:,.0f} events on {name}s, {precision}", title_justify="left")
    for heading in ("global batch", "GPUs", "efficiency", "an epoch, s", "to read all, s"):
        table.add_column(heading, justify="right")
    table.add_column("what costs most")
    bounds = set()
    for batch in BATCHES:
        for gpus in GPUS:
            parts = scale.pretraining(
                chosen, cluster, gpus, precision=precision, batch=batch, events=EVENTS, gradient_bytes=gradient
            )
            bounds.add(parts.bottleneck)
            table.add_row(
                f"{batch:,}", str(gpus), f"{100 * parts.efficiency:.0f} %", f"{parts.seconds:,.1f}",
                f"{scale.loading(cluster, gpus, EVENTS * BYTES_AN_EVENT):,.0f}", parts.bottleneck,
                end_section=gpus == GPUS[-1],
            )  # fmt: skip
    console.print(table)
    trained = [row for row in chosen.content["trainings"] if row["precision"] == precision]
    fastest = max(trained, key=lambda row: row["events_per_second"])
    alone = 60.0 * fastest["events_per_second"] / PASSES
    table = Table(title=f"trials of {PASSES:,.0f} event passes, {fastest['members']} to a pack", title_justify="left")
    for heading in ("GPUs", "trials a minute", "of what the GPUs could"):
        table.add_column(heading, justify="right")
    table.add_column("what bounds them")
    for gpus in (1, 8, 64, 256, 1000):
        rate, bound = scale.trials_per_minute(cluster, gpus, alone)
        share = f"{100 * rate / (gpus * alone):.0f} %"
        table.add_row(str(gpus), f"{rate:,.0f}", share, bound)
        bounds.add(bound)
    console.print(table)
    for bound in sorted(bounds):
        console.print(f"{bound}: lifted by {scale.REMEDY[bound]}", markup=False)
    console.print(f"{chosen.provenance}. Assumed: {cluster}", markup=False)
