"""How far studies are, told from the disk alone: while they run here or elsewhere, and after they were killed.

Answers at once, as it imports neither Ray nor torch nor MLflow. It writes nothing and disturbs no study.
"""

import os
import shlex
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from breakeven import plugins
from breakeven.duration import duration, format_hours
from breakeven.ledger.charge import Spent, hours_unit
from breakeven.ledger.lease import Driver, Leases
from breakeven.ledger.ledger import Ledger
from breakeven.places import Places
from breakeven.study.folder import StudyFolder, read_command, read_folder, study_names
from breakeven.study.spec import InvalidStudy
from breakeven.terminal import live, show
from breakeven.views import board
from breakeven.views.misfits import describe_misfits
from breakeven.views.progress import FACTS, Progress, Standing

WATCH_SECONDS = 2.0
"""Pause between two looks of `--watch`."""


@dataclass(frozen=True)
class View:
    """One study as it is seen from outside."""

    folder: StudyFolder
    standing: Standing
    drivers: tuple[Driver, ...]
    """Those whose heartbeats say that they run it, living and killed."""
    at_work: int
    """Its trials that living drivers have taken."""
    problems: tuple[str, ...] = ()
    """What in its folder does not fit the ledger."""

    @property
    def state(self) -> str:
        """One word or two: running, finished, not begun, stopped."""
        if any(driver.alive for driver in self.drivers):
            return "running"
        if not self.standing.left:
            return "finished"
        return "stopped" if self.standing.done else "not begun"


def show_status(name: str, runs_dir: Path, watch: bool = False) -> None:
    """Print how the study `name` stands, or all studies below `runs_dir` where it is empty.

    watch: look again and again, until all of it is done or the user interrupts.
    Raises FileNotFoundError where there is no such study, naming those that there are, and InvalidStudy where its files
    cannot be read.
    """
    viewer = Viewer(read_folder(name, runs_dir).places.root if name else runs_dir.resolve())
    if not watch:
        show(_page(viewer, name, runs_dir)[0])
        return
    page = _page(viewer, name, runs_dir)
    try:
        with live(lambda: page[0], lambda: page[1], redraws=1 / WATCH_SECONDS):
            while page[2]:
                time.sleep(WATCH_SECONDS)
                page = _page(viewer, name, runs_dir)
    except KeyboardInterrupt:
        return  # the way to leave


class Viewer:
    """Looks at one runs folder, reading only what is new since its last look."""

    def __init__(self, root: Path) -> None:
        places = Places(root, "")
        self.ledger, self._leases = Ledger(places.ledger), Leases(places.ledger)
        self._drivers: list[Driver] = []
        self._taken: set[str] = set()
        self._finished: dict[str, dict[str, Any]] = {}

    def look(self) -> "Viewer":
        """See what has happened since; returns itself."""
        self.ledger.refresh()
        self._drivers = self._leases.drivers()
        living = {driver.owner for driver in self._drivers if driver.alive}
        self._taken = {name for name, owner in self._leases.held().items() if owner in living}
        return self

    def view(self, folder: StudyFolder) -> View:
        """The study as last looked at. Raises InvalidStudy where its specification is not of this version, or lacks a plug-in."""
        study = folder.study
        try:
            progress = Progress(study)
        except InvalidStudy as error:
            files = _plugins_of(folder)
            missing = f"its tasks need --plugin {shlex.join(files)}"
            way = missing if files else f"{error}; one of a plug-in needs --plugin FILE"
            raise InvalidStudy(f"{folder.places.study}: {way}") from error
        at_work, unknown = self._taken & set(folder.members), 0
        for name in folder.members:
            record = self._facts(name)
            unknown += record is None
            if record is not None and (record["outcome"] != "failed" or name not in at_work):  # else it is tried again
                progress.add(record, self.ledger.wasted_seconds(name))
        drivers = tuple(driver for driver in self._drivers if driver.study == folder.places.study)
        standing = progress.standing(time.time())
        if not any(driver.alive for driver in drivers):
            standing = replace(standing, left_seconds=None)
        if not standing.left:
            standing = replace(standing, rate=0.0)  # it would fall with the clock
        view = View(folder, standing, drivers, len(at_work))
        if view.state == "running":  # what it keeps grows meanwhile
            return view
        return replace(view, problems=tuple(describe_misfits(folder, self.ledger, progress, unknown)))

    def _facts(self, name: str) -> dict[str, Any] | None:
        """What is counted of a record; one that finished stays as it is, so it is read once."""
        if (known := self._finished.get(name)) is not None:
            return known
        if (record := self.ledger.get(name)) is None:
            return None
        facts = {fact: record.get(fact) for fact in FACTS}
        if record["outcome"] == "finished":
            self._finished[name] = facts
        return facts


def _page(viewer: Viewer, name: str, runs_dir: Path) -> tuple[RenderableType, str, bool]:
    """What to show, the same in one line, and whether anything can change."""
    viewer.look()
    names = [name] if name else study_names(runs_dir)
    if not names:
        raise FileNotFoundError(f"{runs_dir.resolve()}: no study began here; name another folder with --runs-dir")
    views, unreadable = [], []
    for one in names:
        try:
            views.append(viewer.view(read_folder(one, runs_dir)))
        except InvalidStudy as error:
            if name:
                raise
            unreadable.append(str(error))
    shown = _study_page(views[0]) if name else _studies_table(views)
    problems = viewer.ledger.problems
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    unfit = [problem for view in views for problem in view.problems]
    warnings = [*unreadable, *unfit, *(f"{problem}{more}" for problem in problems[:1])]
    shown = Group(shown, *(Text(f"  warning  {warning}", style="yellow") for warning in warnings))
    told = "; ".join(f"{view.folder.places.study} {view.state}: {board.line(view.standing)}" for view in views)
    return shown, told, any(view.state == "running" for view in views)


def _study_page(view: View) -> RenderableType:
    head = Text.assemble(
        "  ", (view.folder.places.study, "bold"), f"  {view.state}  ", (str(view.folder.places.folder), "dim")
    )
    lines = [f"  {_driver_line(driver)}" for driver in view.drivers]
    foot = []
    if view.state == "running":
        foot = [f"  time left: {view.standing.how}"] if view.standing.left else []
    elif view.standing.left:
        again = read_command(view.folder.places) or "the command that began it"
        foot = [f"  no driver is alive; what is finished is kept, it goes on with: {again}"]
    notes = [f"{view.at_work:,} at work"] if view.at_work else []
    return Group(head, *map(_folded, lines), board.picture(view.standing, notes), *map(_folded, foot))


def _studies_table(views: Iterable[View]) -> Table:
    table = Table(box=None, padding=(0, 1), header_style="dim", pad_edge=False)
    table.add_column("  study", overflow="fold")
    for name in ("state", "at"):
        table.add_column(name, overflow="fold")
    for name in ("cells", "trials", "failed", "per minute"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("device-hours", justify="right", no_wrap=True)
    table.add_column("left", overflow="fold")
    for view in views:
        one = view.standing
        alive = [driver.doing for driver in view.drivers if driver.alive]
        table.add_row(
            f"  {view.folder.places.study}",
            view.state,
            ", ".join(dict.fromkeys(alive)) or "-",
            f"{one.cells_done:,}/{one.cells:,}",
            f"{one.done:,}/{one.total:,}",
            f"{one.failed:,}",
            f"{one.rate:,.1f}" if one.rate else "",
            "\n".join(_hours_text(device, spent) for device, spent in sorted(one.spent.items())) or "-",
            board.left_text(one),
        )
    return table


def _plugins_of(folder: StudyFolder) -> list[str]:
    """The plug-in files of a study's command, if one of them is not in use here; none else."""
    try:
        words = shlex.split(read_command(folder.places).replace("--plugin=", "--plugin "))
    except ValueError:  # damaged: a quotation without end
        words = []
    after = words[words.index("--plugin") + 1 :] if "--plugin" in words else []
    named = list(takewhile(lambda word: not word.startswith("--"), after))
    used = plugins.environment().get(plugins.VARIABLE, "").split(os.pathsep)
    return named if {str(Path(file).resolve()) for file in named} - {*used} else []


def _hours_text(device: str, spent: Spent) -> str:
    return f"{format_hours((spent.worked + spent.wasted) / 3600)} {hours_unit(device).removesuffix('_hours')}"


def _driver_line(driver: Driver) -> str:
    place, ago = f"{driver.host}, process {driver.pid}", f"{duration(driver.silent_seconds)} ago"
    if driver.alive:
        return f"a driver runs on {place}: {driver.doing or 'starting'} (heartbeat {ago})"
    return f"a driver on {place} was killed or cut off in {driver.doing or 'its start'}, {ago}"


def _folded(line: str) -> Text:
    return Text(line, overflow="fold")
