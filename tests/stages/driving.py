"""A driver without the rest of a run: the three stages called in their order on one runs folder."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import ray

from breakeven.estimate.budget import Budget
from breakeven.events.store import Dataset
from breakeven.ledger.lease import Leases
from breakeven.ledger.ledger import Ledger
from breakeven.observer import Observer, Observers
from breakeven.places import Places
from breakeven.stages.cluster import Cluster
from breakeven.stages.driver import Driver
from breakeven.stages.finetuning import finetune_tasks
from breakeven.stages.generation import generate_events
from breakeven.stages.pretraining import Inputs, pretrain_backbones
from breakeven.study.spec import Study


class Told(Observer):
    """Remembers which records it was told of."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def recorded(self, names: Sequence[str]) -> None:
        self.names += names


class Driving:
    """The stages of one study by one driver; `started_ray` tells whether any of them needed a cluster."""

    def __init__(self, driver: Driver, told: Told) -> None:
        self.driver, self._told = driver, told

    @property
    def started_ray(self) -> bool:
        return ray.is_initialized()

    @property
    def told(self) -> list[str]:
        return self._told.names

    def generate(self) -> dict[str, Dataset]:
        return generate_events(self.driver)

    def pretrain(self) -> Inputs:
        return pretrain_backbones(self.driver, self.generate())

    def finetune(self) -> tuple[str, ...]:
        return finetune_tasks(self.driver, self.pretrain())


@contextmanager
def driving(study: Study, runs: Path, budget: Budget | None = None) -> Iterator[Driving]:
    """A driver that holds its leases, and its cluster where it needs one."""
    places, told = Places(runs, study.name), Told()
    places.folder.mkdir(parents=True, exist_ok=True)
    with Leases(places.ledger, study=study.name) as leases, Cluster(leases) as cluster:
        ledger = Ledger(places.ledger).refresh()
        yield Driving(Driver(study, places, ledger, leases, cluster, Observers(told), budget), told)
