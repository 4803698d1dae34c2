"""A study from beginning to end: generation, pretraining, finetuning, tracking and report, in that order.

The only place where they meet. Each stage takes and gives plain values, finds what is done already and goes on
from there.
"""

import dataclasses
import json
import shlex
import shutil
import sys
from pathlib import Path

import pyarrow as pa
from rich.markup import escape

from breakeven import atomic
from breakeven.estimate.budget import Budget
from breakeven.estimate.price import Price, to_keep
from breakeven.events import sampling, schema, store
from breakeven.fingerprint import fingerprint
from breakeven.ledger.lease import Leases
from breakeven.ledger.ledger import Ledger
from breakeven.physics import validation
from breakeven.physics.pythia import GenerationError
from breakeven.places import Places
from breakeven.publish import export, publish, sync, tracked
from breakeven.registry.package import NoBackbone
from breakeven.search import StorageUnavailable
from breakeven.stages.cluster import Cluster
from breakeven.stages.finetuning import finetune_tasks
from breakeven.stages.generation import generate_events
from breakeven.stages.pretraining import pretrain_backbones
from breakeven.study.growth import changes
from breakeven.study.remembered import remember
from breakeven.study.spec import InvalidStudy, Study
from breakeven.terminal import console
from breakeven.tracking import TrackingUnavailable
from breakeven.views import preview

__all__ = ["EXPECTED", "draw_physics", "export_backbone", "report_again", "run", "track_again"]

EXPECTED = (
    *preview.EXPECTED,
    GenerationError,
    schema.SchemaMismatch,
    store.CorruptDataset,
    sampling.TooFewEvents,
    TrackingUnavailable,
    StorageUnavailable,
    NoBackbone,
)
"""Bad input, bad files and full disks: the command line shows them as one line."""


def run(study: Study, runs_dir: Path, budget: Budget | None = None, database: str = "") -> Path:
    """Run a study, or go on with it.

    Several may run at once on the same runs folder, on this machine or others: what one does the others wait for.

    Args:
        study: what is asked.
        runs_dir: folder that all studies share.
        budget: device time that this run may spend; it ends with a report on what it could do, and on what is missing.
        database: SQLAlchemy URL for Optuna's proposals; empty: a journal in the study's folder.

    Returns:
        Path of its report.

    Raises:
        InvalidStudy: a field cannot be run. This and the other errors in `EXPECTED` name the way out.
        StageFailed: the cluster, or a stage on it, failed for good.
    """
    places = _begin(study, runs_dir)
    ledger = Ledger(places.ledger).refresh()
    for problem in ledger.problems:
        console.print(f"[yellow]warning[/] {escape(problem)}")
    with (
        Leases(places.ledger, study=study.name) as leases,
        tracked(study, places, ledger, leases) as tracker,
        _cluster(study, places, leases) as cluster,
    ):
        leases.doing = "generation"
        datasets, generated = generate_events(study, places, ledger, leases, cluster, budget)
        leases.doing = "pretraining"
        made = pretrain_backbones(study, places, ledger, leases, cluster, datasets, generated, budget)
        tracker(made.records)
        leases.doing = "finetuning"
        members = finetune_tasks(study, places, ledger, leases, cluster, made, tracker, budget, database)
    return publish(study, places, ledger, members)


def report_again(name: str, runs_dir: Path) -> None:
    """Write the report of a study from the ledger.

    Args:
        name: of a study below `runs_dir`, or the path of its folder.
        runs_dir: folder that holds the studies.

    Raises:
        FileNotFoundError: no such study ran.
    """
    places, study, members = _remembered(name, runs_dir)
    publish(study, places, Ledger(places.ledger).refresh(), members, anew=True)


def track_again(name: str, runs_dir: Path, uri: str) -> None:
    """Write a study to MLflow from the ledger; what is there already is not written twice.

    Args:
        name: of a study below `runs_dir`, or the path of its folder.
        runs_dir: folder that holds the studies.
        uri: of MLflow; empty: `MLFLOW_TRACKING_URI`, else the file in `runs_dir`.

    Raises:
        FileNotFoundError: no such study ran.
        TrackingUnavailable: MLflow does not answer.
    """
    places, study, members = _remembered(name, runs_dir)
    ledger = Ledger(places.ledger).refresh()
    written = sync(study, places, ledger, members, uri)
    console.print(f"{len(ledger.frame(members))} records of {study.name} are in MLflow, {written} of them new")


def export_backbone(name: str, runs_dir: Path, folder: Path | None, onnx: bool) -> None:
    """Write the winning backbone of a study as files; see publish.export.

    Args:
        name: of a study below `runs_dir`, or the path of its folder.
        runs_dir: folder that holds the studies.
        folder: where to; None: `<study's folder>/backbone`.
        onnx: write the ONNX file as well.

    Raises:
        NoBackbone: nothing was finetuned, or the weights are elsewhere.
        FileNotFoundError: no such study ran.
    """
    places, study, members = _remembered(name, runs_dir)
    export(study, places, Ledger(places.ledger).refresh(), members, folder or places.folder / "backbone", onnx)


def draw_physics(runs_dir: Path) -> None:
    """Draw every dataset's distributions to `<runs>/shared/physics`; raises FileNotFoundError where there are none."""
    manifests = sorted((runs_dir / "shared" / "datasets").glob("*/*/manifest.json"))
    if not manifests:
        raise FileNotFoundError(f"{runs_dir / 'shared' / 'datasets'}: no datasets; run a study first")
    found = {}
    for manifest in manifests:
        dataset = store.open_dataset(manifest.parent)
        tables = [store.read_shard(path)[0] for path in dataset.paths()[:20]]
        found[dataset.process] = schema.objects_of(pa.concat_tables(tables).combine_chunks())
    path = runs_dir / "shared" / "physics.png"
    validation.plot_processes(found, path)
    console.print(f"{len(found)} processes drawn: {path}")


def _begin(study: Study, runs_dir: Path) -> Places:
    preview.check_study(study)
    places = Places(runs_dir.resolve(), study.name)
    try:
        places.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise type(error)(
            error.errno,
            f"{error.strerror}: no folder can be made here; choose another with --runs-dir",
            str(places.folder),
        ) from error
    _make_way(study, places)
    atomic.write_json(places.folder / "study.json", dataclasses.asdict(study))
    program, *arguments = sys.argv
    atomic.write_text(
        places.folder / "command.txt", shlex.join(["python", f"studies/{Path(program).name}", *arguments])
    )
    price = preview.price_of(study, places.ledger)
    _keep_price(study, places, price)
    console.print(
        f"[bold]{study.name}[/]: {price.events:,} events of {price.processes} processes, "
        f"{len(study.pretraining.objectives)} pretraining(s), {price.cells} cells, "
        f"{price.trials} trials and {price.search_trials} search trials -> {places.folder}"
    )
    console.print(
        f"  from nothing: {preview.hours(price.generation)} of one core and {preview.hours(price.device_hours)} of one device"
        + ("" if price.speeds.trusted else "; this machine is unknown: --plan measures it")
    )
    return places


def _make_way(study: Study, places: Places) -> None:
    """Say what has changed since a study of this name last ran; put the files of one that was another study aside.

    Raises InvalidStudy where a living driver works on that other one.
    """
    path = places.folder / "study.json"
    try:
        before = json.loads(path.read_text())
        changed = changes(before, study)
    except (OSError, ValueError, AttributeError):
        return  # nothing ran, or its file was damaged: it is written anew
    if not changed:
        return
    said = "; ".join(map(str, changed))
    if all(change.grows for change in changed):
        console.print(f"  {study.name} has grown: {said}; what it finished is reused", markup=False)
        return
    if any(driver.study == study.name and driver.alive for driver in Leases(places.ledger).drivers()):
        raise InvalidStudy(
            f"name is {study.name!r}, and a study of that name is running with another specification ({said}); "
            "give this one another --name: both then share the ledger"
        )
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


def _keep_price(study: Study, places: Places, price: Price) -> None:
    """Keep the first price of a specification, to be held against what comes: a later one knows what came."""
    spec, path = fingerprint(dataclasses.asdict(study)), places.folder / "price.json"
    try:
        before = json.loads(path.read_text()).get("spec")
    except (OSError, ValueError, AttributeError):
        before = ""  # there is none, or it was damaged
    if before != spec:
        atomic.write_json(path, {"spec": spec, **to_keep(price)})


def _cluster(study: Study, places: Places, leases: Leases) -> Cluster:
    return Cluster(places.ledger, study.name, leases.owner)


def _remembered(name: str, runs_dir: Path) -> tuple[Places, Study, tuple[str, ...]]:
    found = remember(name, runs_dir)
    if not found.members:
        raise FileNotFoundError(f"{found.places.folder}: this study has not come to its trials yet; start it again")
    return found.places, found.study, found.members
