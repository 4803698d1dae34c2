"""Tables, report and pictures of a frame that a ledger wrote and read back: its types, its holes, its repeats."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from breakeven.analysis import accuracy, rejection
from breakeven.analysis import frame as ledger_frame
from breakeven.analysis.cost import breakeven, convergence
from breakeven.analysis.cost import hours as cost
from breakeven.ledger.ledger import Ledger
from breakeven.report.report import write_report
from breakeven.report.results import Results
from breakeven.report.sentences import summary_lines
from breakeven.study.plan import Cell
from breakeven.study.spec import Study, task

STAMP = {"device": "cpu", "git_commit": "abc123", "host": "node1", "started": "2026-03-01T10:00:00.000+00:00",
         "ended": "2026-03-01T10:00:40.000+00:00"}  # fmt: skip


def trained(accuracy: float, seconds: float) -> dict[str, Any]:
    """The figures of a finished training, as a worker writes them: what does not exist is None or not there."""
    curve = [
        {"epoch": epoch, "wall_seconds": epoch * seconds / 4, "device_seconds": epoch * seconds / 4,
         "events_seen": 200 * epoch, "train_loss": 0.7, "validation_loss": 0.7 - epoch / 100,
         "validation_accuracy": accuracy if epoch > 1 else 0.5, "validation_auc": None, "learning_rate": 1e-3}
        for epoch in (1, 2, 3, 4)
    ]  # fmt: skip
    return {"outcome": "finished", "validation_loss": 0.66, "validation_accuracy": accuracy, "validation_auc": None,
            "epochs": 4, "events_seen": 800, "plateau_seconds": seconds / 2, "device_seconds": seconds,
            "wall_seconds": seconds, "curve": curve, **STAMP}  # fmt: skip


def trial(cell: Cell, seed: int, result: dict[str, Any], *, phase: str = "confirm") -> dict[str, Any]:
    asked = cell.task
    return {
        **result, "level": "trial", "record": f"{cell.name}/{seed}".replace("/", "-"), "phase": phase, "cell": cell.name,
        "task": asked.name, "signal": asked.signal, "background": asked.background, "pretraining": cell.pretraining,
        "strategy": cell.strategy, "size": cell.size, "seed": seed, "ratio": 1.0 if cell.strategy == "scratch" else 0.1,
        "dataset": "d1+d2", "backbone": "" if cell.pretraining == "none" else "b1", "identity": {"seed": seed},
    }  # fmt: skip


@pytest.fixture(scope="module")
def records() -> list[dict[str, Any]]:
    """Scratch 400 s, finetuned 100 s, each half of it to the plateau; pretraining 1000 s; two seeds and holes."""
    scratch = Cell(task("stop_vs_ttH"), "none", "scratch", 100)
    finetune = Cell(task("stop_vs_ttH"), "multiclass", "finetune", 100)
    generated = {"level": "generation", "record": "g1", "outcome": "finished", "process": "ttH", "source": "pythia",
                 "events": 500, "dataset": "g1", "device_seconds": 20.0, "wall_seconds": 20.0, **STAMP}  # fmt: skip
    pretrained = {**trained(0.4, 1000.0), "level": "pretraining", "record": "p1", "pretraining": "multiclass",
                  "backbone": "b1", "seed": 1, "workers": 2, "wasted_seconds": 50.0, "plateau_seconds": None}  # fmt: skip
    broken = {
        "outcome": "failed",
        "reason": "NonFinite: loss is nan",
        "device_seconds": 7.0,
        "wall_seconds": 7.0,
        **STAMP,
    }
    lost = {"level": "pretraining", "record": "p2", "pretraining": "multilabel", "seed": 1, **broken}
    found = [generated, pretrained, lost]
    for seed, level in ((1, 0.70), (2, 0.72)):
        judged = {"test_accuracy": level, "test_auc": level + 0.05}
        better = {"test_accuracy": level + 0.04, "test_auc": None}
        found.append(trial(scratch, seed, {**trained(level, 400.0), **judged}))
        found.append(trial(finetune, seed, {**trained(level + 0.05, 100.0), **better, "wasted_seconds": 3.0}))
    found.append(trial(finetune, 1_000_001, trained(0.7, 60.0), phase="search"))
    found.append(trial(finetune, 3, broken))
    found.append(trial(Cell(task("stop_vs_ttH"), "multiclass", "finetune", 300), 1, broken))
    return found


@pytest.fixture(scope="module")
def frame(records, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    folder = tmp_path_factory.mktemp("frame") / "ledger"
    Ledger(folder).write(records[:3])
    Ledger(folder).write(records[3:])
    read = Ledger(folder).refresh()
    assert not read.problems
    return read.frame([record["record"] for record in records])


FACTS = {"study": "laptop", "spec": dataclasses.asdict(Study()), "command": "make study", "git_commit": "abc123",
         "versions": {"torch": "2.13.0"}, "processor": "Xeon x 2", "datasets": {
             "ttH": {"source": "pythia", "events": 500, "cross_section_pb": 0.5, "hash": "g1", "note": ""}}}  # fmt: skip


def test_tables_of_a_read_ledger(frame: pd.DataFrame) -> None:
    table = accuracy.table(accuracy.cells(frame), accuracy.gains(frame))
    assert table.loc[("stop_vs_ttH", "baseline accuracy"), 100] == "71.0 ± 1.4 (n=2)"
    assert table.loc[("stop_vs_ttH", "baseline accuracy"), 300] == "missing"
    assert table.loc[("stop_vs_ttH", "multiclass gain"), 100] == "+4.0 ± 0 (n=2), 1 failed"
    assert table.loc[("stop_vs_ttH", "multiclass gain"), 300] == "failed (1)"
    [even] = breakeven.study_break_even(frame).to_dict("records")
    assert even["exact"] == pytest.approx(1000 / (200 - 50)) and even["tasks"] == 7
    [ratio] = convergence.time_ratios(frame).to_dict("records")
    assert ratio["ratio"] == pytest.approx(50 / 400) and ratio["n_reached"] == 2


def test_records_of_older_versions_have_no_working_points(frame: pd.DataFrame) -> None:
    assert rejection.working_points(frame).empty and frame["test_rejection_50"].isna().all()


def test_all_seconds_of_a_read_ledger_are_in_the_cost_table(frame: pd.DataFrame) -> None:
    table = cost.cost_table(frame).set_index("stage")
    assert table.loc["all", "useful"] * 3600 == pytest.approx(20 + 1000 + 2 * 400 + 2 * 100 + 60)
    assert table.loc["all", "wasted"] * 3600 == pytest.approx(50 + 2 * 3 + 3 * 7)
    stages = table.drop("all")
    assert stages[["useful", "wasted", "n", "n_failed"]].sum().tolist() == pytest.approx(
        table.loc["all", ["useful", "wasted", "n", "n_failed"]].tolist()
    )


@pytest.fixture(scope="module")
def twice(frame: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The report of one ledger, written two times."""
    return [write_report(Results(frame, FACTS), tmp_path_factory.mktemp("report")) for _ in range(2)]


def test_the_report_of_a_read_ledger_has_every_section_and_no_holes(frame: pd.DataFrame, twice: list[Path]) -> None:
    text = twice[0].with_name("report.md").read_text()
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == [
        "Answer", "In detail", "Accuracy", "Cost", "Break-even", "What each task saves", "How trainings ended",
        "Learning-rate ratios", "Failed", "Method", "Provenance",
    ]  # fmt: skip
    assert not re.search(r"\bnan\b|<NA>|\bNone\b|\binf\b", text.replace("loss is nan", ""))
    assert "| p2 | multilabel pretraining | 1 | NonFinite: loss is nan |" in text
    assert "| stop_vs_ttH-multiclass-finetune-100-3 | stop_vs_ttH/multiclass/finetune/100 | 3 |" in text
    assert len(ledger_frame.failed(frame)) == 3 and "3 failed: NonFinite: loss is nan" in summary_lines(
        Results(frame, FACTS)
    )


def test_the_same_ledger_gives_the_same_report(twice: list[Path]) -> None:
    first, second = ({file.name: file.read_bytes() for file in page.parent.iterdir()} for page in twice)
    assert (
        first == second
        and {"index.html", "report.md", "accuracy.png", "accuracy.pdf", "cost.csv", "cost.tex"} <= first.keys()
    )


def test_a_ledger_that_has_only_generated_reports_its_cost(records, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    ledger.write(records[:1])
    text = write_report(Results(ledger.frame(), FACTS), tmp_path / "report").with_name("report.md").read_text()
    assert "| generation | CPU-hours |" in text and "No cell has both" in text


def test_a_failed_first_search_alone_is_reported(records, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    ledger.write([{**records[-1], "phase": "search"}])
    text = write_report(Results(ledger.frame(), FACTS), tmp_path / "report").with_name("report.md").read_text()
    assert "## Failed" in text and "NonFinite: loss is nan" in text
    assert summary_lines(Results(ledger.frame(), FACTS))[-1] == "1 failed: NonFinite: loss is nan"
