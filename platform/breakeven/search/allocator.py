"""Which trials of a study come next: the decision alone, from what those before have given.

An `Allocator` names trials and the order in which they are wanted; the queue hands them out, to whichever driver and
worker, and keeps what became of them. It takes no lease and writes no record.
"""

from collections.abc import Callable
from typing import Protocol

import optuna

from breakeven.estimate.budget import rank
from breakeven.search.cell_search import CellSearch, Outcomes
from breakeven.study.identity import IDLE_RATIOS
from breakeven.study.plan import (
    Cell,
    Ingredients,
    Trial,
    cells,
    confirm_seeds,
    event_passes,
    searched,
    trial,
    trials_of,
)
from breakeven.study.spec import Study

Order = Callable[[Trial], tuple[float, float]]
"""Place of a trial among those that wait: the lowest comes first."""


class Allocator(Protocol):
    """Decides which trials of a study come next. A function of outcomes alone: a killed driver decides the same again."""

    order: Order
    """In which order those that wait are wanted."""

    @property
    def total(self) -> int | None:
        """Trials of the whole study; None where the outcomes decide how many there will be."""

    def next(self, ended: Trial | None, outcomes: Outcomes) -> list[Trial]:
        """Trials that can be trained from now on.

        Args:
            ended: the trial whose outcome has just become known, of this run or an earlier one; None at the beginning.
            outcomes: every outcome so far, also of trials that were not named yet in this run.
        """

    def limits(self, trial_hash: str) -> tuple[float, ...]:
        """Validation losses, by epoch, above which a trial is to be stopped; empty for one that runs to its end."""


def largest_first(waiting: Trial) -> tuple[float, float]:
    """Largest samples first, as the longest work must not come last, and a search before what waits for its ratio."""
    return -waiting.cell.size, waiting.phase == "confirm"


def most_telling_first(study: Study) -> Order:
    """The order under a budget: what tells most for its time comes first, see `estimate.budget.rank`."""
    return lambda waiting: rank(waiting, event_passes(study, waiting.cell, waiting.phase))


class SearchThenConfirm:
    """The protocol of the scaling study: the ratio of each cell is searched, then confirmed on seeds of their own.

    Search trials are evaluated on validation events; the ratio that wins is confirmed on fresh seeds and test events.
    storage: Optuna's memory of the proposals.  order: `largest_first`, or another for those that wait.
    """

    def __init__(
        self, study: Study, made_of: Ingredients, storage: optuna.storages.BaseStorage, order: Order = largest_first
    ) -> None:
        self.study, self.made_of, self.storage, self.order = study, made_of, storage, order
        self.ratios: dict[Cell, float] = {}
        """The ratio that each cell is confirmed with, as far as it is decided."""
        self._searches: dict[Cell, CellSearch] = {}
        """Of the cells whose ratio is not decided yet."""
        self._limits: dict[str, tuple[float, ...]] = {}

    @property
    def total(self) -> int:
        """Trials of the whole study, known from the start."""
        return sum(sum(trials_of(self.study, cell).values()) for cell in cells(self.study))

    def next(self, ended: Trial | None, outcomes: Outcomes) -> list[Trial]:
        """See Allocator. At the beginning all that needs no outcome, later what the search of a cell goes on with."""
        if ended is not None:
            return self._go_on(ended.cell, outcomes) if ended.phase == "search" and ended.cell in self._searches else []
        named: list[Trial] = []
        for cell in cells(self.study):
            if searched(self.study, cell):
                self._searches[cell] = CellSearch.begin(self.study, cell, self.made_of, self.storage)
                named += self._searches[cell].recall(outcomes)
                named += self._go_on(cell, outcomes)
        for cell in cells(self.study):
            if not searched(self.study, cell):
                named += self._confirm(cell, IDLE_RATIOS.get(cell.strategy, self.study.search.published))
        return named

    def limits(self, trial_hash: str) -> tuple[float, ...]:
        """See Allocator: the median rule of `search.pruning`, for search trials."""
        return self._limits.get(trial_hash, ())

    def _go_on(self, cell: Cell, outcomes: Outcomes) -> list[Trial]:
        """The next proposal of a cell's search, or its confirmation once all its proposals have their outcomes."""
        search = self._searches[cell]
        named = search.advance(outcomes)
        self._limits |= search.limits
        if search.decided:
            del self._searches[cell]
            named += self._confirm(cell, search.best())
        return named

    def _confirm(self, cell: Cell, ratio: float) -> list[Trial]:
        self.ratios[cell] = ratio
        return [trial(self.study, cell, "confirm", seed, ratio, self.made_of) for seed in confirm_seeds(self.study)]
