"""A metric is one line in the list: all that tell of trials take it from there."""

import math
from pathlib import Path

import pytest
from tracking.studies import trial

from breakeven.analysis import summary
from breakeven.ledger.ledger import Ledger
from breakeven.metric import MERIT, METRICS, Metric
from breakeven.report.provenance_tables import trials_table
from breakeven.report.report import tables_of
from breakeven.report.results import Results
from breakeven.tracking import content
from breakeven.work.facts import measured


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch) -> Ledger:
    """Two trials from scratch and two finetuned, with a share that nobody has heard of and a distance likewise."""
    monkeypatch.setitem(METRICS, "purity", Metric("purity", "purity", "%"))
    monkeypatch.setitem(METRICS, "distance", Metric("distance", "distance to the truth", "", higher_is_better=False))
    made = Ledger(tmp_path)
    for strategy, distance in (("scratch", 4.0), ("finetune", 2.0)):
        for seed in (1, 2):
            facts = {name: value for name, value in trial(f"{strategy}{seed}", seed, strategy).items()
                     if value is not None and value == value and not name.startswith(("test_", "validation_"))}  # fmt: skip
            values = {"accuracy": 0.7, "auc": math.nan, "purity": 0.25 * seed, "distance": distance}
            made.write([facts | {"size": 100, "seed": seed, "metrics": measured("test", values)}])
    return made


def test_the_ledgers_frame_has_it(ledger) -> None:
    frame = ledger.frame()
    assert frame["test_purity"].tolist() == [0.25, 0.5] * 2 and frame["validation_purity"].isna().all()
    assert ledger.get("scratch1")["metrics"] == {
        "test_accuracy": 0.7, "test_auc": None, "test_purity": 0.25, "test_distance": 4.0,
    }  # fmt: skip


def test_mlflow_has_it(ledger) -> None:
    run = content.of_record(ledger.frame().iloc[0], "mine")
    assert {metric.key: metric.value for metric in run.metrics if "purity" in metric.key} == {"test/purity": 0.25}
    figures = summary.cell_figures(ledger.frame())["stop_vs_ttH/none/scratch/100"]
    assert figures["test/purity"] == 0.375 and figures["test/distance"] == 4.0


def test_the_report_has_it(ledger) -> None:
    results = Results(ledger.frame(), {"study": "mine", "datasets": {}})
    tables = {table.name: table for section in tables_of(results).values() for table in section}
    assert tables["accuracy"].shown["purity, %"].tolist() == ["37.5 ± 17.7 (n=2)"] * 2
    assert trials_table(ledger.frame()).shown["purity"].tolist() == ["0.2500", "0.5000"] * 2
    distances = tables["rejection"].frame.set_index("strategy")
    assert distances["quantity"].tolist() == ["distance to the truth"] * 2
    assert distances.loc["finetune", "improvement"] == pytest.approx(2.0), "half the distance is twice as good"


def test_there_is_one_figure_of_merit() -> None:
    assert [metric for metric in METRICS.values() if metric.merit] == [MERIT]


def test_an_older_record_is_read_as_if_it_had_been_written_today(tmp_path) -> None:
    facts = {name: value for name, value in trial("old").items() if value is not None and value == value}
    ledger = Ledger(tmp_path)
    ledger.write([facts | {"size": 100, "seed": 1, "test_events": 50, "validation_events": 20, "test_auc": None}])
    found = ledger.get("old")
    assert found["metrics"] == {"test_accuracy": 0.71, "test_auc": None, "validation_accuracy": 0.71}
    assert "test_accuracy" not in found and found["test_events"] == 50
    assert ledger.frame()["test_accuracy"].item() == 0.71
