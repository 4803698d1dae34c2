"""What the physicist sees while a study runs: bars and boards in a terminal, a line now and then in a log.

Holds the display only; it knows nothing of events or trials.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

console = Console(highlight=False, soft_wrap=True)
errors = Console(highlight=False, soft_wrap=True, stderr=True)

LOG_SECONDS = 15.0
"""Pause between two lines of progress where no terminal is attached (a submitted job, a file)."""
REDRAWS_A_SECOND = 2.0
"""How often a board is drawn anew: each time takes the driver some milliseconds."""
PAGE_WIDTH = 140
"""Width of tables where no terminal is attached and nothing else is asked for."""


class Bar:
    """Progress of one stage; `advance` is all that the work calls.

    in_turn: its units come one after another, so that the first one's time holds the start of the stage, and no pace.
    """

    def __init__(
        self, title: str, total: int, unit: str, done: int, progress: Progress | None, in_turn: bool = False
    ) -> None:
        self.title, self.total, self.unit, self.count, self.note = title, total, unit, done, ""
        self._from, self._said, self._in_turn = (time.monotonic(), done), time.monotonic(), in_turn
        self._progress = progress
        self._task = progress.add_task(title, total=total, completed=done, note="") if progress else None

    @property
    def rate(self) -> float:
        """Units per second since the stage began, or, of units in turn, since the first of them; 0 where none came since."""
        begun, before = self._from
        return (self.count - before) / max(time.monotonic() - begun, 1e-9)

    def advance(self, step: int = 1, note: str = "", total: int | None = None) -> None:
        """Count `step` units more; `note` is shown behind the bar."""
        self.count += step
        if self._in_turn:
            self._from, self._in_turn = (time.monotonic(), self.count), False
        self.total = total or self.total
        self.note = note or self.note
        rate = self.rate
        pace = f"{rate:,.1f} {self.unit}/s  " if rate >= 1 else f"{1 / rate:,.1f} s each  " if rate else ""
        shown = f"{pace}{self.note}"
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=self.count, total=self.total, note=shown)
        elif time.monotonic() - self._said > LOG_SECONDS or self.count == self.total:
            self._said = time.monotonic()
            console.print(f"  {self.title}: {self.count:,} of {self.total:,} {self.unit}  {shown}")


def show_error(error: Exception) -> None:
    """Show an expected error on standard error: its kind and its message, taken literally."""
    errors.print(f"[bold red]error[/] {type(error).__name__}: {escape(str(error))}")


@contextmanager
def bar(title: str, total: int, unit: str, done: int = 0, in_turn: bool = False) -> Iterator[Bar]:
    """A progress bar for one stage; says so at once where all is done already. in_turn: see Bar."""
    if done >= total:
        console.print(f"  {title}: all {total:,} {unit} are there already")
        yield Bar(title, total, unit, done, None)
        return
    if not console.is_terminal:
        yield Bar(title, total, unit, done, None, in_turn)
        return
    columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}"),
               TimeElapsedColumn(), TimeRemainingColumn())  # fmt: skip
    with Progress(*columns, console=console) as progress:
        yield Bar(title, total, unit, done, progress, in_turn)


@contextmanager
def live(
    picture: Callable[[], RenderableType], line: Callable[[], str], redraws: float = REDRAWS_A_SECOND
) -> Iterator[None]:
    """Show `picture` in a terminal while the work goes on, drawn anew `redraws` times per second; its last state stays.

    Elsewhere print `line` every LOG_SECONDS where it has changed, and at the end. Both are called from another thread.
    """
    if _draws():
        board = Live(get_renderable=lambda: _Folded(picture()), console=console, refresh_per_second=redraws)
        with board:
            yield
        return
    said, over = [""], threading.Event()

    def say() -> None:
        if (now := line()) != said[0]:
            said[0] = now
            console.print(f"  {now}", markup=False)

    def talk() -> None:
        while not over.wait(LOG_SECONDS):
            say()

    talker = threading.Thread(target=talk, daemon=True, name="progress")
    talker.start()
    try:
        yield
    finally:
        over.set()
        talker.join()
        say()


def page_width() -> int:
    """Width of pages: that of the terminal, or what COLUMNS says; wide where there is neither."""
    return console.width if console.is_terminal or os.environ.get("COLUMNS") else PAGE_WIDTH


def show(*pictures: RenderableType) -> None:
    """Print tables and texts, folded to `page_width`."""
    page = console if console.is_terminal else Console(highlight=False, width=page_width())
    for one in pictures:
        page.print(one, soft_wrap=False)


def _draws() -> bool:
    """Whether lines on the screen can be drawn over."""
    return console.is_terminal and not console.is_dumb_terminal


class _Folded:
    """A picture that keeps to the terminal's width on a console that lets long lines run on."""

    def __init__(self, picture: RenderableType) -> None:
        self.picture = picture

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from console.render(self.picture, options.update(no_wrap=False, overflow="fold"))
