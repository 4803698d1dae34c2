"""Means over tasks: of the tasks that every arm has, with the seeds' own spread."""

import math

import numpy as np
import pytest

from breakeven.analysis.overall import overall


def test_a_mean_is_of_the_tasks_that_every_arm_has(ledger) -> None:
    levels = {"stop_vs_ttH": 0.8, "WH_vs_ZH": 0.5, "FCNC_vs_tHq": 0.6}
    for task, level in levels.items():
        for seed, off in ((1, -0.01), (2, 0.03)):
            ledger.trial(task, "scratch", 100, seed, level + off)
            ledger.trial(task, "finetune", 100, seed, level + off + 0.05, validation_accuracy=level)
            if task != "FCNC_vs_tHq":
                ledger.trial(task, "trees", 100, seed, level + 0.02, pretraining="none")
    found = overall(ledger.frame()).set_index("strategy")
    assert found["accuracy"].to_dict() == pytest.approx({"scratch": 66.0, "trees": 67.0, "finetune": 71.0})
    assert set(found["n_tasks"]) == {2} and set(found["n"]) == {2}
    assert found.at["finetune", "accuracy_sd"] == pytest.approx(np.std([-1.0, 3.0], ddof=1))
    assert found.at["finetune", "validation"] == pytest.approx(65.0)


def test_seeds_that_lack_a_task_have_no_part_in_the_spread(ledger) -> None:
    for task, seeds in (("stop_vs_ttH", (1, 2)), ("WH_vs_ZH", (1,))):
        for seed in seeds:
            ledger.trial(task, "scratch", 100, seed, 0.6)
    [row] = overall(ledger.frame()).to_dict("records")
    assert row["accuracy"] == pytest.approx(60.0) and row["n"] == 1 and math.isnan(row["accuracy_sd"])
    assert overall(ledger.frame()[:0]).empty
