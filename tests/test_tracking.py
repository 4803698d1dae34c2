"""Real MLflow on a temporary SQLite file; each test has an experiment of its own in it."""

import math
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from mlflow.entities import Run, ViewType
from mlflow.tracking import MlflowClient

from breakeven import tracking
from breakeven.study.ledger import Ledger
from breakeven.tracking import Tracker, TrackingUnavailable, resolve_uri

NAN = math.nan
BASE: dict[str, Any] = {
    "level": "trial", "outcome": "finished", "reason": "", "phase": "confirm", "cell": "", "task": "", "signal": "",
    "background": "", "pretraining": "none", "strategy": "scratch", "size": NAN, "seed": NAN, "ratio": NAN,
    "test_accuracy": NAN, "test_auc": NAN, "test_rejection_50": NAN, "test_rejection_70": NAN, "test_rejection_90": NAN,
    "test_significance_improvement": NAN, "validation_accuracy": NAN, "validation_auc": NAN, "validation_loss": NAN,
    "epochs": NAN, "events_seen": NAN, "device": "cpu", "wall_seconds": 40.0, "device_seconds": 36.0,
    "plateau_seconds": NAN, "wasted_seconds": 0.0, "curve": None, "dataset": "d1", "backbone": None, "git_commit": "abc",
    "host": "node1", "started": "2026-03-01T10:00:00.000+00:00", "ended": "2026-03-01T10:00:40.000+00:00",
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


STUDY_METRICS = {"break_even/tasks": 25.0, "break_even/tasks_multiclass": 25.0, "cpu_hours/useful": 0.06}
CELL_METRICS = {"stop_vs_ttH/none/scratch/100": {"test/accuracy": 0.715, "test/accuracy_sd": 0.007, "n": 2}}


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mlflow") / "mlflow.db"


class Experiment:
    """One study's experiment: opens trackers on it, and reads it back with MLflow's own client."""

    def __init__(self, database: Path, name: str) -> None:
        self.uri, self.name, self.artifacts = f"sqlite:///{database}", name, database.parent / "artifacts"

    def open(self) -> Tracker:
        return Tracker(self.uri, self.name, {"git_commit": "abc"}, self.artifacts)

    @property
    def client(self) -> MlflowClient:
        return tracking._connect(self.uri)

    @property
    def id(self) -> str:
        return self.client.get_experiment_by_name(self.name).experiment_id

    def runs(self) -> dict[str, Run]:
        """Active runs by record; fails where a record has two."""
        found = self.client.search_runs([self.id], run_view_type=ViewType.ACTIVE_ONLY)
        records = [run.data.tags["record"] for run in found]
        assert len(set(records)) == len(records), records
        return dict(zip(records, found, strict=True))


@pytest.fixture
def experiment(database: Path, request: pytest.FixtureRequest) -> Experiment:
    return Experiment(database, request.node.name)


def test_runs_are_nested_by_level_and_tagged_with_their_identity(experiment: Experiment) -> None:
    assert experiment.open().sync(study(), STUDY_METRICS, CELL_METRICS) == 6
    runs = experiment.runs()
    whole = runs[f"study:{experiment.name}"]
    cell = runs[f"cell:{experiment.name}:stop_vs_ttH/none/scratch/100"]
    assert whole.data.tags["level"] == "study" and "mlflow.parentRunId" not in whole.data.tags
    assert cell.data.tags["mlflow.parentRunId"] == whole.info.run_id and cell.data.tags["level"] == "cell"
    assert runs["p1"].data.tags["mlflow.parentRunId"] == whole.info.run_id
    assert runs["t1"].data.tags["mlflow.parentRunId"] == cell.info.run_id
    expected = {"level": "trial", "study": experiment.name, "cell": "stop_vs_ttH/none/scratch/100", "task": "stop_vs_ttH",
                "strategy": "scratch", "pretraining": "none", "size": "100", "seed": "1", "phase": "confirm",
                "trial": "t1", "git_commit": "abc", "dataset": "d1"}  # fmt: skip
    assert expected.items() <= runs["t1"].data.tags.items()
    assert runs["t1"].data.params["ratio"] == "0.1" and runs["t1"].data.params["size"] == "100"
    assert {run.info.status for run in runs.values()} == {"FINISHED"}


def test_figures_and_curves_arrive_with_time_and_epoch(experiment: Experiment) -> None:
    experiment.open().sync(study(), STUDY_METRICS, CELL_METRICS)
    runs = experiment.runs()
    metrics = runs["t2"].data.metrics
    assert metrics["test/accuracy"] == pytest.approx(0.72) and metrics["test/auc"] == 0.8
    assert metrics["cpu_hours/useful"] == pytest.approx(0.01) and metrics["cpu_hours/wasted"] == 0.0
    assert not any(name.startswith("gpu_hours") for name in metrics)
    history = experiment.client.get_metric_history(runs["t2"].info.run_id, "validation/accuracy")
    assert [(point.step, round(point.value, 2)) for point in history] == [(1, 0.62), (2, 0.64), (3, 0.66), (4, 0.68)]
    assert runs["t2"].info.end_time - runs["t2"].info.start_time == 40_000
    assert not any(name.startswith("test/") for name in runs["s1"].data.metrics), "a search trial has no test figure"
    assert runs[f"study:{experiment.name}"].data.metrics == STUDY_METRICS
    cell = runs[f"cell:{experiment.name}:stop_vs_ttH/none/scratch/100"]
    assert cell.data.metrics == CELL_METRICS["stop_vs_ttH/none/scratch/100"]


def dump(database: Path, experiment: Experiment) -> list[tuple[Any, ...]]:
    """Every metric, tag and run state of the experiment."""
    with sqlite3.connect(database) as connection:
        rows: list[tuple[Any, ...]] = []
        for table in ("metrics", "tags", "params"):
            rows += connection.execute(
                f"select '{table}', t.* from {table} t join runs r using (run_uuid) where r.experiment_id = ?",
                (experiment.id,),
            ).fetchall()
        rows += connection.execute("select * from runs where experiment_id = ?", (experiment.id,)).fetchall()
    connection.close()
    return sorted(rows, key=repr)


def test_the_same_study_again_writes_nothing(experiment: Experiment, database: Path) -> None:
    experiment.open().sync(study(), STUDY_METRICS, CELL_METRICS)
    before = dump(database, experiment)
    tracker = experiment.open()
    assert tracker.sync(study(), STUDY_METRICS, CELL_METRICS) == 0
    assert not tracker.record(study().iloc[2])
    assert dump(database, experiment) == before


def test_a_view_rebuilt_from_the_ledger_equals_the_one_written_as_it_went(
    experiment: Experiment, database: Path
) -> None:
    tracker = experiment.open()
    for _, row in study().iterrows():
        tracker.record(row)
    tracker.sync(study(), STUDY_METRICS, CELL_METRICS)
    rebuilt = Experiment(database, experiment.name + "_rebuilt")
    rebuilt.open().sync(study(), STUDY_METRICS, CELL_METRICS)
    for record in ("t1", "t3", "s1", "p1", "g1"):
        was, now = experiment.runs()[record].data, rebuilt.runs()[record].data
        assert (was.metrics, was.params) == (now.metrics, now.params)


def test_rows_of_a_real_ledger_are_the_same_one_by_one_and_all_at_once(
    experiment: Experiment, database: Path, tmp_path: Path
) -> None:
    """A frame of one record has other types than the frame of all: holes are None in one and NaN in the other."""
    ledger = Ledger(tmp_path)
    for row in study().to_dict("records"):
        figures = {key: value for key, value in row.items() if value is not None and value == value}
        whole = {key: int(value) for key, value in figures.items() if key in ("size", "seed", "epochs")}
        ledger.write([{**figures, **whole}])
    tracker = experiment.open()
    for record in ("g1", "p1", "t1", "t2", "s1", "t3"):
        assert tracker.record(ledger.frame([record]).iloc[0])
    assert tracker.sync(ledger.frame(), {}, {}) == 0
    at_once = Experiment(database, experiment.name + "_at_once")
    at_once.open().sync(ledger.frame(), {}, {})
    mine, theirs = experiment.runs(), at_once.runs()
    for record in ("g1", "p1", "t1", "t2", "s1", "t3"):
        for part in ("metrics", "params"):
            assert getattr(mine[record].data, part) == getattr(theirs[record].data, part)
        for tag in ("level", "cell", "size", "seed", "phase", "process", "dataset", "trial", "mlflow.runName"):
            assert mine[record].data.tags.get(tag) == theirs[record].data.tags.get(tag)
    assert (
        mine["t1"].data.tags["size"] == "100" and mine["t1"].data.tags["mlflow.runName"] == "confirm seed 1 ratio 0.1"
    )
    assert not {"nan", "None", "<NA>"} & {value for run in mine.values() for value in run.data.tags.values()}


def test_a_writer_killed_in_the_middle_leaves_no_double_and_no_half(
    experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = experiment.open()
    tracker.record(study().iloc[2])

    class Killed(BaseException):
        pass

    def die(*_: object, **__: object) -> None:
        raise Killed

    monkeypatch.setattr(tracker._client, "log_batch", die)
    with pytest.raises(Killed):
        tracker.record(study().iloc[3])
    assert experiment.runs()["t2"].info.status == "RUNNING"
    assert experiment.open().sync(study(), STUDY_METRICS, CELL_METRICS) == 5
    runs = experiment.runs()
    assert runs["t2"].info.status == "FINISHED" and runs["t2"].data.metrics["test/accuracy"] == pytest.approx(0.72)


def test_a_failure_shows_its_reason_and_its_hours_and_stays_beside_a_later_success(experiment: Experiment) -> None:
    failed = trial(
        "t1", outcome="failed", reason="loss is NaN at epoch 3", test_accuracy=NAN, device="cuda", curve=None
    )
    experiment.open().sync(frame(failed), {}, {})
    run = experiment.runs()["t1"]
    assert run.info.status == "FAILED" and run.data.tags["reason"] == "loss is NaN at epoch 3"
    assert run.data.metrics["gpu_hours/wasted"] == pytest.approx(0.01) and run.data.metrics["gpu_hours/useful"] == 0.0
    assert experiment.open().sync(frame(failed), {}, {}) == 0
    assert experiment.open().sync(frame(trial("t1")), {}, {}) == 1
    assert experiment.open().sync(frame(trial("t1")), {}, {}) == 0
    found = experiment.client.search_runs([experiment.id], "tags.record = 't1'")
    assert sorted(run.info.status for run in found) == ["FAILED", "FINISHED"]


def test_what_is_not_finite_is_left_out_and_named(experiment: Experiment) -> None:
    row = trial("t1", validation_loss=math.inf)
    row["curve"][2]["train_loss"] = NAN
    experiment.open().sync(frame(row), {"break_even/tasks": math.inf, "cpu_hours/useful": 1.0}, {})
    run, whole = experiment.runs()["t1"], experiment.runs()[f"study:{experiment.name}"]
    assert run.data.tags["not_finite"] == "train/loss, validation/best_loss"
    assert "validation/best_loss" not in run.data.metrics
    assert len(experiment.client.get_metric_history(run.info.run_id, "train/loss")) == 3
    assert whole.data.tags["not_finite"] == "break_even/tasks" and whole.data.metrics == {"cpu_hours/useful": 1.0}


def test_a_figure_that_no_longer_holds_does_not_stay(experiment: Experiment) -> None:
    experiment.open().sync(frame(trial("t1")), {"break_even/tasks": 25.0}, {})
    experiment.open().sync(frame(trial("t1")), {"cpu_hours/useful": 1.0}, {})
    metrics = experiment.runs()[f"study:{experiment.name}"].data.metrics
    assert math.isnan(metrics["break_even/tasks"]) and metrics["cpu_hours/useful"] == 1.0


def test_a_curve_longer_than_one_batch_arrives_whole(experiment: Experiment) -> None:
    row = trial("t1")
    row["curve"] = [{**row["curve"][0], "epoch": epoch} for epoch in range(1, 401)]
    experiment.open().sync(frame(row), {}, {})
    run = experiment.runs()["t1"].info.run_id
    for name in ("train/loss", "learning_rate", "device_seconds"):
        assert len(experiment.client.get_metric_history(run, name)) == 400


def test_artifacts_lie_beside_the_database_and_are_logged_when_they_change(
    experiment: Experiment, tmp_path: Path
) -> None:
    report = tmp_path / "report.md"
    report.write_text("first")
    experiment.open().log_artifacts([report])
    run = experiment.runs()[f"study:{experiment.name}"]
    [stored] = experiment.artifacts.rglob(f"{run.info.run_id}/artifacts/report.md")
    stored.write_text("untouched")
    experiment.open().log_artifacts([report])
    assert stored.read_text() == "untouched", "the same file is not copied again"
    report.write_text("second")
    experiment.open().log_artifacts([report])
    assert stored.read_text() == "second"


def test_a_deleted_experiment_comes_back(experiment: Experiment) -> None:
    experiment.open().sync(frame(trial("t1")), {}, {})
    experiment.client.delete_experiment(experiment.id)
    assert experiment.open().sync(frame(trial("t1"), trial("t2", 2)), {}, {}) >= 1
    assert {"t1", "t2"} <= experiment.runs().keys()


def refused(uri: str, tmp_path: Path) -> str:
    with pytest.raises(TrackingUnavailable) as caught:
        Tracker(uri, "any", {}, tmp_path / "artifacts")
    return str(caught.value)


def test_a_locked_database_is_said_and_loses_nothing(experiment: Experiment, database: Path, tmp_path: Path) -> None:
    experiment.open()
    holder = sqlite3.connect(database, isolation_level=None)
    try:
        holder.execute("begin exclusive")
        assert "database is locked" in refused(f"sqlite:///{database}?timeout=0.1", tmp_path)
    finally:
        holder.close()
    assert experiment.open().sync(frame(trial("t1")), {}, {}) == 1


def test_a_database_that_breaks_in_the_middle_is_said_and_can_be_rebuilt(
    experiment: Experiment, database: Path, tmp_path: Path
) -> None:
    experiment.open()
    own = tmp_path / "mlflow.db"
    shutil.copy(database, own)
    tracker = Tracker(f"sqlite:///{own}", "any", {}, tmp_path / "artifacts")
    own.write_bytes(b"overwritten by something else" * 1000)
    with pytest.raises(TrackingUnavailable, match=str(own)):
        tracker.record(frame(trial("t1")).iloc[0])
    assert experiment.open().sync(frame(trial("t1")), {}, {}) == 1


@pytest.mark.parametrize("place", ["none/such/folder", "file/mlflow.db"])
def test_a_place_that_cannot_be_written_is_said(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("a file, not a folder")
    (tmp_path / "none").write_text("a file, not a folder")
    assert place in refused(f"sqlite:///{tmp_path / place}", tmp_path)


def test_a_file_that_is_no_database_is_said(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("this is no database" * 100)
    assert "not a database" in refused(f"sqlite:///{tmp_path}/mlflow.db", tmp_path)


def test_a_server_that_is_down_is_said_without_its_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    message = refused("http://user:secret@127.0.0.1:9", tmp_path)
    assert message.startswith("http://127.0.0.1:9 ") and "secret" not in message


@pytest.mark.parametrize(
    ("uri", "why"),
    [
        ("http://[bad", "no tracking URI"),
        ("nonsense://server", "unsupported URI"),
        ("postgresql+no_driver://user:secret@127.0.0.1:9/mlflow", "no_driver"),
        ("mysql+pyodbc://user:secret@127.0.0.1:9/mlflow", "pyodbc"),
    ],
)
def test_an_address_that_cannot_be_used_is_said(tmp_path: Path, uri: str, why: str) -> None:
    message = refused(uri, tmp_path)
    assert why in message and "secret" not in message


def test_the_environment_decides_before_the_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert resolve_uri(tmp_path / "mlflow.db") == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://server:5000")
    assert resolve_uri(tmp_path / "mlflow.db") == "http://server:5000"


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """MLflow drops ./mlruns where it is not told better; no test may leave one behind."""
    monkeypatch.chdir(tmp_path)
    yield
    assert not (tmp_path / "mlruns").exists()
