"""The observer that counts a study's records as they are told, for all that show the count."""

import time
from collections.abc import Sequence

from breakeven.ledger.ledger import Ledger
from breakeven.observer import Observer
from breakeven.study.spec import Study
from breakeven.views.progress import Progress, Standing


class Tally(Observer):
    """How `study` stands, by what `ledger` says of the records that it is told of."""

    def __init__(self, study: Study, ledger: Ledger) -> None:
        self._progress, self._ledger = Progress(study), ledger

    def recorded(self, names: Sequence[str]) -> None:
        for name in names:
            if (record := self._ledger.get(name)) is not None:
                self._progress.add(record, self._ledger.wasted_seconds(name))

    def standing(self) -> Standing:
        """How it stands now; from any thread."""
        return self._progress.standing(time.time())
