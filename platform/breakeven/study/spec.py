"""The specification of a study: frozen dataclasses, and the checks that tell bad input before anything runs.

A preset differs from another only in these numbers. Every field can be overridden on the command line; its comment here
is its help text there. It holds no behaviour beyond the checks.
"""

import difflib
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

__all__ = [
    "TASKS",
    "Finetuning",
    "Generation",
    "InvalidStudy",
    "Network",
    "Pretraining",
    "Search",
    "Study",
    "Task",
    "check",
    "study_from_json",
    "task",
]

from breakeven.names import InvalidName, check_name

PretrainingObjective = Literal["multiclass", "multilabel"]
Strategy = Literal["finetune", "frozen"]
Precision = Literal["float32", "tf32", "bfloat16"]


class InvalidStudy(ValueError):
    """The specification cannot be run; the message names the field, the value and the way out."""


@dataclass(frozen=True)
class Task:
    """Signal against background."""

    name: str
    """Short name, used in cells and on the command line."""
    title: str
    """Name in the published tables."""
    signal: str
    """Process of the signal class."""
    background: str
    """Process of the background class."""


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task("ttH_CP", "ttH CP even vs odd", "ttH_yy_odd", "ttH_yy_even"),
        Task("FCNC_vs_tHq", "FCNC vs tHq", "FCNC", "tHq"),
        Task("ttW_vs_ttt", "ttW vs ttt", "ttt", "ttW"),
        Task("stop_vs_ttH", "stop vs ttH", "stop_pair", "ttH"),
        Task("WH_vs_ZH", "WH vs ZH", "WH", "ZH"),
    )
}
"""The five tasks of arXiv 2412.10665, section III.1."""
_BY_CLASSES = {(task.signal, task.background): task for task in TASKS.values()}


def task(name: str) -> Task:
    """The task with this name: one of the five, or any "SIGNAL_vs_BACKGROUND" of two processes.

    Two processes make one task: where they are those of one of the five it is that one, with that one's name.
    Raises InvalidStudy, with the nearest known names, on anything else.
    """
    if name in TASKS:
        return TASKS[name]
    _check_name("finetuning.tasks", name)
    signal, separator, background = name.partition("_vs_")
    if not (separator and signal and background) or signal == background:
        raise InvalidStudy(
            f"finetuning.tasks: {name!r} is not known; the nearest known: {_nearest(name, TASKS)}; "
            "a task of your own is written SIGNAL_vs_BACKGROUND with two different processes"
        )
    return _BY_CLASSES.get((signal, background)) or Task(name, f"{signal} vs {background}", signal, background)


def task_name(record: Mapping[Any, Any]) -> str:
    """What a record's task is called now, by its classes: a record may have been made under another name of it."""
    known = _BY_CLASSES.get((record.get("signal", ""), record.get("background", "")))
    return known.name if known else record["task"]


@dataclass(frozen=True)
class Generation:
    """The events a study stands on."""

    events_per_process: int = 4000
    """Events generated for each process; 60 % train, 15 % validate, 25 % test, split by hard event."""
    fewer: dict[str, int] = field(default_factory=dict)
    """Processes with another number of events, as name and number (arXiv 2412.10665 has half for tttt)."""
    multiparton_interactions: bool = False
    """Simulate multiparton interactions: more real, about four times slower."""
    seed: int = 1
    """Base seed: the same seed gives the same events on any number of workers."""
    lhe: dict[str, str] = field(default_factory=dict)
    """Les Houches event files of your own, as process name and path: a new process, or in place of the catalogue's."""
    shard_events: int = 500
    """Events in one Parquet shard: the unit of work of a worker, and the most it can lose."""

    def events(self, process: str) -> int:
        """Events to generate for `process`."""
        return self.fewer.get(process, self.events_per_process)


@dataclass(frozen=True)
class Network:
    """The graph network of arXiv 2412.10665, section III.2."""

    shared_blocks: bool = False
    """Use one block in all iterations (134k parameters) in place of one for each (372k)."""
    iterations: int = 4
    """Message-passing iterations."""
    hidden: int = 64
    """Width of every layer; the compiled kernel serves 64 alone."""
    log_momenta: bool = True
    """Take the logarithm of pt and energy before standardising."""
    initialisation: Literal["he", "torch"] = "he"
    """Starting weights: He's, whose signal survives many layers, or torch's default."""
    engine: Literal["native", "dgl"] = "native"
    """Implementation: our own, or DGL as the reference."""
    kind: str = "event_graph"
    """Another kind of network, of a plug-in; the fields above are those of event_graph alone."""
    options: dict[str, float] = field(default_factory=dict)
    """Arguments of a plug-in's network, as name and number."""


@dataclass(frozen=True)
class Pretraining:
    """Pretraining of the backbone on many processes at once."""

    objectives: tuple[PretrainingObjective, ...] = ("multiclass", "multilabel")
    """What the backbone learns: the process (12 classes), or the 41 truth labels."""
    processes: tuple[str, ...] = ()
    """Processes to learn from; empty: all pretraining processes of the catalogue."""
    events_per_process: int = 0
    """Most training events of each process; 0: all in the training split."""
    epochs: int = 15
    """Passes over the training events."""
    batch_size: int = 64
    """Global batch over all workers."""
    learning_rate: float = 3e-4
    """Initial rate."""
    decay: float = 0.99
    """Factor on the rate after each epoch."""
    seed: int = 1
    """Initialisation and order of events."""
    validation_events: int = 250
    """Most validation events of each process."""
    precision: Precision = "float32"
    """Of the matrix products in training; "tf32" and "bfloat16" are faster on a GPU's tensor cores and less exact."""
    workers: int = 0
    """Data-parallel workers; 0: one for each GPU, or for each core up to 4 where no GPU is."""


@dataclass(frozen=True)
class Finetuning:
    """The trials: each task at each size, from scratch and from each backbone."""

    tasks: tuple[str, ...] = tuple(TASKS)
    """Tasks to solve."""
    strategies: tuple[Strategy, ...] = ("finetune", "frozen")
    """What is done with a backbone; `scratch` always runs, as the baseline."""
    sizes: tuple[int, ...] = (100, 300, 1000)
    """Training events of each class."""
    seeds: int = 3
    """Repetitions of each cell on the test events: seeds 1 to n, each with its own initialisation and random subset."""
    epochs: int = 8
    """Most passes over the training events, unless `steps` asks for more."""
    steps: int = 200
    """Gradient steps that every trial may take, however small its sample: small samples make more passes; 0: none."""
    batch_size: int = 32
    """Events in a batch."""
    learning_rate: float = 1e-4
    """Initial rate of every layer when training from scratch."""
    head_rate: float = 1e-3
    """Initial rate of the new head on a pretrained backbone; the backbone's is this times the learning-rate ratio."""
    decay: float = 0.99
    """Factor on the rates after each epoch."""
    precision: Precision = "float32"
    """Of the matrix products in training; judging is always in float32."""
    patience: int = 5
    """Epochs without a better validation loss after which training has reached its plateau and stops."""
    validation_events: int = 250
    """Most validation events of each class."""
    test_events: int = 2_000_000
    """Most test events of each class."""
    represented_events: int = 500
    """Most test events of each class of which all layers of every network trained on the largest size are kept (half
    a megabyte a trial), to compare what networks have learnt; 0: none."""
    trial_seconds: float = 0.0
    """Most seconds that a trial may take: one that takes longer is recorded as failed; 0: no limit."""
    gpu_share: float = 1.0
    """Part of a GPU that a worker holds: with 0.25 four workers train on one GPU at a time."""

    def resolved(self) -> tuple[Task, ...]:
        """The tasks, each once, by whichever of its names it was asked for. Raises InvalidStudy."""
        return tuple(dict.fromkeys(map(task, self.tasks)))

    def renamed(self) -> dict[str, str]:
        """The tasks that are known by another name than they were asked for, with that name."""
        return {name: task(name).name for name in self.tasks if task(name).name != name}


@dataclass(frozen=True)
class Search:
    """The search for the learning-rate ratio (backbone rate / head rate) of each finetuning cell."""

    trials: int = 2
    """Ratios tried in each cell on validation events, the published one first; 0: no search, the published one."""
    published: float = 0.1
    """Ratio of arXiv 2412.10665, section III.4."""
    low: float = 0.03
    """Lowest ratio."""
    high: float = 1.0
    """Highest ratio."""
    seeds: int = 1
    """Trials averaged for one ratio; their seeds are never those that are reported."""
    pruning: bool = True
    """Stop a trial whose validation loss is above the median of earlier ratios at the same epoch (from the third on)."""


@dataclass(frozen=True)
class Study:
    """One study: datasets, pretrainings, cells and search."""

    name: str = "scaling"
    """Name of the study: its folder below the runs folder, and its MLflow experiment."""
    generation: Generation = Generation()
    network: Network = Network()
    pretraining: Pretraining = Pretraining()
    finetuning: Finetuning = Finetuning()
    search: Search = Search()


SEARCH_SEED = 1_000_001
"""First seed of the search; reported seeds are 1, 2, 3 ... and never reach it."""


def check(study: Study, known_processes: Collection[str]) -> None:
    """Refuse a study that cannot be run, by the first field that is wrong.

    Args:
        study: what is asked.
        known_processes: the catalogue's content.

    Raises:
        InvalidStudy: names the field, the value and the way out.
    """
    for field_name, given in {"name": (study.name,), "generation.lhe": study.generation.lhe}.items():
        for name in given:
            _check_name(field_name, name)
            if field_name != "name" and "_vs_" in name:
                raise InvalidStudy(f"{field_name}: {name!r} holds '_vs_', which stands between the processes of a task")
    files: dict[Path, str] = {}
    for name, file in study.generation.lhe.items():
        if (other := files.setdefault(Path(file).resolve(), name)) != name:
            raise InvalidStudy(f"generation.lhe: {other!r} and {name!r} are the same file {file}: name it only once")
    positive = {
        "generation.events-per-process": study.generation.events_per_process,
        "generation.shard-events": study.generation.shard_events,
        "network.iterations": study.network.iterations,
        "network.hidden": study.network.hidden,
        "pretraining.epochs": study.pretraining.epochs,
        "pretraining.batch-size": study.pretraining.batch_size,
        "pretraining.learning-rate": study.pretraining.learning_rate,
        "pretraining.decay": study.pretraining.decay,
        "pretraining.validation-events": study.pretraining.validation_events,
        "finetuning.seeds": study.finetuning.seeds,
        "finetuning.epochs": study.finetuning.epochs,
        "finetuning.batch-size": study.finetuning.batch_size,
        "finetuning.learning-rate": study.finetuning.learning_rate,
        "finetuning.head-rate": study.finetuning.head_rate,
        "finetuning.decay": study.finetuning.decay,
        "finetuning.patience": study.finetuning.patience,
        "finetuning.validation-events": study.finetuning.validation_events,
        "finetuning.test-events": study.finetuning.test_events,
        "finetuning.gpu-share": study.finetuning.gpu_share,
        "search.low": study.search.low,
        "search.published": study.search.published,
        "search.seeds": study.search.seeds,
    }
    positive |= {f"finetuning.sizes[{i}]": size for i, size in enumerate(study.finetuning.sizes)}
    positive |= {f"generation.fewer.{name}": n for name, n in study.generation.fewer.items()}
    for name, value in positive.items():
        if not math.isfinite(value) or value <= 0:
            raise InvalidStudy(f"{name} is {value}: it must be above zero")
    for name, value in {
        "pretraining.events-per-process": study.pretraining.events_per_process,
        "pretraining.workers": study.pretraining.workers,
        "finetuning.steps": study.finetuning.steps,
        "finetuning.represented-events": study.finetuning.represented_events,
        "finetuning.trial-seconds": study.finetuning.trial_seconds,
        "search.trials": study.search.trials,
    }.items():
        if not math.isfinite(value) or value < 0:
            raise InvalidStudy(f"{name} is {value}: it must be a number and not negative")
    for field_name, precision in {
        "pretraining.precision": study.pretraining.precision,
        "finetuning.precision": study.finetuning.precision,
    }.items():
        if precision not in get_args(Precision):
            raise InvalidStudy(f"{field_name} is {precision!r}: choose {', '.join(get_args(Precision))}")
    if study.finetuning.gpu_share > 1:
        raise InvalidStudy(
            f"finetuning.gpu-share is {study.finetuning.gpu_share}: a trial trains on one GPU, use at most 1"
        )
    if study.search.high < study.search.low:
        raise InvalidStudy(f"search.high is {study.search.high}, below search.low {study.search.low}: swap them")
    if not study.finetuning.tasks or not study.finetuning.sizes:
        raise InvalidStudy("finetuning.tasks and finetuning.sizes must name at least one each")
    for field_name, values in {
        "finetuning.tasks": study.finetuning.tasks,
        "finetuning.sizes": study.finetuning.sizes,
        "finetuning.strategies": study.finetuning.strategies,
        "pretraining.objectives": study.pretraining.objectives,
        "pretraining.processes": study.pretraining.processes,
    }.items():
        if len(set(values)) < len(values):
            raise InvalidStudy(f"{field_name} is {values}: name each only once")
    known_processes = {*known_processes, *study.generation.lhe}
    for wanted in study.finetuning.resolved():
        _check_names(f"finetuning.tasks: {wanted.name}", (wanted.signal, wanted.background), known_processes)
    _check_names("pretraining.processes", study.pretraining.processes, known_processes)
    _check_names("generation.fewer", study.generation.fewer, known_processes)
    if len(study.pretraining.processes) == 1 and "multiclass" in study.pretraining.objectives:
        raise InvalidStudy("pretraining.processes names one process: multiclass pretraining needs at least two")


def study_from_json(values: dict[str, Any]) -> Study:
    """The study that `dataclasses.asdict` made JSON of. Raises TypeError on fields that this version does not know."""
    parts: dict[str, Any] = {"generation": Generation, "network": Network, "pretraining": Pretraining,
                             "finetuning": Finetuning, "search": Search}  # fmt: skip
    if "validation_events" not in values["pretraining"]:  # the first version had one number for both
        number = values["finetuning"]["validation_events"]
        values = {**values, "pretraining": {**values["pretraining"], "validation_events": number}}
    read = {
        name: kind(**{key: tuple(v) if isinstance(v, list) else v for key, v in values[name].items()})
        for name, kind in parts.items()
    }
    return Study(name=values["name"], **read)


def _check_name(field_name: str, name: str) -> None:
    try:
        check_name(field_name, name)
    except InvalidName as error:
        raise InvalidStudy(str(error)) from error


def _check_names(field_name: str, values: Iterable[str], known: Collection[str]) -> None:
    for value in values:
        if value not in known:
            raise InvalidStudy(f"{field_name}: {value!r} is not known; the nearest known: {_nearest(value, known)}")


def _nearest(value: str, known: Collection[str]) -> str:
    """The known names most like `value`, whatever their case; all of them where none is alike."""
    folded = {name.casefold(): name for name in sorted(known)}
    near = difflib.get_close_matches(value.casefold(), folded, n=3, cutoff=0.4)
    return ", ".join(folded[name] for name in near) or ", ".join(sorted(known))
