"""What a study would do and take, and whether it can be run at all: said before anything runs.

Answers at once, as it imports neither Ray nor torch nor MLflow. It writes nothing.
"""

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

from rich.markup import escape

from breakeven import plugins
from breakeven.duration import duration
from breakeven.estimate.budget import OverBudget
from breakeven.estimate.price import NOTHING, Price, Range, price
from breakeven.estimate.speeds import read_calibration, speeds
from breakeven.events import catalogue, sampling
from breakeven.ledger.ledger import Ledger, LedgerError
from breakeven.physics import processes
from breakeven.places import Places
from breakeven.study import plan
from breakeven.study.check import check, check_distinct
from breakeven.study.spec import KINDS, InvalidStudy, Network, Study
from breakeven.terminal import console
from breakeven.views.disk import events_bytes, kept_bytes

EXPECTED = (InvalidStudy, OverBudget, processes.UnknownProcess, plugins.BadPlugin, LedgerError, OSError)
"""Errors that name what to do about them; run.py knows some more."""
WARNED_REUSE = 2
"""Events of one shipped hard event above which a plan warns: their number then says little of what a sample is worth."""


def show_plan(study: Study, runs_dir: Path) -> None:
    """Print what a study would do and take; needs neither Ray nor a GPU and writes nothing."""
    check_study(study)
    price = price_of(study, Ledger(Places(runs_dir, study.name).ledger).refresh())
    settings = study.finetuning
    pretrainings = [f"{name} x {one.seeds} seeds" if one.seeds > 1 else name
                    for name, one in study.pretrainings_by_name().items()]  # fmt: skip
    each = f"{1 + len(pretrainings) * len(settings.strategies)} (scratch and backbones)"
    if study.networks:
        each += f" x {len(study.networks)} networks"
    if settings.baselines:
        each = f"({each} + {len(plan.baselines(study))} ({', '.join(settings.baselines)}))"
    trained, pretrained, generated = price.speeds.trained, price.speeds.pretrained, price.speeds.generated
    on_disk, kept = events_bytes(study), kept_bytes(study)
    lines = [
        ("processes", f"{price.processes}, {price.events:,} events{_hard(study)}, {_bytes(on_disk)} on disk"),
        *([("embeddings", f"{_bytes(kept)} more: what backbones say of jets, beside the ledger")] if kept else []),
        ("generation", f"{hours(price.generation)} of one core"),
        ("pretraining", f"{', '.join(pretrainings) or 'none'}: {hours(price.pretraining)} of one device"),
        ("cells", f"{price.cells}: {len(settings.resolved())} tasks x {len(settings.sizes)} sizes x {each}"),
        ("trials", f"{price.trials:,} reported: {hours(price.finetuning)} of one device"),
        ("search", f"{price.search_trials:,} trials for ratios: {hours(price.search)} of one device"),
        ("in all", f"{hours(price.generation)} of one core and {hours(price.device_hours)} of one device"),
        (
            "speeds",
            f"{generated.value:,.0f} events generated, {pretrained.value:,.0f} pretrained on and {trained.value:,.0f} "
            f"finetuned on, per device-second ({price.speeds.origin})",
        ),
    ]
    console.print(f"plan of the study [bold]{study.name}[/]; in brackets: where the truth is likely")
    for name, text in lines:
        console.print(f"  {name:12} {text}", markup=False)
    tell_names(study)
    tell_reuse(study)
    tell_files(study)
    if (before := Places(runs_dir, study.name).folder / "study.json").exists():
        console.print(
            f"  note         a study with this name ran before ({before}); what it finished is reused, at no cost",
            markup=False,
        )


def price_of(study: Study, ledger: Ledger) -> Price:
    """What a study takes on this machine, by what its ledger knows of it."""
    prices: list[Price] = []
    pretrained: list[Network] = []
    for name in study.networks_by_name():
        part = study.with_network(name)
        if prices:  # trees have no network: they are priced with the first
            others = tuple(baseline for baseline in study.finetuning.baselines if baseline != "trees")
            part = replace(part, finetuning=replace(part.finetuning, baselines=others))
        known = speeds(part, ledger.records(), read_calibration(ledger.folder, part))
        priced = price(part, processes.PRETRAINING, known, sampling.TRAIN_FRACTION, name)
        if (backbone := part.network.backbone) in pretrained:
            priced = replace(priced, pretraining=NOTHING)
        pretrained.append(backbone)
        prices.append(priced)
    return reduce(add, prices)


def _check_options(at: str, network: Network, builder: Callable[..., Any]) -> None:
    """Raise InvalidStudy where a plug-in's network does not take these options, or wants others."""
    try:
        known = inspect.signature(builder)
    except (TypeError, ValueError):  # of a callable that says nothing of its arguments
        return
    try:
        known.bind((), 1, seed=0, **network.options)
    except TypeError as error:
        raise InvalidStudy(
            f"{at}.options is {network.options}: {error}; see {network.kind} in {plugins.where('NETWORKS', network.kind)}"
        ) from error


def _check_builds(at: str, study: Study, network: Network, builder: Callable[..., Any]) -> None:
    """Raise InvalidStudy where a plug-in's network cannot be built for the events of the study."""
    tried = set()
    for process in plan.processes(study, processes.PRETRAINING):
        if process not in catalogue.known_names():  # a file's: it is looked at below
            continue
        schema = catalogue.source(process).schema
        if schema.version in tried:
            continue
        tried.add(schema.version)
        try:
            builder([level.features for level in schema.levels], 1, seed=0, **network.options)
        except Exception as error:
            has = " / ".join(", ".join(feature.name for feature in level.features) for level in schema.levels)
            raise InvalidStudy(
                f"{at}.kind is {network.kind!r}, which cannot be built for the events of {process} ({has}): "
                f"{type(error).__name__}: {error}; name processes whose events it takes in finetuning.tasks and "
                f"pretraining.processes, or see {plugins.where('NETWORKS', network.kind)}"
            ) from error


def check_study(study: Study) -> None:
    """Raise InvalidStudy, which names the field, the value and the way out, on the first thing that cannot be run."""
    check(study, catalogue.known_names())
    brought = plugins.brought("NETWORKS")
    if taken := sorted({*KINDS} & {*brought}):
        raise plugins.BadPlugin(
            f"NETWORKS of a plug-in: {taken[0]!r} is a kind that is there already; give yours another name"
        )
    kinds = {*KINDS, *brought}
    for name, network in study.networks_by_name().items():
        at = f"networks.{name}" if name else "network"
        if (kind := network.kind) not in kinds:
            raise InvalidStudy(
                f"{at}.kind is {kind!r}; known are {', '.join(sorted(kinds))}; name a plug-in with --plugin"
            )
        if kind in brought:
            _check_options(at, network, brought[kind])
            _check_builds(at, study, network, brought[kind])
        if network.kind == Network().kind and (others := _without_whole_events(study)):
            raise InvalidStudy(
                f"network.kind: {network.kind} takes whole events, not those of {', '.join(others)}: leave these out of "
                "finetuning.tasks and pretraining.processes, or name a network for them with --plugin and --network.kind"
            )
        if network.kind == "jet_transformer" and not network.representation and _tasks_of_several_jets(study):
            raise InvalidStudy(
                f"{at}.representation is '': an event has several jets; choose what is known of each, S+HLF, V+HLF or V"
            )
    for name, one in study.pretrainings_by_name().items():
        others = [process for process in one.processes or processes.PRETRAINING if catalogue.has_whole_events(process)]
        if one.objective == "xbb" and others:
            raise InvalidStudy(
                f"pretrainings: {name!r} learns of each jet whether it is H -> bb, and the events of {', '.join(others)} have "
                "none with constituents; name processes with large-radius jets in pretraining.processes, such as HH4b_1000"
            )
    check_distinct(
        "pretrainings",
        {
            name if one.seeds == 1 else f"{name} (seed {of_seed.seed})": replace(
                of_seed, processes=one.processes or processes.PRETRAINING, workers=0
            )
            for name, one in study.pretrainings_by_name().items()
            for of_seed in one.by_seed()
        },
    )
    own = {"generation.lhe": (study.generation.lhe, "an .lhe or .lhe.gz file"),
           "generation.jetclass": (study.generation.jetclass, "a .root file of JetClass or like it")}  # fmt: skip
    for field_name, (files, wanted) in own.items():
        for name, path in files.items():
            if name in catalogue.BUILT_IN:
                raise InvalidStudy(
                    f"{field_name}: {name!r} is in the catalogue; give your files another name, such as my_{name}, and "
                    "use that in finetuning.tasks and pretraining.processes"
                )
            if not Path(path).is_file():
                raise InvalidStudy(f"{field_name}: {path} (for {name!r}) is no file; name {wanted}")
            _check_file(study, field_name, name, path)
    _check_pythia(study)
    for task in study.finetuning.resolved():
        for of_class, largest in zip(
            task.classes, plan.of_classes(study.finetuning, max(study.finetuning.sizes)), strict=True
        ):
            events = sum(map(study.generation.events, of_class))
            if largest > events * sampling.TRAIN_FRACTION:
                raise InvalidStudy(
                    f"finetuning.sizes asks for {largest:,} training events a class, but {' + '.join(of_class)} will have about "
                    f"{events * sampling.TRAIN_FRACTION:,.0f} ({events:,} generated, 60 % of them for training); raise "
                    "generation.events-per-process or drop the size"
                )


def _check_file(study: Study, field_name: str, name: str, path: str) -> None:
    """Raise InvalidStudy where a user's file cannot be what it is taken for, or has too few events."""
    try:
        with console.status(f"looking through {escape(path)}"):  # a second for ten thousand events
            there, kind = _events_in(field_name, path)
    except (OSError, ValueError) as error:
        raise InvalidStudy(f"{field_name}: {error} (for {name!r})") from error
    wanted, shard = study.generation.events(name), study.generation.shard_events
    made = shard * math.ceil(wanted / shard)
    if made > there:
        least = shard * math.ceil(max(study.finetuning.sizes) / sampling.TRAIN_FRACTION / shard)
        raise InvalidStudy(
            f"{field_name}: {path} has {there:,} {kind}, {name} asks for {wanted:,}"
            + (f", in whole shards {made:,}" if made > wanted else "")
            + f": bring more, or ask for fewer (--generation.fewer {name} N, --generation.shard-events); finetuning.sizes need "
            f"at least {least:,}"
        )


def _events_in(field_name: str, path: str) -> tuple[int, str]:
    """How many events a user's file has, looked through whole, and what they are called."""
    if field_name == "generation.lhe":
        from breakeven.physics import lhe_check  # and with it Pythia

        return lhe_check.inspect([path]).n_events, "events"
    from breakeven.physics.jets import jetclass

    return jetclass.inspect(path).n_jets, "jets with constituents"


def _check_pythia(study: Study) -> None:
    """Raise InvalidStudy where Pythia does not understand a setting, or a process is not made with it."""
    for name in study.generation.pythia:
        if name not in processes.CATALOGUE and name not in study.generation.lhe:
            raise InvalidStudy(
                f"generation.pythia: {name!r} is no process that takes settings: whole events of Pythia do"
            )
        from breakeven.physics import pythia

        try:
            pythia.check_settings(study.generation.pythia_settings(name))
        except pythia.GenerationError as error:
            raise InvalidStudy(f"generation.pythia: {error} (for {name!r})") from error


def tell_files(study: Study) -> None:
    """Say what a physicist must know of the events that come of a user's files."""
    warnings: list[str] = []
    if study.generation.lhe:
        from breakeven.physics import lhe_check

        warnings += [one for path in study.generation.lhe.values() for one in lhe_check.inspect([path]).warnings]
    if study.generation.jetclass:
        from breakeven.physics.jets import jetclass

        for name, path in study.generation.jetclass.items():
            content = jetclass.inspect(path)
            console.print(f"  {'note':12} {name}: {path} has {content.in_words}", markup=False)
            warnings += content.warnings
    for warning in warnings:
        console.print(f"[yellow]warning[/] {escape(warning)}")


def _without_whole_events(study: Study) -> list[str]:
    """The processes of a study whose events have jets with constituents, or whatever a plug-in has, in place of objects."""
    used = {name for task in study.finetuning.resolved() for name in task.processes}
    used |= {name for one in study.pretrainings_by_name().values() for name in one.processes or processes.PRETRAINING}
    return sorted(name for name in used if name in study.generation.jetclass or not catalogue.has_whole_events(name))


def _tasks_of_several_jets(study: Study) -> bool:
    used = {name for task in study.finetuning.resolved() for name in task.processes}
    return not all(map(catalogue.has_single_jets, used))


def check_reuse(study: Study) -> None:
    """Raise InvalidStudy where more events are to be made of one shipped hard event than `generation.reuse` allows.

    A plan may show what a study would take that it may not run.
    """
    most = study.generation.reuse
    if over := {name: times for name, times in _reused(study).items() if times > most}:
        raise InvalidStudy(
            f"generation.reuse is {most}: {_reuse_in_words(study, over)}; or allow it with --generation.reuse"
        )


def tell_reuse(study: Study) -> None:
    """Warn where hard events that ship are used more often than `WARNED_REUSE` times."""
    if over := {name: times for name, times in _reused(study).items() if times > WARNED_REUSE}:
        most = study.generation.reuse
        refused = f"; a run refuses this above {most} times (--generation.reuse)" if max(over.values()) > most else ""
        console.print(f"[yellow]warning[/] {escape(_reuse_in_words(study, over) + refused)}")


def _reused(study: Study) -> dict[str, float]:
    """How many events are made of each hard event, by process, of those whose hard events ship."""
    wanted = plan.processes(study, processes.PRETRAINING)
    return {name: study.generation.events(name) / there for name in wanted if (there := _ships(name))}


def _hard(study: Study) -> str:
    """Of how many hard events the events of a study are made, where they are fewer."""
    events = {name: study.generation.events(name) for name in plan.processes(study, processes.PRETRAINING)}
    distinct = sum(min(number, _ships(name) or number) for name, number in events.items())
    return f" of {distinct:,} hard events" if distinct < sum(events.values()) else ""


def _ships(name: str) -> int:
    """How many hard events of a process ship with the package: none where they are made, or are a user's."""
    return one.n_hard_events or 0 if (one := processes.CATALOGUE.get(name)) else 0


def _reuse_in_words(study: Study, reused: Mapping[str, float]) -> str:
    each = []
    for name, times in reused.items():
        number, events, there = f"{times:,.{0 if times >= 10 else 1}f}", study.generation.events(name), _ships(name)
        each.append(f"{name} {number} times ({events:,} events of {there:,})")
    first = next(iter(reused))
    return (
        f"hard events that ship are used again and again, and copies are not independent events: {', '.join(each)}; "
        f"bring files of your own (--generation.lhe my_{first} FILE, and my_{first} in finetuning.tasks and "
        "pretraining.processes) or generate fewer (--generation.events-per-process, --generation.fewer)"
    )


def tell_names(study: Study) -> None:
    """Say which tasks are known by another name than they were asked for."""
    for asked, name in study.finetuning.renamed().items():
        console.print(f"  {'note':12} {asked} is the task {name}: it is counted once, under that name", markup=False)


def hours(time: Range) -> str:
    """A time for people, with its range."""
    expected, low, high = (duration(3600 * part) for part in (time.expected, time.low, time.high))
    return f"{expected} ({low} to {high})"


def _bytes(count: int) -> str:
    return f"{count / 1e9:,.2f} GB" if count >= 1e8 else f"{count / 1e6:,.1f} MB"
