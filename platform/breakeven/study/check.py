"""What is wrong with a study, told before anything runs: the first field that cannot be, its value, and the way out."""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from breakeven.study.plan import of_classes
from breakeven.study.spec import (
    EVEN,
    JET_OPTIONS,
    SEARCH_SEED,
    SEARCHED,
    Baseline,
    Finetuning,
    Generation,
    InvalidStudy,
    Merit,
    Network,
    Precision,
    Pretraining,
    PretrainingObjective,
    Search,
    Strategy,
    Study,
)
from breakeven.study.task import check_part_name, nearest

__all__ = ["check", "check_distinct", "check_types", "check_values"]

_POSITIVE: dict[type, tuple[str, ...]] = {
    Generation: ("events_per_process", "shard_events", "reuse"),
    Network: ("iterations", "hidden"),
    Pretraining: ("epochs", "batch_size", "learning_rate", "decay", "validation_events", "seeds",
                  "checkpoint_seconds"),
    Finetuning: ("seeds", "epochs", "batch_size", "learning_rate", "head_rate", "decay", "patience", "slow_start",
                 "validation_events", "test_events", "gpu_share", "signal_fraction"),
    Search: ("low", "high", "published", "seeds", "scratch_low", "scratch_high"),
}  # fmt: skip
_NOT_NEGATIVE: dict[type, tuple[str, ...]] = {
    Pretraining: ("events_per_process", "workers", "patience"),
    Finetuning: (
        "steps",
        "patience_steps",
        "warmup_steps",
        "head_steps",
        "represented_events",
        "scored_events",
        "trial_seconds",
    ),
    Search: ("trials",),
}
_TYPES: dict[Any, tuple[tuple[type, ...], str]] = {
    int: ((int,), "a whole number"),
    float: ((int, float), "a number"),
    bool: ((bool,), "True or False"),
    str: ((str,), "text"),
    tuple: ((list, tuple), "a list"),
    dict: ((Mapping,), "values by name"),
}
"""What the value of a field of this type may be."""
_CHOICES: dict[type, dict[str, tuple[str, ...]]] = {
    Network: {"engine": ("native", "dgl"), "initialisation": ("he", "torch")},
    Pretraining: {"precision": get_args(Precision), "objectives": get_args(PretrainingObjective)},
    Finetuning: {
        "precision": get_args(Precision), "strategies": get_args(Strategy), "baselines": get_args(Baseline),
        "merit": get_args(Merit),
    },
    Search: {"strategies": SEARCHED},
}  # fmt: skip
_NO_REPEATS: dict[type, tuple[str, ...]] = {
    Pretraining: ("objectives", "processes"),
    Finetuning: ("tasks", "sizes", "strategies", "baselines"),
    Search: ("strategies",),
}


def check(study: Study, known_processes: Collection[str]) -> None:
    """Refuse a study that cannot be run, by the first field that is wrong.

    Args:
        study: what is asked.
        known_processes: the catalogue's content.

    Raises:
        InvalidStudy: names the field, the value and the way out.
    """
    check_values(study)
    own = {"generation.lhe": study.generation.lhe, "generation.jetclass": study.generation.jetclass}
    for field_name, given in {"name": (study.name,), **own}.items():
        for name in given:
            check_part_name(field_name, name)
            if field_name != "name" and "_vs_" in name:
                raise InvalidStudy(f"{field_name}: {name!r} holds '_vs_', which stands between the processes of a task")
    for field_name, by_name in own.items():
        files: dict[Path, str] = {}
        for name, file in by_name.items():
            if (other := files.setdefault(Path(file).resolve(), name)) != name:
                raise InvalidStudy(f"{field_name}: {other!r} and {name!r} are the same file {file}: name it only once")
    if both := study.generation.lhe.keys() & study.generation.jetclass.keys():
        raise InvalidStudy(
            f"generation.jetclass: {min(both)!r} has a file in generation.lhe too: give one of them another name"
        )
    check_distinct("networks", {name: network.settled() for name, network in study.networks.items()})
    pretrainings = _pretrainings(study)
    for at, settings in pretrainings.items():
        if settings.seeds > study.finetuning.seeds:
            raise InvalidStudy(
                f"{at}.seeds is {settings.seeds}: no trial takes more backbones than finetuning.seeds {study.finetuning.seeds}; "
                "raise those, or lower it"
            )
    if "trees+score" in study.finetuning.baselines:
        _check_scores(study)
    known_processes = {*known_processes, *study.generation.lhe, *study.generation.jetclass}
    for wanted in study.finetuning.resolved():
        _check_names(f"finetuning.tasks: {wanted.name}", wanted.processes, known_processes)
    _check_names("generation.fewer", study.generation.fewer, known_processes)
    _check_names("generation.pythia", study.generation.pythia, known_processes)
    _check_shards(study.generation)
    for at, settings in pretrainings.items():
        _check_names(f"{at}.processes", settings.processes, known_processes)
        if len(settings.processes) == 1 and "multiclass" in settings.objectives:
            raise InvalidStudy(f"{at}.processes names one process: multiclass pretraining needs at least two")


def check_values(study: Study) -> None:
    """Raise InvalidStudy where a value is one that no study can have, whatever processes and plug-ins there are.

    Args:
        study: what is asked, or what was read.

    Raises:
        InvalidStudy: names the field, the value and the way out.
    """
    check_types(study)
    networks, pretrainings = _networks(study), _pretrainings(study)
    parts = {"generation": study.generation, **networks, **pretrainings, "finetuning": study.finetuning,
             "search": study.search}  # fmt: skip
    for at, part in parts.items():
        numbers = {f"{at}.{name.replace('_', '-')}": getattr(part, name) for name in _POSITIVE[type(part)]}
        if isinstance(part, Finetuning):
            numbers |= {f"{at}.sizes[{i}]": size for i, size in enumerate(part.sizes)}
        if isinstance(part, Generation):
            numbers |= {f"{at}.fewer.{name}": n for name, n in part.fewer.items()}
        for name, value in numbers.items():
            if not math.isfinite(value) or value <= 0:
                raise InvalidStudy(f"{name} is {value}: it must be above zero")
        for field_name in _NOT_NEGATIVE.get(type(part), ()):
            value = getattr(part, field_name)
            if not math.isfinite(value) or value < 0:
                name = f"{at}.{field_name.replace('_', '-')}"
                raise InvalidStudy(f"{name} is {value}: it must be a number and not negative")
        for field_name, choices in _CHOICES.get(type(part), {}).items():
            given = getattr(part, field_name)
            for one in (given,) if isinstance(given, str) else given:
                if one not in choices:
                    raise InvalidStudy(f"{at}.{field_name} is {one!r}: choose {', '.join(choices)}")
        if isinstance(part, Network):
            _check_kind(at, part)
        for field_name in _NO_REPEATS.get(type(part), ()):
            if len(set(values := getattr(part, field_name))) < len(values):
                raise InvalidStudy(f"{at}.{field_name} is {values}: name each only once")
    _check_seeds(study, pretrainings)
    if study.finetuning.gpu_share > 1:
        raise InvalidStudy(
            f"finetuning.gpu-share is {study.finetuning.gpu_share}: a trial trains on one GPU, use at most 1"
        )
    if (fraction := study.finetuning.signal_fraction) >= 1:
        raise InvalidStudy(
            f"finetuning.signal-fraction is {fraction}: it must be below one, as there is background too"
        )
    for size in study.finetuning.sizes:
        if not all(events := of_classes(study.finetuning, size)):
            raise InvalidStudy(
                f"finetuning.sizes: {size:,} events a class with finetuning.signal-fraction {fraction} are {events[0]:,} of "
                f"signal and {events[1]:,} of background: raise the size, or bring the fraction nearer to {EVEN}"
            )
    for low, high in (("low", "high"), ("scratch-low", "scratch-high")):
        least, most = (getattr(study.search, name.replace("-", "_")) for name in (low, high))
        if most < least:
            raise InvalidStudy(f"search.{high} is {most}, below search.{low} {least}: swap them")
    if not study.finetuning.tasks or not study.finetuning.sizes:
        raise InvalidStudy("finetuning.tasks and finetuning.sizes must name at least one each")


def _check_scores(study: Study) -> None:
    """Raise InvalidStudy where no backbone gives the scores that trees are to have."""
    for wanted, there in (
        ("networks with the representation 'S+HLF'", [one.scores for one in study.networks_by_name().values()]),
        ("pretrainings with the objective 'xbb'", [one.scores for one in study.pretrainings_by_name().values()]),
    ):
        if not any(there):
            raise InvalidStudy(
                f"finetuning.baselines is {study.finetuning.baselines}: 'trees+score' takes scores of {wanted}, and this study "
                "has none; name one, or leave it out"
            )


def _check_shards(settings: Generation) -> None:
    """Raise InvalidStudy where fewer events are asked for than one shard holds: a whole one would be made."""
    asked = {"events-per-process": settings.events_per_process}
    asked |= {f"fewer.{name}": events for name, events in settings.fewer.items()}
    for name, events in asked.items():
        if events < settings.shard_events:
            raise InvalidStudy(
                f"generation.{name} is {events:,}: fewer than the {settings.shard_events:,} of one shard, the least that is "
                "made; ask for as many, or lower generation.shard-events"
            )


def check_types(study: Study) -> None:
    """Raise InvalidStudy where a value is of another type than its field, as a whole number that is none.

    Args:
        study: what is asked, or what was read.

    Raises:
        InvalidStudy: names the field and the value.
    """
    parts = {one.name: getattr(study, one.name) for one in fields(study)}
    for name in ("networks", "pretrainings"):
        parts |= {f"{name}.{key}": part for key, part in parts.pop(name).items()}
    for part_name, part in parts.items():
        for at, value, said in _misfits(part_name, part, _PARTS[part_name.partition(".")[0]]):
            raise InvalidStudy(f"{at} is {value!r}: it must be {said}")


_PARTS: dict[str, Any] = {"name": str, "generation": Generation, "network": Network, "networks": Network,
                          "pretraining": Pretraining, "pretrainings": Pretraining, "finetuning": Finetuning,
                          "search": Search}  # fmt: skip


def _misfits(at: str, value: Any, kind: Any) -> Iterator[tuple[str, Any, str]]:
    """The field, its value and what it must be, of all in `value` that is of another type than `kind`."""
    origin = get_origin(kind)
    if is_dataclass(kind):
        if not isinstance(value, kind):  # type: ignore[arg-type]
            yield at, value, f"a {kind.__name__}"  # type: ignore[union-attr]
        else:
            for one in fields(kind):
                yield from _misfits(f"{at}.{one.name.replace('_', '-')}", getattr(value, one.name), one.type)
    elif origin is tuple and isinstance(value, list | tuple):
        for place, one in enumerate(value):
            yield from _misfits(f"{at}[{place}]", one, get_args(kind)[0])
    elif origin is dict and isinstance(value, Mapping):
        for name, one in value.items():
            yield from _misfits(f"{at}.{name}", one, get_args(kind)[1])
    else:
        wanted, said = _TYPES[str if origin is Literal else origin or kind]
        if not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted):
            yield at, value, said


def _check_seeds(study: Study, pretrainings: Mapping[str, Pretraining]) -> None:
    """Raise InvalidStudy where a seed is none that all generators of random numbers take, or seeds are too many."""
    seeds = {"generation.seed": (study.generation.seed, 1)}
    for at, (seed, several) in (
        seeds | {f"{at}.seed": (one.seed, one.seeds) for at, one in pretrainings.items()}
    ).items():
        if not 0 <= seed <= 2**32 - several:
            raise InvalidStudy(f"{at} is {seed}: it must be from 0 to {2**32 - several:,}")
    for at, several in {"finetuning.seeds": study.finetuning.seeds, "search.seeds": study.search.seeds}.items():
        if several >= SEARCH_SEED:
            raise InvalidStudy(
                f"{at} is {several:,}: it must be below {SEARCH_SEED:,}, where the seeds of the search begin"
            )


def _check_kind(at: str, network: Network) -> None:
    """Raise InvalidStudy where a field is given that this kind of network has not: its identity would be another one."""
    if network.kind == Network().kind:
        if network.options:
            raise InvalidStudy(
                f"{at}.options is {network.options}: {network.kind} has none; they are those of a plug-in's"
            )
    elif network != (own := Network(kind=network.kind, options=network.options, representation=network.representation)):
        name = next(name for name in vars(own) if getattr(own, name) != getattr(network, name))
        raise InvalidStudy(
            f"{at}.{name} is {getattr(network, name)!r}: a {network.kind} has it not; give it as an option"
        )
    for name, value in network.options.items():
        if not math.isfinite(value):
            raise InvalidStudy(f"{at}.options.{name} is {value}: it must be a finite number")
    if network.kind == "jet_transformer":
        _check_jet_options(f"{at}.options", network.options)
    elif network.representation:
        raise InvalidStudy(
            f"{at}.representation is {network.representation!r}: {network.kind} has none; it is that of a jet_transformer"
        )


def _check_jet_options(at: str, options: Mapping[str, float]) -> None:
    """Raise InvalidStudy where a jet_transformer cannot be built with these; models/jet_network.py takes no others."""
    _check_names(at, options, JET_OPTIONS)
    for name, value in options.items():
        least = 0 if name in ("dropout", "constituents") else 1
        if value < least or (name != "dropout" and value != int(value)):
            raise InvalidStudy(f"{at}.{name} is {value}: it must be a whole number and at least {least}")
    known = {**JET_OPTIONS, **options}
    if known["dropout"] >= 1:
        raise InvalidStudy(f"{at}.dropout is {known['dropout']}: it must be below 1")
    if known["width"] % known["heads"]:
        raise InvalidStudy(
            f"{at}.width is {known['width']:g} and {at}.heads {known['heads']:g}: make the width a multiple of the heads"
        )
    if "pair_layers" in options and "pairs" not in options:
        raise InvalidStudy(f"{at}.pair_layers is {options['pair_layers']:g}: say of which width, with {at}.pairs")


def _networks(study: Study) -> dict[str, Network]:
    """The networks by the field that they stand in. Raises InvalidStudy where their names will not do."""
    _check_named("network", study.network, Network(), study.networks)
    if "trees" in study.networks:
        raise InvalidStudy("networks: 'trees' stands for boosted trees, which have no network; choose another name")
    return {f"networks.{name}": network for name, network in study.networks.items()} or {"network": study.network}


def _pretrainings(study: Study) -> dict[str, Pretraining]:
    """The pretrainings by the field that they stand in. Raises InvalidStudy on names, objectives and starts that won't do."""
    _check_named("pretraining", study.pretraining, Pretraining(), study.pretrainings)
    if not study.pretrainings and study.pretraining.start:
        raise InvalidStudy(
            f"pretraining.start is {study.pretraining.start!r}: only one of several pretrainings has another to start "
            "from; give them names in `pretrainings`"
        )
    for name, settings in study.pretrainings.items():
        if name in get_args(PretrainingObjective) and settings.objectives != (name,):
            raise InvalidStudy(
                f"pretrainings: {name!r} learns {', '.join(settings.objectives)}, and would stand beside the paper's {name} "
                "figures; choose another name"
            )
        if name == "none":
            raise InvalidStudy("pretrainings: 'none' stands for training from scratch; choose another name")
        if len(settings.objectives) != 1:
            raise InvalidStudy(
                f"pretrainings.{name}.objectives is {settings.objectives}: a named pretraining has one; give each a name"
            )
        before = [name]
        while start := study.pretrainings[before[-1]].start:
            _check_names(f"pretrainings.{before[-1]}.start", (start,), study.pretrainings)
            if start in before:
                circle = [*before[before.index(start) :], start]
                raise InvalidStudy(
                    f"pretrainings.{before[-1]}.start is {start!r}, a circle: {' starts from '.join(circle)}; let one start "
                    "from scratch"
                )
            before.append(start)
    return {f"pretrainings.{name}": one for name, one in study.pretrainings.items()} or {
        "pretraining": study.pretraining
    }


def _check_named(single: str, one: Any, default: Any, several: Mapping[str, Any]) -> None:
    """Raise InvalidStudy unless either `one` or `several` are asked for, the latter once each and with names that will do."""
    if several and one != default:
        raise InvalidStudy(
            f"{single} is not as by default, and {single}s names {', '.join(several)}: a study has the one or the others; "
            f"set the fields of each, as {single}s.{next(iter(several))}"
        )
    for name in several:
        check_part_name(f"{single}s", name)


def check_distinct(field_name: str, values: Mapping[str, Any]) -> None:
    """Refuse two names that stand for the same.

    Args:
        field_name: of the specification, for the message.
        values: what stands under each name.

    Raises:
        InvalidStudy: names both.
    """
    for name, value in values.items():
        if (first := next(other for other, known in values.items() if known == value)) != name:
            raise InvalidStudy(f"{field_name}: {first!r} and {name!r} are the same: name it only once")


def _check_names(field_name: str, values: Iterable[str], known: Collection[str]) -> None:
    for value in values:
        if value not in known:
            raise InvalidStudy(f"{field_name}: {value!r} is not known; the nearest known: {nearest(value, known)}")
