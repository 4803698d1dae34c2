"""The observer that shows a study in the terminal, or in a log: a bar for events and epochs, a board for trials."""

from contextlib import ExitStack

from breakeven.observer import Observer, Work
from breakeven.terminal import Bar, bar, live
from breakeven.views import board
from breakeven.views.tally import Tally


class Screen(Observer):
    """Shows the work in progress, and trials by what `tally` has counted: it must be told of them first."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._shown = ExitStack()
        self._bar: Bar | None = None

    def began(self, work: Work) -> None:
        if work.unit == "trials" and (work.total is None or work.done < work.total):
            self._shown.enter_context(live(lambda: board.picture(self._tally.standing(), _notes(work)),
                                           lambda: board.line(self._tally.standing(), _notes(work))))  # fmt: skip
        else:
            self._bar = self._shown.enter_context(
                bar(work.title, work.total or 0, work.unit, work.done, in_turn=work.unit == "epochs")
            )

    def advanced(self, units: int, note: str) -> None:
        if self._bar is not None:
            self._bar.advance(units, note)

    def ended(self) -> None:
        self._shown.close()
        self._bar = None


def _notes(work: Work) -> list[str]:
    return [note] if (note := work.note()) else []
