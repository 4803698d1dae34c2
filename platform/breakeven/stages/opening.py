"""Before the stages: the study's folder with its specification, its command and its price, in a ledger that can be read.

It says what the study will take, and runs nothing.
"""

import dataclasses
import json
import shlex
import shutil
import sys

from rich.markup import escape

from breakeven import atomic
from breakeven.estimate.price import Price, to_keep
from breakeven.fingerprint import fingerprint
from breakeven.ledger.lease import Leases
from breakeven.ledger.ledger import Ledger
from breakeven.places import Places
from breakeven.study.growth import changes
from breakeven.study.spec import InvalidStudy, Study
from breakeven.terminal import console
from breakeven.views import preview


def open_study(study: Study, places: Places) -> Ledger:
    """Make the folder of a study its own, and say what is to come; the ledger with all that it knows.

    Raises InvalidStudy where it cannot be run, or a living driver runs another study of its name, and OSError, naming the
    folder, where none can be made.
    """
    preview.check_study(study)
    preview.check_reuse(study)
    try:
        places.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise type(error)(
            error.errno,
            f"{error.strerror}: no folder can be made here; choose another with --runs-dir",
            str(places.folder),
        ) from error
    ledger = Ledger(places.ledger).refresh()
    price = preview.price_of(study, ledger)
    _set_other_study_aside(study, places)
    (places.folder / "missing.json").unlink(missing_ok=True)  # of the last run: with what comes it is no longer so
    atomic.write_json(places.folder / "study.json", dataclasses.asdict(study))
    program, *arguments = sys.argv
    atomic.write_text(places.folder / "command.txt", shlex.join(["python", program, *arguments]))
    _keep_price(study, places, price)
    for problem in ledger.problems:
        console.print(f"[yellow]warning[/] {escape(problem)}")
    networks = [network.backbone for network in study.networks_by_name().values()]
    pretrained = [network for place, network in enumerate(networks) if network not in networks[:place]]
    backbones = sum(one.seeds for one in study.pretrainings_by_name().values()) * len(pretrained)
    console.print(
        f"[bold]{study.name}[/]: {price.events:,} events of {price.processes} processes, "
        f"{backbones} pretraining(s), {price.cells} cells, "
        f"{price.trials} trials and {price.search_trials} search trials -> {places.folder}"
    )
    console.print(
        f"  from nothing: {preview.hours(price.generation)} of one core and {preview.hours(price.device_hours)} of one device"
        + ("" if price.speeds.trusted else "; this network has not been timed on this machine: --plan does it")
    )
    preview.tell_names(study)
    preview.tell_reuse(study)
    preview.tell_files(study)
    return ledger


def _set_other_study_aside(study: Study, places: Places) -> None:
    """Say what has changed since a study of this name last ran; put the files of one that was another study aside, or its
    specification where it is damaged.

    Raises InvalidStudy where a living driver works on that other one.
    """
    path = places.folder / "study.json"
    try:
        before = json.loads(path.read_text())
        changed = changes(before, study)
    except FileNotFoundError:
        return  # nothing ran
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        why = f"{path}: not what was written to it ({type(error).__name__}: {error})"
        _refuse_while_it_runs(study, places, f"one that is not known ({why})")
        damaged = path.replace(path.with_name(f"{path.name}.damaged"))
        console.print(
            f"[yellow]warning[/] {escape(why)}; it is kept as {damaged.name}, and the specification of now is written in its "
            "place: what both have in common is reused from the ledger"
        )
        return
    if not changed:
        return
    said = "; ".join(map(str, changed))
    if all(change.grows for change in changed):
        console.print(f"  {study.name} has grown: {said}; what it finished is reused", markup=False)
        return
    _refuse_while_it_runs(study, places, f"another specification ({said})")
    aside = places.folder / f"before-{fingerprint(before)[:8]}"
    aside.mkdir(exist_ok=True)
    for file in places.folder.iterdir():
        if file.is_file() and file.suffix != ".journal":
            file.replace(aside / file.name)
    if places.report.is_dir():
        shutil.rmtree(aside / places.report.name, ignore_errors=True)  # an older one of the same specification
        places.report.rename(aside / places.report.name)
    console.print(
        f"[yellow]warning[/] {study.name} was another study before ({escape(said)}); its report is kept in {aside}, its "
        "trials in the ledger; use another --name to have both"
    )


def _refuse_while_it_runs(study: Study, places: Places, specification: str) -> None:
    if any(driver.study == study.name and driver.alive for driver in Leases(places.ledger).drivers()):
        raise InvalidStudy(
            f"name is {study.name!r}, and a study of that name is running with {specification}; give this one another --name: "
            "both then share the ledger"
        )


def _keep_price(study: Study, places: Places, price: Price) -> None:
    """Keep the first price of a specification, to be held against what comes: a later one knows what came."""
    path = places.folder / "price.json"
    try:
        kept = json.loads(path.read_text())
        if "each" in kept and not changes(kept["spec"], study):
            return
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass  # there is none, it was damaged, or an older version wrote it
    atomic.write_json(path, {**to_keep(price), "spec": dataclasses.asdict(study)})
