"""The specification of a study: frozen dataclasses.

A preset differs from another only in these numbers. Every field can be overridden on the command line; its comment here
is its help text there. What is wrong with one says study/check.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

__all__ = [
    "TASKS", "Finetuning", "Generation", "InvalidStudy", "Network", "Pretraining", "Search", "Study", "Task",
    "study_from_json", "task",
]  # fmt: skip

from breakeven import plugins
from breakeven.study.task import TASKS, InvalidStudy, Task, task

PretrainingObjective = Literal["multiclass", "multilabel", "xbb"]
Strategy = Literal["finetune", "frozen"]
Baseline = Literal["trees", "trees+score"]
Merit = Literal["accuracy", "auc", "rejection_50", "rejection_70", "rejection_90", "significance_improvement"]
EVEN = 0.5
"""Part of signal in training events that are as many of each class, all of which count the same."""
BASELINES: tuple[Baseline, ...] = get_args(Baseline)
SearchedStrategy = Literal["scratch", "finetune"]
SEARCHED: tuple[SearchedStrategy, ...] = get_args(SearchedStrategy)
"""Strategies that have a learning-rate ratio, which a search may choose; that in a record of another means nothing."""
Precision = Literal["float32", "tf32", "bfloat16"]
KINDS = ("event_graph", "jet_transformer")
"""Kinds of networks that come with the package."""
JET_OPTIONS: dict[str, float] = {
    "width": 128, "blocks": 8, "class_blocks": 2, "heads": 8, "pairs": 64, "pair_layers": 3, "feed_forward": 4,
    "dropout": 0.0, "constituents": 0,
}  # fmt: skip
"""Options of a jet_transformer, with the published values that they have where they are not given."""
_UNSAID = {"pair_layers": 1, "feed_forward": 4, "dropout": 0.0, "constituents": 0}
"""Options of a jet_transformer that an identity leaves out at these values; it says all others."""


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
    jetclass: dict[str, str] = field(default_factory=dict)
    """ROOT files of jets as JetClass has them (arXiv 2202.03772), as process name and path: events of one jet each."""
    pythia: dict[str, str] = field(default_factory=dict)
    """More settings of Pythia for a process, as its name and settings between semicolons: 'zprime "32:onMode=off; 32:onIfAny=15"'
    for a decay, '52:isVisible=off' for a particle that no detector sees."""
    shard_events: int = 500
    """Events in one Parquet shard: the unit of work of a worker, and the most it can lose."""
    reuse: int = 10
    """Most events made of one hard event of the samples that ship, above which a study is refused; above 2 it warns."""

    def events(self, process: str) -> int:
        """Events to generate for `process`."""
        return self.fewer.get(process, self.events_per_process)

    def pythia_settings(self, process: str) -> tuple[str, ...]:
        """What is asked of Pythia for `process` besides what it always has."""
        return tuple(filter(None, map(str.strip, self.pythia.get(process, "").split(";"))))


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
    """Another kind of network: "jet_transformer" for jet events, or one of a plug-in; the fields above are event_graph's."""
    options: dict[str, float] = field(default_factory=dict)
    """Arguments of a network of another kind, as name and number; where a study names several networks, of each of them."""
    representation: Literal["", "S+HLF", "V+HLF", "V"] = ""
    """What a jet_transformer gives the layers above it of each jet of an event (arXiv 2401.13536): the scalar of the tagger or
    its vector, with high-level features or alone."""

    def settled(self) -> "Network":
        """The same network as an identity says it: in one way, whichever of its options are given that are so by default."""
        if not self.options and self.kind != "jet_transformer":
            return self
        given, unsaid = self.options, _UNSAID
        if self.kind == "jet_transformer":
            given = {**JET_OPTIONS, **({"pair_layers": 1} if "pairs" in given else {}), **given}
        else:
            unsaid = plugins.defaults(self.kind)
        return replace(self, options={name: value for name, value in given.items() if value != unsaid.get(name)})

    @property
    def backbone(self) -> "Network":
        """What is pretrained of it: one backbone serves all representations."""
        return replace(self, representation="")

    @property
    def scores(self) -> bool:
        """Whether it holds what a backbone was pretrained to say of each thing in an event: the scalar of each jet."""
        return self.representation == "S+HLF"


@dataclass(frozen=True)
class Pretraining:
    """Pretraining of the backbone on many processes at once."""

    objectives: tuple[PretrainingObjective, ...] = ("multiclass",)
    """What the backbone learns: the process (multiclass, 12 classes), the 41 truth labels (multilabel), or of the jets of jet
    events, one by one, whether each is a Higgs boson to two bottom quarks (xbb)."""
    processes: tuple[str, ...] = ()
    """Processes to learn from; empty: all pretraining processes of the catalogue."""
    events_per_process: int = 0
    """Most training events of each process; 0: all in the training split."""
    epochs: int = 100
    """Most passes over the training events: a safety net above `patience`."""
    patience: int = 8
    """Epochs without a better validation loss after which it has reached its plateau and stops; 0: all `epochs`."""
    batch_size: int = 64
    """Global batch over all workers."""
    learning_rate: float = 3e-4
    """Initial rate."""
    decay: float = 0.99
    """Factor on the rate after each epoch."""
    seed: int = 1
    """Initialisation and order of events."""
    seeds: int = 1
    """Backbones of each objective, with `seed` and those that follow; the trials of a cell take them in turns."""
    validation_events: int = 250
    """Most validation events of each process."""
    symmetries: bool = True
    """Turn each training event about the beam and mirror it at random in every epoch: no process here knows a direction but
    the beam's."""
    precision: Precision = "float32"
    """Of the matrix products in training; "tf32" and "bfloat16" are faster on a GPU's tensor cores and less exact."""
    workers: int = 0
    """Most data-parallel workers; 0: one for each GPU, or for each core up to 4 where no GPU is. With nodes lost it goes on with
    fewer, down to one, and takes up those that come back: the batches stay the same."""
    checkpoint_seconds: float = 300.0
    """Longest time between two checkpoints, for epochs that take longer: what a lost worker can lose."""
    start: str = ""
    """Pretraining of the same study whose backbone it starts from, as its name in `pretrainings`; empty: from scratch."""

    @property
    def objective(self) -> PretrainingObjective:
        """What is learnt, of a pretraining that `Study.pretrainings_by_name` gives."""
        return self.objectives[0]

    @property
    def scores(self) -> bool:
        """Whether it learns to give each thing in an event one score, as each jet."""
        return self.objective == "xbb"

    def by_seed(self) -> "tuple[Pretraining, ...]":
        """One of one seed for each of its seeds."""
        return tuple(replace(self, seed=self.seed + k, seeds=1) for k in range(self.seeds))


@dataclass(frozen=True)
class Finetuning:
    """The trials: each task at each size, from scratch and from each backbone."""

    tasks: tuple[str, ...] = tuple(TASKS)
    """Tasks to solve."""
    strategies: tuple[Strategy, ...] = ("finetune",)
    """What is done with a backbone; `scratch` always runs, as the baseline."""
    baselines: tuple[Baseline, ...] = ()
    """Besides `scratch`: "trees", boosted trees on high-level variables, what an analyst does without a network; "trees+score",
    with the scores that each backbone of an Xbb pretraining gives the leading jets as further variables."""
    merit: Merit = "accuracy"
    """Figure of merit: what gains, break-even and data efficiency in the report are of."""
    sizes: tuple[int, ...] = (100, 300)
    """Training events of each class."""
    seeds: int = 3
    """Repetitions of each cell on the test events: seeds 1 to n, each with its own initialisation and random subset."""
    epochs: int = 200
    """Most passes over the training events, unless `steps` asks for more: a safety net far above where they stop."""
    steps: int = 10_000
    """Gradient steps that every trial may take, however small its sample: small samples make more passes; 0: none."""
    batch_size: int = 32
    """Events in a batch."""
    learning_rate: float = 1e-4
    """Initial rate of every layer when training from scratch."""
    head_rate: float = 1e-3
    """Initial rate of the new head on a pretrained backbone; the backbone's is this times the learning-rate ratio."""
    decay: float = 0.99
    """Factor on the rates after each epoch."""
    slow_start: int = 6
    """Factor on the patience while the training loss has not left that of a constant output, which may take long."""
    head_steps: int = 0
    """Gradient steps, in whole epochs, that the new layers learn alone on what the pretrained backbone says, before all learn:
    new layers that have learnt nothing spoil a backbone's on a small sample. Their time is charged to finetuning; 0: none."""
    warmup_steps: int = 200
    """Gradient steps, in whole epochs, in which the rates of a training from scratch grow to their full size: without, deep
    networks may never leave their starting loss."""
    symmetries: bool = True
    """Turn each training event about the beam and mirror it at random in every epoch; a frozen backbone sees each once."""
    precision: Precision = "float32"
    """Of the matrix products in training; evaluation is always in float32."""
    patience: int = 15
    """Epochs without a better validation loss after which training has reached its plateau and stops."""
    patience_steps: int = 200
    """And at least so many gradient steps, as an epoch of a small sample is a few steps; 0: epochs alone count."""
    validation_events: int = 250
    """Most validation events of each class."""
    test_events: int = 2_000_000
    """Most test events of each class."""
    represented_events: int = 500
    """Most test events of each class of which all layers of every network trained on the largest size are kept (half
    a megabyte a trial), to compare what networks have learnt; 0: none."""
    scored_events: int = 20_000
    """Most test events of each class of which the score that each trial gives is kept (two bytes each), so that intervals
    hold the test sample's own error; 0: none."""
    trial_seconds: float = 0.0
    """Most seconds that a trial may take: one that takes longer is recorded as failed; 0: no limit."""
    signal_fraction: float = EVEN
    """Part of the training events that is signal: of a sample of twice `sizes` events, with weights by which both classes count
    alike. 0.068 is the natural mixture of arXiv 2401.13536; validation and test events stay as many of each class."""
    same_events: bool = False
    """Draw the same training events for every seed, so that seeds differ by their initialisation alone, as in arXiv 2401.13536;
    else each has a random subset of its own. Either way larger sizes contain the smaller ones."""
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
    """The search for the learning rate of each cell, with the same effort for a backbone and from scratch.

    What is searched is a ratio: finetuning, of the backbone's rate to the head's; from scratch, of the rate of all layers to
    `finetuning.learning-rate`, the published one.
    """

    strategies: tuple[SearchedStrategy, ...] = SEARCHED
    """Strategies whose cells are searched."""
    trials: int = 2
    """Ratios tried in each cell on validation events, the published one first; 0: no search, the published one."""
    published: float = 0.1
    """Ratio of arXiv 2412.10665, section III.4."""
    low: float = 0.03
    """Lowest ratio."""
    high: float = 1.0
    """Highest ratio."""
    scratch_low: float = 0.3
    """Lowest ratio from scratch."""
    scratch_high: float = 1.5
    """Highest ratio from scratch: above twice the published rate more and more seeds stay at their starting loss."""
    seeds: int = 1
    """Trials averaged for one ratio; their seeds are never those that are reported."""
    spread: bool = True
    """Spread the first ratios after the published one evenly over the range: two always lie in different halves; else random."""
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
    networks: dict[str, Network] = field(default_factory=dict)
    """Several networks to compare, by name, in place of `network`; every pretraining and cell is there with each."""
    pretrainings: dict[str, Pretraining] = field(default_factory=dict)
    """Several pretrainings to compare, by name and with one objective each, in place of `pretraining`: other processes,
    numbers of events, seeds, or one that starts from another."""

    def networks_by_name(self) -> dict[str, Network]:
        """Its networks; a single one has no name."""
        return self.networks or {"": self.network}

    def pretrainings_by_name(self) -> dict[str, Pretraining]:
        """Its pretrainings, each with one objective, after which those of `pretraining` are named. Starts come first."""
        if not self.pretrainings:
            return {name: replace(self.pretraining, objectives=(name,)) for name in self.pretraining.objectives}
        return dict(sorted(self.pretrainings.items(), key=lambda named: len(self._starts(named[0]))))

    def with_network(self, name: str) -> "Study":
        """The part of the study that one of its networks makes."""
        return replace(self, network=self.networks_by_name()[name], networks={})

    def with_options_of_each(self) -> "Study":
        """The same study, the options of its one network given to each of those that it names instead."""
        if not self.networks:
            return self
        options = self.network.options
        each = {name: replace(one, options={**one.options, **options}) for name, one in self.networks.items()}
        return replace(self, network=replace(self.network, options={}), networks=each)

    def _starts(self, name: str) -> list[str]:
        """The pretrainings that one stands on, last first, as far as they are known and no circle."""
        before: list[str] = []
        while (name := self.pretrainings[name].start) in self.pretrainings and name not in before:
            before.append(name)
        return before


SEARCH_SEED = 1_000_001
"""First seed of the search; reported seeds are 1, 2, 3 ... and never reach it."""


_AT_FIRST: dict[type, dict[str, Any]] = {
    Pretraining: {"patience": 0, "symmetries": False},
    Finetuning: {"patience_steps": 0, "slow_start": 1, "warmup_steps": 0, "symmetries": False},
    Search: {"strategies": ["finetune"], "spread": False},
}
"""Fields that came later, with what was done before they were there, where that is not today's default."""


def study_from_json(values: dict[str, Any]) -> Study:
    """The study that `dataclasses.asdict` made JSON of. Raises TypeError on fields that this version does not know."""
    parts: dict[str, Any] = {"generation": Generation, "network": Network, "pretraining": Pretraining,
                             "finetuning": Finetuning, "search": Search}  # fmt: skip
    if "validation_events" not in values["pretraining"]:  # the first version had one number for both
        number = values["finetuning"]["validation_events"]
        values = {**values, "pretraining": {**values["pretraining"], "validation_events": number}}
    read = {name: part_from_json(kind, values[name]) for name, kind in parts.items()}
    networks = {name: part_from_json(Network, one) for name, one in values.get("networks", {}).items()}
    pretrainings = {name: part_from_json(Pretraining, one) for name, one in values.get("pretrainings", {}).items()}
    return Study(name=values["name"], networks=networks, pretrainings=pretrainings, **read)


def part_from_json(kind: Any, values: Mapping[str, Any]) -> Any:
    """A part of a study that `dataclasses.asdict` made JSON of, by this version or an earlier one: see `study_from_json`."""
    known = {**_AT_FIRST.get(kind, {}), **values}
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in known.items()})
