"""What a study would do and take, and whether it can be run at all: said before anything runs.

Answers at once, as it imports neither Ray nor torch nor MLflow. It writes nothing.
"""

from pathlib import Path

from breakeven.events import sampling
from breakeven.physics import processes
from breakeven.places import Places
from breakeven.study import plan
from breakeven.study.ledger import Ledger, LedgerError
from breakeven.study.spec import InvalidStudy, Study, check, task
from breakeven.terminal import console

EXPECTED = (InvalidStudy, processes.UnknownProcess, LedgerError, OSError)
"""Errors that name what to do about them; run.py knows some more."""

TRAIN_FRACTION = 1.0 - sampling.TEST_FRACTION - sampling.VALIDATION_FRACTION


def show_plan(study: Study, runs_dir: Path) -> None:
    """Print what a study would do and take; needs neither Ray nor a GPU and writes nothing."""
    check_study(study)
    price = price_of(study, Ledger(Places(runs_dir, study.name).ledger).refresh())
    hours = price.pretraining_hours + price.finetuning_hours + price.search_hours
    settings = study.finetuning
    each = 1 + len(study.pretraining.objectives) * len(settings.strategies)
    lines = [
        ("processes", f"{price.processes}, {price.events:,} events, {_bytes(price.disk_bytes)} on disk"),
        ("generation", f"{_hours(price.generation_hours)} of one core"),
        (
            "pretraining",
            f"{', '.join(study.pretraining.objectives) or 'none'}: {_hours(price.pretraining_hours)} of one device",
        ),
        (
            "cells",
            f"{price.cells}: {len(settings.tasks)} tasks x {len(settings.sizes)} sizes x {each} (scratch and backbones)",
        ),
        ("trials", f"{price.trials:,} reported: at most {_hours(price.finetuning_hours)} of one device"),
        ("search", f"{price.search_trials:,} trials for ratios: at most {_hours(price.search_hours)} of one device"),
        ("in all", f"{_hours(price.generation_hours)} of one core and at most {_hours(hours)} of one device"),
        (
            "rates",
            f"{price.rates.generated:,.0f} events generated and {price.rates.trained:,.0f} trained on, a second "
            f"({price.rates.origin})",
        ),
    ]
    console.print(f"plan of the study [bold]{study.name}[/]")
    for name, text in lines:
        console.print(f"  {name:12} {text}", markup=False)
    if (before := Places(runs_dir, study.name).folder / "study.json").exists():
        console.print(
            f"  note         a study with this name ran before ({before}); what it finished is reused", markup=False
        )


def price_of(study: Study, ledger: Ledger) -> plan.Price:
    """What a study takes, at the rates that the ledger has measured."""
    return plan.price(study, processes.PRETRAINING, plan.rates(ledger.records()), TRAIN_FRACTION)


def check_study(study: Study) -> None:
    """Raise InvalidStudy, which names the field, the value and the way out, on the first thing that cannot be run."""
    check(study, processes.CATALOGUE)
    for name, path in study.generation.lhe.items():
        if name in processes.CATALOGUE:
            raise InvalidStudy(
                f"generation.lhe: {name!r} is in the catalogue; give your files another name, such as my_{name}, and "
                "use that in finetuning.tasks and pretraining.processes"
            )
        if not Path(path).is_file():
            raise InvalidStudy(f"generation.lhe: {path} (for {name!r}) is no file; name an .lhe or .lhe.gz file")
    largest = max(study.finetuning.sizes)
    for name in study.finetuning.tasks:
        for process in (task(name).signal, task(name).background):
            events = study.generation.events(process)
            if largest > events * TRAIN_FRACTION:
                raise InvalidStudy(
                    f"finetuning.sizes asks for {largest:,} training events a class, but {process} will have about "
                    f"{events * TRAIN_FRACTION:,.0f} ({events:,} generated, 60 % of them for training); raise "
                    "generation.events-per-process or drop the size"
                )


def _hours(hours: float) -> str:
    return f"{hours:,.1f} hours" if hours >= 1 else f"{60 * hours:,.1f} minutes"


def _bytes(count: int) -> str:
    return f"{count / 1e9:,.2f} GB" if count >= 1e8 else f"{count / 1e6:,.1f} MB"
