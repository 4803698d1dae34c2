"""The one interface of everything that watches a study: the terminal, the heartbeat, MLflow, gauges.

Stages tell an observer what happens; it never answers, and a study goes on the same whoever watches.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Work:
    """A piece of work of a stage, as it is told when it begins."""

    title: str
    """Such as "generation", "multiclass pretraining", "finetuning"."""
    total: int | None
    """Units in all; None where what comes of them decides how many."""
    unit: str
    """Such as "events", "epochs", "trials"."""
    done: int = 0
    """Units that are there already."""
    note: Callable[[], str] = lambda: ""
    """A word on how it stands, asked whenever it is shown."""


class Observer:
    """Watches a study. Every method does nothing here: an observer has those that it wants to hear.

    They are called one at a time, from any thread of the driver, and return at once.
    """

    def began(self, work: Work) -> None:
        """A piece of work begins; one that has all its units already ends at once."""

    def advanced(self, units: int, note: str) -> None:
        """So many more units of the work in progress are done. note: what they were or gave."""

    def measured(self, figures: Mapping[str, float]) -> None:
        """Figures of the work in progress, such as the losses of an epoch, by name."""

    def recorded(self, names: Sequence[str]) -> None:
        """The ledger has an outcome of these records of the study: there already, or written just now; each is told once."""

    def ended(self) -> None:
        """The work in progress is at its end, finished or not."""


class Observers(Observer):
    """Tells each of several observers, in their order."""

    def __init__(self, *observers: Observer) -> None:
        self._all = observers

    @contextmanager
    def watch(self, work: Work) -> Iterator[None]:
        """Tell the beginning of `work`, and its end whatever happens in the body."""
        self.began(work)
        try:
            yield
        finally:
            self.ended()

    def began(self, work: Work) -> None:
        for one in self._all:
            one.began(work)

    def advanced(self, units: int, note: str) -> None:
        for one in self._all:
            one.advanced(units, note)

    def measured(self, figures: Mapping[str, float]) -> None:
        for one in self._all:
            one.measured(figures)

    def recorded(self, names: Sequence[str]) -> None:
        for one in self._all:
            one.recorded(names)

    def ended(self) -> None:
        for one in self._all:
            one.ended()
