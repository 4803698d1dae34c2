"""A study of somebody's own events, two levels deep, on their own network, from a file that is named on the command line."""

import subprocess
import sys
from pathlib import Path

import pytest
from study_runs.started import ROOT, SCALING, study, trials

pytestmark = pytest.mark.slow


def test_a_plugin_brings_events_and_network_to_a_whole_study(starting, tmp_path):
    words = ("--plugin", "tests/data/jet_plugin.py", "--network.kind", "jet_sets", "--network.options", "width", "16",
             "--finetuning.tasks", "wide_vs_narrow", "--pretraining.processes", "wide", "narrow")  # fmt: skip
    assert (ROOT / words[1]).is_file()
    command = starting(study(SCALING, tmp_path / "runs", *words))
    assert command.ends() == 0, command.said
    assert "Break-even" in command.said and "registered" not in command.said
    found = trials(tmp_path / "runs")
    assert len(found) == 12 and all(record["outcome"] in ("finished", "stopped") for record in found)
    assert all(record["metrics"]["test_accuracy"] > 0.4 for record in found if record["phase"] == "confirm")
    assert {record["task"] for record in found} == {"width"}  # one task, by the name that the plug-in gives it
    page = tmp_path / "runs" / "smoke" / "report" / "index.html"
    assert "wide against narrow jets" in page.read_text()
    before = page.stat().st_mtime_ns
    report = [Path(sys.executable).with_name("breakeven"), "report", page.parents[1]]
    subprocess.run(report, cwd=ROOT, check=True)
    assert "wide against narrow jets" not in page.read_text()  # its title is the plug-in's
    subprocess.run([*report, "--plugin", words[1]], cwd=ROOT, check=True)
    assert page.stat().st_mtime_ns > before and "wide against narrow jets" in page.read_text()
