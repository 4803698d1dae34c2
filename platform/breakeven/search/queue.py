"""The queue of a study's trials: which come next, in which packs, and what becomes of their records.

Search trials are judged on validation events with their own seeds; the ratio that wins is then confirmed on fresh seeds
and test events. The ledger is the truth: what it holds is never asked for again. Drivers that share a ledger share the
trials, by leases. It never trains.
"""

import bisect
import math
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna

from breakeven.fingerprint import fingerprint
from breakeven.search.pruning import limits
from breakeven.search.ratio import RatioSearch
from breakeven.study.budget import Budget, rank
from breakeven.study.lease import Leases
from breakeven.study.ledger import Ledger
from breakeven.study.pace import Pace
from breakeven.study.plan import (
    Cell,
    Ingredients,
    Phase,
    Trial,
    cells,
    confirm_seeds,
    event_passes,
    search_seeds,
    searched,
    trial,
    trials_of,
)
from breakeven.study.spec import Study

MAX_LOST = 3
"""Times a trial may be lost with its worker before it is recorded as failed."""
COMPACT_AT = 512
"""Small files in the ledger at which the driver folds them into one."""
LOOK_SECONDS = 1.0
"""Time between two looks for what other drivers have done."""

PACK_TRIALS = 16
"""Most trials in a pack that are trained one after another."""
STACKED_TRIALS = 64
"""Most trials in a pack that a GPU trains side by side: its steps hardly take longer then, and more would only wait."""
PACK_SECONDS = 20.0
"""Time that a pack should last: long against the 50 ms that Tune takes for each, short against what is left to do."""
_SHORTEST_PACK_SECONDS = 1.0
"""Below this a pack is not made shorter to spread the last trials: Tune's own time would be felt."""


@dataclass
class _SearchedCell:
    """Progress of the search in one cell."""

    search: RatioSearch
    waiting: dict[int, list[Trial]] = field(default_factory=dict)
    """Trials of each open proposal."""
    curves: dict[int, list[list[float]]] = field(default_factory=dict)
    """Validation losses by epoch of the finished trials of all proposals that were told, by seed."""


class TrialQueue:
    """Hands out the trials of a study in order and takes their records back.

    Everything already in the ledger is skipped, so a second run of a finished study hands out nothing. With `leases`,
    other drivers may work on the same ledger at the same time: a trial that a living one has is not handed out but waited
    for, and that of a dead one is taken over. `on_known` is called with the hash of every trial of this study that is
    done (found, newly finished, or finished elsewhere), once. With a `budget`, trials are handed out in the order of what
    they tell for their time, and none that is expected not to fit into what is left.
    """

    def __init__(
        self,
        study: Study,
        made_of: Ingredients,
        ledger: Ledger,
        storage: optuna.storages.BaseStorage,
        on_known: Callable[[str], Any] = lambda _: None,
        leases: Leases | None = None,
        budget: Budget | None = None,
    ) -> None:
        self.study, self.made_of, self.ledger, self.storage = study, made_of, ledger, storage
        self.on_known, self.leases, self.budget = on_known, leases, budget
        self.packs = 0
        """Packs handed out."""
        self.trials: dict[str, Trial] = {}
        self.ratios: dict[Cell, float] = {}
        self._ready: list[Trial] = []
        self._again: deque[Trial] = deque()
        """Trials that were lost with their worker: they come first."""
        self._in_flight: dict[str, Trial] = {}
        self._elsewhere: dict[str, Trial] = {}
        """Trials that another driver works on."""
        self._looked = -math.inf
        self._lost: dict[str, int] = {}
        self._given_up: set[str] = set()
        self._searching: dict[Cell, _SearchedCell] = {}
        self._limits: dict[str, tuple[float, ...]] = {}
        self._pace = Pace(study)
        if leases is not None:
            leases.sweep(ledger.finished)
        for cell in cells(study):
            if searched(study, cell):
                self._begin_search(cell)
        for cell in cells(study):
            if not searched(study, cell):
                self._confirm(cell, 1.0 if cell.strategy == "scratch" else study.search.published)

    @property
    def total(self) -> int:
        """Trials of the whole study, known from the start."""
        return sum(sum(trials_of(self.study, cell).values()) for cell in cells(self.study))

    @property
    def done(self) -> int:
        """Trials that have a record."""
        return len(self.trials) - sum(map(len, (self._ready, self._again, self._in_flight, self._elsewhere)))

    @property
    def elsewhere(self) -> int:
        """Trials that another driver works on, as last seen."""
        return len(self._elsewhere)

    def next(self) -> Trial | None:
        """The next trial to train, or None when there is nothing to hand out at the moment (see `finished`)."""
        return next(iter(self.take(1)), None)

    def take(self, most: int) -> list[Trial]:
        """The next trials to train, up to `most`; none when there is nothing to hand out at the moment.

        Each is leased before it is handed out. Raises OSError where leases cannot be written.
        """
        self._look_around()
        taken: list[Trial] = []
        while len(taken) < most and (self._again or self._ready):
            more = most - len(taken)
            again = [self._again.popleft() for _ in range(min(more, len(self._again)))]
            ready, self._ready = self._ready[: more - len(again)], self._ready[more - len(again) :]
            taken += self._leased([*again, *ready])
        return taken

    def next_pack(self, most: int = PACK_TRIALS, workers: int = 1) -> list[Trial]:
        """The next trials for one worker; empty when there is nothing to hand out at the moment (see `finished`).

        They share a task, so that a worker reads two datasets, and sizes within a factor of two; only a pack too short
        to be worth its handling takes others too. It lasts about PACK_SECONDS, and less when little is left, so that
        all `workers` end at about the same time. A trial that was lost with its worker is handed out alone: it may have
        been the reason. Each is leased before, so a pack is shorter where another driver has some of it.
        Raises OSError where leases cannot be written.
        """
        self._look_around()
        while chosen := self._choose_pack(most, workers):
            self._again = deque(waiting for waiting in self._again if waiting.hash not in chosen)
            self._ready = [waiting for waiting in self._ready if waiting.hash not in chosen]
            if pack := self._leased(list(chosen.values())):
                self.packs += 1
                return pack
        return []

    def pack_came_back(self, hashes: Sequence[str], begun: Collection[str] | None = None) -> list[str]:
        """A worker is done with a pack, or dead: see `came_back`. Returns those that were lost for the third time.

        begun: the trials that a dead worker had begun, where it is dead; the others are queued again as if they had never
        been handed out, and may go with others.
        """
        lost = []
        for name in hashes:
            if begun is None or name in begun or self.settled(name):
                if not self.came_back(name):
                    lost.append(name)
            else:
                self._wait(self._in_flight.pop(name))
        return lost

    def limits(self, trial_hash: str) -> tuple[float, ...]:
        """Validation losses above which a trial is to be stopped, by epoch; empty for all that is not pruned."""
        return self._limits.get(trial_hash, ())

    def settled(self, trial_hash: str) -> bool:
        """Whether the ledger, as last refreshed, has an outcome of this trial that stands."""
        return self._record(trial_hash) is not None

    @property
    def finished(self) -> bool:
        """Whether every trial has a record, or what has none does not fit into the budget."""
        return self.out_of_budget or not (
            self._ready or self._again or self._in_flight or self._elsewhere or self._searching
        )

    @property
    def out_of_budget(self) -> bool:
        """Whether trials are left, none is at work, and none fits into the budget."""
        if self.budget is None or self._in_flight:
            return False
        waiting = [*self._again, *self._ready]
        return bool(waiting) and all(self._pace.device_seconds(one) > self.budget.left for one in waiting)

    def missing(self) -> dict[str, int]:
        """Number of reported trials that have no record, by cell name; cells that are complete are left out."""
        confirmed = (one.cell for one in self.trials.values() if one.phase == "confirm" and self.settled(one.hash))
        done = Counter(confirmed)
        seeds = self.study.finetuning.seeds
        return {cell.name: seeds - done[cell] for cell in cells(self.study) if done[cell] < seeds}

    def came_back(self, trial_hash: str) -> bool:
        """A worker is done with a trial: take its record from the ledger, or queue the trial again if there is none.

        Returns False when the trial was lost for the third time: the caller records a failure and calls `give_up`.
        """
        if (record := self._record(trial_hash)) is None:
            self._lost[trial_hash] = self._lost.get(trial_hash, 0) + 1
            if self._lost[trial_hash] >= MAX_LOST:
                return False
            self._again.append(self._in_flight.pop(trial_hash))
            return True
        self._settle(self._in_flight.pop(trial_hash), record)
        return True

    def charge(self, device_seconds: float) -> None:
        """Count what a pack has spent, whatever became of its trials, against the budget."""
        if self.budget is not None:
            self.budget.charge(device_seconds)

    def give_up(self, trial_hash: str) -> None:
        """Take the recorded failure of a lost trial as its outcome for this run; the next run tries it again."""
        self._given_up.add(trial_hash)
        self.came_back(trial_hash)

    def _choose_pack(self, most: int, workers: int) -> dict[str, Trial]:
        """What would make a good pack of all that waits, by hash; nothing where nothing does."""
        room, waiting = math.inf, [*self._again, *self._ready]
        if self.budget is not None:
            room = self.budget.left - sum(map(self._pace.device_seconds, self._in_flight.values()))
            waiting = [one for one in waiting if self._pace.device_seconds(one) <= room]
        if not waiting:
            return {}
        first = waiting[0]
        longest = self._pack_seconds(waiting, workers)
        lasts, spends = self._pace.seconds(first), self._pace.device_seconds(first)
        pack = {first.hash: first}
        alike: tuple[Callable[[Trial], bool], ...] = (
            lambda other: (
                other.cell.task == first.cell.task
                and first.cell.size <= 2 * other.cell.size <= 4 * first.cell.size  # those of `_again` come in any order
            ),
            lambda other: lasts < _SHORTEST_PACK_SECONDS,
        )
        for fits in alike if first.hash not in self._lost else ():
            for other in waiting:
                if len(pack) == most:
                    break
                if fits(other) and other.hash not in pack and other.hash not in self._lost:
                    seconds, device_seconds = self._pace.seconds(other), self._pace.device_seconds(other)
                    if lasts + seconds <= longest and spends + device_seconds <= room:
                        pack[other.hash] = other
                        lasts, spends = lasts + seconds, spends + device_seconds
        return pack

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
        handed_out = [one for one in mine if self._record(one.hash) is None]
        self._in_flight |= {one.hash: one for one in handed_out}
        for one in mine:
            if one.hash not in self._in_flight and (record := self._record(one.hash)) is not None:
                self._settle(one, record)  # its last owner finished it after this driver had looked
        return handed_out

    def _look_around(self) -> None:
        """Fold the ledger where it has grown, and see what other drivers have done."""
        if self.ledger.loose >= COMPACT_AT:
            self.ledger.compact()
        self._look_elsewhere()

    def _look_elsewhere(self) -> None:
        """Take what other drivers have finished, and have back what they left when they died."""
        if self.leases is None or not self._elsewhere or time.monotonic() - self._looked < LOOK_SECONDS:
            return
        self.ledger.refresh()
        for name, one in list(self._elsewhere.items()):
            if (record := self._record(name)) is not None:
                del self._elsewhere[name]
                self._settle(one, record)
            elif self.leases.take(name):
                del self._elsewhere[name]
                self._again.append(one)
        self._looked = time.monotonic()

    def _settle(self, done: Trial, record: dict[str, Any]) -> None:
        """Take the record of a trial for its outcome, learn from it how long trials take, and go on in its cell."""
        self._pace.learn(done, record)
        if self.leases is not None:
            self.leases.release(done.hash)
        self.on_known(done.hash)
        if done.phase == "search":
            self._advance(done.cell)

    def _record(self, trial_hash: str) -> dict[str, Any] | None:
        """The record of a trial; a failure that is worth another try, from an earlier run, counts as none."""
        record = self.ledger.get(trial_hash)
        if (
            record is not None
            and record["outcome"] != "finished"
            and self._worth_another_try(record)
            and trial_hash not in self._given_up
        ):
            return None
        return record

    def _worth_another_try(self, record: dict[str, Any]) -> bool:
        """Whether a trial may end otherwise: the reason of its failure may be gone, its limit raised, pruning turned off."""
        if record["outcome"] == "stopped":
            return not (self.study.search.pruning and record["phase"] == "search")
        limit = self.study.finetuning.trial_seconds or math.inf
        return bool(record.get("retry")) or (record.get("time_limit") or math.inf) < limit

    def _pack_seconds(self, waiting: Sequence[Trial], workers: int) -> float:
        """How long the next pack should last: half of each worker's part of what is waiting, within bounds."""
        enough = 2 * workers * PACK_SECONDS
        left = 0.0
        for one in waiting:
            left += self._pace.seconds(one)
            if left >= enough:
                return PACK_SECONDS
        return max(left / (2 * workers), _SHORTEST_PACK_SECONDS)

    def _begin_search(self, cell: Cell) -> None:
        name = self._search_name(cell)
        search = RatioSearch(self.storage, name, self.study.search)
        self._searching[cell] = _SearchedCell(search)
        for number, ratio, told in search.proposals():
            self._hand_out(cell, number, ratio)
            if told:
                self._keep_curves(self._searching[cell], self._searching[cell].waiting.pop(number))
        self._advance(cell)

    def _advance(self, cell: Cell) -> None:
        """Tell what is known, ask for more, and begin to confirm once the search of a cell has all its proposals."""
        if (progress := self._searching.get(cell)) is None:
            return  # a trial of a search that was decided before came back late
        while True:
            for number, waiting in list(progress.waiting.items()):
                records = [self._record(found.hash) for found in waiting]
                if all(record is not None for record in records):
                    losses = [
                        record["validation_loss"] for record in records if record and record["outcome"] == "finished"
                    ]
                    whole = len(losses) == len(waiting)
                    pruned = any(record["outcome"] == "stopped" for record in records if record)
                    progress.search.tell(number, sum(losses) / len(losses) if whole else None, pruned)
                    self._keep_curves(progress, progress.waiting.pop(number))
            if progress.waiting:
                return
            if progress.search.told() >= self.study.search.trials:
                break
            self._hand_out(cell, *progress.search.ask())
        del self._searching[cell]
        self._confirm(cell, progress.search.best())

    def _hand_out(self, cell: Cell, number: int, ratio: float) -> None:
        proposed = [trial(self.study, cell, "search", seed, ratio, self.made_of) for seed in search_seeds(self.study)]
        progress = self._searching[cell]
        progress.waiting[number] = proposed
        for new in proposed if self.study.search.pruning else ():
            if found := limits(progress.curves.get(new.seed, []), new.identity["epochs"]):
                self._limits[new.hash] = found
        for new in proposed:
            self._enqueue(new)

    def _keep_curves(self, progress: _SearchedCell, done: Sequence[Trial]) -> None:
        for one in done if self.study.search.pruning else ():
            record = self.ledger.get(one.hash)
            if record is not None and record["outcome"] == "finished" and record.get("curve"):
                losses = [epoch["validation_loss"] for epoch in record["curve"]]
                progress.curves.setdefault(one.seed, []).append(losses)

    def _confirm(self, cell: Cell, ratio: float) -> None:
        self.ratios[cell] = ratio
        for seed in confirm_seeds(self.study):
            self._enqueue(trial(self.study, cell, "confirm", seed, ratio, self.made_of))

    def _enqueue(self, new: Trial) -> None:
        if new.hash in self.trials:
            return
        self.trials[new.hash] = new
        if (record := self._record(new.hash)) is not None:
            self._pace.learn(new, record)
            self.on_known(new.hash)
            return
        self._wait(new)

    def _wait(self, new: Trial) -> None:
        bisect.insort_right(self._ready, new, key=self._place)

    def _place(self, waiting: Trial) -> tuple[float, float]:
        """Largest samples first, and a search before the confirmation that waits for it; with a budget, what tells most."""
        if self.budget is not None:
            return rank(waiting, event_passes(self.study, waiting.cell, waiting.phase))
        return -waiting.cell.size, waiting.phase == "confirm"

    def _search_name(self, cell: Cell) -> str:
        """Identity of a cell's search: all that defines its trials but seed and ratio, and the space."""
        phase: Phase = "search"
        sample = trial(self.study, cell, phase, search_seeds(self.study)[0], 1.0, self.made_of).identity
        space = self.study.search
        bounds = {"published": space.published, "low": space.low, "high": space.high}
        pruned = {} if space.pruning else {"pruning": False}  # what was pruned is trained to its end in a search anew
        return fingerprint({**sample, "seed": space.seeds, "space": bounds, **pruned})
