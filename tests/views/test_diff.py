"""`breakeven diff` on real studies on disk: what is shown, what is written, what is refused."""

import json
import re
from dataclasses import replace

import pandas as pd
import pytest
from formula_study import DATA, STUDY, accuracy, begin, work

from breakeven import terminal
from breakeven.views import diff

OTHER = replace(STUDY, name="second", finetuning=replace(STUDY.finetuning, head_rate=3e-3))


def finished(runs, study=STUDY, data=DATA, gain=0.0, **facts):
    work(
        runs, begin(runs, study, data),
        facts=lambda trial: {**({"test_accuracy": accuracy(trial, gain)} if trial.phase == "confirm" else {}), **facts},
    )  # fmt: skip


def said(capsys):
    return re.sub(r"\s+", " ", capsys.readouterr().out)


@pytest.fixture
def two(tmp_path):
    """Studies that differ in one rate, which costs the finetuned half of the cells 5 points."""
    finished(tmp_path)
    finished(tmp_path, OTHER, gain=-0.05, device_seconds=4.0)
    return tmp_path


def test_two_studies(two, capsys):
    diff.show_diff("first", "second", two)
    out = said(capsys)
    assert (
        out.index("finetuning.head_rate 0.001 0.003")
        < out.index("where it comes from: the same")
        < out.index("cell A B")
    )
    # scratch has the same trials in both; finetuned trials of a seed differ by five points, whatever the seed
    assert out.count("same trials") == 4 + 1 and out.count("no spread over seeds: no test") == 4
    assert out.count("-5.0") == 4 and "only in" not in out
    assert "hours: all that the cell was charged on its device: search, reported" in out and "Holm" not in out


def test_records_that_cannot_be_read_are_told(two, capsys):
    file = next((two / "shared" / "ledger" / "records").glob("*.json"))
    file.write_text("[")
    diff.show_diff("first", "second", two, json_path=two / "out.json")
    assert f"warning{file}" in said(capsys).replace(" ", "")
    assert str(file) in json.loads((two / "out.json").read_text())["problems"][0]


def test_changes_with_a_spread_are_tested(tmp_path, capsys):
    finished(tmp_path)
    changed = replace(OTHER, finetuning=replace(OTHER.finetuning, seeds=3))
    work(tmp_path, begin(tmp_path, changed),
         facts=lambda trial: {"test_accuracy": accuracy(trial) - 0.05 - trial.seed / 1000})  # fmt: skip
    diff.show_diff("first", "second", tmp_path, json_path=tmp_path / "out.json", csv_path=tmp_path / "out.csv")
    assert "4 paired; p corrected after Holm for 4 cells: 4 of them below 0.10; hours: all" in said(capsys)
    told = json.loads((tmp_path / "out.json").read_text())
    tested = [row for row in told["cells"] if row["p"] is not None]
    assert len(tested) == 4 and len(told["cells"]) == 8 and told["correction"] == "Holm" and told["level"] == 0.9
    for row in tested:
        assert row["difference"] == pytest.approx(-5.2) and row["low"] < -5.2 < row["high"] < 0
        assert row["p"] < row["p_adjusted"] < 0.01 and row["pairs"] == 3
    assert [row["p"] for row in told["cells"] if row["strategy"] == "scratch"] == [None] * 4
    table = pd.read_csv(tmp_path / "out.csv")
    assert len(table) == 8 and table["difference"].tolist() == pytest.approx(
        [row["difference"] for row in told["cells"]]
    )


def test_other_folders_other_data_other_machines(tmp_path, capsys):
    finished(tmp_path / "here")
    elsewhere = {**DATA, "WH": "other events"}
    finished(tmp_path / "there", data=elsewhere, processor="EPYC x 64", device="cuda", git_commit="def456")
    diff.show_diff("first", str(tmp_path / "there" / "first"), tmp_path / "here")
    out = said(capsys)
    assert "what was asked: the same in all fields" in out
    for line in ("commit abc123 abc123, def456", "dataset WH data-WH other events", "device cpu cpu, cuda",
                 "EPYC x 64"):  # fmt: skip
        assert line in out, out
    assert "4 Welch, 4 paired" in out and out.count("same results") == 4 and "gpu-hours" in out and "cpu-hours" in out


def test_cells_of_one_study(tmp_path, capsys):
    finished(tmp_path)
    finished(tmp_path, replace(STUDY, name="second", finetuning=replace(STUDY.finetuning, sizes=(100, 900))))
    diff.show_diff("first", "second", tmp_path, json_path=tmp_path / "out.json")
    out = said(capsys)
    assert "only in A (4 cells): " in out and "WH_vs_ZH scratch 300" in out
    assert "only in B (4 cells): " in out and "WH_vs_ZH multiclass finetune 900" in out
    told = json.loads((tmp_path / "out.json").read_text())
    assert {row["size"] for row in told["only_in_a"]} == {300} and {row["size"] for row in told["only_in_b"]} == {900}


def test_a_seed_alone(tmp_path, capsys):
    finished(tmp_path)
    one = replace(OTHER, finetuning=replace(OTHER.finetuning, seeds=1))
    finished(tmp_path, one, gain=0.03)
    diff.show_diff("first", "second", tmp_path)
    out = said(capsys)
    assert out.count("one seed only: no uncertainty") == 4 and "(1)" in out


def test_nothing_to_compare(tmp_path, capsys):
    finished(tmp_path)
    begin(tmp_path, replace(OTHER, finetuning=replace(OTHER.finetuning, sizes=(7,))))
    diff.show_diff("first", "second", tmp_path)
    assert "no cell has results in both studies" in said(capsys)


def test_unknown_studies(tmp_path):
    begin(tmp_path)
    for a, b in (("first", "secnod"), ("secnod", "first")):
        with pytest.raises(FileNotFoundError, match="secnod: no study that ran; those here: first"):
            diff.show_diff(a, b, tmp_path)
    (tmp_path / "first" / "records.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"not come to its trials yet; see breakeven status first"):
        diff.show_diff("first", "first", tmp_path)


@pytest.mark.parametrize("width", [80, 140])
def test_it_fits_the_width(width, two, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr(terminal.console, "_width", width)
    diff.show_diff("first", "second", two)
    lines = capsys.readouterr().out.splitlines()
    # a long path of a runs folder is folded, too
    assert max(map(len, lines)) <= width
    assert sum("hours A" in line for line in lines) == 1 and any("interval" in line for line in lines)
