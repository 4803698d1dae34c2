"""What people look at, made from the ledger alone: the report, and MLflow while a study runs and after it.

Nothing here is needed for a study to go on, and nothing here is lost with it.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
from rich.markup import escape

from breakeven.analysis import accuracy, breakeven, cost, report
from breakeven.analysis.accounts import accounts
from breakeven.events import store
from breakeven.places import Places
from breakeven.stages.generation import recipes_of
from breakeven.study import provenance
from breakeven.study.ledger import Ledger
from breakeven.study.reservation import reservations
from breakeven.study.spec import Study
from breakeven.terminal import console
from breakeven.tracking import Tracker, TrackingUnavailable, resolve_uri


@contextmanager
def tracked(study: Study, places: Places, ledger: Ledger) -> Iterator[Callable[[Sequence[str]], None]]:
    """A function that has the records with these hashes written to MLflow; a study never stops because MLflow does.

    One thread opens MLflow and writes, so neither the start of Ray nor a trial waits for a database or a server.
    """
    uri = tracking_uri(places.root)
    lost: list[Exception] = []
    with ThreadPoolExecutor(1, thread_name_prefix="mlflow") as pool:
        opened = pool.submit(Tracker, uri, study.name, _study_tags(), places.root / "mlartifacts")

        def write(rows: pd.DataFrame) -> None:
            try:
                if not lost:
                    for _, row in rows.iterrows():
                        opened.result().record(row)
            except TrackingUnavailable as error:
                lost.append(error)
                _warn_tracking(study, error)

        written: list[Future[None]] = []
        yield lambda names: written.append(pool.submit(write, ledger.frame(names)))
        for one in written:
            one.result()


def publish(study: Study, places: Places, ledger: Ledger, members: tuple[str, ...]) -> Path:
    """Write the report of these records and bring MLflow up to them; returns the report's path."""
    frame = ledger.frame(members)
    held = reservations(places.ledger, study.name)
    path = report.write_report(frame, places.folder, _facts(study, places, frame), accounts(ledger.frame(), held))
    try:
        sync(places, study, frame)
    except TrackingUnavailable as error:
        _warn_tracking(study, error)
    console.print()
    for line in report.summary_lines(frame):
        console.print(line, markup=False)
    console.print(f"\nreport   {path}")
    console.print(f"MLflow   breakeven ui --runs-dir {places.root}   then open http://127.0.0.1:5000")
    return path


def sync(places: Places, study: Study, frame: pd.DataFrame, uri: str = "") -> int:
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


def tracking_uri(runs_dir: Path) -> str:
    """`MLFLOW_TRACKING_URI` where set, else a SQLite file in the runs folder."""
    runs_dir.mkdir(parents=True, exist_ok=True)
    return resolve_uri(runs_dir.resolve() / "mlflow.db")


def _warn_tracking(study: Study, error: Exception) -> None:
    console.print(
        f"[yellow]warning[/] MLflow: {escape(str(error))}; the study goes on, its ledger is whole; "
        f"write it to MLflow later with: breakeven track {study.name}"
    )


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
        for recipe in recipes_of(study)
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


def _study_tags() -> dict[str, str]:
    return {"git_commit": provenance.git_commit(), "processor": provenance.processor()}
