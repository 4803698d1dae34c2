"""The run's own decisions, without Ray: where stages meet, what is told, what survives."""

from dataclasses import replace

import pytest

from breakeven import publish, run, tracking
from breakeven.events.sampling import TooFewEvents
from breakeven.places import Places, default_runs_dir
from breakeven.stages.generation import check_sizes
from breakeven.study.ledger import Ledger, now
from breakeven.study.spec import Finetuning, Generation, Study

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


def test_a_size_that_the_split_does_not_hold_is_told_before_pretraining(datasets):
    check_sizes(STUDY, datasets)
    with pytest.raises(TooFewEvents, match=r"asks for 100 training events a class, but WH has \d+; raise generation"):
        check_sizes(replace(STUDY, finetuning=replace(STUDY.finetuning, sizes=(10, 100))), datasets)


def test_records_reach_mlflow_beside_the_work(ledger, tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for _ in range(2):  # the second time nothing is written twice
        with publish.tracked(STUDY, Places(tmp_path, "tiny"), ledger) as tracker:
            tracker(["a" * 16])
            tracker(["b" * 16])
    client = tracking.MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name("tiny").experiment_id])
    assert sorted(found.data.tags["record"] for found in runs) == ["a" * 16, "b" * 16, "study:tiny"]


def test_a_study_outlives_mlflow(ledger, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with publish.tracked(STUDY, Places(tmp_path, "tiny"), ledger) as tracker:
        tracker(["a" * 16])
        tracker(["b" * 16])
    said = capsys.readouterr().out
    assert said.count("warning MLflow: http://127.0.0.1:9 does not take") == 1
    assert "breakeven track tiny" in said


def test_a_fault_in_tracking_is_not_swallowed(ledger, tmp_path, monkeypatch):
    def faulty(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(publish.Tracker, "record", faulty)
    with pytest.raises(ZeroDivisionError), publish.tracked(STUDY, Places(tmp_path, "tiny"), ledger) as tracker:
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
