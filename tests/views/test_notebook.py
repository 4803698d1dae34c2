"""Studies on disk, loaded as a notebook loads them: real queue, ledger and folder; the training alone is a formula."""

import subprocess
import sys
from dataclasses import replace

import pytest
from formula_study import DATA, STUDY, accuracy, begin, work

import breakeven
from breakeven.study.spec import InvalidStudy


@pytest.fixture
def runs(tmp_path):
    """A finished study whose pretraining gains exactly five points in every trial."""

    def evaluated(trial):
        return {"test_accuracy": accuracy(trial, 0.05)} if trial.phase == "confirm" else {}

    work(tmp_path, begin(tmp_path, STUDY, DATA), facts=evaluated)
    return tmp_path


def test_a_finished_study(runs, monkeypatch):
    results = breakeven.load("first", runs)
    assert results.study == STUDY
    assert len(results.trials) == 32 and (results.trials["outcome"] == "finished").all()
    confirmed = results.trials[results.trials["phase"] == "confirm"]
    assert len(results.cells) == 8 and results.cells["n"].tolist() == [3] * 8
    means = confirmed.groupby("cell")["test_accuracy"].mean()
    assert results.cells.set_index("cell")["accuracy"].to_dict() == pytest.approx((100 * means).to_dict())
    finetuned = results.cells[results.cells["strategy"] == "finetune"].set_index("cell")["accuracy"]
    assert len(results.gains) == len(finetuned) == 4 and (results.gains["gain"] > 0).all()
    assert set(results.break_even["pretraining"]) == {"multiclass"}
    monkeypatch.setenv("BREAKEVEN_RUNS", str(runs))
    assert breakeven.load("first").cells.equals(results.cells)
    assert breakeven.load(str(runs / "first")).gains.equals(results.gains)


def test_a_study_half_way_has_missing_cells(tmp_path):
    queue = begin(tmp_path)
    work(tmp_path, queue, most=5)
    before = breakeven.load("first", tmp_path)
    assert len(before.trials) == 5
    work(tmp_path, queue)
    assert len(before.trials) == 5 and len(breakeven.load("first", tmp_path).trials) == 32


def test_what_is_not_there(runs):
    with pytest.raises(
        FileNotFoundError, match=r"no study that ran; those here: first; give .*path, runs_dir= or BREAKEVEN_RUNS$"
    ):
        breakeven.load("second", runs)
    begin(runs, replace(STUDY, name="second"))
    (runs / "second" / "records.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"has not come to its trials yet; see breakeven status second$"):
        breakeven.load("second", runs)
    (runs / "first" / "study.json").write_text("[]")
    with pytest.raises(InvalidStudy, match=r"study\.json: not what was written to it"):
        breakeven.load("first", runs)


def test_the_package_alone_imports_nothing_heavy():
    code = (
        "import sys, breakeven; light = set(sys.modules); import breakeven.results; "
        "print(sorted(light & {'numpy', 'pandas', 'pyarrow', 'rich'}), "
        "sorted(set(sys.modules) & {'ray', 'torch', 'mlflow', 'optuna', 'matplotlib'}))"
    )
    asked = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert asked.stdout == "[] []\n"
