"""The plan of a study: its cells and trials, their identities, and the work that is in them.

Pure functions of the specification: needs neither Ray nor a GPU nor events. It never runs anything.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

from breakeven.fingerprint import fingerprint
from breakeven.study import identity
from breakeven.study.spec import BASELINES, SEARCH_SEED, Finetuning, Pretraining, Search, Study, Task

Phase = Literal["search", "confirm"]
TREES_EPOCHS = 200
"""Epoch limit of trees: a safety net far above where they reach their plateau, after 5 to 30."""


@dataclass(frozen=True)
class Cell:
    """Task x network x pretraining x strategy x size: the unit of the accuracy table."""

    task: Task
    pretraining: str
    """Its name in the study, such as "multiclass"; "none" from scratch."""
    strategy: str
    """"scratch", "trees", "trees+score", "finetune" or "frozen"."""
    size: int
    """Training events of each class."""
    network: str = ""
    """Its name in the study; empty where there is one alone, and for trees, which have none."""

    @property
    def name(self) -> str:
        """Readable name, such as "stop_vs_ttH/multiclass/finetune/100", with its network after the task where it has a name."""
        return cell_name(self.task.name, self.network, self.pretraining, self.strategy, self.size)

    @property
    def of_trees(self) -> bool:
        """Whether trees are trained, and no network."""
        return self.strategy in BASELINES

    @property
    def backbone(self) -> str:
        """What its backbone is called, see `backbone_name`; empty from scratch."""
        return "" if self.pretraining == "none" else backbone_name(self.network, self.pretraining)


def cell_name(task: str, network: str, pretraining: str, strategy: str, size: int) -> str:
    """Name of a cell in a study, by the names that its parts have there."""
    return "/".join([task, *([network] if network else []), pretraining, strategy, str(size)])


def backbone_name(network: str, pretraining: str) -> str:
    """Name of a backbone in a study: of its pretraining, after that of its network where it has one."""
    return f"{network}/{pretraining}" if network else pretraining


@dataclass(frozen=True)
class Ingredients:
    """What the trials of a study are made of, each by its content hash."""

    datasets: Mapping[str, str]
    """Dataset hash of each process."""
    backbones: Mapping[str, tuple[str, ...]]
    """Checkpoint hashes of each backbone, one for each of its seeds."""
    versions: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """By network, and for "trees", the versions of all that decides a result besides: training, torch's major ..."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """By process, the version of the high-level variables that trees take of its events."""
    schemas: Mapping[str, str] = field(default_factory=dict)
    """By process, the version of what computes labels and derived features, where the schema of its events is a plug-in's."""

    def network(self, cell: Cell) -> dict[str, str]:
        """The versions of all that decides a trial with a network."""
        return {**self.versions.get(cell.network, {}), **schema_version(self.schemas, cell.task.processes)}

    def trees(self, cell: Cell) -> dict[str, str]:
        """The versions of all that decides a trial with trees."""
        known = self.versions.get("trees", {})
        variables = self.variables.get(cell.task.processes[0])
        of_network = self.versions.get(cell.network, {}) if cell.backbone else {}
        scored = {name: of_network[name] for name in ("network", "features") if name in of_network}
        computed = schema_version(self.schemas, cell.task.processes)
        return {**known, **({"variables": variables} if variables else {}), **scored, **computed}

    def backbone(self, cell: Cell, seed: int) -> str:
        """Checkpoint hash of the backbone of a trial, empty from scratch: seeds of trials take those there are in turns."""
        if not cell.backbone:
            return ""
        taken = self.backbones[cell.backbone]
        return taken[in_turns(seed, len(taken))]


def in_turns(seed: int, n: int) -> int:
    """Which of `n` backbones a trial with this seed stands on."""
    return (seed - (SEARCH_SEED if seed >= SEARCH_SEED else 1)) % n


def schema_version(schemas: Mapping[str, str], processes: Iterable[str]) -> dict[str, str]:
    """What an identity says of the schema of the events of these processes: nothing of our own."""
    computed_by = sorted({schemas[process] for process in processes if process in schemas})
    return {"schema": "+".join(computed_by)} if computed_by else {}


@dataclass(frozen=True)
class Trial:
    """The smallest thing that is trained and recorded once: a cell with seed and ratio."""

    cell: Cell
    phase: Phase
    seed: int
    ratio: float
    """Of the backbone's learning rate to the head's; from scratch, of all layers' to the published one."""
    identity: dict[str, Any] = field(repr=False)
    """All that defines its result."""

    @cached_property
    def hash(self) -> str:
        """Hash of the identity: the name of its record in the ledger."""
        return fingerprint(self.identity)


def processes(study: Study, pretraining_default: tuple[str, ...]) -> tuple[str, ...]:
    """All processes that a study needs, pretraining first, each once."""
    wanted: list[str] = []
    for settings in study.pretrainings_by_name().values():
        wanted += pretraining_processes(settings, pretraining_default)
    for task in study.finetuning.resolved():
        wanted += task.processes
    return tuple(dict.fromkeys(wanted))


def pretraining_processes(settings: Pretraining, default: tuple[str, ...]) -> tuple[str, ...]:
    """The processes that a backbone learns from, in the order of the class numbers."""
    return settings.processes or default


def cells(study: Study) -> tuple[Cell, ...]:
    """The cells of a study, largest size first, as the longest work must not come last."""
    treatments = [("none", "scratch")]
    treatments += [
        (name, strategy) for name in study.pretrainings_by_name() for strategy in study.finetuning.strategies
    ]
    networks = [(network, *treatment) for network in study.networks_by_name() for treatment in treatments]
    return tuple(
        Cell(task, pretraining, strategy, size, network)
        for size in sorted(study.finetuning.sizes, reverse=True)
        for task in study.finetuning.resolved()
        for network, pretraining, strategy in networks + baselines(study)
    )


def baselines(study: Study) -> list[tuple[str, str, str]]:
    """Network, pretraining and strategy of the cells of trees at one task and size."""
    networks = [name for name, network in study.networks_by_name().items() if network.scores]
    pretrainings = [name for name, settings in study.pretrainings_by_name().items() if settings.scores]
    scoring = [(network, pretraining) for network in networks for pretraining in pretrainings]
    return [
        (*of, baseline)
        for baseline in study.finetuning.baselines
        for of in ([("", "none")] if baseline == "trees" else scoring)
    ]


def searched(study: Study, cell: Cell) -> bool:
    """Whether the learning rate of `cell` is searched."""
    return cell.strategy in study.search.strategies and study.search.trials > 0


def space(study: Study, cell: Cell) -> Search:
    """What is searched in a cell: from scratch the ratio is to the published rate."""
    asked = study.search
    if cell.strategy != "scratch":
        return asked
    return replace(asked, published=1.0, low=asked.scratch_low, high=asked.scratch_high)


def trials_of(study: Study, cell: Cell) -> dict[Phase, int]:
    """Number of trials of `cell` in each phase, known from the start; pruned and failed ones count."""
    proposed = study.search.trials * study.search.seeds if searched(study, cell) else 0
    return {"search": proposed, "confirm": study.finetuning.seeds}


def confirm_seeds(study: Study) -> range:
    """Seeds of the reported trials."""
    return range(1, study.finetuning.seeds + 1)


def search_seeds(study: Study) -> range:
    """Seeds of the search, disjoint from the reported ones."""
    return range(SEARCH_SEED, SEARCH_SEED + study.search.seeds)


def epochs(finetuning: Finetuning, size: int) -> int:
    """Epoch limit at `size` events a class: small samples make more passes, up to `finetuning.steps` steps."""
    return max(finetuning.epochs, math.ceil(finetuning.steps / steps_each(finetuning, size)))


def patience(finetuning: Finetuning, size: int) -> int:
    """Epochs without a better validation loss that a training at `size` events a class may make."""
    return max(finetuning.patience, math.ceil(finetuning.patience_steps / steps_each(finetuning, size)))


def warmup(finetuning: Finetuning, strategy: str, size: int) -> int:
    """Epochs in which the rates grow to their full size at `size` events a class: a pretrained backbone needs none."""
    return math.ceil(finetuning.warmup_steps / steps_each(finetuning, size)) if strategy == "scratch" else 0


def head_epochs(finetuning: Finetuning, strategy: str, size: int) -> int:
    """Epochs in which the new layers of finetuning learn alone."""
    return math.ceil(finetuning.head_steps / steps_each(finetuning, size)) if strategy == "finetune" else 0


def steps_each(finetuning: Finetuning, size: int) -> int:
    """Gradient steps of an epoch."""
    return math.ceil(2 * size / finetuning.batch_size)


def trial(study: Study, cell: Cell, phase: Phase, seed: int, ratio: float, made_of: Ingredients) -> Trial:
    """One trial with its identity. A search trial never touches test events: it is never a confirming one."""
    signal, background = ("+".join(made_of.datasets[process] for process in of_class) for of_class in cell.task.classes)
    data = signal, background
    if cell.of_trees:
        said = identity.trees_identity(
            study.finetuning,
            data=data,
            size=cell.size,
            seed=seed,
            epochs=TREES_EPOCHS,
            versions=made_of.trees(cell),
            backbone=made_of.backbone(cell, seed),
            network=study.networks_by_name()[cell.network] if cell.backbone else None,
        )
        return Trial(cell, phase, seed, said["ratio"], said)
    asked = identity.Asked(
        data=data,
        backbone=made_of.backbone(cell, seed),
        strategy=cell.strategy,
        size=cell.size,
        phase=phase,
        seed=seed,
        ratio=ratio,
        epochs=epochs(study.finetuning, cell.size),
        patience=patience(study.finetuning, cell.size),
        warmup=warmup(study.finetuning, cell.strategy, cell.size),
    )
    network = study.networks_by_name()[cell.network]
    said = identity.trial_identity(study.finetuning, network, asked, made_of.network(cell))
    return Trial(cell, phase, seed, ratio if cell.strategy == "scratch" else said["ratio"], said)


def search_name(study: Study, cell: Cell, made_of: Ingredients) -> str:
    """Hash of all that defines the search in a cell."""
    first = trial(study, cell, "search", search_seeds(study)[0], 1.0, made_of)
    return fingerprint(identity.search_identity(first.identity, space(study, cell)))


def of_classes(finetuning: Finetuning, size: int) -> tuple[int, int]:
    """Training events of signal and of background at `size` events a class."""
    signal = round(2 * size * finetuning.signal_fraction)
    return signal, 2 * size - signal


def event_passes(study: Study, cell: Cell, phase: Phase, part: float = 1.0) -> float:
    """Event passes (forward, backward, step) of one trial that makes `part` of its epochs; evaluation costs a third of one.

    A frozen backbone looks at each event once.
    """
    settings = study.finetuning
    iterations = 500.0 + cell.size if cell.of_trees else 0.0  # some hundred of a few milliseconds
    if cell.strategy == "trees":
        return iterations
    frozen = cell.strategy == "frozen" or cell.of_trees
    rounds = 1.0 if frozen else part * epochs(settings, cell.size)
    trained = 2 * cell.size * (1 / 3 if frozen else rounds)
    evaluated = 2 * settings.validation_events * rounds
    if phase == "confirm":
        evaluated += 2 * min(settings.test_events, study.generation.events_per_process // 4)
    return iterations + trained + evaluated / 3
