"""One smoke study from nothing to its break-even, in a log as in a terminal, and the same command again."""

import subprocess
import sys

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch
from mlflow.tracking import MlflowClient
from study_runs.started import TRIALS, assert_each_once, files, study

from breakeven.training.checkpoint import read_model

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:The ``noload``")]  # MLflow's own


def nested_runs(runs_dir):
    """All MLflow runs of the smoke study by level, after a look that each hangs below the right one."""
    client = MlflowClient(f"sqlite:///{runs_dir / 'mlflow.db'}")
    found = client.search_runs([client.get_experiment_by_name("smoke").experiment_id], max_results=1000)
    by_id = {run.info.run_id: run for run in found}
    levels = {}
    for run in found:
        levels.setdefault(run.data.tags["level"], []).append(run)
        parent = by_id.get(run.data.tags.get("mlflow.parentRunId"))
        above = {"study": None, "trial": "cell"}.get(run.data.tags["level"], "study")
        assert (parent.data.tags["level"] if parent else None) == above
    return levels


def test_from_nothing_to_break_even(finished):
    runs, command = finished
    assert_each_once(runs)
    report = (runs / "smoke" / "report" / "report.md").read_text()
    assert (
        "## Accuracy" in report and "## Break-even" in report and (runs / "smoke" / "report" / "accuracy.png").exists()
    )
    for line in ("generation: 3,000 of 3,000 events", "trials: 24 of 24", "Break-even", "report   ", "breakeven ui"):
        assert line in command.said
    for noise in ("Traceback", "Warning", "WARNING", "(pid=", "FastJet", "INFO", "alembic", "deprecat"):
        assert noise not in command.said, command.said
    levels = nested_runs(runs)
    assert {level: len(found) for level, found in levels.items()} == {
        "study": 1, "generation": 5, "pretraining": 1, "cell": 8, "trial": TRIALS,
    }  # fmt: skip
    (whole,) = levels["study"]
    assert "cpu_hours/useful" in whole.data.metrics or "gpu_hours/useful" in whole.data.metrics
    for trial in levels["trial"]:
        assert {"level", "study", "cell", "task", "strategy", "size", "seed", "trial", "git_commit", "dataset"} <= set(
            trial.data.tags
        )
        judged = trial.data.tags["phase"] == "confirm"
        assert ("test/accuracy" in trial.data.metrics) == ("test/auc" in trial.data.metrics) == judged


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


def test_again_trains_nothing_and_logs_nothing_twice(copy, starting):
    before, levels = files(copy), nested_runs(copy)
    command = starting(study(copy))
    assert command.ends() == 0, command.said
    assert files(copy) == before
    for line in ("generation: all 3,000 events are there already", "pretraining: all",
                 "finetuning: all 24 trials are there already"):  # fmt: skip
        assert line in command.said
    again = nested_runs(copy)
    assert {level: sorted(run.info.run_id for run in found) for level, found in again.items()} == {
        level: sorted(run.info.run_id for run in found) for level, found in levels.items()
    }
