"""What people look at, made from the ledger alone: the report, and MLflow while a study runs and after it.

Nothing here is needed for a study to go on, and nothing here is lost with it.
"""

import dataclasses
import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from rich.markup import escape

from breakeven import atomic
from breakeven.fingerprint import fingerprint
from breakeven.ledger.lease import Leases
from breakeven.ledger.ledger import Ledger
from breakeven.metric import METRICS
from breakeven.observer import Observer
from breakeven.physics.processes import PRETRAINING
from breakeven.places import Places
from breakeven.registry.package import NoBackbone, Winner, winner, write_files
from breakeven.report import PAGE
from breakeven.results import StudyResults
from breakeven.study.naming import Names
from breakeven.study.spec import Study
from breakeven.terminal import bar, console
from breakeven.tracking import Tracker, TrackingUnavailable, Writer, resolve_uri, without_password


@contextmanager
def tracked(study: Study, places: Places, ledger: Ledger, leases: Leases) -> Iterator[Observer]:
    """An observer that has the records that it is told of written to MLflow; a study never stops because MLflow does.

    One thread opens MLflow and writes, and of several drivers of a study one. At the end what was told is waited for,
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
        frame=partial(ledger.frame, names=Names(study, PRETRAINING).of),
        ours=ours,
        lost=lambda error: _warn_tracking(study, error),
    )
    try:
        with writer:
            yield writer
            _wait_for(writer)
    finally:
        leases.release(lease)


def publish(results: StudyResults, anew: bool = False) -> Path:
    """Write the report of these results and bring MLflow up to them; returns the report's path.

    A report that is there already, of the same records and facts by the same code, is kept, unless `anew`.
    """
    places, tracker = results.places, None
    try:
        tracker = _tracker(results)
        results = dataclasses.replace(results, mlflow=_links(tracker))
    except TrackingUnavailable as error:
        _warn_tracking(results.study, error)
    lines, figures = _write_report(results, anew)
    if tracker is not None:
        try:
            _sync(results, tracker, figures)
        except TrackingUnavailable as error:
            _warn_tracking(results.study, error)
    console.print()
    for line in lines:
        console.print(line, markup=False)
    path = places.report / PAGE
    console.print(f"\nreport   {path}")
    console.print(f"MLflow   breakeven ui --runs-dir {places.root}   then open http://127.0.0.1:5000")
    return path


def sync(results: StudyResults, uri: str = "") -> int:
    """Bring MLflow up to the ledger: missing records, summaries of cells and study, the report's files.

    Returns the number of records written. Waits while another driver writes the study. Raises TrackingUnavailable.
    """
    return _sync(results, _tracker(results, uri), _figures(results))


def export(results: StudyResults, folder: Path, onnx: bool) -> None:
    """Write the winning backbone, its card and, where asked for, its ONNX file to `folder`. Raises NoBackbone."""
    best = _winner(results)
    for path in write_files(best, folder, onnx):
        console.print(f"  {path}", highlight=False)
    console.print(f"{best.objective} pretraining of {results.study.name} is in {folder}; README.md is its card")


@dataclass(frozen=True)
class _Figures:
    """What MLflow shows of a study and of each of its cells, see analysis/summary.py."""

    study: Mapping[str, float]
    cells: Mapping[str, Mapping[str, float]]


def _figures(results: StudyResults) -> _Figures:
    from breakeven.analysis import summary

    cells = summary.cell_figures(results.frame, shared=results.shared_events)
    return _Figures(summary.study_figures(results.frame, results.accounts), cells)


def _write_report(results: StudyResults, anew: bool) -> tuple[Sequence[str], _Figures]:
    """The report's files, its lines for the terminal and its figures for MLflow.

    They are kept where all are there and were made from the same, unless `anew`: no statistics are imported then.
    """
    places = results.places
    key = _report_key(results.frame, results.facts, results.scored, results.accounts, results.similarity)
    kept = places.folder / "report.json"
    with suppress(OSError, ValueError, TypeError, KeyError):  # there is none, or it was damaged
        before = json.loads(kept.read_text())
        whole = before["digest"] == _digest(before["lines"], before["figures"])
        there = PAGE in before["files"] and all((places.report / name).exists() for name in before["files"])
        if not anew and whole and there and before["key"] == key:
            return before["lines"], _Figures(**before["figures"])
    from breakeven.report.report import write_report
    from breakeven.report.sentences import summary_lines

    console.print("  report: writing tables, drawing pictures")
    kept.unlink(missing_ok=True)  # a kill in the midst of the files must not leave the old key beside them
    write_report(results.figures, places.report)
    lines, figures = summary_lines(results.figures), _figures(results)
    said, files = dataclasses.asdict(figures), sorted(path.name for path in places.report.iterdir())
    # Not write_json: a break-even that is never reached is infinite.
    made = {"key": key, "lines": lines, "figures": said, "files": files, "digest": _digest(lines, said)}
    atomic.write_text(kept, json.dumps(made) + "\n")
    return lines, figures


def _digest(lines: Sequence[str], figures: Mapping[str, Any]) -> str:
    """Of what is kept of a report, so that nothing is believed that was changed."""
    return hashlib.sha256(json.dumps([list(lines), figures], sort_keys=True).encode()).hexdigest()


def _tracker(results: StudyResults, uri: str = "") -> Tracker:
    return Tracker(uri or tracking_uri(results.places.root), results.study.name, results.places.root / "mlartifacts")


def _sync(results: StudyResults, tracker: Tracker, figures: _Figures) -> int:
    study, places, lease = results.study, results.places, _lease(tracker.uri, results.study)
    with Leases(places.ledger) as leases:
        if not leases.take(lease):
            console.print(f"  MLflow: another driver writes {study.name} to it; waiting for that, Ctrl-C loses nothing")
        leases.wait(lease, lambda: False)
        try:
            written = _bring_up(tracker, results, figures)
            if places.report.is_dir():
                tracker.log_artifacts([file for file in sorted(places.report.iterdir()) if file.suffix in _ARTIFACTS])
            with suppress(NoBackbone):  # nothing was finetuned, or the weights are elsewhere
                best = _winner(results)
                if tracker.register(best.record, best.as_model()):
                    console.print(f"  registered {best.name}: {best.objective} pretraining, with its model card")
            return written
        finally:
            leases.release(lease)


def _winner(results: StudyResults) -> Winner:
    study, places, merit = results.study, results.places, METRICS[results.study.finetuning.merit]
    return winner(study.name, results.frame, lambda: results.facts, results.ledger, places.backbones, merit=merit)


def _links(tracker: Tracker) -> dict[str, str]:
    """Where the report's links to MLflow lead."""
    address = tracker.uri if tracker.uri.startswith("http") else "http://127.0.0.1:5000"
    return {"address": without_password(address.rstrip("/")), "experiment": tracker.experiment}


def tracking_uri(runs_dir: Path) -> str:
    """`MLFLOW_TRACKING_URI` where set, else a SQLite file in the runs folder."""
    runs_dir.mkdir(parents=True, exist_ok=True)
    return resolve_uri(runs_dir.resolve() / "mlflow.db")


def _bring_up(tracker: Tracker, results: StudyResults, figures: _Figures) -> int:
    frame = results.frame
    missing = sum(not tracker.holds(row) for _, row in frame.iterrows())
    with bar("MLflow", missing, "runs") if missing else nullcontext() as progress:

        def each(written: bool) -> None:
            if written and progress is not None:
                progress.advance()

        return tracker.sync(frame, figures.study, figures.cells, each)


def _report_key(frame: pd.DataFrame, facts: dict[str, Any], scored: Sequence[str], *tables: pd.DataFrame) -> str:
    """Hash of all that a report is made from: its records, which never change, what else it is given, and its code.

    A study that is asked for again finds its records in another order, which says nothing. scored: the records whose scores
    are here, whose content their records vouch for.
    """
    tries = frame[["record", "outcome", "ended", "wasted_seconds"]].sort_values(["record", "ended"], kind="stable")
    given = [facts, scored, *(table.to_json(orient="values") for table in (tries, *tables))]
    digest = hashlib.sha256(json.dumps(given, sort_keys=True, default=str).encode())
    here = Path(__file__).parent
    code = [*(here / "report").rglob("*"), *(here / "analysis").rglob("*"), here / "metric.py", here / "duration.py"]
    for file in sorted(code):
        if file.suffix in (".py", ".j2", ".css", ".js", ".csv"):
            digest.update(file.read_bytes())
    return digest.hexdigest()


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
