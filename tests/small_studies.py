"""The study of whole events and that of jets, as small as they can be: what one promises the other keeps, by the same tests.

`small`, a fixture, is each of them in turn; events and backbone of either take seconds.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from breakeven.events import store
from breakeven.events.arrays import EventArrays
from breakeven.events.catalogue import source
from breakeven.study.plan import Cell
from breakeven.study.spec import Finetuning, Generation, Network, Pretraining, Search, Study, Task
from breakeven.work.job import PretrainingJob

if TYPE_CHECKING:
    from breakeven.models.backbone import Backbone

SHARD_EVENTS = 60
GENERATION = Generation(events_per_process=2 * SHARD_EVENTS, shard_events=SHARD_EVENTS)
FINETUNING = Finetuning(
    strategies=("finetune",), sizes=(20,), seeds=1, epochs=2, steps=0, batch_size=16, validation_events=10
)


@dataclass(frozen=True, eq=False)
class Small:
    """A study of one task, and what its tests have to know of it by name."""

    study: Study
    more: str
    """Another process that would do for its signal."""
    last: str
    """Its last layer that is pretrained, of those that `Backbone.layers` gives."""

    @property
    def task(self) -> Task:
        """Its only task."""
        return self.study.finetuning.resolved()[0]

    @property
    def names(self) -> tuple[str, str]:
        """Its signal and its background."""
        signal, background = self.task.processes
        return signal, background

    @property
    def objective(self) -> str:
        """What its backbone learns, and is called."""
        return self.study.pretraining.objective

    @property
    def settings(self) -> Finetuning:
        """Those of its trials."""
        return self.study.finetuning

    def cell(self, strategy: str = "scratch", size: int = 20) -> Cell:
        """A cell of its task."""
        pretraining = "none" if strategy in ("scratch", "trees") else self.objective
        return Cell(self.task, pretraining, strategy, size)

    def network(self, arrays: EventArrays, n_outputs: int = 1, seed: int = 0, *, backbone: bool = False) -> "Backbone":
        """A fresh network for its events; backbone: what is pretrained of it."""
        from breakeven.work.network import build_network  # here, as torch takes seconds to import

        asked = self.study.network.backbone if backbone else self.study.network
        return build_network(asked, tuple(level.features for level in arrays.schema.levels), n_outputs, seed)

    def pretraining_job(self, events: dict[str, store.Dataset], folder: Path, **more: Any) -> PretrainingJob:
        """A pretraining on its events. more: other settings."""
        return PretrainingJob(
            name=self.objective, identity={"kind": "a test's"}, network=self.study.network.backbone,
            settings=replace(self.study.pretraining, **more), datasets=tuple(events.values()), start=None,
            ledger=folder / "ledger", backbone=folder / "backbone",
        )  # fmt: skip

    def __str__(self) -> str:
        return self.study.name


def small_recipe(process: str, seed: int = 1) -> store.Recipe:
    """A recipe whose shards take a third of a second."""
    return store.Recipe(source(process), seed=seed, shard_events=SHARD_EVENTS)


def made(root: Path, *processes: str, shards: int = 2) -> dict[str, store.Dataset]:
    """So many shards of each of these processes below `root`, where those that are there already are taken as they are."""
    found = {}
    for process in processes:
        recipe = small_recipe(process)
        for shard in store.missing_shards(recipe, root, shards):
            store.make_shard(recipe, root, shard)
        found[process] = store.complete(recipe, root, shards)
    return found


_WHOLE = Study(
    name="whole-events",
    generation=GENERATION,
    pretraining=Pretraining(
        objectives=("multiclass",), processes=("WH", "ZH"), epochs=2, batch_size=32, validation_events=10, workers=1
    ),
    finetuning=replace(FINETUNING, tasks=("WH_vs_ZH",)),
    search=Search(trials=0),
)
_JETS = Study(
    name="jets",
    generation=GENERATION,
    network=Network(
        kind="jet_transformer", representation="V",
        options={"width": 8, "blocks": 1, "class_blocks": 1, "heads": 2, "pairs": 4},
    ),
    pretraining=replace(
        _WHOLE.pretraining, objectives=("xbb",), processes=("HH4b_1000", "QCD_600_800"), symmetries=False
    ),
    finetuning=replace(
        FINETUNING, tasks=("HH4b_1000_vs_QCD_600_800",), merit="rejection_90", head_steps=4, symmetries=False
    ),
    search=Search(trials=0, published=0.3),
)  # fmt: skip
SMALL = (Small(_WHOLE, more="VBF", last="block 4"), Small(_JETS, more="HH4b_2000", last="jets"))
