"""The runs of one study in MLflow, brought to what the ledger says.

study > generation, study > pretraining and study > cell > trial, each looked up by its record before it is made. A run whose
content has changed is replaced, as MLflow forgets no metric and no parameter; what people added to it moves along. It
decides nothing about a study, and is meant to be the only one that writes an experiment at a time.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.entities import Param, Run, RunTag, ViewType
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from breakeven.fingerprint import fingerprint
from breakeven.tracking import content, models
from breakeven.tracking.content import DIGEST, Content
from breakeven.tracking.database import PATIENCE_SECONDS, Connection
from breakeven.tracking.models import Model

_BATCH = 1000
"""Metrics that MLflow takes at once."""
_PAGE = 500
_PARENT = "mlflow.parentRunId"


@dataclass
class _Known:
    """What is known of one run in MLflow."""

    id: str
    status: str
    start: int
    end: int
    digest: str
    parent: str


class Tracker:
    """Writes the records of one study to one experiment of its name, each record once.

    uri: MLflow tracking URI.  study: name of the study and the experiment.
    artifacts: folder for artifacts where MLflow itself has none to offer (SQLite).
    patience_seconds: how long a locked database is tried again.
    Raises TrackingUnavailable, from every method, where MLflow does not answer.
    """

    def __init__(self, uri: str, study: str, artifacts: Path, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self.study, self.uri = study, uri
        self.connection = Connection(uri, patience_seconds)
        self._client = self.connection.client()
        self.experiment = _open_experiment(self.connection, self._client, study, artifacts)
        """Its id."""
        self._starts: dict[str, int] = {}
        """When the summaries began, as far as that is known before their first record is written."""

    @cached_property
    def _runs(self) -> dict[str, list[_Known]]:
        """The runs of each record: one, or more where writers were killed half way. Read when first needed, which
        is when the experiment is this process's to write.
        """
        known: dict[str, list[_Known]] = {}
        for run in self._existing():
            if record := run.data.tags.get("record"):
                known.setdefault(record, []).append(_known_run(run))
        return known

    def holds(self, row: pd.Series) -> bool:
        """Whether the record of one row of the ledger frame is in MLflow as it is in the ledger."""
        return self._run_up_to_date(row) is not None

    def record(self, row: pd.Series) -> bool:
        """Write one row of the ledger frame unless it is there; returns whether it was written."""
        if standing := self._run_up_to_date(row):
            self._keep_only(row["record"], standing)
            return False
        self._write(content.of_record(row, self.study), self._parent_of(row))
        return True

    def sync(
        self,
        frame: pd.DataFrame,
        study_figures: Mapping[str, float],
        cell_figures: Mapping[str, Mapping[str, float]],
        each: Callable[[bool], None] = lambda written: None,
    ) -> int:
        """Bring MLflow to what these records say: the records, the summaries of cells and study, who is whose parent.

        study_figures: of the study run, such as break_even/tasks.  cell_figures: by cell name.
        each: called after every record with whether it was written. Returns the number of records written.
        """
        trials = frame[frame["level"] == "trial"]
        cells = [
            content.of_cell(rows, cell_figures.get(str(name), {}), self.study)
            for name, rows in trials.groupby("cell", sort=False)
        ]
        whole = content.of_study(frame, study_figures, self.study)
        self._starts = {summary.record: summary.start for summary in (whole, *cells)}
        written = 0
        for _, row in frame.sort_values("started", kind="stable").iterrows():
            new = self.record(row)
            each(new)
            written += new
        top = self._write(whole, None).id
        for cell in cells:
            self._write(cell, top)
        for _, row in frame.iterrows():
            self._set_parent(row["record"], self._parent_of(row))
        return written

    def log_artifacts(self, files: list[Path]) -> None:
        """Attach files to the study run, those that changed; `sync` has written that run."""
        run = self._runs[content.study_record(self.study)][0].id
        tags = self.connection.call(self._client.get_run, run).data.tags
        for file in files:
            digest, tag = fingerprint(file.read_bytes().hex()), f"artifact.{file.name}"
            if tags.get(tag) != digest:
                self.connection.call(self._client.log_artifact, run, str(file))
                self.connection.call(self._client.set_tag, run, tag, digest)

    def register(self, record: str, model: Model) -> bool:
        """Register a model that came from a record, which `sync` has written; whether there is a new version of it."""
        return models.register(self.connection, self._client, self._runs[record][0].id, model)

    def _existing(self) -> Iterator[Run]:
        token = None
        while True:
            page = self.connection.call(self._client.search_runs, [self.experiment], run_view_type=ViewType.ACTIVE_ONLY,
                                   max_results=_PAGE, page_token=token)  # fmt: skip
            yield from page
            if not (token := page.token):
                return

    def _run_up_to_date(self, row: pd.Series) -> _Known | None:
        """The run that shows this row, or a better try of its record by the ledger's own rule."""
        digest, end = content.digest_of(row), content.milliseconds(row["ended"])
        finished = row["outcome"] == "finished"
        for run in self._runs.get(row["record"], ()):
            if run.status == "RUNNING" or not run.digest:
                continue
            # From another ledger, as this one's have the row's digest: the first to finish counts, or the last to fail.
            better = run.status == "FINISHED" and (not finished or run.end < end)
            if run.digest == digest or better or (run.status != "FINISHED" and not finished and run.end > end):
                return run
        return None

    def _write(self, wanted: Content, parent: str | None) -> _Known:
        """The one run with this content: as it is, completed where its writer did not get to the end, or created."""
        known = self._runs.get(wanted.record, [])
        run = next((run for run in known if run.digest == wanted.digest and run.status == wanted.status), None)
        if run is None:
            begun = (run for run in known if run.status == "RUNNING" and _has_nothing_else(run, wanted))
            run = next(begun, None) or self._create(wanted, wanted.tags, parent)
            self._fill(run, wanted)
        self._keep_only(wanted.record, run)
        self._set_parent(wanted.record, parent)
        return run

    def _create(self, wanted: Content, tags: Mapping[str, str], parent: str | None) -> _Known:
        every = {**tags, **({_PARENT: parent} if parent else {})}
        run = _known_run(self.connection.call(self._client.create_run, self.experiment, start_time=wanted.start, tags=every,
                                     run_name=wanted.name))  # fmt: skip
        self._runs.setdefault(wanted.record, []).append(run)
        return run

    def _fill(self, run: _Known, wanted: Content) -> None:
        """Log what is wanted and end the run. Doing so twice, or from two processes, changes nothing."""
        if run.digest != wanted.digest:  # made as a parent: from here on nobody fills it with anything else
            self.connection.call(self._client.log_batch, run.id, tags=[RunTag(*tag) for tag in wanted.tags.items()])
        params = [Param(*param) for param in wanted.params.items()]
        for start in range(0, max(len(wanted.metrics), 1), _BATCH):
            metrics = wanted.metrics[start : start + _BATCH]
            self.connection.call(self._client.log_batch, run.id, metrics, params if not start else ())
        self.connection.call(self._client.set_terminated, run.id, wanted.status, wanted.end)
        run.digest, run.status, run.end = wanted.digest, wanted.status, wanted.end

    def _keep_only(self, record: str, kept: _Known) -> None:
        for other in self._runs[record]:
            if other is not kept:
                added = content.added_by_people(self.connection.call(self._client.get_run, other.id).data.tags)
                if added:
                    tags = [RunTag(*tag) for tag in added.items()]
                    self.connection.call(self._client.log_batch, kept.id, tags=tags)
                self.connection.call(self._client.delete_run, other.id)
        self._runs[record] = [kept]

    def _set_parent(self, record: str, parent: str | None) -> None:
        """Put the run of a record below its parent, which may have been replaced."""
        run = self._runs[record][0]
        if parent and run.parent != parent:
            self.connection.call(self._client.set_tag, run.id, _PARENT, parent)
            run.parent = parent

    def _parent_of(self, row: pd.Series) -> str:
        """The summary run above a record. Made where there is none: filled by `sync`, until then it runs."""
        start = content.milliseconds(row["started"])
        top = self._summary(content.study_tags(self.study), self.study, start, None)
        if row["level"] != "trial":
            return top
        return self._summary(content.cell_tags(row, self.study), row["cell"], start, top)

    def _summary(self, tags: dict[str, str], name: str, start: int, parent: str | None) -> str:
        if known := self._runs.get(tags["record"]):
            return known[0].id
        begun = self._starts.get(tags["record"], start)
        return self._create(Content(tags["record"], name, "RUNNING", begun, 0, tags, {}, ()), tags, parent).id


def _open_experiment(connection: Connection, client: MlflowClient, study: str, artifacts: Path) -> str:
    location = artifacts.resolve().as_uri() if connection.uri.startswith("sqlite:") else None
    experiment = connection.call(client.get_experiment_by_name, study)
    if experiment is None:
        return connection.call(_create_experiment, client, study, location)
    if experiment.lifecycle_stage == "deleted":
        connection.call(client.restore_experiment, experiment.experiment_id)
    return experiment.experiment_id


def _create_experiment(client: MlflowClient, study: str, location: str | None) -> str:
    try:
        return client.create_experiment(study, artifact_location=location)
    except MlflowException:
        if theirs := client.get_experiment_by_name(study):
            return theirs.experiment_id  # a driver of another ledger was first
        raise


def _known_run(run: Run) -> _Known:
    info, tags = run.info, run.data.tags
    return _Known(info.run_id, info.status, info.start_time, info.end_time or 0, tags.get(DIGEST, ""),
                  tags.get(_PARENT, ""))  # fmt: skip


def _has_nothing_else(run: _Known, wanted: Content) -> bool:
    """Whether all that a run may have been given is part of what is wanted."""
    made_as_parent: Any = not run.digest and run.start == wanted.start and wanted.tags["level"] in ("study", "cell")
    return run.digest == wanted.digest or made_as_parent
