"""The queue of a study's trials: what waits, what is in flight, what is done, and what is lost.

An `Allocator` says which trials come next, `packs` which go together. The ledger is the truth: what it holds is never
asked for again. Drivers that share a ledger share the trials, by leases. It never trains.
"""

import bisect
import math
import time
from collections import Counter, deque
from collections.abc import Collection, Sequence
from itertools import islice
from typing import cast

from breakeven.estimate.budget import Budget
from breakeven.estimate.pace import Pace
from breakeven.ledger import levels
from breakeven.ledger.lease import Leases
from breakeven.ledger.ledger import Ledger
from breakeven.observer import Observer
from breakeven.search import packs
from breakeven.search.allocator import Allocator
from breakeven.study.plan import Trial, cells
from breakeven.study.spec import Study

MAX_LOST = 3
"""Times a trial may be lost with its worker before it is recorded as failed."""
COMPACT_AT = 512
"""Small files in the ledger at which the driver folds them into one."""
LOOK_SECONDS = 1.0
"""Time between two looks for what other drivers have done."""


class TrialQueue:
    """Hands out the trials of a study in packs and takes their records back. It begins empty: see `fill`.

    Everything already in the ledger is skipped, so a second run of a finished study hands out nothing. With `leases`,
    other drivers may work on the same ledger at the same time: a trial that a living one has is not handed out but waited
    for, and that of a dead one is taken over. The observer is told of every trial of this study that has an outcome, an earlier
    one, a new one or one from elsewhere, once. With a `budget`, no trial is handed out that is expected not to fit into
    what is left.
    """

    def __init__(
        self,
        study: Study,
        allocator: Allocator,
        ledger: Ledger,
        leases: Leases | None = None,
        budget: Budget | None = None,
        observer: Observer | None = None,
    ) -> None:
        self.study, self.allocator, self.ledger = study, allocator, ledger
        self.leases, self.budget, self.observer = leases, budget, observer or Observer()
        self.packs = 0
        """Packs handed out."""
        self.trials: dict[str, Trial] = {}
        """All trials so far, by hash."""
        self._ready: list[Trial] = []
        """Those that wait, in the order of the allocator."""
        self._again: deque[Trial] = deque()
        """Trials that were lost with their worker: they come first."""
        self._in_flight: dict[str, Trial] = {}
        self._elsewhere: dict[str, Trial] = {}
        """Trials that another driver works on."""
        self._looked = -math.inf
        self._lost: dict[str, int] = {}
        self._given_up: set[str] = set()
        self._pace = Pace(study)
        self._untold: list[str] = []
        """Trials whose outcome the observer is to be told."""

    def fill(self) -> "TrialQueue":
        """Take over what the ledger knows, and put in line what is left to do; returns itself.

        Raises OSError where the ledger's folder or the proposals cannot be read or written.
        """
        if self.leases is not None:
            self.leases.sweep(self.ledger.finished)
        self._allocate(None)
        self._tell()
        return self

    @property
    def total(self) -> int | None:
        """Trials of the whole study; None where the outcomes decide how many."""
        return self.allocator.total

    @property
    def done(self) -> int:
        """Trials that have an outcome."""
        return len(self.trials) - sum(map(len, (self._ready, self._again, self._in_flight, self._elsewhere)))

    @property
    def elsewhere(self) -> int:
        """Trials that another driver works on, as last seen."""
        return len(self._elsewhere)

    def next_pack(self, most: int | None = None, workers: int = 1, *, stacked: bool = False) -> list[Trial]:
        """The next trials for one worker; empty when there is nothing to hand out at the moment (see `finished`).

        What goes together: see `packs.choose`. A trial that was lost with its worker is handed out alone: it may have
        been the reason. Each is leased before, so a pack is shorter where another driver has some of it.
        Raises OSError where leases cannot be written.
        """
        if self.ledger.loose >= COMPACT_AT:
            self.ledger.compact()
        self._look_elsewhere()
        pack: list[Trial] = []
        while not pack and (chosen := self._choose(most, workers, stacked)):
            self._again = deque(waiting for waiting in self._again if waiting.hash not in chosen)
            self._ready = [waiting for waiting in self._ready if waiting.hash not in chosen]
            pack = self._leased(list(chosen.values()))
        self.packs += bool(pack)
        self._tell()
        return pack

    def pack_came_back(self, hashes: Sequence[str], begun: Collection[str] | None = None) -> list[str]:
        """A worker is done with a pack, or dead: take the records from the ledger, and put the rest in line again.

        Returns those that were lost for the third time: the caller records a failure of each and calls `give_up`.

        begun: the trials that a dead worker had begun, where it is dead; the others are queued again as if they had never
        been handed out, and may go with others.
        """
        lost = []
        for name in hashes:
            if (record := self._outcome(name)) is not None:
                self._settle(self._in_flight.pop(name), record)
            elif begun is not None and name not in begun:
                self._wait(self._in_flight.pop(name))
            else:
                self._lost[name] = self._lost.get(name, 0) + 1
                if self._lost[name] >= MAX_LOST:
                    lost.append(name)
                else:
                    self._again.append(self._in_flight.pop(name))
        self._tell()
        return lost

    def give_up(self, trial_hash: str) -> None:
        """Take the recorded failure of a lost trial as its outcome for this run; the next run tries it again."""
        self._given_up.add(trial_hash)
        self.pack_came_back([trial_hash])

    def settled(self, trial_hash: str) -> bool:
        """Whether the ledger, as last refreshed, has an outcome of this trial that stands."""
        return self._outcome(trial_hash) is not None

    @property
    def finished(self) -> bool:
        """Whether every trial has an outcome, or what has none does not fit into the budget."""
        return self.out_of_budget or not (self._ready or self._again or self._in_flight or self._elsewhere)

    @property
    def out_of_budget(self) -> bool:
        """Whether trials are left, none is at work, and none fits into the budget."""
        if self.budget is None or self._in_flight:
            return False
        waiting = [*self._again, *self._ready]
        return bool(waiting) and all(self._pace.device_seconds(one) > self.budget.left for one in waiting)

    def missing(self) -> dict[str, int]:
        """Number of reported trials that have no outcome, by cell name; cells that are complete are left out."""
        confirmed = (one.cell for one in self.trials.values() if one.phase == "confirm" and self.settled(one.hash))
        done = Counter(confirmed)
        seeds = self.study.finetuning.seeds
        return {cell.name: seeds - done[cell] for cell in cells(self.study) if done[cell] < seeds}

    def chosen(self) -> dict[str, float]:
        """The learning-rate ratio at which each cell is reported, by its name; cells still searched are left out."""
        return {one.cell.name: one.ratio for one in self.trials.values() if one.phase == "confirm"}

    def charge(self, device_seconds: float) -> None:
        """Count what a pack has spent, whatever became of its trials, against the budget."""
        if self.budget is not None:
            self.budget.charge(device_seconds)

    def _choose(self, most: int | None, workers: int, stacked: bool) -> dict[str, Trial]:
        """A pack of all that waits, by hash; nothing where nothing does, or nothing fits into the budget."""
        room = math.inf
        if self.budget is not None:
            room = self.budget.left - sum(map(self._pace.device_seconds, self._in_flight.values()))
        waiting = [*self._again, *self._ready]
        chosen = packs.choose(waiting, self._pace, workers=workers, alone=self._lost, room=room, stacked=stacked)
        return dict(islice(chosen.items(), most))

    def _leased(self, chosen: Sequence[Trial]) -> list[Trial]:
        """Those that this driver alone may work on and that nobody has finished, from now on in flight.

        chosen: wait nowhere any more. Those that another driver has are waited for.
        """
        mine: list[Trial] = []
        for one in chosen:
            if self.leases is None or self.leases.take(one.hash):
                mine.append(one)
            else:
                self._elsewhere[one.hash] = one
        if self.leases is not None and mine:
            # A lease may have been free because the work was done a moment ago: look after taking it, never before.
            self.ledger.refresh(certain=True)
        handed_out = [one for one in mine if self._outcome(one.hash) is None]
        self._in_flight |= {one.hash: one for one in handed_out}
        for one in mine:
            if one.hash not in self._in_flight and (record := self._outcome(one.hash)) is not None:
                self._settle(one, record)  # its last owner finished it after this driver had looked
        return handed_out

    def _look_elsewhere(self) -> None:
        """Take what other drivers have finished, and have back what they left when they died."""
        if self.leases is None or not self._elsewhere or time.monotonic() - self._looked < LOOK_SECONDS:
            return
        self.ledger.refresh()
        for name, one in list(self._elsewhere.items()):
            if (record := self._outcome(name)) is not None:
                del self._elsewhere[name]
                self._settle(one, record)
            elif self.leases.take(name):
                del self._elsewhere[name]
                self._again.append(one)
        self._looked = time.monotonic()

    def _allocate(self, ended: Trial | None) -> None:
        """Put in line what comes next now that `ended` has its outcome; what has one already is taken for done."""
        named = deque(self.allocator.next(ended, self._outcome))
        while named:
            new = named.popleft()
            if new.hash in self.trials:
                continue
            self.trials[new.hash] = new
            if (record := self._outcome(new.hash)) is not None:
                self._pace.learn(new, record)
                self._untold.append(new.hash)
                named.extend(self.allocator.next(new, self._outcome))
            else:
                self._wait(new)

    def _wait(self, new: Trial) -> None:
        bisect.insort_right(self._ready, new, key=self.allocator.order)

    def _settle(self, ended: Trial, record: levels.Trial) -> None:
        """Take the record of a trial for its outcome, learn from it how long trials take, and ask what comes next."""
        self._pace.learn(ended, record)
        if self.leases is not None:
            self.leases.release(ended.hash)
        self._untold.append(ended.hash)
        self._allocate(ended)

    def _tell(self) -> None:
        """Tell the observer of all outcomes since the last time: of a pack at once, as each call has its price."""
        if self._untold:
            told, self._untold = self._untold, []
            self.observer.recorded(told)

    def _outcome(self, trial_hash: str) -> levels.Trial | None:
        """The record of a trial; a failure that is worth another try, from an earlier run, counts as none."""
        record = cast(levels.Trial | None, self.ledger.get(trial_hash))
        if (
            record is not None
            and record["outcome"] != "finished"
            and self._worth_another_try(record)
            and trial_hash not in self._given_up
        ):
            return None
        return record

    def _worth_another_try(self, record: levels.Trial) -> bool:
        """Whether a trial may end otherwise: the reason of its failure may be gone, its limit raised, pruning turned off."""
        if record["outcome"] == "stopped":
            return not (self.study.search.pruning and record["phase"] == "search")
        limit = self.study.finetuning.trial_seconds or math.inf
        return bool(record.get("retry")) or (record.get("time_limit") or math.inf) < limit
