"""The search for the learning-rate ratio of one cell: its proposals, the trials of each, and what is learned from them.

Translates between Optuna's proposals and trials. It knows no ledger and no worker: outcomes are handed to it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import optuna

from breakeven.ledger import levels
from breakeven.search import pruning
from breakeven.search.ratio import RatioSearch
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
        return cls(
            study, cell, made_of, RatioSearch.begin(storage, search_name(study, cell, made_of), space(study, cell))
        )

    def recall(self, outcomes: Outcomes) -> list[Trial]:
        """The trials of all earlier proposals; those of a killed driver are still good."""
        named: list[Trial] = []
        for number, ratio, told in self.ratios.proposals():
            named += self._propose(number, ratio)
            if told:
                self._keep_curves(self._waiting.pop(number), outcomes)
        return named

    def advance(self, outcomes: Outcomes) -> list[Trial]:
        """Tell what is known, and ask for more until something is to be waited for; the trials that were asked for."""
        named: list[Trial] = []
        while True:
            for number, proposed in list(self._waiting.items()):
                records = [record for one in proposed if (record := outcomes(one.hash)) is not None]
                if len(records) == len(proposed):
                    losses = [record["validation_loss"] for record in records if record["outcome"] == "finished"]
                    mean = sum(losses) / len(losses) if len(losses) == len(proposed) else None
                    self.ratios.tell(number, mean, any(record["outcome"] == "stopped" for record in records))
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
