"""What a study would do and take, and whether it can be run at all: said before anything runs.

Answers at once, as it imports neither Ray nor torch nor MLflow. It writes nothing.
"""

from dataclasses import replace
from functools import reduce
from operator import add
from pathlib import Path

from breakeven import plugins
from breakeven.duration import duration
from breakeven.estimate.budget import OverBudget
from breakeven.estimate.price import Price, Range, price
from breakeven.estimate.speeds import read_calibration, speeds
from breakeven.events import catalogue, sampling
from breakeven.ledger.ledger import Ledger, LedgerError
from breakeven.physics import processes
from breakeven.places import Places
from breakeven.study.check import check, check_distinct
from breakeven.study.spec import InvalidStudy, Network, Study
from breakeven.terminal import console

EXPECTED = (InvalidStudy, OverBudget, processes.UnknownProcess, plugins.BadPlugin, LedgerError, OSError)
"""Errors that name what to do about them; run.py knows some more."""


def show_plan(study: Study, runs_dir: Path) -> None:
    """Print what a study would do and take; needs neither Ray nor a GPU and writes nothing."""
    check_study(study)
    price = price_of(study, Ledger(Places(runs_dir, study.name).ledger).refresh())
    settings = study.finetuning
    pretrainings = list(study.pretrainings_by_name())
    each = f"{1 + len(pretrainings) * len(settings.strategies)} (scratch and backbones)"
    if study.networks:
        each += f" x {len(study.networks)} networks"
    trained, pretrained, generated = price.speeds.trained, price.speeds.pretrained, price.speeds.generated
    lines = [
        ("processes", f"{price.processes}, {price.events:,} events, {_bytes(price.disk_bytes)} on disk"),
        ("generation", f"{hours(price.generation)} of one core"),
        (
            "pretraining",
            f"{', '.join(pretrainings) or 'none'}: {hours(price.pretraining)} of one device",
        ),
        (
            "cells",
            f"{price.cells}: {len(settings.resolved())} tasks x {len(settings.sizes)} sizes x {each}",
        ),
        ("trials", f"{price.trials:,} reported: {hours(price.finetuning)} of one device"),
        ("search", f"{price.search_trials:,} trials for ratios: {hours(price.search)} of one device"),
        ("in all", f"{hours(price.generation)} of one core and {hours(price.device_hours)} of one device"),
        (
            "speeds",
            f"{generated.value:,.0f} events generated, {pretrained.value:,.0f} pretrained on and {trained.value:,.0f} "
            f"finetuned on, a device-second ({price.speeds.origin})",
        ),
    ]
    console.print(f"plan of the study [bold]{study.name}[/]; in brackets: where the truth is likely")
    for name, text in lines:
        console.print(f"  {name:12} {text}", markup=False)
    tell_names(study)
    if (before := Places(runs_dir, study.name).folder / "study.json").exists():
        console.print(
            f"  note         a study with this name ran before ({before}); what it finished is reused, at no cost",
            markup=False,
        )


def price_of(study: Study, ledger: Ledger) -> Price:
    """What a study takes on this machine, by what its ledger knows of it."""
    prices = []
    for name in study.networks_by_name():
        part = study.with_network(name)
        known = speeds(part, ledger.records(), read_calibration(ledger.folder, part))
        prices.append(price(part, processes.PRETRAINING, known, sampling.TRAIN_FRACTION))
    return reduce(add, prices)


def check_study(study: Study) -> None:
    """Raise InvalidStudy, which names the field, the value and the way out, on the first thing that cannot be run."""
    check(study, catalogue.known_names())
    kinds = {Network().kind, *plugins.brought("NETWORKS")}
    for name, network in study.networks_by_name().items():
        if (kind := network.kind) not in kinds:
            at = f"networks.{name}" if name else "network"
            raise InvalidStudy(
                f"{at}.kind is {kind!r}; known are {', '.join(sorted(kinds))}; name a plug-in with --plugin"
            )
    check_distinct(
        "pretrainings",
        {
            name: replace(one, processes=one.processes or processes.PRETRAINING, workers=0)
            for name, one in study.pretrainings_by_name().items()
        },
    )
    for name, path in study.generation.lhe.items():
        if name in processes.CATALOGUE:
            raise InvalidStudy(
                f"generation.lhe: {name!r} is in the catalogue; give your files another name, such as my_{name}, and "
                "use that in finetuning.tasks and pretraining.processes"
            )
        if not Path(path).is_file():
            raise InvalidStudy(f"generation.lhe: {path} (for {name!r}) is no file; name an .lhe or .lhe.gz file")
    largest = max(study.finetuning.sizes)
    for task in study.finetuning.resolved():
        for process in (task.signal, task.background):
            events = study.generation.events(process)
            if largest > events * sampling.TRAIN_FRACTION:
                raise InvalidStudy(
                    f"finetuning.sizes asks for {largest:,} training events a class, but {process} will have about "
                    f"{events * sampling.TRAIN_FRACTION:,.0f} ({events:,} generated, 60 % of them for training); raise "
                    "generation.events-per-process or drop the size"
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
