"""The plan of a study: its cells and trials, their identities, and the work that is in them.

Pure functions of the specification: needs neither Ray nor a GPU nor events. It never runs anything.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Literal

from breakeven.fingerprint import fingerprint
from breakeven.study import spec
from breakeven.study.spec import SEARCH_SEED, Finetuning, Precision, Study

Phase = Literal["search", "confirm"]


@dataclass(frozen=True)
class Cell:
    """Task x pretraining x strategy x size: the unit of the accuracy table."""

    task: str
    pretraining: str
    """"none", "multiclass" or "multilabel"."""
    strategy: str
    """"scratch", "finetune" or "frozen"."""
    size: int
    """Training events of each class."""

    @property
    def name(self) -> str:
        """Readable name, such as "stop_vs_ttH/multiclass/finetune/100"."""
        return f"{self.task}/{self.pretraining}/{self.strategy}/{self.size}"


@dataclass(frozen=True)
class Ingredients:
    """What the trials of a study are made of, each by its content hash."""

    datasets: Mapping[str, str]
    """Dataset hash of each process."""
    backbones: Mapping[str, str]
    """Checkpoint hash of each pretraining objective."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Versions of the rooms that decide a result: network, training, torch's major."""


@dataclass(frozen=True)
class Trial:
    """The smallest thing that is trained and recorded once: a cell with seed and ratio."""

    cell: Cell
    phase: Phase
    seed: int
    ratio: float
    identity: dict[str, Any] = field(repr=False)
    """All that defines its result."""

    @cached_property
    def hash(self) -> str:
        """Hash of the identity: the name of its record in the ledger."""
        return fingerprint(self.identity)


def processes(study: Study, pretraining_default: tuple[str, ...]) -> tuple[str, ...]:
    """All processes that a study needs, pretraining first, each once."""
    wanted = list(pretraining_processes(study, pretraining_default)) if study.pretraining.objectives else []
    for name in study.finetuning.tasks:
        wanted += [spec.task(name).signal, spec.task(name).background]
    return tuple(dict.fromkeys(wanted))


def pretraining_processes(study: Study, default: tuple[str, ...]) -> tuple[str, ...]:
    """The processes that the backbone learns from."""
    return study.pretraining.processes or default


def cells(study: Study) -> tuple[Cell, ...]:
    """The cells of a study, largest size first, as the longest work must not come last."""
    found = []
    for size in sorted(study.finetuning.sizes, reverse=True):
        for task in study.finetuning.tasks:
            found.append(Cell(task, "none", "scratch", size))
            for objective in study.pretraining.objectives:
                found += [Cell(task, objective, strategy, size) for strategy in study.finetuning.strategies]
    return tuple(found)


def searched(study: Study, cell: Cell) -> bool:
    """Whether the learning-rate ratio of `cell` is searched: it only exists where a backbone is finetuned."""
    return cell.strategy == "finetune" and study.search.trials > 0


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
    steps_each = math.ceil(2 * size / finetuning.batch_size)
    return max(finetuning.epochs, math.ceil(finetuning.steps / steps_each))


def trial(study: Study, cell: Cell, phase: Phase, seed: int, ratio: float, made_of: Ingredients) -> Trial:
    """One trial with its identity. A search trial never touches test events: it is never a confirming one."""
    task = spec.task(cell.task)
    settings = study.finetuning
    identity = {
        "kind": "trial",
        "judged_on": "test" if phase == "confirm" else "validation",
        "signal": made_of.datasets[task.signal],
        "background": made_of.datasets[task.background],
        "backbone": made_of.backbones[cell.pretraining] if cell.pretraining != "none" else "",
        "strategy": cell.strategy,
        "size": cell.size,
        "seed": seed,
        "rate": settings.learning_rate if cell.strategy == "scratch" else settings.head_rate,
        "ratio": float(ratio),
        "epochs": epochs(settings, cell.size),
        "network": asdict(study.network),
        "training": {
            name: getattr(settings, name)
            for name in (
                "batch_size",
                "decay",
                "patience",
                "validation_events",
                "test_events",
            )
        },
        "versions": dict(made_of.versions),
    } | of_precision(settings.precision)
    return Trial(cell, phase, seed, float(ratio), identity)


def of_precision(precision: Precision) -> dict[str, str]:
    """What a precision adds to an identity: nothing where it is float32, as in all identities before there was a choice."""
    return {} if precision == "float32" else {"precision": precision}


def event_passes(study: Study, cell: Cell, phase: Phase, part: float = 1.0) -> float:
    """Event passes (forward, backward, step) of one trial that makes `part` of its epochs; judging costs a third of one.

    A frozen backbone looks at each event once.
    """
    settings = study.finetuning
    frozen = cell.strategy == "frozen"
    rounds = 1.0 if frozen else part * epochs(settings, cell.size)
    trained = 2 * cell.size * (1 / 3 if frozen else rounds)
    judged = 2 * settings.validation_events * rounds
    if phase == "confirm":
        judged += 2 * min(settings.test_events, study.generation.events_per_process // 4)
    return trained + judged / 3
