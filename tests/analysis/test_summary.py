"""Figures of cells and study, against sums and means taken by hand."""

import pandas as pd
import pytest
from scipy import stats

from breakeven.analysis.summary import cell_figures, study_figures

TASK = "stop_vs_ttH"
SCRATCH, TUNED = f"{TASK}/none/scratch/100", f"{TASK}/multiclass/finetune/100"


@pytest.fixture
def frame(ledger):
    ledger.generation("ttH", device_seconds=360.0)
    ledger.pretraining(device_seconds=7200.0, device="cuda")
    for seed, accuracy in ((1, 0.70), (2, 0.74), (3, 0.78)):
        ledger.trial(TASK, "scratch", 100, seed, accuracy, device_seconds=3600.0)
    ledger.trial(TASK, "scratch", 100, 4, 0.5, outcome="failed", device_seconds=1800.0)
    search = {"phase": "search", "device_seconds": 900.0}
    ledger.trial(TASK, "finetune", 100, 11, 0.8, **search, wasted_seconds=90.0)
    ledger.trial(TASK, "finetune", 100, 12, 0.6, **search, outcome="stopped")
    ledger.trial(TASK, "finetune", 100, 13, 0.6, **search, outcome="failed")
    ledger.trial(TASK, "finetune", 100, 1, 0.9, device_seconds=3600.0)
    return ledger.frame()


def test_a_cell_has_mean_deviation_and_interval_over_its_confirm_trials(frame):
    figures = cell_figures(frame)[SCRATCH]
    half = stats.t.ppf(0.95, 2) * 0.04 / 3**0.5
    expected = {"test/accuracy": 0.74, "test/accuracy_sd": 0.04, "test/accuracy_low": 0.74 - half,
                "test/accuracy_high": 0.74 + half, "test/auc": 0.79, "test/auc_sd": 0.04, "test/auc_low": 0.79 - half,
                "test/auc_high": 0.79 + half, "ratio": 1.0, "n": 3.0, "n_failed": 1.0, "n_searched": 0.0, "n_stopped": 0.0,
                "cpu_hours/useful": 3.0, "cpu_hours/confirm/useful": 3.0, "cpu_hours/wasted": 0.5,
                "cpu_hours/confirm/wasted": 0.5}  # fmt: skip
    assert figures == pytest.approx(expected)


def test_search_and_confirmation_are_charged_apart_and_what_was_stopped_is_no_result(frame):
    figures = cell_figures(frame)[TUNED]
    expected = {"test/accuracy": 0.9, "test/auc": 0.95, "ratio": 0.1, "n": 1.0, "n_failed": 1.0, "n_searched": 1.0,
                "n_stopped": 1.0, "cpu_hours/useful": 1.5, "cpu_hours/search/useful": 0.5,
                "cpu_hours/confirm/useful": 1.0, "cpu_hours/wasted": 0.275, "cpu_hours/search/wasted": 0.275,
                "cpu_hours/confirm/wasted": 0.0}  # fmt: skip
    assert figures == pytest.approx(expected), "one seed has no deviation and no interval"


def test_the_accounts_of_a_study_add_up_by_stage_and_device(frame):
    figures = study_figures(frame)
    assert figures["cpu_hours/generation/useful"] == pytest.approx(0.1)
    assert figures["gpu_hours/pretraining/useful"] == figures["gpu_hours/useful"] == 2.0
    for kind in ("useful", "wasted"):
        parts = [figures[f"cpu_hours/{stage}/{kind}"] for stage in ("generation", "search", "confirm")]
        assert sum(parts) == pytest.approx(figures[f"cpu_hours/{kind}"])
    charged = sum(value for name, value in figures.items() if name.count("/") == 1 and "_hours/" in name)
    assert charged == pytest.approx((frame["device_seconds"].sum() + frame["wasted_seconds"].sum()) / 3600)
    trials = {name: value for name, value in figures.items() if name.startswith("trials/")}
    assert trials == {"trials/confirm": 4.0, "trials/search": 1.0, "trials/failed": 2.0, "trials/stopped": 1.0}


def test_what_was_reserved_stands_beside_what_was_charged(frame):
    row = {"unit": "cpu_hours", "reserved": 5.0, "useful": 3.0, "search": 1.0, "wasted": 0.5, "idle": 0.4,
           "unaccounted": 0.1, "n_reservations": 1}  # fmt: skip
    figures = study_figures(frame, pd.DataFrame([{"stage": "finetuning", **row}, {"stage": "all", **row}]))
    assert figures["accounts/cpu_hours/finetuning/idle"] == figures["accounts/cpu_hours/idle"] == 0.4
    assert figures["cpu_hours/useful"] == study_figures(frame)["cpu_hours/useful"]


def test_a_study_that_never_pays_says_so_by_an_infinite_number(frame):
    slower = frame.assign(device="cpu")
    slower.loc[slower["cell"] == TUNED, "device_seconds"] *= 100
    assert study_figures(slower)["break_even/tasks"] == float("inf")
    assert study_figures(frame.iloc[:2]).keys() >= {"gpu_hours/useful"}


def test_a_study_without_records_has_no_figures(ledger):
    assert cell_figures(ledger.frame()) == {}
    assert set(study_figures(ledger.frame()).values()) <= {0.0}
