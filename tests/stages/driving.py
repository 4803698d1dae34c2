"""A driver without the rest of a run: the three stages called in their order on one runs folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ray

from breakeven.estimate.budget import Budget
from breakeven.events.store import Dataset
from breakeven.ledger.lease import Leases
from breakeven.ledger.ledger import Ledger
from breakeven.places import Places
from breakeven.stages.cluster import Cluster
from breakeven.stages.finetuning import finetune_tasks
from breakeven.stages.generation import generate_events
from breakeven.stages.pretraining import Made, pretrain_backbones
from breakeven.study.spec import Study


class Driving:
    """The stages of one study by one driver; `started_ray` tells whether any of them needed a cluster."""

    def __init__(self, study: Study, runs: Path, leases: Leases, cluster: Cluster, budget: Budget | None) -> None:
        self.study, self.places = study, Places(runs, study.name)
        self.ledger = Ledger(self.places.ledger).refresh()
        self._leases, self._cluster, self.budget = leases, cluster, budget
        self.told: list[str] = []

    @property
    def started_ray(self) -> bool:
        return ray.is_initialized()

    def generate(self) -> tuple[dict[str, Dataset], tuple[str, ...]]:
        return generate_events(self.study, self.places, self.ledger, self._leases, self._cluster, self.budget)

    def pretrain(self) -> Made:
        generated = self.generate()
        return pretrain_backbones(
            self.study, self.places, self.ledger, self._leases, self._cluster, *generated, self.budget
        )

    def finetune(self) -> tuple[str, ...]:
        return finetune_tasks(
            self.study, self.places, self.ledger, self._leases, self._cluster, self.pretrain(), self.told.extend,
            self.budget, "",
        )  # fmt: skip


@contextmanager
def driving(study: Study, runs: Path, budget: Budget | None = None) -> Iterator[Driving]:
    """A driver that holds its leases, and its cluster where it needs one."""
    places = Places(runs, study.name)
    places.folder.mkdir(parents=True, exist_ok=True)
    with Leases(places.ledger, study=study.name) as leases, Cluster(places.ledger, study.name, leases.owner) as cluster:
        yield Driving(study, runs, leases, cluster, budget)
