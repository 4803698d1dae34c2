"""What the progress of a study looks like: a board of a few lines in a terminal, one compact line in a log.

Pure pictures of a `Standing`; the driver shows them while it works, `breakeven status` afterwards and from elsewhere.
It counts nothing and looks at no file.
"""

from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from breakeven.duration import duration, format_hours
from breakeven.ledger import levels
from breakeven.ledger.charge import Spent, hours_unit
from breakeven.metric import MERIT
from breakeven.study.spec import SEARCHED
from breakeven.views.progress import Standing

_REASON = 200
"""Most letters of a failure that are shown; the report has all."""


def picture(standing: Standing, notes: Sequence[str] = ()) -> RenderableType:
    """A bar, the figures, and a table of the last results. notes: more figures, for the line of the trials."""
    head = Table.grid(padding=(0, 1))
    head.add_column(no_wrap=True)
    head.add_column(ratio=1)
    head.add_column(overflow="fold")
    bar = ProgressBar(total=max(standing.total, 1), completed=standing.done)
    head.add_row("  trials", bar, f"{standing.done:,} of {standing.total:,}, {left_text(standing)}")
    head.expand = True
    lines: list[RenderableType] = [head, *(Text(f"  {line}", overflow="fold") for line in figures(standing, notes))]
    if standing.failure:
        lines.append(Text(f"  last failure: {standing.failure[:_REASON]}", style="red", overflow="fold"))
    return Group(*lines, *([last_results(standing.latest)] if standing.latest else []))


def figures(standing: Standing, notes: Sequence[str] = ()) -> list[str]:
    """The figures as short lines."""
    return [", ".join([*_counts(standing), *notes]), *hours_lines(standing.spent)]


def line(standing: Standing, notes: Sequence[str] = ()) -> str:
    """All figures in one line, for a log."""
    return "; ".join(
        [
            f"trials: {standing.done:,} of {standing.total:,}, {', '.join([*_counts(standing), *notes])}",
            *hours_lines(standing.spent),
            left_text(standing),
            *([f"last failure: {standing.failure[:_REASON]}"] if standing.failure else []),
        ]
    )


def hours_lines(spent: Mapping[str, Spent]) -> list[str]:
    """Device-hours by kind of device: useful, wasted, search."""
    return [
        f"{hours_unit(device).replace('_', '-')}: {format_hours(one.useful / 3600)} useful, "
        f"{format_hours(one.wasted / 3600)} wasted, {format_hours(one.searched / 3600)} search"
        for device, one in sorted(spent.items())
    ]


def left_text(standing: Standing) -> str:
    """The time that is left, in words."""
    if not standing.left:
        return "all done"
    if standing.left_seconds is None:
        return f"about {duration(standing.work_seconds)} of one worker left"
    return f"about {duration(standing.left_seconds)} left"


def last_results(latest: Sequence[levels.Trial]) -> Table:
    """One row for each record: its cell, seed, ratio and what came of it."""
    table = Table(box=None, padding=(0, 1), header_style="dim", pad_edge=False)
    table.add_column("  last results", overflow="fold")
    for name in ("seed", "ratio", MERIT.title, "seconds"):
        table.add_column(name, justify="right", no_wrap=True)
    for record in latest:
        row = (_seed(record), _ratio(record), _merit(record), f"{record.get('wall_seconds') or 0.0:,.1f}")
        table.add_row(Text(f"  {record['cell']}"), *row)
    return table


def _counts(standing: Standing) -> list[str]:
    counts = [f"{standing.cells_done:,} of {standing.cells:,} cells"]
    counts += [f"{standing.rate:,.1f} trials per minute"] if standing.rate else []
    counts.append(f"{standing.failed:,} failed")
    return counts + ([f"{standing.stopped:,} pruned"] if standing.stopped else [])


def _seed(record: levels.Trial) -> str:
    return "search" if record["phase"] == "search" else str(record["seed"])


def _ratio(record: levels.Trial) -> str:
    return f"{record['ratio']:.3g}" if record["strategy"] in SEARCHED else "-"


def _merit(record: levels.Trial) -> Text:
    """Of test events; of a search trial that of validation events, in brackets."""
    if record["outcome"] == "failed":
        return Text("failed", style="red")
    if record["outcome"] == "stopped":
        return Text("pruned", style="dim")
    test, validation = (record["metrics"].get(MERIT.column(split)) for split in ("test", "validation"))
    if test is not None:
        return Text(f"{MERIT.scale * test:.1f} {MERIT.unit}")
    return Text(f"({MERIT.scale * validation:.1f} {MERIT.unit})", style="dim") if validation is not None else Text("-")
