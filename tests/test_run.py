"""The run's own decisions, without Ray: where stages meet, what is told, what survives."""

import shutil
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from tracking.studies import Experiment

from breakeven import publish, run
from breakeven.events.sampling import TooFewEvents
from breakeven.places import Places, default_runs_dir
from breakeven.stages.generation import check_sizes
from breakeven.study.lease import Leases
from breakeven.study.ledger import Ledger, now
from breakeven.study.spec import Finetuning, Generation, Study
from breakeven.terminal import bar
from breakeven.tracking import prepare

STUDY = Study(name="tiny", generation=Generation(events_per_process=120, shard_events=60),
              finetuning=Finetuning(tasks=("WH_vs_ZH",), sizes=(10,), seeds=1))  # fmt: skip


@pytest.fixture
def ledger(tmp_path):
    kept = Ledger(Places(tmp_path, "tiny").ledger)
    facts = {"level": "generation", "outcome": "finished", "process": "WH", "source": "pythia", "events": 120,
             "dataset": "d", "device": "cpu", "device_seconds": 1.0, "wall_seconds": 1.0, "git_commit": "abc",
             "host": "here", "started": now(), "ended": now()}  # fmt: skip
    for name in ("a" * 16, "b" * 16):
        kept.write([{**facts, "record": name}])
    return kept


@pytest.fixture(scope="session")
def new_database(tmp_path_factory):
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    prepare(f"sqlite:///{path}")
    return path


@pytest.fixture
def experiment(tmp_path, monkeypatch, new_database):
    """The MLflow of a runs folder where the study "tiny" has no run yet."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    made = Experiment(Path(shutil.copy(new_database, tmp_path / "mlflow.db")), "tiny")
    made.places = Places(tmp_path, "tiny")
    made.places.folder.mkdir()
    made.open()
    return made


def test_a_size_that_the_split_does_not_hold_is_told_before_pretraining(datasets):
    check_sizes(STUDY, datasets)
    with pytest.raises(TooFewEvents, match=r"asks for 100 training events a class, but WH has \d+; raise generation"):
        check_sizes(replace(STUDY, finetuning=replace(STUDY.finetuning, sizes=(10, 100))), datasets)


@pytest.fixture
def leases(ledger):
    with Leases(ledger.folder) as held:
        yield held


def test_records_reach_mlflow_beside_the_work(ledger, leases, experiment):
    for _ in range(2):  # the second time nothing is written twice
        with publish.tracked(STUDY, experiment.places, ledger, leases) as tracker:
            tracker(["a" * 16])
            tracker(["b" * 16])
    assert sorted(experiment.runs()) == ["a" * 16, "b" * 16, "study:tiny"]
    assert publish.sync(experiment.places, STUDY, ledger.frame()) == 0


def test_of_two_drivers_one_writes_and_the_other_waits_its_turn(ledger, leases, experiment, capsys):
    """The second has the same study in the same ledger; what it hands over is written when the first ends."""
    with Leases(ledger.folder) as others, publish.tracked(STUDY, experiment.places, ledger, leases) as tracker:
        tracker(["a" * 16])
        while "a" * 16 not in experiment.runs():
            time.sleep(0.01)
        with publish.tracked(STUDY, experiment.places, ledger, others) as second:
            second(["a" * 16, "b" * 16])
        assert "b" * 16 not in experiment.runs()
    assert publish.sync(experiment.places, STUDY, ledger.frame()) == 1
    assert sorted(experiment.runs()) == ["a" * 16, "b" * 16, "study:tiny"]


def test_ctrl_c_while_mlflow_is_slow_ends_the_wait_and_loses_nothing(ledger, leases, experiment, monkeypatch):
    real = publish.Tracker.record
    waiting = threading.Event()

    def slow(tracker, row):
        written = real(tracker, row)
        assert waiting.wait(60)
        return written

    @contextmanager
    def interrupted(*_):
        waiting.set()
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(publish.Tracker, "record", slow)
    monkeypatch.setattr(publish, "bar", interrupted)
    with pytest.raises(KeyboardInterrupt), publish.tracked(STUDY, experiment.places, ledger, leases) as tracker:
        tracker(["a" * 16, "b" * 16])
    assert {run.info.status for record, run in experiment.runs().items() if len(record) == 16} == {"FINISHED"}
    monkeypatch.setattr(publish, "bar", bar)
    publish.sync(experiment.places, STUDY, ledger.frame())
    assert sorted(experiment.runs()) == ["a" * 16, "b" * 16, "study:tiny"]


def test_a_study_outlives_mlflow(ledger, leases, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with publish.tracked(STUDY, Places(tmp_path, "tiny"), ledger, leases) as tracker:
        tracker(["a" * 16])
        tracker(["b" * 16])
    said = capsys.readouterr().out
    assert said.count("warning MLflow: http://127.0.0.1:9 does not take") == 1
    assert "breakeven track tiny" in said


def test_a_fault_in_tracking_is_not_swallowed(ledger, leases, experiment, monkeypatch):
    def faulty(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(publish.Tracker, "record", faulty)
    with pytest.raises(ZeroDivisionError), publish.tracked(STUDY, experiment.places, ledger, leases) as tracker:
        tracker(["a" * 16])


def test_the_physics_of_what_is_there_is_drawn(datasets, tmp_path):
    root = next(iter(datasets.values())).folder.parents[1]
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "datasets").symlink_to(root)
    run.draw_physics(tmp_path)
    assert (tmp_path / "shared" / "physics.png").read_bytes().startswith(b"\x89PNG")


def test_where_results_go(tmp_path, monkeypatch):
    monkeypatch.delenv("BREAKEVEN_RUNS", raising=False)
    monkeypatch.delenv("RAY_JOB_CONFIG_JSON_ENV_VAR", raising=False)
    assert str(default_runs_dir()) == "runs"
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")  # a submitted job runs in a folder that vanishes
    assert default_runs_dir().is_absolute() and default_runs_dir().name == "runs"
    monkeypatch.setenv("BREAKEVEN_RUNS", str(tmp_path))
    assert default_runs_dir() == tmp_path
