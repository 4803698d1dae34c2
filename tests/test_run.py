"""The run's own decisions, without Ray: where stages meet, what is told."""

import json
from dataclasses import replace

import pytest

from breakeven.drawing import draw_physics
from breakeven.ledger.lease import Leases
from breakeven.places import Places, default_runs_dir
from breakeven.stages.opening import open_study
from breakeven.study.spec import Finetuning, Generation, InvalidStudy, Study

STUDY = Study(name="tiny", generation=Generation(events_per_process=120, shard_events=60),
              finetuning=Finetuning(tasks=("WH_vs_ZH",), sizes=(10,), seeds=1))  # fmt: skip


def test_the_physics_of_what_is_there_is_drawn(events, tmp_path):
    root = next(iter(events.values())).folder.parents[1]
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "datasets").symlink_to(root)
    draw_physics(tmp_path)
    (page,) = (tmp_path / "shared").glob("*.png")
    assert page.read_bytes().startswith(b"\x89PNG") and page.stem == ("jets" if "QCD_600_800" in events else "physics")


def test_where_results_go(tmp_path, monkeypatch):
    monkeypatch.delenv("BREAKEVEN_RUNS", raising=False)
    monkeypatch.delenv("RAY_JOB_CONFIG_JSON_ENV_VAR", raising=False)
    assert str(default_runs_dir()) == "runs"
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")  # a submitted job runs in a folder that vanishes
    assert default_runs_dir().is_absolute() and default_runs_dir().name == "runs"
    monkeypatch.setenv("BREAKEVEN_RUNS", str(tmp_path))
    assert default_runs_dir() == tmp_path


def test_a_task_under_two_names_is_told_and_counted_once(tmp_path, capsys):
    both = replace(STUDY.finetuning, tasks=("stop_pair_vs_ttH", "stop_vs_ttH"))
    open_study(replace(STUDY, finetuning=both), Places(tmp_path, STUDY.name))
    said = " ".join(capsys.readouterr().out.split())
    assert "stop_pair_vs_ttH is the task stop_vs_ttH: it is counted once" in said
    assert f"{1 + 1} cells" in said  # of one task


def test_two_studies_of_one_name_lose_nothing_of_each_other(tmp_path, capsys):
    first = replace(STUDY, name="mine")
    places = Places(tmp_path, "mine")
    open_study(first, places)
    places.report.mkdir()
    (places.report / "report.md").write_text("the first report")
    (places.folder / "optuna.journal").write_text("")
    open_study(replace(first, finetuning=replace(first.finetuning, seeds=9)), places)
    assert "has grown: finetuning.seeds" in capsys.readouterr().out and (places.report / "report.md").exists()
    other = replace(first, finetuning=replace(first.finetuning, seeds=9, head_rate=0.5))
    open_study(other, places)
    assert "was another study before (finetuning.head_rate 0.001 -> 0.5)" in capsys.readouterr().out
    (aside,) = places.folder.glob("before-*")
    assert (aside / "report" / "report.md").read_text() == "the first report" and not (
        places.report / "report.md"
    ).exists()
    assert json.loads((aside / "study.json").read_text())["finetuning"]["head_rate"] == 0.001
    assert (places.folder / "optuna.journal").exists()  # what it remembers is named by content
    with Leases(places.ledger, study="mine"), pytest.raises(InvalidStudy, match="give this one another --name"):
        open_study(first, places)


def test_the_first_price_of_a_study_stays_until_something_else_is_asked(tmp_path):
    places = Places(tmp_path, STUDY.name)
    path = places.folder / "price.json"
    open_study(STUDY, places)
    first = json.loads(path.read_text())
    del first["spec"]["network"]["kind"]  # as a version without that field kept it
    path.write_text(json.dumps(first | {"origin": "the first one"}))
    open_study(STUDY, places)
    assert json.loads(path.read_text())["origin"] == "the first one"
    open_study(replace(STUDY, finetuning=replace(STUDY.finetuning, seeds=2)), places)
    assert json.loads(path.read_text())["origin"] != "the first one"
