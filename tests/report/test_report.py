import dataclasses
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from ledger_builder import LedgerBuilder

from breakeven.report.markdown import markdown_of
from breakeven.report.report import tables_of, write_report
from breakeven.report.results import Results
from breakeven.report.sentences import summary_lines
from breakeven.study.spec import Study


def short(results: Results) -> str:
    """The short text, without the pictures, which take longest."""
    tables = {table.name: table for section in tables_of(results).values() for table in section}
    return markdown_of(results, tables, pictures=False)


@pytest.fixture(scope="module")
def facts() -> dict[str, Any]:
    def manifest(source: str, note: str = "") -> dict[str, Any]:
        return {"source": source, "events": 5000, "cross_section_pb": 0.36, "hash": f"hash_{source}", "note": note}

    return {
        "study": "laptop",
        "spec": dataclasses.asdict(Study()),
        "command": "make study",
        "git_commit": "abc123",
        "versions": {"torch": "2.13.0"},
        "processor": "Xeon x 2",
        "datasets": {
            "ttH": manifest("pythia"),
            "ttt": manifest("lhe", "from elsewhere"),
            "tttt": {
                **manifest("hard_events"),
                "hard_events": 2500,
                "splits": {"test": {"events": 1250, "hard_events": 620, "effective": 610.5}},
            },
        },
    }


def fill(ledger, *, gain: float = 0.05, finetuning: float = 4.0, size: int = 1000) -> None:
    ledger.pretraining(plateau_seconds=60.0, device_seconds=60.0)
    for task in ("stop_vs_ttH", "WH_vs_ZH", "FCNC_vs_tHq"):
        for seed in (1, 2, 3):
            level = 0.7 + seed / 100
            ledger.trial(task, "scratch", size, seed, level, plateau_seconds=10.0)
            ledger.trial(task, "finetune", size, seed, level + gain + seed / 1000, plateau_seconds=finetuning)


@pytest.fixture(scope="module")
def written(facts, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole report of a filled ledger, for tests that only read it."""
    ledger = LedgerBuilder()
    fill(ledger)
    return write_report(Results(ledger.frame(), facts), tmp_path_factory.mktemp("report") / "runs" / "laptop")


def test_the_report_answers_with_its_evidence(written: Path) -> None:
    path = written
    assert path.name == "index.html"
    text = path.with_name("report.md").read_text()
    assert "finetuning beats scratch on 3 of 3 tasks (3 beyond the 90 % interval), by +5.2 points" in text
    assert "multiclass pretraining pays from 10 tasks on" in text
    assert "| stop vs ttH | baseline accuracy | 72.0 ± 1.0 (n=3) [83.0 ± 0.2] |" in text
    assert "+5.2 ± 0.1 (n=3) [0.4 ± 0.2]" in text
    assert "25 tasks" in text and "40.7" in text, "the paper's figures by both readings"
    assert "ttt: your LHE files, 5,000 events" in text and "hash_lhe`; from elsewhere" in text
    assert "`abc123`" in text and "make study" in text and "torch 2.13.0" in text
    assert "| GPU-hours |" not in text, "nothing ran on a GPU"
    assert not re.search(r"\bnan\b|<NA>|\binf\b", text, re.IGNORECASE)
    assert path.with_name("accuracy.png").exists()


def test_each_table_lies_beside_as_csv(written: Path) -> None:
    folder = written.parent
    gains = pd.read_csv(folder / "gains.csv", comment="#")
    assert gains["gain"].tolist() == pytest.approx([5.2] * 3)
    even = pd.read_csv(folder / "break_even.csv", comment="#").set_index("charged")["tasks"]
    assert even["until the plateau"] == 10 and even["until the plateau, with search"] == 10
    tables = {path.stem for path in folder.glob("*.csv")}
    assert tables == {path.stem for path in folder.glob("*.tex")}
    assert tables == {
        "summary", "table_1", "accuracy", "gains", "rejection", "data_efficiency", "scaling_laws", "accuracy_forecast",
        "catch_up", "back_test", "ratios_used", "ratio_optima", "ratio_optima_pooled", "break_even", "break_even_forecast",
        "break_even_readings", "convergence", "plateau", "hours_forecast", "similarity",
        "similarity_layers", "cost", "accounts", "price", "samples",
        "pretrainings", "failed", "missing", "trials",
    }  # fmt: skip


def test_distinct_hard_events_stand_beside_events(written: Path) -> None:
    assert (
        "- tttt: shipped parton-level sample, 5,000 events of 2,500 hard events, dataset"
        in written.with_name("report.md").read_text()
    )
    samples = pd.read_csv(written.parent / "samples.csv", comment="#").set_index("process")
    counted = samples.loc["tttt", ["hard_events", "test_events", "test_hard_events", "test_effective"]]
    assert counted.tolist() == [2500, 1250, 620, 610.5]
    assert samples.loc["ttH", ["hard_events", "test_events"]].isna().all()


def test_where_pretraining_does_not_win_the_report_says_so_and_why(ledger, facts, tmp_path: Path) -> None:
    fill(ledger, gain=-0.05)
    text = short(Results(ledger.frame(), facts))
    assert "beats scratch on 0 of 3 tasks" in text
    assert "At the smallest size multiclass does not win on most tasks: the multiclass backbone itself" in text


@pytest.mark.parametrize(
    ("levels", "gains", "reason"),
    [
        ((0.70, 0.71, 0.72), (-0.02, 0.03, -0.02), "1 of the 1 losses lie within their 90 % interval of zero"),
        (
            (0.50, 0.51, 0.50),
            (-0.01, -0.02, -0.01),
            "at this size WH vs ZH is near chance with and without pretraining",
        ),
        ((0.70,), (-0.01,), "a loss on one seed has no uncertainty"),
    ],
)
def test_the_reason_comes_from_the_numbers(ledger, facts, levels, gains, reason: str) -> None:
    for seed, (level, gain) in enumerate(zip(levels, gains, strict=True), start=1):
        ledger.trial("WH_vs_ZH", "scratch", 1000, seed, level)
        ledger.trial("WH_vs_ZH", "finetune", 1000, seed, level + gain)
    assert reason in short(Results(ledger.frame(), facts))


def test_a_whole_study_is_answered_size_by_size(whole_study, facts) -> None:
    results = Results(whole_study, facts)
    text = short(results)
    assert "**multiclass**, 100 events per class: finetuning beats scratch on 5 of 5 tasks" in text
    assert text.count("pretraining pays from 30 tasks on** (90 %: 30), by time to plateau, mean over all sizes.") == 2
    largest = text.index(
        "**multiclass pretraining pays from 30 tasks on** (90 %: 30), by time to plateau, at 1,000 events"
    )
    assert largest < text.index(
        "**multiclass pretraining pays from 30 tasks on** (90 %: 30), by time to plateau, mean over"
    )
    assert "no interval contains the scatter of pretraining seeds" in text
    lines = summary_lines(results)
    assert "  multilabel all sizes      30 tasks (90 %: 30)" in lines
    assert next(line for line in lines if "multiclass finetune" in line).split()[2::2] == ["100", "300", "1,000"]


def test_where_it_saves_nothing_the_report_says_never(ledger, facts, tmp_path: Path) -> None:
    fill(ledger, finetuning=12.0)
    results = Results(ledger.frame(), facts)
    text = short(results)
    assert "multiclass pretraining never pays in cpu-hours" in text
    assert "pays from never" not in text
    assert any("never" in line for line in summary_lines(results))


def test_the_answer_says_what_was_charged_to_its_end(ledger, facts) -> None:
    fill(ledger)
    frame = ledger.frame()
    frame.loc[frame["level"] == "pretraining", "plateau_seconds"] = float("nan")
    assert "by time to plateau, at 1,000 events per class; charged to the end: the pretraining." in short(
        Results(frame, facts)
    )
    frame.loc[frame["task"] == "WH_vs_ZH", "plateau_seconds"] = float("nan")
    frame["device_seconds"] = frame["device_seconds"].where(frame["strategy"] != "finetune", 4.0)
    assert "; charged to the end: the pretraining, 6 of 18 trainings." in short(Results(frame, facts))


def test_two_kinds_of_device_are_told_apart(ledger, facts, tmp_path: Path) -> None:
    fill(ledger)
    frame = ledger.frame()
    frame.loc[frame["level"] == "pretraining", "device"] = "cuda"
    text = short(Results(frame, facts))
    assert "summed apart" in text and "GPU-hours" in text and "CPU-hours" in text
    assert "no break-even" in text and "not mixed" in text


def test_failures_are_listed_with_their_reason(ledger, facts, tmp_path: Path) -> None:
    fill(ledger)
    failed = ledger.trial("stop_vs_ttH", "scratch", 1000, 4, 0.0, outcome="failed", reason="loss | is NaN")
    results = Results(ledger.frame(), facts)
    text = short(results)
    assert "## Failed" in text and failed["record"] in text and "loss \\| is NaN" in text
    assert "1 failed" in text
    assert "1 failed: loss | is NaN" in summary_lines(results)


def test_a_ledger_without_results_still_gives_a_report(ledger, facts, tmp_path: Path) -> None:
    page = write_report(Results(ledger.frame(), facts), tmp_path)
    text = page.with_name("report.md").read_text()
    assert "No cell has both" in text and "Nothing yet." in text and "accuracy.png" not in text
    assert "No cell has both" in page.read_text() and not list(tmp_path.glob("*.png"))
    assert len(summary_lines(Results(ledger.frame(), facts))) == 3


def test_the_summary_is_short_plain_text(ledger, facts) -> None:
    fill(ledger)
    lines = summary_lines(Results(ledger.frame(), facts))
    assert any("multiclass" in line and "1,000 +5.2" in line for line in lines)
    assert any("10 tasks" in line for line in lines)
    assert len(lines) < 12 and all(len(line) < 120 for line in lines)
