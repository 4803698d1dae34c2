"""MLflow: the view of the ledger that people look at.

The only room that imports mlflow. One driver-side writer with explicit run ids: study > pretraining and study > cell >
trial, each tagged with its identity, each written once. It decides nothing and holds nothing that the ledger has not,
so MLflow can be lost or down without any loss.
"""

import logging
import math
import os
import re
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Before mlflow is imported: a server that is down must not hold a study up, and nothing is reported to its makers.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")

import pandas as pd
import requests
import sqlalchemy
from mlflow.entities import Metric, Param, Run, RunTag, ViewType
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from breakeven.fingerprint import fingerprint

for _logger in ("alembic", "mlflow.store.db.utils", "mlflow.tracking"):
    logging.getLogger(_logger).setLevel(logging.WARNING)

_BATCH = 1000
_IDENTITY = ("cell", "task", "pretraining", "strategy", "size", "seed", "phase", "git_commit", "dataset", "process",
             "outcome", "source")  # fmt: skip
_PARAMS = ("task", "signal", "background", "pretraining", "strategy", "size", "seed", "ratio", "phase", "backbone",
           "workers", "process", "events", "source")  # fmt: skip
_FIGURES = {
    "test_accuracy": "test/accuracy", "test_auc": "test/auc", "test_rejection_50": "test/rejection_50",
    "test_rejection_70": "test/rejection_70", "test_rejection_90": "test/rejection_90",
    "test_significance_improvement": "test/significance_improvement", "validation_accuracy": "validation/best_accuracy",
    "validation_auc": "validation/best_auc", "validation_loss": "validation/best_loss", "epochs": "epochs",
    "events_seen": "events_seen", "wall_seconds": "wall_seconds", "plateau_seconds": "plateau_seconds",
}  # fmt: skip
_CURVE = {
    "train_loss": "train/loss", "validation_loss": "validation/loss", "validation_accuracy": "validation/accuracy",
    "validation_auc": "validation/auc", "learning_rate": "learning_rate", "device_seconds": "device_seconds",
}  # fmt: skip


class TrackingUnavailable(ConnectionError):
    """MLflow cannot be reached or written to; the study itself is not touched."""


def resolve_uri(default: Path) -> str:
    """`MLFLOW_TRACKING_URI` where it is set, else a SQLite file at `default`."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{default}"


class Tracker:
    """Writes the records of one study to one experiment of its name, each record once.

    uri: MLflow tracking URI.  study: name of the study and the experiment.  tags: for the study run.
    artifacts: folder for artifacts where MLflow itself has none to offer (SQLite).
    Raises TrackingUnavailable, from every method, where MLflow does not answer.
    """

    def __init__(self, uri: str, study: str, tags: Mapping[str, str], artifacts: Path) -> None:
        self.study = study
        self._runs: dict[str, str] = {}
        self._failed: set[str] = set()
        with _reached(uri):
            self._client = _connect(uri)
            location = artifacts.resolve().as_uri() if uri.startswith("sqlite:") else None
            found = self._client.get_experiment_by_name(study)
            if found is not None and found.lifecycle_stage == "deleted":
                self._client.restore_experiment(found.experiment_id)
            self._experiment = (
                found.experiment_id if found else self._client.create_experiment(study, artifact_location=location)
            )
            self._uri = uri
            for run in self._existing():
                name = run.data.tags.get("record", "")
                if run.data.tags.get("level") in ("study", "cell") or run.info.status == "FINISHED":
                    self._runs[name] = run.info.run_id
                    self._failed.discard(name)
                elif run.info.status == "FAILED":  # stays, beside the finished run of a later try
                    if name not in self._runs:
                        self._runs[name] = run.info.run_id
                        self._failed.add(name)
                else:  # its writer was killed half way: write it anew
                    self._client.delete_run(run.info.run_id)
            self._study_run = self._parent(f"study:{study}", study, {"level": "study", **tags}, None)

    def record(self, row: pd.Series) -> bool:
        """Write one row of the ledger frame unless it is there; returns whether it was written."""
        if row["record"] in (self._runs if row["outcome"] != "finished" else self._runs.keys() - self._failed):
            return False
        with _reached(self._uri):
            tags = {"level": row["level"], "record": row["record"], "study": self.study}
            tags |= {name: _text(row[name]) for name in _IDENTITY if _present(row[name])}
            if row["level"] == "trial":
                tags["trial"] = row["record"]
            if row["outcome"] != "finished" and row["reason"]:
                tags["reason"] = row["reason"][:4000]
            metrics, not_finite = _metrics(row)
            if not_finite:
                tags["not_finite"] = ", ".join(not_finite)
            run = self._client.create_run(
                self._experiment,
                start_time=_milliseconds(row["started"]),
                tags=tags | {"mlflow.parentRunId": self._parent_of(row)},
                run_name=_name(row),
            )
            params = [Param(name, _text(row[name])) for name in _PARAMS if _present(row[name])]
            for start in range(0, max(len(metrics), 1), _BATCH):
                self._client.log_batch(run.info.run_id, metrics[start : start + _BATCH], params if not start else ())
            status = "FINISHED" if row["outcome"] == "finished" else "FAILED"
            self._client.set_terminated(run.info.run_id, status, _milliseconds(row["ended"]))
            self._runs[row["record"]] = run.info.run_id
            (self._failed.discard if status == "FINISHED" else self._failed.add)(row["record"])
        return True

    def sync(
        self,
        frame: pd.DataFrame,
        study_metrics: Mapping[str, float],
        cell_metrics: Mapping[str, Mapping[str, float]],
    ) -> int:
        """Write all rows that are missing, then the figures of cells and study where they changed.

        study_metrics: figures of the study run, such as break_even/tasks.  cell_metrics: figures by cell name.
        Returns the number of records written.
        """
        written = sum(self.record(row) for _, row in frame.iterrows())
        for _, row in frame[frame["level"] == "trial"].drop_duplicates("cell").iterrows():
            with _reached(self._uri):
                run = self._parent_of(row)
            self._summarise(run, cell_metrics.get(row["cell"], {}))
        self._summarise(self._study_run, study_metrics)
        return written

    def log_artifacts(self, files: list[Path]) -> None:
        """Attach files to the study run, those that changed."""
        with _reached(self._uri):
            tags = self._client.get_run(self._study_run).data.tags
            for file in files:
                content, tag = fingerprint(file.read_bytes().hex()), f"artifact.{file.name}"
                if tags.get(tag) != content:
                    self._client.log_artifact(self._study_run, str(file))
                    self._client.set_tag(self._study_run, tag, content)

    def _existing(self) -> Iterator[Run]:
        token = None
        while True:
            page = self._client.search_runs([self._experiment], run_view_type=ViewType.ACTIVE_ONLY, max_results=5000,
                                            page_token=token)  # fmt: skip
            yield from page
            if not (token := page.token):
                return

    def _parent_of(self, row: pd.Series) -> str:
        if row["level"] != "trial":
            return self._study_run
        tags = {
            "level": "cell",
            **{name: _text(row[name]) for name in ("cell", "task", "pretraining", "strategy", "size")},
        }
        return self._parent(f"cell:{self.study}:{row['cell']}", row["cell"], tags, self._study_run)

    def _parent(self, key: str, name: str, tags: Mapping[str, str], parent: str | None) -> str:
        if key not in self._runs:
            every = {"record": key, "study": self.study, **tags} | ({"mlflow.parentRunId": parent} if parent else {})
            self._runs[key] = self._client.create_run(self._experiment, tags=every, run_name=name).info.run_id
        return self._runs[key]

    def _summarise(self, run_id: str, metrics: Mapping[str, float]) -> None:
        finite = {name: float(value) for name, value in metrics.items() if _finite(value)}
        not_finite = ", ".join(sorted(set(metrics) - set(finite)))
        with _reached(self._uri):
            run = self._client.get_run(run_id)
            shown = {name: value for name, value in run.data.metrics.items() if math.isfinite(value)}
            now = int(time.time() * 1000)
            changed = [Metric(name, value, now, 0) for name, value in finite.items() if shown.get(name) != value]
            # MLflow forgets no metric: one that no longer holds (never, in place of 25 tasks) is overwritten.
            changed += [Metric(name, math.nan, now, 0) for name in shown.keys() - finite.keys()]
            tags = [] if run.data.tags.get("not_finite", "") == not_finite else [RunTag("not_finite", not_finite)]
            if changed or tags:
                self._client.log_batch(run_id, changed, (), tags)
            if run.info.status != "FINISHED":
                self._client.set_terminated(run_id, "FINISHED")


def _connect(uri: str) -> MlflowClient:
    with warnings.catch_warnings():
        # MLflow maps its tables with a loader that SQLAlchemy 2.1 deprecates; nothing that a user could change.
        warnings.filterwarnings("ignore", "The ``noload`` loader", sqlalchemy.exc.SADeprecationWarning)
        try:
            return MlflowClient(tracking_uri=uri)
        except ValueError as error:
            raise MlflowException(f"this is no tracking URI: {error}") from error


# ImportError: the driver of a PostgreSQL or MySQL server is not installed.
_UNREACHED = (MlflowException, sqlalchemy.exc.SQLAlchemyError, requests.RequestException, OSError, ImportError)


@contextmanager
def _reached(uri: str) -> Iterator[None]:
    """Turn what MLflow, its database and its server raise into TrackingUnavailable."""
    try:
        yield
    except _UNREACHED as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise TrackingUnavailable(_without_password(f"{uri} does not take what it is given ({first[:300]})")) from error


def _without_password(text: str) -> str:
    return re.sub(r"(?<=//)[^/@\s]*@", "", text)


def _metrics(row: pd.Series) -> tuple[list[Metric], list[str]]:
    """Figures and curve of one record, and the names of those that are infinite or, on the curve, NaN: left out.

    A figure that is NaN is one that this kind of record does not have.
    """
    ended = _milliseconds(row["ended"])
    unit = "cpu_hours" if row["device"] == "cpu" else "gpu_hours"
    finished = row["outcome"] == "finished"
    figures = {name: row[column] for column, name in _FIGURES.items() if _present(row[column])}
    figures[f"{unit}/useful"] = row["device_seconds"] / 3600 if finished else 0.0
    figures[f"{unit}/wasted"] = (row["wasted_seconds"] + (0.0 if finished else row["device_seconds"])) / 3600
    found = [Metric(name, float(value), ended, 0) for name, value in figures.items()]
    for epoch in row["curve"] if isinstance(row["curve"], list) else ():
        found += [Metric(name, float(epoch[column]), ended, epoch["epoch"]) for column, name in _CURVE.items()
                  if epoch.get(column) is not None]  # fmt: skip
    finite = [metric for metric in found if math.isfinite(metric.value)]
    return finite, sorted({metric.key for metric in found if not math.isfinite(metric.value)})


def _name(row: pd.Series) -> str:
    if row["level"] == "generation":
        return f"events {row['process']}"
    if row["level"] == "pretraining":
        return f"{row['pretraining']} pretraining"
    return f"{row['phase']} seed {row['seed']:.0f} ratio {row['ratio']:.3g}"


def _present(value: Any) -> bool:
    return not (value is None or value is pd.NA or value == "" or (isinstance(value, float) and math.isnan(value)))


def _text(value: Any) -> str:
    return f"{value:.12g}"[:500] if isinstance(value, float) else str(value)[:500]


def _finite(value: Any) -> bool:
    return value is not None and value is not pd.NA and math.isfinite(value)


def _milliseconds(moment: str) -> int:
    return int(pd.Timestamp(moment).timestamp() * 1000)
