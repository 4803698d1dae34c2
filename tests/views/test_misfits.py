"""Files of a study's folder that do not fit its ledger are told; those of studies that run, stop or were killed fit."""

import json
import re
import shutil
from dataclasses import replace

import pytest
from formula_study import STUDY, begin, work

from breakeven import atomic
from breakeven.ledger.ledger import Ledger
from breakeven.places import Places
from breakeven.results import load
from breakeven.study.folder import read_folder
from breakeven.views import diff, status
from breakeven.views.misfits import find_misfits

CELL = "WH_vs_ZH/multiclass/finetune/100"


def end(runs, queue):
    """As a driver ends."""
    folder = Places(runs, queue.study.name).folder
    atomic.write_json(folder / "missing.json", queue.missing())
    atomic.write_json(folder / "chosen.json", queue.chosen())


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    runs = tmp_path_factory.mktemp("finished")
    queue = begin(runs)
    work(runs, queue)
    end(runs, queue)
    return runs


@pytest.fixture
def runs(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "runs")


def change(path, edit):
    path.write_text(json.dumps(edit(json.loads(path.read_text()))))


def told(runs):
    folder = read_folder("first", runs)
    return find_misfits(folder, Ledger(folder.places.ledger).refresh())


@pytest.mark.parametrize(
    ("file", "edit", "said"),
    [
        ("records.json", lambda names: [*names[:-1], "0" * 16], "1 of its names are not in the ledger;"),
        ("records.json", lambda names: ["0" * 16, *names[1:]], "1 of its names are not in the ledger;"),
        ("records.json", lambda names: names[:-3], "3 trials that the study has done are not among its names;"),
        (
            "records.json",
            lambda names: [*names[:-3], "0" * 16],
            "1 of its names .* and 2 trials that the study has done",
        ),
        ("chosen.json", lambda chosen: {**chosen, CELL: 0.125}, rf"the ratio 0\.125 of {CELL}: they are left out;"),
        ("chosen.json", lambda chosen: {**chosen, CELL: float("nan")}, f"the ratio nan of {CELL}:"),
        ("chosen.json", lambda chosen: dict.fromkeys(chosen, 0.125), r"the ratio 0\.125 of .* \(and 7 more\):"),
    ],
)
def test_what_was_changed_is_told_by_report_status_and_diff(runs, file, edit, said, capsys):
    assert told(runs) == []
    change(runs / "first" / file, edit)
    [problem] = told(runs)
    assert problem.startswith(f"{runs / 'first' / file}: ") and re.search(said, problem)
    for show in (
        lambda: load("first", runs),
        lambda: status.show_status("first", runs),
        lambda: status.show_status("", runs),
        lambda: diff.show_diff("first", "first", runs),
    ):
        show()
        assert "".join(capsys.readouterr().out.split()).count("".join(f"warning {problem}".split())) == 1


def test_a_task_that_is_not_known_here_is_told_and_read(runs, capsys):
    change(
        runs / "first" / "study.json", lambda spec: {**spec, "finetuning": {**spec["finetuning"], "tasks": ["mine"]}}
    )
    assert len(load("first", runs).trials) == 32
    assert "first/study.json: finetuning.tasks: 'mine' is not known" in capsys.readouterr().out


def test_records_that_are_gone_are_told(runs):
    for path in sorted((runs / "shared" / "ledger" / "records").glob("*.json"))[:2]:
        path.unlink()
    assert re.search("2 of its names are not in the ledger;", told(runs)[0])


def test_a_specification_that_cannot_be_read_is_told_by_a_diff(runs, capsys):
    change(runs / "first" / "study.json", lambda spec: {**spec, "finetuning": {**spec["finetuning"], "seeds": -3}})
    diff.show_diff("first", "first", runs)
    assert capsys.readouterr().out.count("finetuning.seeds is -3") == 1


def test_a_study_that_stopped_or_was_killed_or_grew_fits(tmp_path):
    queue = begin(tmp_path)
    for _ in range(9):
        work(tmp_path, queue, most=4)
        assert told(tmp_path) == []  # killed: nothing else is written
        end(tmp_path, queue)
        assert told(tmp_path) == []
        (tmp_path / "first" / "missing.json").unlink()
    begin(tmp_path, replace(STUDY, finetuning=replace(STUDY.finetuning, seeds=5)))
    assert told(tmp_path) == []


def test_trials_that_are_not_called_missing_are_told(tmp_path):
    queue = begin(tmp_path)
    work(tmp_path, queue, most=16)
    end(tmp_path, queue)
    done = [name for name in queue.trials if queue.settled(name) and queue.trials[name].phase == "confirm"]
    change(tmp_path / "first" / "records.json", lambda names: [name for name in names if name != done[0]])
    assert re.search("1 trials that the study has done are not among its names;", told(tmp_path)[0])
