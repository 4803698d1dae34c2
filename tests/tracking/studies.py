"""Small studies as the ledger reads them back, and their experiment in a real MLflow."""

import math
import sqlite3
import warnings
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.entities import Run, ViewType
from mlflow.tracking import MlflowClient

from breakeven.tracking import Tracker

NAN = math.nan
BASE: dict[str, Any] = {
    "level": "trial", "outcome": "finished", "reason": "", "phase": "confirm", "cell": "", "task": "", "signal": "",
    "background": "", "network": "", "pretraining": "none", "strategy": "scratch", "size": NAN, "seed": NAN, "ratio": NAN,
    "test_accuracy": NAN, "test_auc": NAN, "test_rejection_50": NAN, "test_rejection_70": NAN, "test_rejection_90": NAN,
    "test_significance_improvement": NAN, "energy_joules": NAN,
    "validation_accuracy": NAN, "validation_auc": NAN, "validation_loss": NAN,
    "epochs": NAN, "events_seen": NAN, "device": "cpu", "wall_seconds": 40.0, "device_seconds": 36.0,
    "plateau_seconds": NAN, "wasted_seconds": 0.0, "curve": None, "dataset": "d1", "backbone": None, "git_commit": "abc",
    "host": "node1", "processor": "an Intel", "kernel": "fused",
    "started": "2026-03-01T10:00:00.000+00:00", "ended": "2026-03-01T10:00:40.000+00:00",
    "process": None, "events": None, "source": None, "workers": None,
}  # fmt: skip


def trial(record: str, seed: int = 1, strategy: str = "scratch", **fields: Any) -> dict[str, Any]:
    pretraining = "none" if strategy == "scratch" else "multiclass"
    curve = [
        {"epoch": epoch, "train_loss": 0.7 / epoch, "validation_loss": 0.8 / epoch, "validation_accuracy": 0.6 + epoch / 50,
         "validation_auc": 0.65, "learning_rate": 1e-3, "device_seconds": 9.0 * epoch, "wall_seconds": 10.0 * epoch,
         "events_seen": 200 * epoch}
        for epoch in range(1, 5)
    ]  # fmt: skip
    return {
        **BASE, "record": record, "cell": f"stop_vs_ttH/{pretraining}/{strategy}/100", "task": "stop_vs_ttH",
        "signal": "stop_pair", "background": "ttH", "pretraining": pretraining, "strategy": strategy, "size": 100.0,
        "seed": float(seed), "ratio": 0.1, "test_accuracy": 0.7 + seed / 100, "test_auc": 0.8, "epochs": 4.0,
        "validation_accuracy": 0.71, "plateau_seconds": 18.0, "curve": curve, **fields,
    }  # fmt: skip


def frame(*rows: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame(list(rows))


def study() -> pd.DataFrame:
    generated = {**BASE, "level": "generation", "record": "g1", "process": "ttH", "events": 500, "source": "pythia",
                 "phase": None, "pretraining": None, "strategy": None}  # fmt: skip
    pretrained = {**BASE, "level": "pretraining", "record": "p1", "pretraining": "multiclass", "phase": None,
                  "strategy": None, "backbone": "b1", "validation_accuracy": 0.4, "workers": 2}  # fmt: skip
    search = trial("s1", 1_000_001, "finetune", phase="search", test_accuracy=NAN, test_auc=NAN)
    return frame(generated, pretrained, trial("t1", 1), trial("t2", 2), search, trial("t3", 1, "finetune"))


STUDY_FIGURES = {"break_even/tasks": 25.0, "break_even/tasks_multiclass": 25.0, "cpu_hours/useful": 0.06}
CELL_FIGURES = {"stop_vs_ttH/none/scratch/100": {"test/accuracy": 0.715, "test/accuracy_sd": 0.007, "n": 2}}


class Experiment:
    """One study's experiment: opens trackers on it, and reads it back with MLflow's own client."""

    def __init__(self, database: Path, name: str) -> None:
        self.uri, self.name, self.artifacts = f"sqlite:///{database}", name, database.parent / "artifacts"
        self.database = database

    def open(self, patience_seconds: float = 20.0) -> Tracker:
        return Tracker(self.uri, self.name, self.artifacts, patience_seconds)

    def sync(self, frame: pd.DataFrame, study_figures: Any = STUDY_FIGURES, cell_figures: Any = CELL_FIGURES) -> int:
        return self.open().sync(frame, study_figures, cell_figures)

    @property
    def client(self) -> MlflowClient:
        return connect(self.uri)

    @property
    def id(self) -> str:
        return self.client.get_experiment_by_name(self.name).experiment_id

    def runs(self) -> dict[str, Run]:
        """Active runs by record; fails where a record has two."""
        runs = self.client.search_runs([self.id], run_view_type=ViewType.ACTIVE_ONLY, max_results=1000)
        records = [run.data.tags["record"] for run in runs]
        assert len(set(records)) == len(records), sorted(records)
        return dict(zip(records, runs, strict=True))

    def seen(self) -> dict[str, Any]:
        """All that MLflow shows of each record, with parents by record: what a rebuilt view must have too."""
        runs = self.runs()
        record_of = {run.info.run_id: record for record, run in runs.items()}
        shown: dict[str, Any] = {}
        for record, run in runs.items():
            tags = {name.replace(self.name, "STUDY"): value.replace(self.name, "STUDY")
                    for name, value in run.data.tags.items() if name != "mlflow.parentRunId"}  # fmt: skip
            parent = record_of.get(run.data.tags.get("mlflow.parentRunId", ""), "")
            info = run.info
            shown[record.replace(self.name, "STUDY")] = (
                info.status, info.start_time, info.end_time, tags, run.data.params, parent.replace(self.name, "STUDY"),
                self._points(info.run_id), run.data.metrics,
            )  # fmt: skip
        return shown

    def _points(self, run: str) -> list[tuple[Any, ...]]:
        query = "select key, step, value, timestamp, is_nan from metrics where run_uuid = ?"
        with closing(sqlite3.connect(self.database)) as connection:
            return sorted(connection.execute(query, (run,)).fetchall())


def connect(uri: str) -> MlflowClient:
    """MLflow's own client, without the warning that MLflow makes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return MlflowClient(uri)
