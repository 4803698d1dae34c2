"""A study watched from another process, killed, and watched and reported again: what is told is what is on disk."""

import pytest
from study_runs.started import study, trials

from breakeven import run
from breakeven.study.folder import read_folder
from breakeven.views import status

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:The ``noload``")]  # MLflow's own


def test_a_study_is_watched_and_outlives_its_driver(example, prepared, starting, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    total = example.trials(seeds=60)  # more than end before the look
    command = starting(study(example, prepared, "--finetuning.seeds", "60"))
    observer = status.Viewer(prepared)

    def seen():
        return observer.look().view(read_folder(example.name, prepared))

    command.until(lambda: (prepared / example.name / "records.json").exists() and len(trials(prepared)) >= 5)
    running = seen()
    assert running.state == "running" and running.at_work > 0
    assert running.standing.total == total and 5 <= running.standing.done < total
    (driver,) = running.drivers
    assert driver.alive and driver.study == example.name and driver.doing == "finetuning"
    command.kill()
    stopped = seen()
    assert stopped.state == "stopped" and stopped.at_work == 0 and not stopped.drivers[0].alive
    assert running.standing.done <= stopped.standing.done == len(trials(prepared))
    spent = sum(record["device_seconds"] for record in trials(prepared) if record["phase"] == "confirm")
    (charged,) = stopped.standing.spent.values()
    assert charged.useful >= spent > 0
    run.report_again(example.name, prepared)  # of what there is
    assert f"{example.name}: does pretraining pay" in (prepared / example.name / "report" / "report.md").read_text()
