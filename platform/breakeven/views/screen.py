"""The observer that shows a study in the terminal, or in a log: a bar for events and epochs, a board for trials."""

import time
from collections.abc import Sequence
from contextlib import ExitStack

from breakeven.ledger.ledger import Ledger
from breakeven.observer import Observer, Work
from breakeven.study.spec import Study
from breakeven.terminal import Bar, bar, live
from breakeven.views import board
from breakeven.views.progress import Progress


class Screen(Observer):
    """Shows how `study` stands, by what `ledger` says of the records that it is told of."""

    def __init__(self, study: Study, ledger: Ledger) -> None:
        self._progress, self._ledger = Progress(study), ledger
        self._uncounted: list[str] = []
        """Records since the beginning, until there is a board that counts them."""
        self._shown = ExitStack()
        self._bar: Bar | None = None
        self._on_board = False

    def began(self, work: Work) -> None:
        self._on_board = work.unit == "trials" and (work.total is None or work.done < work.total)
        if self._on_board:
            self._count()
            self._shown.enter_context(live(lambda: board.picture(self._progress.standing(time.time()), _notes(work)),
                                           lambda: board.line(self._progress.standing(time.time()), _notes(work))))  # fmt: skip
        else:
            self._bar = self._shown.enter_context(bar(work.title, work.total or 0, work.unit, work.done))

    def advanced(self, units: int, note: str) -> None:
        if self._bar is not None:
            self._bar.advance(units, note)

    def recorded(self, names: Sequence[str]) -> None:
        self._uncounted += names
        if self._on_board:
            self._count()

    def ended(self) -> None:
        self._shown.close()
        self._bar, self._on_board = None, False

    def _count(self) -> None:
        for name in self._uncounted:
            if (record := self._ledger.get(name)) is not None:
                self._progress.add(record, self._ledger.wasted_seconds(name))
        self._uncounted.clear()


def _notes(work: Work) -> list[str]:
    return [note] if (note := work.note()) else []
