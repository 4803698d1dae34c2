"""What goes wrong in ordinary life: a training that diverges, an MLflow that does not answer."""

import json
import shutil
import sys

import pytest
from mlflow.tracking import MlflowClient
from study_runs.started import Command, files, study, trials

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:The ``noload``")]  # MLflow's own


def test_trials_that_diverge_are_recorded_and_reported(example, prepared, starting):
    rates = ("--finetuning.learning-rate", "1e30", "--finetuning.head-rate", "1e30")
    command = starting(study(example, prepared, *rates))
    assert command.ends() == 0, command.said
    found = [record for record in trials(prepared) if record["strategy"] != "trees"]  # which have no such rate
    assert found and all(record["outcome"] == "failed" and "NonFinite" in record["reason"] for record in found)
    assert not any(record["retry"] for record in found)
    report = (prepared / example.name / "report" / "report.md").read_text()
    assert "failed" in report and "NonFinite" in report
    before = files(prepared)
    again = starting(study(example, prepared, *rates))
    assert again.ends() == 0, again.said
    assert files(prepared) == before


def test_mlflow_that_does_not_answer_is_filled_later(example, copy, starting, tmp_path):
    (copy / "mlflow.db").unlink()
    shutil.rmtree(copy / "mlartifacts")
    command = starting(study(example, copy, MLFLOW_TRACKING_URI="http://127.0.0.1:9"))
    assert command.ends() == 0, command.said
    assert "warning MLflow: http://127.0.0.1:9" in command.said and f"breakeven track {example.name}" in command.said
    assert "Break-even" in command.said

    uri = f"sqlite:///{tmp_path / 'later.db'}"
    words = (sys.executable, "-c", "from breakeven.cli import main; main()", "track", example.name, "--runs-dir", copy)
    track = starting(Command([*words, "--uri", uri], tmp_path / "track.log", {}))
    assert track.ends() == 0, track.said
    records = set(json.loads((copy / example.name / "records.json").read_text()))
    assert f"{len(records)} of them new" in track.said
    client = MlflowClient(uri)
    runs = client.search_runs([client.get_experiment_by_name(example.name).experiment_id], max_results=1000)
    written = [run.data.tags["record"] for run in runs if run.data.tags["level"] not in ("study", "cell")]
    assert sorted(written) == sorted(records)
