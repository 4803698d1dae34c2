"""What each MLflow run shows of the ledger: identity, parameters, figures, curve, times.

A function of the records alone, so that a view written as a study goes on and one rebuilt afterwards are the same. It
writes nothing.
"""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from mlflow.entities import Metric

from breakeven.fingerprint import fingerprint
from breakeven.ledger.charge import charge_of, hours_unit
from breakeven.metric import METRICS, OF_THINGS
from breakeven.study.plan import backbone_name

LAYOUT = 3
"""Version of what is shown: runs of another are written anew."""

DIGEST = "digest"
"""Tag that says which content a run has, or is about to get."""

_IDENTITY = ("cell", "task", "network", "pretraining", "strategy", "size", "seed", "phase", "git_commit", "dataset", "process",
             "outcome", "source", "host", "device", "processor")  # fmt: skip
_SHARED = ("git_commit", "dataset", "host", "device", "processor")
"""Identity of a summary that its records may not agree on: all that there are."""
_CELL = ("cell", "task", "signal", "background", "network", "pretraining", "strategy", "size")
_PARAMS = ("task", "signal", "background", "network", "pretraining", "strategy", "size", "seed", "ratio", "phase",
           "backbone", "kernel", "workers", "process", "events", "source")  # fmt: skip
_FIGURES = {
    "validation_loss": "validation/best_loss", "energy_joules": "energy_joules", "epochs": "epochs",
    "events_seen": "events_seen", "wall_seconds": "wall_seconds", "plateau_seconds": "plateau_seconds",
}  # fmt: skip
_SPLITS = {"test": "test/", "validation": "validation/best_"}
"""What the metrics of each split are called."""
_CURVE = {
    "train_loss": "train/loss", "validation_loss": "validation/loss", "validation_accuracy": "validation/accuracy",
    "validation_auc": "validation/auc", "validation_probe_auc": "validation/probe_auc", "learning_rate": "learning_rate",
    "device_seconds": "device_seconds",
}  # fmt: skip
_STATUS = {"finished": "FINISHED", "failed": "FAILED", "stopped": "KILLED"}
_OURS = {*_IDENTITY, *_CELL, DIGEST, "level", "record", "study", "trial", "reason", "not_finite"}
_USERS = "mlflow.note.content"


@dataclass(frozen=True)
class Content:
    """One run as it should stand in MLflow. start, end: milliseconds since 1970."""

    record: str
    name: str
    status: str
    start: int
    end: int
    tags: Mapping[str, str]
    params: Mapping[str, str]
    metrics: tuple[Metric, ...]

    @property
    def digest(self) -> str:
        """Hash of the content, which is in its tags."""
        return self.tags[DIGEST]


def of_record(row: pd.Series, study: str) -> Content:
    """The run of one row of the ledger frame."""
    tags = {"level": row["level"], "record": row["record"], "study": study, DIGEST: digest_of(row)}
    tags |= {name: text(row[name]) for name in _IDENTITY if present(row[name])}
    if row["level"] == "trial":
        tags["trial"] = row["record"]
    if row["outcome"] != "finished" and row["reason"]:
        tags["reason"] = row["reason"][:4000]
    metrics, not_finite = _metrics(row)
    if not_finite:
        tags["not_finite"] = ", ".join(not_finite)
    params = {name: text(row[name]) for name in _PARAMS if present(row[name])}
    start, end = milliseconds(row["started"]), milliseconds(row["ended"])
    return Content(row["record"], _name(row), _STATUS[row["outcome"]], start, end, tags, params, metrics)


def digest_of(row: pd.Series) -> str:
    """Which try of a record a row is, what it lost before, and what the study calls it: all that can change of a record."""
    names = [text(row[name]) for name in ("cell", "task", "network", "pretraining") if present(row[name])]
    seconds = [round(float(row[name]), 3) for name in ("device_seconds", "wasted_seconds")]
    return fingerprint([LAYOUT, row["outcome"], row["started"], row["ended"], *seconds, *names])


def of_cell(rows: pd.DataFrame, figures: Mapping[str, float], study: str) -> Content:
    """The summary run of one cell. rows: its trials.  figures: by metric; those that are not finite are named in a tag.

    The sample size is the step of its figures, so that MLflow draws cells of one strategy as a line over the sizes.
    """
    first = rows.iloc[0]
    tags = cell_tags(first, study) | _shared(rows)
    params = {name: text(first[name]) for name in _CELL if present(first[name])}
    return _summary(first["cell"], rows, tags, params, figures, step=int(first["size"]))


def of_study(frame: pd.DataFrame, figures: Mapping[str, float], study: str) -> Content:
    """The run of a whole study, above all others."""
    return _summary(study, frame, study_tags(study) | _shared(frame), {}, figures)


def cell_record(row: pd.Series, study: str) -> str:
    """What a cell's summary run is looked up by."""
    return f"cell:{study}:{row['cell']}"


def study_record(study: str) -> str:
    """What the run of a study is looked up by."""
    return f"study:{study}"


def cell_tags(row: pd.Series, study: str) -> dict[str, str]:
    """Identity of a cell, from any of its trials."""
    identity = {name: text(row[name]) for name in _CELL if present(row[name])}
    return {"level": "cell", "record": cell_record(row, study), "study": study, **identity}


def study_tags(study: str) -> dict[str, str]:
    """Identity of a study."""
    return {"level": "study", "record": study_record(study), "study": study}


def added_by_people(tags: Mapping[str, str]) -> dict[str, str]:
    """The tags that were added to a run by hand: its description and names that are not ours."""
    return {
        name: value
        for name, value in tags.items()
        if name == _USERS or not (name in _OURS or name.startswith(("mlflow.", "artifact.")))
    }


def milliseconds(moment: str) -> int:
    """An ISO 8601 moment as MLflow counts time."""
    return round(pd.Timestamp(moment).timestamp() * 1000)


def present(value: Any) -> bool:
    """Whether the ledger has this value: neither None nor empty nor NaN."""
    return not (value is None or value is pd.NA or value == "" or (isinstance(value, float) and math.isnan(value)))


def text(value: Any) -> str:
    """A value as a tag or parameter; whole numbers without a point, whatever type a frame has given them."""
    return f"{value:.12g}"[:500] if isinstance(value, float) else str(value)[:500]


def _summary(
    name: str,
    rows: pd.DataFrame,
    tags: dict[str, str],
    params: dict[str, str],
    figures: Mapping[str, float],
    step: int = 0,
) -> Content:
    now = int(time.time() * 1000)  # only where nothing has run
    start = milliseconds(min(rows["started"])) if len(rows) else now
    end = milliseconds(max(rows["ended"])) if len(rows) else now
    finite = {key: float(value) for key, value in sorted(figures.items()) if math.isfinite(value)}
    if not_finite := sorted(set(figures) - set(finite)):
        tags = tags | {"not_finite": ", ".join(not_finite)}
    shown = {key: value for key, value in tags.items() if key not in ("record", "study")}
    digest = fingerprint([LAYOUT, start, end, shown, params, finite])
    metrics = tuple(Metric(key, value, end, step) for key, value in finite.items())
    return Content(tags["record"], name, "FINISHED", start, end, tags | {DIGEST: digest}, params, metrics)


def _shared(rows: pd.DataFrame) -> dict[str, str]:
    values = {name: sorted({text(value) for value in rows[name] if present(value)}) for name in _SHARED}
    return {name: ", ".join(told)[:4000] for name, told in values.items() if told}


def _metrics(row: pd.Series) -> tuple[tuple[Metric, ...], list[str]]:
    """Figures and curve of one record, and the names of those that are infinite or, on the curve, NaN: left out.

    A figure that is NaN is one that this kind of record does not have.
    """
    ended = milliseconds(row["ended"])
    unit, charge = hours_unit(row["device"]), charge_of(row.to_dict())
    of_metrics = {
        metric.column(split): f"{shown}{name}"
        for name, metric in (METRICS | OF_THINGS).items()
        for split, shown in _SPLITS.items()
    }
    figures = {name: row[column] for column, name in {**_FIGURES, **of_metrics}.items() if present(row.get(column))}
    figures |= {f"{unit}/useful": charge.worked / 3600, f"{unit}/wasted": charge.wasted / 3600}
    points = [Metric(name, float(value), ended, 0) for name, value in figures.items()]
    for epoch in row["curve"] if isinstance(row["curve"], list) else ():
        points += [Metric(name, float(epoch[column]), ended, epoch["epoch"]) for column, name in _CURVE.items()
                  if epoch.get(column) is not None]  # fmt: skip
    finite = tuple(metric for metric in points if math.isfinite(metric.value))
    return finite, sorted({metric.key for metric in points if not math.isfinite(metric.value)})


def _name(row: pd.Series) -> str:
    if row["level"] == "generation":
        return f"events {row['process']}"
    if row["level"] == "pretraining":
        network = row["network"] if present(row["network"]) else ""
        return f"{backbone_name(network, row['pretraining'])} pretraining"
    return f"{row['phase']} seed {row['seed']:.0f} ratio {row['ratio']:.3g}"
