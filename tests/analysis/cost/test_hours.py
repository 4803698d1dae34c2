import math

import pytest

from breakeven.analysis.cost.hours import cost_table


def fill(ledger) -> None:
    ledger.generation("ttH", device_seconds=3600.0)
    ledger.generation("WH", device_seconds=1800.0, wasted_seconds=360.0)
    ledger.pretraining(device_seconds=7200.0, plateau_seconds=3600.0, wasted_seconds=720.0)
    ledger.trial("stop_vs_ttH", "scratch", 100, 1, 0.7, device_seconds=360.0, plateau_seconds=180.0)
    ledger.trial("stop_vs_ttH", "scratch", 100, 2, 0.7, device_seconds=360.0)
    ledger.trial("stop_vs_ttH", "finetune", 100, 1, 0.8, device_seconds=36.0, plateau_seconds=18.0)
    ledger.trial("stop_vs_ttH", "finetune", 100, 2, 0.0, outcome="failed", device_seconds=72.0)
    ledger.trial("stop_vs_ttH", "finetune", 100, 1_000_001, 0.8, phase="search", device_seconds=180.0)


def test_every_second_is_charged_once_to_its_stage(ledger) -> None:
    fill(ledger)
    table = cost_table(ledger.frame()).set_index("stage")
    assert table.index.tolist() == [
        "generation", "pretraining multiclass", "search", "scratch", "finetune multiclass", "all",
    ]  # fmt: skip
    assert table["useful"].tolist() == pytest.approx([1.5, 2.0, 0.05, 0.2, 0.01, 3.76])
    assert table["wasted"].tolist() == pytest.approx([0.1, 0.2, 0.0, 0.0, 0.02, 0.32])
    assert table["n"].tolist() == [2, 1, 1, 2, 1, 7]
    assert table["n_failed"].tolist() == [0, 0, 0, 0, 1, 1]
    assert set(table["unit"]) == {"cpu_hours"}
    charged = ledger.frame()[["device_seconds", "wasted_seconds"]].sum().sum() / 3600
    assert table.loc["all", "useful"] + table.loc["all", "wasted"] == pytest.approx(charged)


def test_means_are_to_the_plateau_with_the_published_beside(ledger) -> None:
    fill(ledger)
    table = cost_table(ledger.frame()).set_index("stage")
    assert table.loc["scratch", "mean"] == pytest.approx((180 + 360) / 2 / 3600)
    assert table.loc["pretraining multiclass", "mean"] == pytest.approx(1.0)
    assert table.loc["pretraining multiclass", "published_mean"] == 45.5
    assert table.loc["scratch", "published_mean"] == 2.94
    assert math.isnan(table.loc["generation", "mean"])


def test_a_stopped_search_trial_is_neither_useful_nor_wasted(ledger) -> None:
    fill(ledger)
    ledger.trial("stop_vs_ttH", "finetune", 100, 1_000_001, 0.8, phase="search", outcome="stopped", device_seconds=72.0)
    table = cost_table(ledger.frame()).set_index("stage")
    assert table.loc["search", ["useful", "stopped", "wasted"]].tolist() == pytest.approx([0.05, 0.02, 0.0])
    assert table.loc["search", ["n", "n_stopped", "n_failed"]].tolist() == [1, 1, 0]
    assert table.loc["all", "stopped"] == pytest.approx(0.02)


def test_processors_that_share_a_sum_are_named(ledger) -> None:
    fill(ledger)
    ledger.trial("stop_vs_ttH", "scratch", 100, 3, 0.7, processor="EPYC x 64")
    table = cost_table(ledger.frame()).set_index("stage")
    assert "EPYC x 64; Xeon x 2" in table.loc["scratch", "note"] and table.loc["search", "note"] == ""


def test_two_kinds_of_device_are_summed_apart(ledger) -> None:
    fill(ledger)
    ledger.trial("stop_vs_ttH", "scratch", 100, 3, 0.7, device="cuda", device_seconds=36.0)
    totals = cost_table(ledger.frame()).query("stage == 'all'").set_index("unit")["useful"]
    assert totals["gpu_hours"] == pytest.approx(0.01)
    assert totals["cpu_hours"] == pytest.approx(3.76)


def test_a_failure_before_a_success_is_waste_and_a_repeated_row_counts_once(ledger) -> None:
    ledger.trial("stop_vs_ttH", "scratch", 100, 1, 0.0, outcome="failed", record="r", device_seconds=36.0)
    for _ in range(2):
        ledger.trial("stop_vs_ttH", "scratch", 100, 1, 0.7, record="r", device_seconds=360.0)
    [row] = cost_table(ledger.frame()).query("stage == 'scratch'").to_dict("records")
    assert (row["useful"], row["wasted"]) == (pytest.approx(0.1), pytest.approx(0.01))


def test_an_empty_ledger_costs_nothing(ledger) -> None:
    assert cost_table(ledger.frame()).empty


def test_energy_is_what_machines_told_and_absent_where_none_did(ledger):
    ledger.trial("WH_vs_ZH", "scratch", 100, 1, 0.6, device="cuda", energy_joules=1.8e6)
    ledger.trial("WH_vs_ZH", "scratch", 100, 2, 0.6, device="cuda")
    ledger.trial("WH_vs_ZH", "scratch", 100, 1, 0.6)
    found = cost_table(ledger.frame()).set_index(["unit", "stage"])["energy_kwh"]
    assert found["gpu_hours", "scratch"] == pytest.approx(0.5) and math.isnan(found["cpu_hours", "scratch"])
