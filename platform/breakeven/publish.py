"""What people look at, made from the ledger alone: the report, and MLflow while a study runs and after it.

Nothing here is needed for a study to go on, and nothing here is lost with it.
"""

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.markup import escape

from breakeven import atomic, provenance
from breakeven.analysis import ensembles, summary
from breakeven.analysis.cost.accounts import accounts
from breakeven.estimate import price
from breakeven.events import store
from breakeven.fingerprint import fingerprint
from breakeven.ledger.lease import Leases
from breakeven.ledger.ledger import Ledger
from breakeven.ledger.representations import Representations
from breakeven.ledger.reservation import reservations
from breakeven.places import Places
from breakeven.registry.package import NoBackbone, Winner, winner, write_files
from breakeven.report import report
from breakeven.stages.generation import recipes_of
from breakeven.study.spec import Study
from breakeven.terminal import bar, console
from breakeven.tracking import Tracker, TrackingUnavailable, Writer, experiment_of, resolve_uri, without_password


@contextmanager
def tracked(study: Study, places: Places, ledger: Ledger, leases: Leases) -> Iterator[Callable[[Sequence[str]], None]]:
    """A function that has the records with these names written to MLflow; a study never stops because MLflow does.

    One thread opens MLflow and writes, and of several drivers of a study one. At the end what was named is waited for,
    unless an error or Ctrl-C ends it: the ledger has all that MLflow lacks.
    """
    uri = tracking_uri(places.root)
    lease = _lease(uri, study)

    def ours() -> bool:
        try:
            return leases.take(lease)
        except OSError as error:
            raise TrackingUnavailable(f"{uri} is not written to, as the ledger takes no lease ({error})") from error

    writer = Writer(
        connect=lambda: Tracker(uri, study.name, places.root / "mlartifacts"),
        frame=ledger.frame,
        ours=ours,
        lost=lambda error: _warn_tracking(study, error),
    )
    try:
        with writer:
            yield writer.put
            _wait_for(writer)
    finally:
        leases.release(lease)


def publish(study: Study, places: Places, ledger: Ledger, members: tuple[str, ...], anew: bool = False) -> Path:
    """Write the report of these records and bring MLflow up to them; returns the report's path.

    A report that is there already, of the same records and facts by the same code, is kept, unless `anew`.
    """
    frame = ledger.frame(members)
    facts = _facts(study, places, frame) | _price(places, ledger, members) | _missing(places) | _mlflow(study, places)
    spent, similar = _accounts(study, places, ledger), _similarities(places, frame)
    key, path = _report_key(frame, facts, spent, similar), places.report / report.PAGE
    kept = places.folder / "report.key"
    if anew or not path.exists() or not kept.exists() or kept.read_text() != key:
        path = report.write_report(frame, places.report, facts, spent, similar)
        atomic.write_text(kept, key)
    try:
        sync(study, places, ledger, members)
    except TrackingUnavailable as error:
        _warn_tracking(study, error)
    console.print()
    for line in report.summary_lines(frame):
        console.print(line, markup=False)
    for row in facts["price"]:
        if row["stage"] == "all trainings":
            console.print(
                f"Price: {row['expected'] * 60:.1f} device-minutes expected ({row['low'] * 60:.1f} to {row['high'] * 60:.1f}), "
                f"{row['taken'] * 60:.1f} taken, {row['off']:+.0%}"
            )
    console.print(f"\nreport   {path}")
    console.print(f"MLflow   breakeven ui --runs-dir {places.root}   then open http://127.0.0.1:5000")
    return path


def sync(study: Study, places: Places, ledger: Ledger, members: Sequence[str], uri: str = "") -> int:
    """Bring MLflow up to the ledger: missing records, summaries of cells and study, the report's files.

    Returns the number of records written. Waits while another driver writes the study. Raises TrackingUnavailable.
    """
    uri = uri or tracking_uri(places.root)
    lease = _lease(uri, study)
    with Leases(places.ledger) as leases:
        if not leases.take(lease):
            console.print(f"  MLflow: another driver writes {study.name} to it; waiting for that, Ctrl-C loses nothing")
        leases.wait(lease, lambda: False)
        try:
            tracker = Tracker(uri, study.name, places.root / "mlartifacts")
            frame = ledger.frame(members)
            written = _bring_up(tracker, frame, _accounts(study, places, ledger))
            if places.report.is_dir():
                tracker.log_artifacts([file for file in sorted(places.report.iterdir()) if file.suffix in _ARTIFACTS])
            with suppress(NoBackbone):  # nothing was finetuned, or the weights are elsewhere
                best = _winner(study, places, ledger, frame)
                if tracker.register(best.record, best.as_model()):
                    console.print(f"  registered {best.name}: {best.objective} pretraining, with its model card")
            return written
        finally:
            leases.release(lease)


def export(study: Study, places: Places, ledger: Ledger, members: Sequence[str], folder: Path, onnx: bool) -> None:
    """Write the winning backbone, its card and, where asked for, its ONNX file to `folder`. Raises NoBackbone."""
    frame = ledger.frame(members)
    best = _winner(study, places, ledger, frame)
    for path in write_files(best, folder, onnx):
        console.print(f"  {path}", highlight=False)
    console.print(f"{best.objective} pretraining of {study.name} is in {folder}; README.md is its card")


def _winner(study: Study, places: Places, ledger: Ledger, frame: pd.DataFrame) -> Winner:
    return winner(study.name, frame, lambda: _facts(study, places, frame), ledger, places.backbones)


def tracking_uri(runs_dir: Path) -> str:
    """`MLFLOW_TRACKING_URI` where set, else a SQLite file in the runs folder."""
    runs_dir.mkdir(parents=True, exist_ok=True)
    return resolve_uri(runs_dir.resolve() / "mlflow.db")


def _bring_up(tracker: Tracker, frame: pd.DataFrame, spent: pd.DataFrame) -> int:
    missing = sum(not tracker.holds(row) for _, row in frame.iterrows())
    with bar("MLflow", missing, "runs") if missing else nullcontext() as progress:

        def each(written: bool) -> None:
            if written and progress is not None:
                progress.advance()

        return tracker.sync(frame, summary.study_figures(frame, spent), summary.cell_figures(frame), each)


def _accounts(study: Study, places: Places, ledger: Ledger) -> pd.DataFrame:
    return accounts(ledger.frame(), reservations(places.ledger, study.name))


def _report_key(frame: pd.DataFrame, facts: dict[str, Any], *tables: pd.DataFrame) -> str:
    """Hash of all that a report is made from: its records, which never change, what else it is given, and its code."""
    tries = frame[["record", "outcome", "ended", "wasted_seconds"]]
    given = [facts, *(table.to_json(orient="values") for table in (tries, *tables))]
    digest = hashlib.sha256(json.dumps(given, sort_keys=True, default=str).encode())
    rooms = (Path(str(module.__file__)).parent for module in (report, ensembles))
    for file in sorted(file for room in rooms for file in room.rglob("*")):
        if file.suffix in (".py", ".j2", ".css", ".js", ".csv"):
            digest.update(file.read_bytes())
    return digest.hexdigest()


def _similarities(places: Places, frame: pd.DataFrame) -> pd.DataFrame:
    """How alike the networks are; computed anew only where other networks are to be compared, as it takes a while.

    Nothing is kept where a network could not be read: its file may come back.
    """
    kept = frame[frame["representation"].notna()]
    if kept.empty:
        return ensembles.NONE
    key = fingerprint([ensembles.VERSION, sorted(zip(kept["record"], kept["representation"], strict=True))])
    path = places.folder / "similarity.json"
    try:
        before = json.loads(path.read_text())
        if before["key"] == key:
            return pd.DataFrame(before["rows"], columns=ensembles.COLUMNS).fillna(np.nan)
    except (OSError, ValueError, KeyError, TypeError):
        pass  # nothing was kept, or not this
    with console.status("similarity of what the networks have learnt"):
        found = ensembles.similarities(frame, Representations(places.ledger).read)
    if not found["n_unreadable"].any():
        atomic.write_text(path, json.dumps({"key": key, "rows": json.loads(found.to_json(orient="records"))}) + "\n")
    return found


def _wait_for(writer: Writer) -> None:
    """Wait until the thread has written what was named to it, with a line of progress where that takes long."""
    until = time.monotonic() + _QUIET_SECONDS
    while writer.left and time.monotonic() < until:
        time.sleep(_LOOK_SECONDS)
    if not (total := writer.left):
        return
    with bar("MLflow", total, "runs") as progress:
        while left := writer.left:
            time.sleep(_LOOK_SECONDS)
            progress.advance(total - left - progress.count)
        progress.advance(total - progress.count)


def _lease(uri: str, study: Study) -> str:
    """Who holds this writes the experiment of the study at this place."""
    return f"mlflow-{fingerprint([uri, study.name])}"


def _warn_tracking(study: Study, error: Exception) -> None:
    console.print(
        f"[yellow]warning[/] MLflow: {escape(str(error))}; the study goes on, its ledger is whole; "
        f"write it to MLflow later with: breakeven track {study.name}"
    )


_QUIET_SECONDS, _LOOK_SECONDS = 1.0, 0.05
_ARTIFACTS = (".html", ".md", ".csv", ".tex", ".png", ".pdf")


def _price(places: Places, ledger: Ledger, members: Sequence[str]) -> dict[str, Any]:
    """What the study was expected to take, held against what it took; no rows where there is no price, or a part is missing."""
    nothing = {"price": [], "price_origin": ""}
    if _missing(places)["missing"]:
        return nothing
    try:
        kept = json.loads((places.folder / "price.json").read_text())
        records = [record for name in members if (record := ledger.get(name)) is not None]
        return {"price": price.outcome(kept, records), "price_origin": kept["origin"]}
    except (OSError, ValueError, KeyError, TypeError):
        return nothing  # there is no price, or its file was damaged


def _missing(places: Places) -> dict[str, Any]:
    path = places.folder / "missing.json"
    return {"missing": json.loads(path.read_text()) if path.exists() else {}}


def _mlflow(study: Study, places: Places) -> dict[str, Any]:
    """Where the report's links to MLflow lead; to no experiment while MLflow does not answer."""
    uri = tracking_uri(places.root)
    address = uri if uri.startswith("http") else "http://127.0.0.1:5000"
    try:
        experiment = experiment_of(uri, study.name, places.root / "mlartifacts")
    except TrackingUnavailable:
        experiment = ""  # the warning comes when it is written to
    return {"mlflow": {"address": without_password(address.rstrip("/")), "experiment": experiment}}


def _facts(study: Study, places: Places, frame: pd.DataFrame) -> dict[str, Any]:
    """What the report says of the study besides the ledger's numbers."""
    generated = frame[(frame["level"] == "generation") & (frame["outcome"] == "finished")]
    by_process = {row["process"]: row for row in generated.to_dict("records")}
    manifests = {
        recipe.source.name: _manifest(recipe.folder(places.datasets), by_process[recipe.source.name])
        for recipe in recipes_of(study)
        if recipe.source.name in by_process
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


def _manifest(folder: Path, record: dict[Any, Any]) -> dict[str, Any]:
    """The dataset's own manifest; where the events are not here, as after a move, what the ledger says of them."""
    if folder.is_dir():
        return store.open_dataset(folder).manifest
    note = "the events are not on this machine: cross section and notes are in their manifest"
    return {"source": record["source"], "events": int(record["events"]), "hash": record["dataset"], "note": note}
