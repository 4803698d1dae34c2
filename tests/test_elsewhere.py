"""Plans for a card that is not here, from the command line and as they are priced."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from breakeven import elsewhere
from breakeven.study.spec import Finetuning, InvalidStudy, Pretraining, Study

ROOT = Path(__file__).parents[1]
HEAVY = ("ray", "torch", "mlflow", "optuna", "scipy", "matplotlib", "pythia8mc", "fastjet")


def plan(study: Study, runs: Path, capsys: pytest.CaptureFixture[str], gpus: int = 1) -> str:
    elsewhere.show_plan_on("h200", gpus, study, runs)
    return capsys.readouterr().out


def test_a_plan_for_another_card_needs_nothing_heavy(tmp_path: Path) -> None:
    look = f"print([name for name in {HEAVY!r} if name in sys.modules])"
    arguments = [
        "studies/scaling.py",
        "--preset",
        "smoke",
        "--plan",
        "--on",
        "h200",
        "--gpus",
        "2",
        "--runs-dir",
        str(tmp_path),
    ]
    program = f"import sys, runpy; sys.argv = {arguments!r}; runpy.run_path('studies/scaling.py', run_name='__main__'); {look}"
    asked = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert asked.returncode == 0, asked.stderr
    assert asked.stdout.splitlines()[-1] == "[]"
    for words in ("smoke on 2 x NVIDIA H200", "float32", "tf32", "bfloat16", "measured on NVIDIA H200"):
        assert words in asked.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--on", "h200"], "add --plan"), (["--plan", "--on", "v100"], "never measured; choose"),
     (["--plan", "--on", "h200", "--gpus", "0"], "--gpus is 0")],
)  # fmt: skip
def test_what_cannot_be_planned_is_told(arguments: list[str], message: str, tmp_path: Path) -> None:
    command = [sys.executable, "studies/scaling.py", *arguments, "--runs-dir", str(tmp_path)]
    asked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert asked.returncode == 2 and message in asked.stderr


def test_more_edges_take_more_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = Study(pretraining=Pretraining(objectives=()), finetuning=Finetuning(tasks=("WH_vs_ZH",)))
    folder = tmp_path / "shared" / "datasets" / "WH" / "recipe" / "arrays-0"
    folder.mkdir(parents=True)
    np.save(folder / "offsets.npy", np.array([0, 20, 40]))
    dense = plan(study, tmp_path, capsys)
    assert f"380.0, of the events in {tmp_path}" in dense
    assert "as in the measurement" in plan(study, tmp_path / "empty", capsys)


def test_packs_hold_the_trials_of_a_task_and_a_size() -> None:
    study = Study(
        finetuning=Finetuning(seeds=3, strategies=("finetune",)), pretraining=Pretraining(objectives=("multiclass",))
    )
    assert elsewhere.trials_alike(study) == 6
    assert elsewhere.trials_alike(replace(study, pretraining=Pretraining(objectives=()))) == 3


def test_a_study_that_cannot_be_run_has_no_plan(tmp_path: Path) -> None:
    with pytest.raises(InvalidStudy, match=r"finetuning\.seeds is 0"):
        elsewhere.show_plan_on("h200", 1, Study(finetuning=Finetuning(seeds=0)), tmp_path)
