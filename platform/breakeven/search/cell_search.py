"""The search for the learning-rate ratio of one cell: its proposals, the trials of each, and what is learned from them.

Translates between Optuna's proposals and trials. It knows no ledger and no worker: outcomes are handed to it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import optuna

from breakeven.ledger import levels
from breakeven.search import pruning
from breakeven.search.ratio import Outcome, RatioSearch
from breakeven.study.plan import Cell, Ingredients, Trial, search_name, search_seeds, space, trial
from breakeven.study.spec import Study

Outcomes = Callable[[str], levels.Trial | None]
"""The record of a trial, by its hash, where it has an outcome that stands."""


@dataclass
class CellSearch:
    """Progress of the search in one cell."""

    study: Study
    cell: Cell
    made_of: Ingredients
    ratios: RatioSearch
    storage: optuna.storages.BaseStorage
    """What remembers the proposals."""
    limits: dict[str, tuple[float, ...]] = field(default_factory=dict)
    """Validation losses, by epoch, above which a proposed trial is to be stopped; by the hash of the trial."""
    _waiting: dict[int, list[Trial]] = field(default_factory=dict)
    """Trials of each proposal that was not told yet, by its number."""
    _curves: dict[int, list[list[float]]] = field(default_factory=dict)
    """Validation losses by epoch of the finished trials of all proposals that were told, by seed."""

    @classmethod
    def begin(
        cls, study: Study, cell: Cell, made_of: Ingredients, storage: optuna.storages.BaseStorage
    ) -> "CellSearch":
        """The search of `cell` as `storage` remembers it, or a new one."""
        ratios = RatioSearch.begin(storage, search_name(study, cell, made_of), space(study, cell))
        return cls(study, cell, made_of, ratios, storage)

    def recall(self, outcomes: Outcomes) -> list[Trial]:
        """The trials of all earlier proposals; those of a killed driver are still good.

        Nothing where one was told what the ledger does not say, or says no more, as a failure that is tried again: all are made
        anew then, so that the ratio that wins is a function of the ledger alone.
        """
        named: list[Trial] = []
        for number, ratio, told in self.ratios.proposals():
            proposed = self._propose(number, ratio)
            if told and not self.ratios.remembers(number, _outcome(proposed, outcomes)):
                self.ratios.forget(self.storage)
                self._waiting, self._curves, self.limits = {}, {}, {}
                return []
            named += proposed
            if told:
                self._keep_curves(self._waiting.pop(number), outcomes)
        return named

    def advance(self, outcomes: Outcomes) -> list[Trial]:
        """Tell what is known, and ask for more until something is to be waited for; the trials that were asked for."""
        named: list[Trial] = []
        while True:
            for number, proposed in list(self._waiting.items()):
                if (outcome := _outcome(proposed, outcomes)) is not None:
                    self.ratios.tell(number, outcome)
                    self._keep_curves(self._waiting.pop(number), outcomes)
            if self._waiting or self.decided:
                return named
            named += self._propose(*self.ratios.ask())

    @property
    def decided(self) -> bool:
        """Whether every proposal of the search has been told."""
        return not self._waiting and self.ratios.told() >= self.study.search.trials

    def best(self) -> float:
        """The ratio that won."""
        return self.ratios.best()

    def _propose(self, number: int, ratio: float) -> list[Trial]:
        seeds = search_seeds(self.study)
        proposed = [trial(self.study, self.cell, "search", seed, ratio, self.made_of) for seed in seeds]
        self._waiting[number] = proposed
        for new in proposed if self.study.search.pruning else ():
            asked = new.identity["epochs"], new.identity["training"].get("warmup", 0)
            if limits := pruning.limits(self._curves.get(new.seed, []), *asked):
                self.limits[new.hash] = limits
        return proposed

    def _keep_curves(self, told: list[Trial], outcomes: Outcomes) -> None:
        for one in told if self.study.search.pruning else ():
            record = outcomes(one.hash)
            if record is not None and record["outcome"] == "finished" and record.get("curve"):
                losses = [epoch["validation_loss"] for epoch in record["curve"]]
                self._curves.setdefault(one.seed, []).append(losses)


def _outcome(proposed: list[Trial], outcomes: Outcomes) -> Outcome | None:
    """What became of a proposal by the records of its trials; None where one has no outcome that stands."""
    records = [record for one in proposed if (record := outcomes(one.hash)) is not None]
    if len(records) < len(proposed):
        return None
    losses = [record["validation_loss"] for record in records if record["outcome"] == "finished"]
    mean = sum(losses) / len(losses) if len(losses) == len(proposed) else math.nan
    stopped = any(record["outcome"] == "stopped" for record in records)
    return Outcome(mean if math.isfinite(mean) else None, stopped)
