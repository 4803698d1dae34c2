"""A study with another figure of merit: the same trainings, measured otherwise, give the same answers in its own unit."""

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest

from breakeven.metric import MERIT, METRICS, Metric
from breakeven.report.markdown import markdown_of
from breakeven.report.page import page_of
from breakeven.report.provenance_tables import trials_table
from breakeven.report.report import plots_of, tables_of
from breakeven.report.results import Results
from breakeven.study.spec import Study

FACTS = {"study": "mine", "command": "make study", "datasets": {}, "versions": {}, "processor": "Xeon",
         "spec": dataclasses.asdict(Study())}  # fmt: skip
DISTANCE = Metric("distance", "distance to the truth", "", higher_is_better=False)
INVERSE = Metric("inverse", "inverse efficiency", "")
PURITY = Metric("purity", "purity", "%")
OF_ACCURACY = {DISTANCE: lambda a: 1.0 - a, INVERSE: lambda a: 1.0 / (1.0 - a), PURITY: lambda a: a}


@pytest.fixture(scope="module")
def trained() -> pd.DataFrame:
    """Two tasks, six sizes, three seeds; finetuning starts ahead and is faster; curves that rise."""
    from ledger_builder import LedgerBuilder, curve

    made, random = LedgerBuilder(), np.random.default_rng(5)
    made.pretraining(plateau_seconds=500.0, device_seconds=600.0)
    for task in ("stop_vs_ttH", "WH_vs_ZH"):
        for size in (100, 300, 1000, 3000, 10_000, 30_000):
            for seed in (1, 2, 3):
                for strategy, b, seconds in (("scratch", 1.2, 60.0), ("finetune", 0.8, 20.0)):
                    accuracy = 1.0 - (0.15 + b * size**-0.5) * random.lognormal(0.0, 0.02)
                    made.trial(task, strategy, size, seed, accuracy, plateau_seconds=seconds, device_seconds=2 * seconds,
                               curve=curve([accuracy - 0.05, accuracy - 0.002, accuracy], seconds / 3))  # fmt: skip
        for ratio in (0.03, 0.1, 0.3, 1.0):
            away = math.log10(ratio / 0.3) ** 2
            made.trial(task, "finetune", 100, 1_000_001, 0.8 - 0.02 * away, phase="search", ratio=ratio,
                       validation_loss=0.4 + 0.05 * away)  # fmt: skip
    return made.frame()


@pytest.fixture(scope="module")
def by_accuracy(trained: pd.DataFrame) -> Results:
    return Results(trained, FACTS)


@pytest.fixture(params=[DISTANCE, INVERSE, PURITY], ids=lambda metric: metric.name)
def merit(request, monkeypatch) -> Metric:
    monkeypatch.setitem(METRICS, request.param.name, request.param)
    return request.param


@pytest.fixture
def results(trained: pd.DataFrame, merit: Metric) -> Results:
    """Measured with `merit`, and with accuracies that say nothing."""
    turned = OF_ACCURACY[merit]

    def turned_epoch(epoch: dict) -> dict:
        value = epoch["validation_accuracy"]
        return {**epoch, "validation_accuracy": 0.5, merit.column("validation"): turned(value)}

    frame = trained.assign(
        **{merit.column(split): turned(trained[MERIT.column(split)]) for split in ("test", "validation")},
        curve=[[turned_epoch(epoch) for epoch in curve] for curve in trained["curve"]],
        test_accuracy=0.5,
        validation_accuracy=0.5,
    )
    return Results(frame, FACTS, merit=merit)


def test_laws_and_what_follows_from_them_are_those_of_the_same_errors(results, by_accuracy) -> None:
    same = ["task", "strategy", "a", "b", "c", "a_low", "c_high", "refusal"]
    pd.testing.assert_frame_equal(results.laws[same], by_accuracy.laws[same])
    pd.testing.assert_frame_equal(results.catch_up, by_accuracy.catch_up)
    for mine, other in (
        (results.accuracy_forecast, by_accuracy.accuracy_forecast),
        (results.law_curves, by_accuracy.law_curves),
    ):
        turned = OF_ACCURACY[results.merit](other["accuracy"] / 100)
        assert mine[results.merit.name].tolist() == pytest.approx((results.merit.scale * turned).tolist())
        assert (mine["low"] < mine[results.merit.name]).all() and (mine[results.merit.name] < mine["high"]).all()
    back = results.back_test
    assert back["inside"].tolist() == by_accuracy.back_test["inside"].tolist()
    assert (back["prediction_low"] < back["prediction_high"]).all()


def test_what_is_better_gains_in_its_own_unit(results, by_accuracy) -> None:
    gains = results.gains
    assert (gains["gain"] > 0).all() and len(gains) == 12
    if results.merit != INVERSE:  # whose differences are others
        points = results.merit.scale / 100 * by_accuracy.gains["gain"]
        assert gains["gain"].tolist() == pytest.approx(points.tolist())
        assert results.factors["factor"].tolist() == pytest.approx(by_accuracy.factors["factor"].tolist())
        lost = results.merit.scale / 100 * by_accuracy.optima["accuracy_lost"]
        assert results.optima[f"{results.merit.name}_lost"].tolist() == pytest.approx(lost.tolist())
    assert gains["published"].isna().all(), "the paper's Table 1 is of accuracies"
    assert by_accuracy.gains["published"].notna().any()
    assert results.factors["factor"].tolist() == pytest.approx(by_accuracy.factors["factor"].tolist(), rel=0.2)


def test_clocks_stop_where_the_figure_of_merit_says_so(results, by_accuracy) -> None:
    """Equal accuracy is reached in the same epochs, whatever it is called."""
    same = ["charged", "size", "exact", "tasks", "n_below", "scratch_hours", "finetuning_hours"]
    pd.testing.assert_frame_equal(results.break_even[same], by_accuracy.break_even[same])
    assert results.break_even.query("charged.str.contains('equally')")["exact"].notna().all()
    assert (results.time_ratios["n_reached"] > 0).all()
    curves = results.curves_by_events
    better = results.merit.sign * curves.groupby(["task", "strategy", "size"])[results.merit.name].diff().dropna()
    assert (better > 0).all()


def test_the_whole_report_is_of_it(results) -> None:
    sections, plots = tables_of(results), plots_of(results)
    tables = {table.name: table for section in sections.values() for table in section}
    for table in tables.values():
        assert all(table.meaning(name) for name in table.frame.columns), table.name
        assert table.name in ("accuracy", "endings") or "test accuracy" not in table.caption.lower(), table.name
        texts = {str(text) for text in table.shown.to_numpy().ravel()}
        assert not texts & {"nan", "<NA>", "None", "inf"}, table.name
    title = results.merit.title
    assert title in tables["gains"].caption and title in tables["accuracy_forecast"].shown.columns
    assert tables["table_1"].frame["quantity"].tolist()[:2] == [f"baseline {title}", "multiclass gain"]
    assert list(next(plot for plot in plots if plot.name == "accuracy").variants) == [
        results.merit.title,
        *(metric.title for metric in METRICS.values() if metric.unit and metric != results.merit),
    ]
    page = page_of(results, sections, trials_table(results.frame, results.merit), {plot.name: plot for plot in plots})
    assert "the mean is above zero on 2." in page and title in markdown_of(results, tables, pictures=False)


def test_what_is_not_recorded_after_each_epoch_has_no_convergence(trained, monkeypatch) -> None:
    monkeypatch.setitem(METRICS, "purity", PURITY)
    frame = trained.assign(test_purity=trained["test_accuracy"], validation_purity=trained["validation_accuracy"])
    results = Results(frame, FACTS, merit=PURITY)
    assert set(results.time_ratios["text"]) == {"no figure"} and results.curves_by_events.empty
    assert results.time_ratios["note"].str.startswith("purity is not recorded after each epoch").all()
    equal = results.break_even[results.break_even["charged"].str.contains("equally")]
    assert set(equal["text"]) == {"no figure"}
