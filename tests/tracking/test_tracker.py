"""Real MLflow on a temporary SQLite file; each test has an experiment of its own in it."""

import math
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tracking.studies import CELL_FIGURES, NAN, STUDY_FIGURES, Experiment, frame, study, trial

from breakeven.ledger.ledger import Ledger
from breakeven.tracking import Tracker

CELL = "stop_vs_ttH/none/scratch/100"


def test_runs_are_nested_by_level_and_tagged_with_their_identity(experiment: Experiment) -> None:
    assert experiment.sync(study()) == 6
    runs = experiment.runs()
    whole, cell = runs[f"study:{experiment.name}"], runs[f"cell:{experiment.name}:{CELL}"]
    assert whole.data.tags["level"] == "study" and "mlflow.parentRunId" not in whole.data.tags
    assert cell.data.tags["mlflow.parentRunId"] == whole.info.run_id and cell.data.tags["level"] == "cell"
    assert runs["p1"].data.tags["mlflow.parentRunId"] == whole.info.run_id
    assert runs["t1"].data.tags["mlflow.parentRunId"] == cell.info.run_id
    identity = {"study": experiment.name, "git_commit": "abc", "dataset": "d1", "host": "node1", "device": "cpu",
                "processor": "an Intel"}  # fmt: skip
    for run in runs.values():
        assert identity.items() <= run.data.tags.items()
    of_cell = {"cell": CELL, "task": "stop_vs_ttH", "strategy": "scratch", "pretraining": "none", "size": "100"}
    assert of_cell.items() <= cell.data.tags.items()
    of_trial = {**of_cell, "level": "trial", "seed": "1", "phase": "confirm", "trial": "t1", "outcome": "finished"}
    assert of_trial.items() <= runs["t1"].data.tags.items()
    assert runs["s1"].data.tags["phase"] == runs["s1"].data.params["phase"] == "search"
    assert runs["t1"].data.params["ratio"] == "0.1" and runs["t1"].data.params["size"] == "100"
    assert {run.info.status for run in runs.values()} == {"FINISHED"}


def test_figures_and_curves_arrive_with_time_and_epoch(experiment: Experiment) -> None:
    experiment.sync(study())
    runs = experiment.runs()
    metrics = runs["t2"].data.metrics
    assert metrics["test/accuracy"] == pytest.approx(0.72) and metrics["test/auc"] == 0.8
    assert metrics["cpu_hours/useful"] == pytest.approx(0.01) and metrics["cpu_hours/wasted"] == 0.0
    assert not any(name.startswith("gpu_hours") for name in metrics)
    history = experiment.client.get_metric_history(runs["t2"].info.run_id, "validation/accuracy")
    assert [(point.step, round(point.value, 2)) for point in history] == [(1, 0.62), (2, 0.64), (3, 0.66), (4, 0.68)]
    assert runs["t2"].info.end_time - runs["t2"].info.start_time == 40_000
    assert not any(name.startswith("test/") for name in runs["s1"].data.metrics), "a search trial has no test figure"


def test_summaries_carry_their_figures_and_span_their_trials(experiment: Experiment) -> None:
    late = trial("t2", 2, started="2026-03-01T10:05:00.000+00:00", ended="2026-03-01T10:06:00.000+00:00")
    experiment.sync(frame(late, trial("t1", 1)))
    runs = experiment.runs()
    cell = runs[f"cell:{experiment.name}:{CELL}"]
    assert runs[f"study:{experiment.name}"].data.metrics == STUDY_FIGURES
    assert cell.data.metrics == CELL_FIGURES[CELL]
    assert {"task": "stop_vs_ttH", "strategy": "scratch", "size": "100"}.items() <= cell.data.params.items()
    assert cell.info.start_time == runs["t1"].info.start_time and cell.info.end_time == runs["t2"].info.end_time


def dump(database: Path, experiment: Experiment) -> list[tuple[Any, ...]]:
    """Every metric, tag and run state of the experiment."""
    with closing(sqlite3.connect(database)) as connection:
        rows: list[tuple[Any, ...]] = []
        for table in ("metrics", "tags", "params"):
            rows += connection.execute(
                f"select '{table}', t.* from {table} t join runs r using (run_uuid) where r.experiment_id = ?",
                (experiment.id,),
            ).fetchall()
        rows += connection.execute("select * from runs where experiment_id = ?", (experiment.id,)).fetchall()
    return sorted(rows, key=repr)


def test_the_same_study_again_writes_nothing(experiment: Experiment, database: Path) -> None:
    experiment.sync(study())
    before = dump(database, experiment)
    tracker = experiment.open()
    assert all(tracker.holds(row) for _, row in study().iterrows())
    assert tracker.sync(study(), STUDY_FIGURES, CELL_FIGURES) == 0
    assert not tracker.record(study().iloc[2])
    assert dump(database, experiment) == before


def eventful() -> tuple[list[dict[str, Any]], pd.DataFrame]:
    """What a driver saw of a study, try after try, and what the ledger says of it at the end.

    A trial failed before it finished, one was stopped, one diverged, one was trained twice, and the first to be written
    began last.
    """
    later = {"started": "2026-03-01T11:00:00.000+00:00", "ended": "2026-03-01T11:00:40.000+00:00"}
    failed = trial("t1", outcome="failed", reason="out of memory", test_accuracy=NAN, curve=None)
    mended = trial("t1", wasted_seconds=36.0, **later)
    stopped = trial("s2", 1_000_002, "finetune", phase="search", outcome="stopped", test_accuracy=NAN, test_auc=NAN)
    diverged = trial("t4", 4, validation_loss=math.inf)
    last_first = trial("t5", 5, "frozen", **later)
    again = trial("t2", 2, wasted_seconds=36.0)
    generated, pretrained, _, t2, s1, t3 = study().to_dict("records")
    tries = [pretrained, failed, last_first, t2, trial("t6", 6, "frozen"), s1, stopped, diverged, mended, t3]
    return tries, frame(
        generated, pretrained, mended, again, s1, stopped, t3, diverged, last_first, trial("t6", 6, "frozen")
    )


def test_a_view_rebuilt_from_the_ledger_equals_the_one_written_as_it_went(
    experiment: Experiment, database: Path
) -> None:
    tries, whole = eventful()
    tracker = experiment.open()
    for row in tries[:5]:
        tracker.record(frame(row).iloc[0])
    experiment.sync(frame(*tries[:5]), {"break_even/tasks": 7.0}, {CELL: {"n": 1, "gone": 2.0}})  # half of it
    tracker = experiment.open()
    for row in tries[5:]:
        tracker.record(frame(row).iloc[0])
    tracker.sync(whole, STUDY_FIGURES, CELL_FIGURES)
    rebuilt = Experiment(database, experiment.name + "_rebuilt")
    assert rebuilt.sync(whole) == len(whole)
    assert rebuilt.seen() == experiment.seen()
    parents = {shown[5] for shown in rebuilt.seen().values()}
    assert len(parents) == 1 + 1 + 3, "study, three cells and nothing"


def test_a_stopped_trial_is_killed_and_has_cost_the_search(experiment: Experiment) -> None:
    experiment.sync(frame(trial("s1", 9, "finetune", phase="search", outcome="stopped", reason="pruned", test_auc=NAN)))
    run = experiment.runs()["s1"]
    assert run.info.status == "KILLED" and run.data.tags["outcome"] == "stopped"
    assert run.data.tags["reason"] == "pruned"
    assert run.data.metrics["cpu_hours/useful"] == pytest.approx(0.01) and run.data.metrics["cpu_hours/wasted"] == 0.0


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
    assert at_once.seen() == experiment.seen()
    run = experiment.runs()["t1"]
    assert run.data.tags["size"] == "100" and run.data.tags["mlflow.runName"] == "confirm seed 1 ratio 0.1"
    values = {value for run in experiment.runs().values() for value in run.data.tags.values()}
    assert not {"nan", "None", "<NA>"} & values


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize("call", ["create_run", "log_batch", "set_terminated", "set_tag", "delete_run"])
@pytest.mark.parametrize("calls", [0, 1, 4])
def test_a_writer_killed_anywhere_leaves_no_double_and_no_half(
    call: str, calls: int, experiment: Experiment, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed while a study of six records replaces what was seen of it before."""
    tries, whole = eventful()
    tracker = experiment.open()
    for row in tries[:5]:
        tracker.record(frame(row).iloc[0])
    experiment.sync(frame(*tries[:5]), {"n": 1.0}, {CELL: {"n": 1.0}})
    dying, left = experiment.open(), [calls]
    real = getattr(dying._client, call)

    def die(*words: Any, **more: Any) -> Any:
        if not left[0]:
            raise Killed
        left[0] -= 1
        return real(*words, **more)

    monkeypatch.setattr(dying._client, call, die)
    died = False
    try:
        dying.sync(whole, STUDY_FIGURES, CELL_FIGURES)
    except Killed:
        died = True
    assert died or (call in ("delete_run", "set_tag") and calls == 4)
    experiment.sync(whole)
    undisturbed = Experiment(database, experiment.name + "_undisturbed")
    undisturbed.sync(whole)
    assert experiment.seen() == undisturbed.seen()


def test_a_failure_shows_its_reason_and_its_hours_until_a_later_try_finishes(experiment: Experiment) -> None:
    failed = trial(
        "t1", outcome="failed", reason="loss is NaN at epoch 3", test_accuracy=NAN, device="cuda", curve=None
    )
    experiment.sync(frame(failed))
    run = experiment.runs()["t1"]
    assert run.info.status == "FAILED" and run.data.tags["reason"] == "loss is NaN at epoch 3"
    assert run.data.metrics["gpu_hours/wasted"] == pytest.approx(0.01) and run.data.metrics["gpu_hours/useful"] == 0.0
    assert experiment.sync(frame(failed)) == 0
    mended = trial("t1", device="cuda", wasted_seconds=36.0, ended="2026-03-01T10:09:00.000+00:00")
    assert experiment.sync(frame(mended)) == 1
    assert experiment.sync(frame(mended)) == 0
    assert experiment.sync(frame(failed)) == 0, "a ledger that knows less does not take the finished run away"
    run = experiment.runs()["t1"]
    assert run.info.status == "FINISHED" and run.data.metrics["gpu_hours/wasted"] == pytest.approx(0.01)


def test_of_two_ledgers_with_one_experiment_neither_undoes_the_other(experiment: Experiment) -> None:
    mine = frame(trial("t1", ended="2026-03-01T10:00:40.000+00:00"))
    theirs = frame(trial("t1", ended="2026-03-01T12:00:40.000+00:00"), trial("t2", 2))
    assert experiment.sync(theirs) == 2
    assert experiment.sync(mine) == 1, "the first to finish counts, as in a ledger"
    assert experiment.sync(theirs) == 0 and experiment.sync(mine) == 0
    assert {"t1", "t2"} <= experiment.runs().keys()


def test_what_people_added_to_a_run_moves_along(experiment: Experiment) -> None:
    experiment.sync(study())
    cell = experiment.runs()[f"cell:{experiment.name}:{CELL}"].info.run_id
    experiment.client.set_tag(cell, "mlflow.note.content", "looks odd")
    experiment.client.set_tag(cell, "checked by", "me")
    experiment.sync(study(), STUDY_FIGURES, {CELL: {"n": 3.0}})
    run = experiment.runs()[f"cell:{experiment.name}:{CELL}"]
    assert run.info.run_id != cell and run.data.metrics == {"n": 3.0}
    assert run.data.tags["mlflow.note.content"] == "looks odd" and run.data.tags["checked by"] == "me"


def test_runs_that_people_made_in_the_experiment_are_left_alone(experiment: Experiment) -> None:
    experiment.sync(study())
    theirs = experiment.client.create_run(experiment.id).info.run_id
    experiment.sync(study(), {"n": 1.0})
    run = experiment.client.get_run(theirs)
    assert run.info.status == "RUNNING" and run.info.lifecycle_stage == "active"


def test_what_is_not_finite_is_left_out_and_named(experiment: Experiment) -> None:
    row = trial("t1", validation_loss=math.inf)
    row["curve"][2]["train_loss"] = NAN
    experiment.sync(frame(row), {"break_even/tasks": math.inf, "cpu_hours/useful": 1.0}, {})
    run, whole = experiment.runs()["t1"], experiment.runs()[f"study:{experiment.name}"]
    assert run.data.tags["not_finite"] == "train/loss, validation/best_loss"
    assert "validation/best_loss" not in run.data.metrics
    assert len(experiment.client.get_metric_history(run.info.run_id, "train/loss")) == 3
    assert whole.data.tags["not_finite"] == "break_even/tasks" and whole.data.metrics == {"cpu_hours/useful": 1.0}


def test_a_figure_that_no_longer_holds_does_not_stay(experiment: Experiment) -> None:
    experiment.sync(frame(trial("t1")), {"break_even/tasks": 25.0}, {})
    experiment.sync(frame(trial("t1")), {"cpu_hours/useful": 1.0}, {})
    assert experiment.runs()[f"study:{experiment.name}"].data.metrics == {"cpu_hours/useful": 1.0}


def test_a_curve_longer_than_one_batch_arrives_whole(experiment: Experiment) -> None:
    row = trial("t1")
    row["curve"] = [{**row["curve"][0], "epoch": epoch} for epoch in range(1, 401)]
    experiment.sync(frame(row))
    run = experiment.runs()["t1"].info.run_id
    for name in ("train/loss", "learning_rate", "device_seconds"):
        assert len(experiment.client.get_metric_history(run, name)) == 400


def test_artifacts_lie_beside_the_database_and_are_logged_when_they_change(
    experiment: Experiment, tmp_path: Path
) -> None:
    def attach(figure: float) -> Path:
        tracker = experiment.open()
        tracker.sync(study(), {"n": figure}, {})
        tracker.log_artifacts([report])
        run = experiment.runs()[f"study:{experiment.name}"].info.run_id
        [stored] = experiment.artifacts.rglob(f"{run}/artifacts/report.md")
        return stored

    report = tmp_path / "report.md"
    report.write_text("first")
    stored = attach(1.0)
    stored.write_text("untouched")
    assert attach(1.0).read_text() == "untouched", "the same file is not copied again"
    report.write_text("second")
    assert attach(1.0).read_text() == "second"
    assert attach(2.0).read_text() == "second", "a study run that was replaced has its files too"


def test_a_deleted_experiment_comes_back(experiment: Experiment) -> None:
    experiment.sync(frame(trial("t1")))
    experiment.client.delete_experiment(experiment.id)
    assert experiment.sync(frame(trial("t1"), trial("t2", 2))) == 1
    assert {"t1", "t2"} <= experiment.runs().keys()


def test_deleted_runs_come_back(experiment: Experiment) -> None:
    experiment.sync(study())
    for record in ("t1", f"cell:{experiment.name}:{CELL}", f"study:{experiment.name}"):
        experiment.client.delete_run(experiment.runs()[record].info.run_id)
    before = experiment.name + "_before"
    assert experiment.sync(study()) == 1
    rebuilt = Experiment(experiment.database, before)
    rebuilt.sync(study())
    assert experiment.seen() == rebuilt.seen()


def test_a_study_of_figures_alone_has_its_run(experiment: Experiment, tmp_path: Path) -> None:
    tracker: Tracker = experiment.open()
    assert tracker.sync(Ledger(tmp_path).frame([]), {"a": 1.0}, {}) == 0
    (run,) = experiment.runs().values()
    assert run.data.metrics == {"a": 1.0} and run.info.status == "FINISHED"
