"""The mean gain over tasks: the scatter of tasks, and of the backbones that all of them stand on."""

import math

import numpy as np
import pytest
from scipy import stats

from breakeven.analysis import accuracy
from breakeven.analysis.over_tasks import mean_gains

TASKS = ("WH_vs_ZH", "stop_vs_ttH", "ttH_CP")


def gained(ledger, gains: np.ndarray, backbones: str):
    """gains: in percentage points [n_tasks, n_seeds]; the row of `mean_gains`."""
    for task, of_task in zip(TASKS, gains, strict=False):
        for seed, (gain, backbone) in enumerate(zip(of_task, backbones, strict=True), start=1):
            ledger.trial(task, "scratch", 100, seed, 0.6)
            ledger.trial(task, "finetune", 100, seed, 0.6 + gain / 100, backbone=backbone)
    frame = ledger.frame()
    found = mean_gains(frame, accuracy.gains(frame))
    return found[found["strategy"] == "finetune"].iloc[0]


def test_backbones_that_raise_all_tasks_alike_are_in_the_interval(ledger) -> None:
    """Tasks 1, 3 and 5, backbones -1, 0 and 1, on top of each other: no interaction, so both parts are exact."""
    gains = np.array([1.0, 3.0, 5.0])[:, None] + np.array([-1.0, 0.0, 1.0])
    row = gained(ledger, gains, "abc")
    parts = 4.0 / 3, 1.0 / 3
    assert row["gain"] == pytest.approx(3.0) and row["n_tasks"] == 3 and row["gain_sd"] == pytest.approx(2.0)
    assert (row["gain_task_se"] ** 2, row["gain_backbone_se"] ** 2) == pytest.approx(parts)
    freedom = sum(parts) ** 2 / sum(part**2 / 2 for part in parts)
    half = stats.t.ppf(0.95, freedom) * math.sqrt(sum(parts))
    assert (row["gain_low"], row["gain_high"]) == pytest.approx((3 - half, 3 + half))


def test_what_differs_between_tasks_is_counted_once(ledger) -> None:
    """Backbones that raise one task and lower another have shown in the scatter of tasks: crossed mean squares by hand."""
    gains = np.array([[2.0, 0.0, 1.5], [1.0, 4.0, 2.0], [3.0, 3.5, 6.0]])
    row = gained(ledger, gains, "abc")
    apart = gains - gains.mean(axis=1, keepdims=True) - gains.mean(axis=0) + gains.mean()
    expected = max(0.0, gains.mean(axis=0).var(ddof=1) / 3 - (apart**2).sum() / 4 / 9)
    assert row["gain_backbone_se"] ** 2 == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("backbones", ["aaa", ["", "", ""]])
def test_one_backbone_or_none_tells_nothing(ledger, backbones) -> None:
    row = gained(ledger, np.array([[1.0, 2.0, 3.0], [3.0, 4.0, 8.0]]), backbones)
    assert math.isnan(row["gain_backbone_se"])
    ends = stats.ttest_1samp([2.0, 5.0], 0.0).confidence_interval(0.9)
    assert (row["gain_low"], row["gain_high"]) == pytest.approx((ends.low, ends.high))


def test_one_task_has_no_interval(ledger) -> None:
    row = gained(ledger, np.array([[1.0, 2.0, 3.0]]), "abc")
    assert row["gain"] == pytest.approx(2.0) and math.isnan(row["gain_low"]) and math.isnan(row["gain_task_se"])
