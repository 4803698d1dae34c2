"""A study from beginning to end: generation, pretraining, finetuning, tracking and report, in that order.

The only place where they meet. Each stage takes and gives plain values, finds what is done already and goes on
from there.
"""

import dataclasses
import json
import math
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from rich.markup import escape

from breakeven import atomic, models, preview, search, training
from breakeven.analysis import accuracy, breakeven, cost, report
from breakeven.events import sampling, schema, store
from breakeven.events.arrays import open_arrays
from breakeven.fingerprint import fingerprint
from breakeven.physics import processes, validation
from breakeven.physics.generator import GenerationError
from breakeven.places import Places
from breakeven.study import plan, provenance
from breakeven.study.lease import Leases
from breakeven.study.ledger import Ledger, now
from breakeven.study.spec import Study, study_from_json, task
from breakeven.terminal import bar, console
from breakeven.tracking import Tracker, TrackingUnavailable, resolve_uri

EXPECTED = (
    *preview.EXPECTED,
    GenerationError,
    schema.SchemaMismatch,
    store.CorruptDataset,
    sampling.TooFewEvents,
    TrackingUnavailable,
)
"""Bad input, bad files and full disks: the command line shows them as one line."""


@dataclass(frozen=True)
class Made:
    """What generation and pretraining gave, by name."""

    folders: Mapping[str, Path]
    """Dataset folder of each process."""
    ingredients: plan.Ingredients
    backbones: Mapping[str, Path]
    """Backbone folder of each objective."""
    records: tuple[str, ...]
    """Ledger records of generation and pretraining."""


def run(study: Study, runs_dir: Path) -> Path:
    """Run a study, or go on with it; returns the path of its report.

    Several may run at once on the same runs folder, on this machine or others: what one does the others wait for.
    Raises InvalidStudy and the other errors in `EXPECTED` with messages that name the way out.
    """
    places = _begin(study, runs_dir)
    from breakeven.distributed.session import session

    ledger = Ledger(places.ledger).refresh()
    for problem in ledger.problems:
        console.print(f"[yellow]warning[/] {escape(problem)}")
    with Leases(places.ledger) as leases, _tracker(study, places, ledger) as tracker, session() as resources:
        console.print(
            f"  Ray: {resources.cpus} cores, {resources.gpus} GPUs, {resources.nodes} node(s)"
            + (f", dashboard {resources.dashboard}" if resources.dashboard else "")
        )
        datasets, folders, generated = _generate(study, places, ledger, leases)
        made = _pretrain(study, places, ledger, leases, resources, datasets, folders, generated)
        for name in made.records:
            tracker(name)
        members = _finetune(study, places, ledger, leases, resources, made, tracker)
    return _finish(study, places, ledger, members)


def report_again(name: str, runs_dir: Path) -> None:
    """Write the report of a study from the ledger; raises FileNotFoundError where no such study ran."""
    places, study, members = _remembered(name, runs_dir)
    _finish(study, places, Ledger(places.ledger).refresh(), members)


def track_again(name: str, runs_dir: Path, uri: str) -> None:
    """Write a study to MLflow from the ledger; what is there already is not written twice."""
    places, study, members = _remembered(name, runs_dir)
    frame = Ledger(places.ledger).refresh().frame(members)
    written = _sync(places, study, frame, uri)
    console.print(f"{len(frame)} records of {study.name} are in MLflow, {written} of them new")


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


def tracking_uri(runs_dir: Path) -> str:
    """`MLFLOW_TRACKING_URI` where set, else a SQLite file in the runs folder."""
    runs_dir.mkdir(parents=True, exist_ok=True)
    return resolve_uri(runs_dir.resolve() / "mlflow.db")


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
    atomic.write_json(places.folder / "study.json", dataclasses.asdict(study))
    program, *arguments = sys.argv
    atomic.write_text(
        places.folder / "command.txt", shlex.join(["python", f"studies/{Path(program).name}", *arguments])
    )
    price = preview.price_of(study, Ledger(places.ledger).refresh())
    console.print(
        f"[bold]{study.name}[/]: {price.events:,} events of {price.processes} processes, "
        f"{len(study.pretraining.objectives)} pretraining(s), {price.cells} cells, "
        f"{price.trials} trials and {price.search_trials} search trials -> {places.folder}"
    )
    return places


def _recipes(study: Study) -> dict[store.Recipe, int]:
    """The recipe of each process and its number of shards."""
    wanted = {}
    settings = study.generation
    for name in plan.processes(study, processes.PRETRAINING):
        lhe = settings.lhe.get(name)
        process = processes.from_lhe(name, [lhe]) if lhe else processes.process(name)
        recipe = store.Recipe(process, settings.seed, settings.multiparton_interactions, settings.shard_events)
        wanted[recipe] = recipe.shards_for(settings.events(name))
    return wanted


def _generate(
    study: Study, places: Places, ledger: Ledger, leases: Leases
) -> tuple[dict[str, store.Dataset], dict[str, Path], tuple[str, ...]]:
    from breakeven.distributed.finetuning import prepare_arrays
    from breakeven.distributed.generation import generate

    recipes = _recipes(study)
    leases.wait("generation", lambda: False)  # one driver at a time: the next finds the shards of this one
    total = sum(n_shards * recipe.shard_events for recipe, n_shards in recipes.items())
    missing = sum(len(store.missing_shards(r, places.datasets, n)) * r.shard_events for r, n in recipes.items())
    with bar("events", total, "events", done=total - missing) as progress:
        datasets = generate(recipes, places.datasets, lambda process, events: progress.advance(events, process))
    folders = {name: dataset.folder for name, dataset in datasets.items()}
    prepare_arrays(folders)
    _check_sizes(study, datasets)
    for name, dataset in datasets.items():
        if not ledger.refresh(certain=True).finished(dataset.hash):
            ledger.write([_generation_record(name, dataset)])
    leases.release("generation")
    return datasets, folders, tuple(dataset.hash for dataset in datasets.values())


def _check_sizes(study: Study, datasets: Mapping[str, store.Dataset]) -> None:
    """Raise TooFewEvents where a split came out smaller than the largest size: known only now that events are there."""
    largest = max(study.finetuning.sizes)
    for name in study.finetuning.tasks:
        for process in (task(name).signal, task(name).background):
            there = len(open_arrays(datasets[process]).rows(sampling.Split.TRAIN))
            if largest > there:
                raise sampling.TooFewEvents(
                    f"finetuning.sizes asks for {largest:,} training events a class, but {process} has {there:,}; raise "
                    "generation.events-per-process (what is there is kept) or drop the size"
                )


def _generation_record(name: str, dataset: store.Dataset) -> dict[str, Any]:
    return {
        "level": "generation",
        "record": dataset.hash,
        "outcome": "finished",
        "process": name,
        "source": dataset.manifest["source"],
        "events": dataset.n_events,
        "dataset": dataset.hash,
        "device": "cpu",
        "device_seconds": dataset.manifest["cpu_seconds"],
        "wall_seconds": dataset.manifest["cpu_seconds"],
        "git_commit": provenance.git_commit(),
        "host": provenance.host(),
        "started": now(),
        "ended": now(),
    }


def _pretrain(
    study: Study,
    places: Places,
    ledger: Ledger,
    leases: Leases,
    resources: Any,
    datasets: Mapping[str, store.Dataset],
    folders: Mapping[str, Path],
    generated: tuple[str, ...],
) -> Made:
    from breakeven.distributed.pretraining import PretrainingJob, pretrain

    names = plan.pretraining_processes(study, processes.PRETRAINING)
    hashes: dict[str, str] = {}
    backbones: dict[str, Path] = {}
    records = list(generated)
    content = [datasets[name].hash for name in names]
    for objective in study.pretraining.objectives:
        identity = {
            "kind": "pretraining",
            "objective": objective,
            "datasets": content,
            "network": dataclasses.asdict(study.network),
            "training": {
                key: getattr(study.pretraining, key)
                for key in ("events_per_process", "epochs", "batch_size", "learning_rate", "decay", "seed")
            },
            "validation_events": study.finetuning.validation_events,
            "versions": _versions(),
        }
        name = fingerprint(identity)
        job = PretrainingJob(
            hash=name,
            objective=objective,
            network=study.network,
            settings=study.pretraining,
            folders=tuple(folders[process] for process in names),
            validation_events=study.finetuning.validation_events,
            ledger=places.ledger,
            backbone=places.backbones / name,
            device=resources.device,
        )
        records.append(name)
        epochs = study.pretraining.epochs
        if leases.wait(name, partial(_pretrained, ledger, job)):
            with bar(f"{objective} pretraining", epochs, "epochs") as progress:
                show: Callable[[dict[str, Any]], None] = lambda epoch: progress.advance(  # noqa: E731
                    note=f"loss {epoch['validation_loss']:.4f}, accuracy {epoch['validation_accuracy']:.3f}"
                )
                result = pretrain(job, resources, places.pretraining, show)
            about = {"level": "pretraining", "record": name, "identity": identity, "backbone": result.hash}
            ledger.write([{**result.facts, **about, "git_commit": provenance.git_commit(), "host": provenance.host(),
                           "processor": provenance.processor(), "seed": study.pretraining.seed,
                           "dataset": "+".join(content)}])  # fmt: skip
            leases.release(name)
        else:
            console.print(f"  {objective} pretraining: done before ({epochs} epochs)")
        done = ledger.get(name)
        assert done is not None
        hashes[objective], backbones[objective] = done["backbone"], job.backbone
    ingredients = plan.Ingredients({name: dataset.hash for name, dataset in datasets.items()}, hashes, _versions())
    return Made(folders, ingredients, backbones, tuple(records))


def _pretrained(ledger: Ledger, job: Any) -> bool:
    return ledger.refresh(certain=True).finished(job.hash) and job.backbone.is_dir()


def _finetune(
    study: Study,
    places: Places,
    ledger: Ledger,
    leases: Leases,
    resources: Any,
    made: Made,
    tracker: Callable[[str], None],
) -> tuple[str, ...]:
    from breakeven.distributed.finetuning import finetune
    from breakeven.distributed.job import TrialJob

    commit = provenance.git_commit()

    def job_of(trial: plan.Trial) -> TrialJob:
        wanted = task(trial.cell.task)
        return TrialJob(
            trial=trial,
            network=study.network,
            settings=study.finetuning,
            folders={name: made.folders[name] for name in (wanted.signal, wanted.background)},
            backbone=made.backbones.get(trial.cell.pretraining),
            ledger=places.ledger,
            device=resources.device,
            git_commit=commit,
        )

    journal = f"journal-{study.name}"  # one driver writes it; another finds all that it needs in the ledger
    storage = search.open_storage(places.folder / "optuna.journal" if leases.take(journal) else None)
    queue = search.TrialQueue(study, made.ingredients, ledger, storage, leases=leases)
    for name in list(queue.trials):
        if ledger.get(name) is not None:
            tracker(name)
    try:
        with bar("trials", queue.total, "trials", done=queue.done) as progress:

            def known(name: str) -> None:
                if (record := ledger.get(name)) is not None:
                    progress.advance(note=_one_line(record))

            queue.on_known = known
            finetune(queue, job_of, resources, _scratch(places, leases), lambda record: tracker(record["record"]))
    finally:
        leases.release(journal)
        members = (*made.records, *queue.trials)
        atomic.write_json(places.folder / "records.json", list(members))
    return members


def _scratch(places: Places, leases: Leases) -> Path:
    """This driver's folder for Tune's own files; those of drivers that were killed are removed."""
    for old in places.folder.glob("tune/*"):
        if not leases.lives(old.name):
            shutil.rmtree(old)
    return places.folder / "tune" / leases.owner


def _one_line(record: dict[str, Any]) -> str:
    if record["outcome"] != "finished":
        return f"[red]failed[/] {record['cell']}: {escape(record['reason'][:60])}"
    judged = record.get("test_accuracy") or record["validation_accuracy"]
    return f"{record['cell']} seed {record['seed']}: {judged:.3f}"


@contextmanager
def _tracker(study: Study, places: Places, ledger: Ledger) -> Iterator[Callable[[str], None]]:
    """A function that has the record with a given hash written to MLflow; a study never stops because MLflow does.

    One thread opens MLflow and writes, so neither the start of Ray nor a trial waits for a database or a server.
    """
    uri = tracking_uri(places.root)
    lost: list[Exception] = []
    with ThreadPoolExecutor(1, thread_name_prefix="mlflow") as pool:
        opened = pool.submit(Tracker, uri, study.name, _study_tags(), places.root / "mlartifacts")

        def write(row: pd.Series) -> None:
            try:
                if not lost:
                    opened.result().record(row)
            except TrackingUnavailable as error:
                lost.append(error)
                _warn_tracking(study, error)

        written: list[Future[None]] = []
        yield lambda name: written.append(pool.submit(write, ledger.frame([name]).iloc[0]))
        for one in written:
            one.result()


def _warn_tracking(study: Study, error: Exception) -> None:
    console.print(
        f"[yellow]warning[/] MLflow: {escape(str(error))}; the study goes on, its ledger is whole; "
        f"write it to MLflow later with: breakeven track {study.name}"
    )


def _finish(study: Study, places: Places, ledger: Ledger, members: tuple[str, ...]) -> Path:
    frame = ledger.frame(members)
    path = report.write_report(frame, places.folder, facts=_facts(study, places, frame))
    try:
        _sync(places, study, frame)
    except TrackingUnavailable as error:
        _warn_tracking(study, error)
    console.print()
    for line in report.summary_lines(frame):
        console.print(line, markup=False)
    console.print(f"\nreport   {path}")
    console.print(f"MLflow   breakeven ui --runs-dir {places.root}   then open http://127.0.0.1:5000")
    return path


def _sync(places: Places, study: Study, frame: pd.DataFrame, uri: str = "") -> int:
    """Bring MLflow up to the ledger: missing records, figures of cells and study, the report's files."""
    tracker = Tracker(uri or tracking_uri(places.root), study.name, _study_tags(), places.root / "mlartifacts")
    cells = accuracy.cells(frame)
    figures = {"accuracy": "test/accuracy", "accuracy_sd": "test/accuracy_sd", "accuracy_low": "test/accuracy_low",
               "accuracy_high": "test/accuracy_high", "auc": "test/auc", "auc_sd": "test/auc_sd"}  # fmt: skip
    by_cell = {
        row["cell"]: {name: row[column] / 100 for column, name in figures.items()}
        | {"n": row["n"], "size": row["size"]}
        for row in cells[cells["n"] > 0].to_dict("records")
    }
    written = tracker.sync(frame, _study_metrics(frame), by_cell)
    tracker.log_artifacts([file for file in sorted(places.folder.iterdir()) if file.suffix in _ARTIFACTS])
    return written


_ARTIFACTS = (".md", ".csv", ".png", ".svg", ".pdf")


def _study_metrics(frame: pd.DataFrame) -> dict[str, float]:
    """What the study run shows: break-even by pretraining (multiclass without a suffix, as in the paper) and hours."""
    found: dict[str, float] = {}
    even = breakeven.study_break_even(frame)
    for pretraining, rows in even.groupby("pretraining", sort=False):
        last = rows.iloc[-1]  # all sizes, or the only one
        if last["text"] != "no figure":
            tasks = math.inf if pd.isna(last["tasks"]) else float(last["tasks"])  # never
            found[f"break_even/tasks_{pretraining}"] = tasks
            if "break_even/tasks" not in found or pretraining == "multiclass":
                found["break_even/tasks"] = tasks
    for row in cost.cost_table(frame).to_dict("records"):
        if row["stage"] == "all":
            found |= {f"{row['unit']}/useful": row["useful"], f"{row['unit']}/wasted": row["wasted"]}
    return found


def _facts(study: Study, places: Places, frame: pd.DataFrame) -> dict[str, Any]:
    """What the report says of the study besides the ledger's numbers."""
    manifests = {
        row["process"]: store.open_dataset(recipe.folder(places.datasets)).manifest
        for recipe in _recipes(study)
        for _, row in frame[(frame["level"] == "generation") & (frame["process"] == recipe.process.name)].iterrows()
    }
    return {
        "study": study.name,
        "spec": dataclasses.asdict(study),
        "git_commit": provenance.git_commit(),
        "versions": provenance.versions(),
        "processor": provenance.processor(),
        "datasets": manifests,
        "command": (places.folder / "command.txt").read_text().strip(),
    }


def _remembered(name: str, runs_dir: Path) -> tuple[Places, Study, tuple[str, ...]]:
    places = Places(runs_dir.resolve(), name)
    spec, records = places.folder / "study.json", places.folder / "records.json"
    if not spec.exists() or not records.exists():
        known = sorted(path.parent.name for path in runs_dir.glob("*/records.json"))
        raise FileNotFoundError(f"{places.folder}: no study that ran; those here: {', '.join(known) or 'none'}")
    return places, study_from_json(json.loads(spec.read_text())), tuple(json.loads(records.read_text()))


def _versions() -> dict[str, str]:
    """Versions of what decides a training's result."""
    import torch

    return {
        "network": str(models.NETWORK_VERSION),
        "training": str(training.TRAINING_VERSION),
        "torch": torch.__version__.split(".")[0],
    }


def _study_tags() -> dict[str, str]:
    return {"git_commit": provenance.git_commit(), "processor": provenance.processor()}
