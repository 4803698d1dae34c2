"""Laws and forecasts of small ledgers: refusals with their reason, known crossings, hours, break-even."""

import math

import numpy as np
import pandas as pd
import pytest

from breakeven.analysis.laws import forecast, scaling_law
from breakeven.analysis.laws.scaling_law import Refusal

SIZES = (100, 300, 1000, 3000, 10_000)


def fill(
    ledger, strategy="scratch", sizes=SIZES, law=(0.1, 1.0, 0.5), seeds=3, noise=0.01, task="stop_vs_ttH", **fields
):
    random = np.random.default_rng(len(strategy))
    for size in sizes:
        for seed in range(seeds):
            error = (law[0] + law[1] * size ** -law[2]) * random.lognormal(0.0, noise)
            ledger.trial(task, strategy, size, seed, 1.0 - error, **fields)


def only(table: pd.DataFrame) -> dict:
    [row] = table.to_dict("records")
    return row


def test_a_law_is_reported_with_its_intervals(ledger) -> None:
    fill(ledger)
    row = only(scaling_law.law_table(scaling_law.fit_laws(ledger.frame())))
    assert row["a_low"] < 0.1 < row["a_high"] and row["c_low"] < 0.5 < row["c_high"]
    assert row["refusal"] == "" and row["text"].startswith("error = 0.1") and row["n"] == "3"
    assert 0.0 < row["misfit"] <= 1.0


def test_four_sizes_make_no_law(ledger) -> None:
    fill(ledger, sizes=SIZES[:4])
    laws = scaling_law.fit_laws(ledger.frame())
    row = only(scaling_law.law_table(laws))
    assert row["refusal"] == Refusal.TOO_FEW_SIZES and "4 sizes: a law needs 5" in row["note"]
    assert math.isnan(row["a"]) and row["text"].startswith("no law")
    there = only(forecast.accuracy_forecast(laws))
    assert there["text"] == "no forecast" and math.isnan(there["accuracy"]) and "needs 5" in there["note"]
    assert scaling_law.law_curves(laws).empty


def test_an_error_that_does_not_fall_makes_no_law(ledger) -> None:
    fill(ledger, law=(0.5, 0.0, 0.5))
    assert only(scaling_law.law_table(scaling_law.fit_laws(ledger.frame())))["refusal"] == Refusal.NOT_FALLING


def test_an_exponent_that_the_data_do_not_fix_makes_no_law(ledger) -> None:
    for size, error in zip(SIZES, (0.6, 0.3, 0.3, 0.3, 0.3), strict=True):  # all of the fall between two sizes
        for seed, off in enumerate((-0.003, 0.0, 0.003)):
            ledger.trial("stop_vs_ttH", "scratch", size, seed, 1.0 - error - off)
    row = only(scaling_law.law_table(scaling_law.fit_laws(ledger.frame())))
    assert row["refusal"] == Refusal.NOT_IDENTIFIED and "% of the fits end at a bound" in row["note"]


def test_one_seed_gives_a_law_without_uncertainty(ledger) -> None:
    fill(ledger, seeds=1)
    laws = scaling_law.fit_laws(ledger.frame())
    row = only(scaling_law.law_table(laws))
    assert row["c"] == pytest.approx(0.5, abs=0.1) and math.isnan(row["c_low"]) and row["note"] == "n=1: no uncertainty"
    there = only(forecast.accuracy_forecast(laws))
    assert math.isnan(there["low"]) and there["text"].endswith("(no uncertainty)")
    assert scaling_law.law_curves(laws)["low"].isna().all()


def test_a_law_that_misses_the_means_says_so_and_widens(ledger) -> None:
    random = np.random.default_rng(3)
    for size, bump in zip((*SIZES, 30_000), (1.0, 0.9, 1.1, 0.9, 1.1, 1.0), strict=True):
        for seed in range(3):
            error = (0.1 + size**-0.5) * bump * random.lognormal(0.0, 0.003)
            ledger.trial("stop_vs_ttH", "scratch", size, seed, 1.0 - error)
    row = only(scaling_law.law_table(scaling_law.fit_laws(ledger.frame())))
    assert row["misfit"] < 0.05 and "intervals are widened" in row["note"]
    assert row["a_high"] - row["a_low"] > 0.02


def test_a_perfect_training_is_left_out_and_counted(ledger) -> None:
    fill(ledger)
    ledger.trial("stop_vs_ttH", "scratch", 10_000, 9, 1.0)
    assert "1 of 16 values are zero" in only(scaling_law.law_table(scaling_law.fit_laws(ledger.frame())))["note"]


def test_scratch_catches_up_where_the_laws_meet(ledger) -> None:
    """Half of the falling part is left after finetuning: .5 n^-.5 is a tenth of a point at 250,000."""
    fill(ledger, sizes=(*SIZES, 30_000, 100_000), noise=0.0005)
    fill(ledger, "finetune", (*SIZES, 30_000, 100_000), (0.1, 0.5, 0.5), noise=0.0005)
    row = only(forecast.catch_up(scaling_law.fit_laws(ledger.frame())))
    assert row["events"] == pytest.approx(250_000, rel=0.3) and row["low"] < 250_000 < row["high"]
    assert row["text"].startswith("2") and row["largest"] == 100_000


def test_where_floors_differ_scratch_never_catches_up(ledger) -> None:
    fill(ledger, noise=0.001)
    fill(ledger, "finetune", law=(0.05, 0.5, 0.5), noise=0.001)
    fill(ledger, "frozen", law=(0.2, 1.0, 0.5), noise=0.001)
    found = forecast.catch_up(scaling_law.fit_laws(ledger.frame())).set_index("strategy")
    assert math.isinf(found.loc["finetune", "events"]) and found.loc["finetune", "text"] == "beyond 100,000"
    assert found.loc["frozen", "events"] == 100.0 and found.loc["frozen", "text"] == "100 or below"


def test_a_back_test_needs_six_sizes_and_predicts_the_last(ledger) -> None:
    fill(ledger)
    row = only(forecast.back_test(ledger.frame()))
    assert row["text"] == "no back-test" and "5 sizes: a back-test needs 6" in row["note"] and pd.isna(row["inside"])
    fill(ledger, sizes=(30_000,))
    row = only(forecast.back_test(ledger.frame()))
    assert row["size"] == 30_000 and row["measured"] == pytest.approx(100 * (0.9 - 30_000**-0.5), abs=0.3)
    assert abs(row["error"]) < 1.0 and row["prediction_low"] < row["predicted"] < row["prediction_high"]
    assert row["inside"] and row["text"].endswith("inside")


def timed(ledger, strategy: str, seconds, task: str = "stop_vs_ttH", sizes=SIZES, **fields) -> None:
    random = np.random.default_rng(4)
    for size in sizes:
        for seed in (1, 2, 3):
            time = seconds(size) * random.lognormal(0.0, 0.02)
            ledger.trial(task, strategy, size, seed, 0.8, plateau_seconds=time, **fields)


def test_hours_and_break_even_a_decade_on(ledger) -> None:
    """36 s + .36 s an event from scratch, a quarter of it finetuned: 10.01 h against 2.5 h at 100,000 events."""
    ledger.pretraining(plateau_seconds=3600.0 * 75.075)
    for task in ("stop_vs_ttH", "WH_vs_ZH"):
        timed(ledger, "scratch", lambda size: 36.0 + 0.36 * size, task)
        timed(ledger, "finetune", lambda size: 9.0 + 0.09 * size, task)
    hours = forecast.fit_hours(ledger.frame())
    found = forecast.hours_forecast(ledger.frame(), hours)
    assert found.query("strategy == 'scratch'")["hours"].tolist() == pytest.approx([10.01, 10.01], rel=0.05)
    assert ((found["prediction_low"] < found["low"]) & (found["high"] < found["prediction_high"])).all()
    assert set(found["unit"]) == {"cpu_hours"} and set(found["processor"]) == {"Xeon x 2"}
    row = only(forecast.break_even_forecast(ledger.frame(), hours))
    assert row["exact"] == pytest.approx(10.0, rel=0.05) and row["size"] == 100_000 and row["n_tasks"] == 2
    assert row["low"] < row["exact"] < row["high"] and row["text"] == f"{row['tasks']} tasks"


def test_no_break_even_is_forecast_without_laws_or_across_devices(ledger) -> None:
    ledger.pretraining(plateau_seconds=100.0)
    timed(ledger, "scratch", lambda size: 1.0 * size, sizes=SIZES[:3])
    timed(ledger, "finetune", lambda size: 0.5 * size, sizes=SIZES[:3])
    row = only(forecast.break_even_forecast(ledger.frame(), forecast.fit_hours(ledger.frame())))
    assert row["text"] == "no forecast" and "3 sizes: a law needs 5" in row["note"] and pd.isna(row["tasks"])
    timed(ledger, "finetune", lambda size: 0.5 * size, sizes=SIZES[3:], device="cuda")
    hours = forecast.fit_hours(ledger.frame())
    row = only(forecast.break_even_forecast(ledger.frame(), hours))
    assert row["text"] == "no forecast" and "not mixed" in row["note"]
    mixed = forecast.hours_forecast(ledger.frame(), hours).set_index("strategy").loc["finetune"]
    assert mixed["unit"] == "mixed" and mixed["text"] == "no forecast" and "not comparable" in mixed["note"]


def test_an_empty_ledger_has_no_laws(ledger) -> None:
    laws = scaling_law.fit_laws(ledger.frame())
    assert laws == {} and scaling_law.law_table(laws).empty and scaling_law.law_curves(laws).empty
    assert forecast.accuracy_forecast(laws).empty and forecast.catch_up(laws).empty
    assert forecast.back_test(ledger.frame()).empty and forecast.hours_forecast(ledger.frame(), {}).empty
    assert forecast.break_even_forecast(ledger.frame(), {}).empty
