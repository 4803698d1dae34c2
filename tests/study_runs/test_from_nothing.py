"""One smoke study from nothing to its break-even, in a log as in a terminal, and the same command again."""

import re
import subprocess
import sys

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch
from mlflow.tracking import MlflowClient
from study_runs.started import JOINT, SCALING, assert_each_once, both, files, study, trials

from breakeven.metric import METRICS
from breakeven.training.checkpoint import read_model

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:The ``noload``")]  # MLflow's own


def nested_runs(runs_dir, name):
    """All MLflow runs of the study of this name by level, after a look that each hangs below the right one."""
    client = MlflowClient(f"sqlite:///{runs_dir / 'mlflow.db'}")
    found = client.search_runs([client.get_experiment_by_name(name).experiment_id], max_results=1000)
    by_id = {run.info.run_id: run for run in found}
    levels = {}
    for run in found:
        levels.setdefault(run.data.tags["level"], []).append(run)
        parent = by_id.get(run.data.tags.get("mlflow.parentRunId"))
        above = {"study": None, "trial": "cell"}.get(run.data.tags["level"], "study")
        assert (parent.data.tags["level"] if parent else None) == above
    return levels


@both
def test_from_nothing_to_break_even(example, finished):
    (runs, command), n_events, n_trials = finished, example.events, example.trials()
    assert_each_once(runs, n_trials)
    folder = runs / example.name / "report"
    report, page = (folder / "report.md").read_text(), (folder / "index.html").read_text()
    assert (
        f"## {METRICS[example.smoke.finetuning.merit].heading}\n" in report
        and "## Break-even" in report
        and (folder / "accuracy.png").exists()
    )
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=\"(?!data:)https?:", page), "it opens offline"
    for line in (f"generation: {n_events:,} of {n_events:,} events", f"trials: {n_trials} of {n_trials}", "Break-even",
                 "report   ", "breakeven ui"):  # fmt: skip
        assert line in command.said
    for noise in ("Traceback", "Warning", "WARNING", "(pid=", "FastJet", "INFO", "alembic", "deprecat"):
        assert noise not in command.said, command.said
    levels = nested_runs(runs, example.name)
    assert {level: len(found) for level, found in levels.items()} == {
        "study": 1, "generation": example.processes, "pretraining": 1, "cell": example.cells, "trial": n_trials,
    }  # fmt: skip
    (whole,) = levels["study"]
    assert "cpu_hours/useful" in whole.data.metrics or "gpu_hours/useful" in whole.data.metrics
    for trial in levels["trial"]:
        assert {"level", "study", "cell", "task", "strategy", "size", "seed", "trial", "git_commit", "dataset"} <= set(
            trial.data.tags
        )
        judged = trial.data.tags["phase"] == "confirm"
        assert ("test/accuracy" in trial.data.metrics) == ("test/auc" in trial.data.metrics) == judged


@pytest.mark.parametrize("example", [SCALING], ids=str, indirect=True)
def test_the_winner_is_registered_and_its_networks_are_compared(finished, tmp_path):
    runs, command = finished
    assert "registered smoke-backbone: multiclass pretraining" in command.said
    client = MlflowClient(f"sqlite:///{runs / 'mlflow.db'}")
    version = client.get_model_version_by_alias("smoke-backbone", "winner")
    assert "What it is worth" in version.description and "stop vs ttH" in version.description
    similar = pd.read_csv(runs / "smoke" / "report" / "similarity.csv", comment="#")
    assert set(similar["strategy"]) == {"scratch", "finetune"} and similar["cka"].between(0, 1).all()
    out = tmp_path / "mine"
    program = [sys.executable, "-c", "from breakeven.cli import main; main()"]
    words = ["export", "smoke", "--runs-dir", str(runs), "--onnx", "--output", str(out)]
    written = subprocess.run([*program, *words], capture_output=True, text=True)
    assert written.returncode == 0, written.stderr
    assert {file.name for file in out.iterdir()} == {"README.md", "backbone.onnx", "model.json", "weights.safetensors"}
    session = onnxruntime.InferenceSession(out / "backbone.onnx")
    inputs = {"nodes": np.ones((3, 7), np.float32), "offsets": np.array([0, 1, 3])}
    (found,) = session.run(["representation"], inputs)
    with torch.no_grad():
        expected = read_model(out).represent(torch.ones(3, 7), torch.tensor([0, 1, 3]))
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4, atol=1e-4)


@both
def test_again_trains_nothing_and_logs_nothing_twice(example, copy, starting):
    before, levels = files(copy), nested_runs(copy, example.name)
    command = starting(study(example, copy))
    assert command.ends() == 0, command.said
    assert files(copy) == before
    for line in (f"generation: all {example.events:,} events are there already", "pretraining: all",
                 f"finetuning: all {example.trials()} trials are there already"):  # fmt: skip
        assert line in command.said
    again = nested_runs(copy, example.name)
    assert {level: sorted(run.info.run_id for run in found) for level, found in again.items()} == {
        level: sorted(run.info.run_id for run in found) for level, found in levels.items()
    }


@pytest.mark.parametrize("example", [pytest.param(SCALING, marks=pytest.mark.endurance), JOINT], ids=str, indirect=True)
def test_a_larger_study_trains_only_what_is_new(example, copy, starting):
    """More seeds than before: events, backbone and every trial that is there are taken as they are."""
    before, seeds = files(copy), example.smoke.finetuning.seeds + 1
    command = starting(study(example, copy, "--finetuning.seeds", str(seeds)))
    assert command.ends() == 0, command.said
    assert_each_once(copy, example.trials(seeds), before)
    assert {record["seed"] for record in trials(copy) if record["phase"] == "confirm"} == set(range(1, seeds + 1))
    assert "events are there already" in command.said and "pretraining: all" in command.said
