import math

import pytest

from breakeven.analysis.backbones import ranking
from breakeven.metric import METRICS
from breakeven.report.results import Results


def study(ledger, validation, test):
    """Gains by pretraining over a baseline of 0.6, on two tasks with two seeds each."""
    for objective in validation:
        ledger.pretraining(objective, backbone=f"weights of {objective}", record=f"record of {objective}")
    for task in ("WH_vs_ZH", "stop_vs_ttH"):
        for seed in (1, 2):
            ledger.trial(task, "scratch", 100, seed, 0.6)
            for objective in validation:
                ledger.trial(task, "finetune", 100, seed, 0.6 + test[objective], pretraining=objective,
                             validation_accuracy=0.6 + validation[objective])  # fmt: skip


def test_the_winner_is_chosen_on_validation_and_reported_on_test(ledger):
    study(ledger, {"multiclass": 0.03, "multilabel": 0.05}, {"multiclass": 0.08, "multilabel": 0.04})
    found = ranking(ledger.frame())
    assert found["pretraining"].tolist() == ["multilabel", "multiclass"]
    best = found.iloc[0]
    assert best["validation_gain"] == pytest.approx(5.0) and best["gain"] == pytest.approx(4.0)
    assert best["backbone"] == "weights of multilabel" and best["record"] == "record of multilabel"
    assert best["n_tasks"] == best["n_cells"] == 2


def test_what_is_not_measured_on_validation_events_leaves_the_choice_to_their_auc(ledger):
    study(ledger, {"multiclass": 0.05, "multilabel": 0.03}, {"multiclass": 0.0, "multilabel": 0.0})  # by accuracy
    auc, rejections = {"none": 0.7, "multiclass": 0.74, "multilabel": 0.76}, {"none": 10.0, "multiclass": 30.0}
    for row in ledger.rows:
        kind = row["pretraining"]
        row.update(validation_auc=auc[kind], test_rejection_90=rejections.get(kind, 20.0))
    found = ranking(ledger.frame(), merit=METRICS["rejection_90"])
    assert found["pretraining"].tolist() == ["multilabel", "multiclass"] and set(found["chosen_by"]) == {"auc"}
    assert found["validation_gain"].tolist() == pytest.approx([6.0, 4.0])
    assert found["gain"].tolist() == pytest.approx([10.0, 20.0]), "the study's figure of merit"
    assert Results(ledger.frame(), {}, merit=METRICS["rejection_90"]).leading == "multilabel"
    assert Results(ledger.frame(), {}).leading == "multiclass" == ranking(ledger.frame()).at[0, "pretraining"]


def test_only_cells_that_all_backbones_have_count(ledger):
    study(ledger, {"multiclass": 0.03, "multilabel": 0.02}, {"multiclass": 0.0, "multilabel": 0.0})
    ledger.trial("ttW_vs_ttt", "scratch", 100, 1, 0.6)
    ledger.trial("ttW_vs_ttt", "finetune", 100, 1, 0.9, pretraining="multilabel")  # an easy one for one of them
    found = ranking(ledger.frame())
    assert found["pretraining"].tolist() == ["multiclass", "multilabel"] and set(found["n_tasks"]) == {2}


def test_every_task_counts_the_same_whatever_its_number_of_sizes(ledger):
    study(ledger, {"multiclass": 0.03, "multilabel": 0.04}, {"multiclass": 0.02, "multilabel": 0.02})
    # Test gains of 6 and 4.5 points at two more sizes of one task, which validation gains equal there.
    for size in (300, 1000):
        ledger.trial("WH_vs_ZH", "scratch", size, 1, 0.6)
        for objective, gain in (("multiclass", 0.06), ("multilabel", 0.045)):
            ledger.trial("WH_vs_ZH", "finetune", size, 1, 0.6 + gain, pretraining=objective)
    found = ranking(ledger.frame())
    # Means of the four cells would be 4.25 and 4.5, and multiclass the winner.
    assert found["pretraining"].tolist() == ["multilabel", "multiclass"]
    assert found["validation_gain"].tolist() == pytest.approx([(13 / 3 + 4) / 2, (5 + 3) / 2])
    assert found["gain"].tolist() == pytest.approx([(11 / 3 + 2) / 2, (14 / 3 + 2) / 2])
    middle = (found["gain_low"] + found["gain_high"]) / 2
    assert found["gain"].to_numpy() == pytest.approx(middle.to_numpy()), "the interval is of this very mean"


def test_one_task_has_no_interval_and_nothing_has_no_winner(ledger):
    assert ranking(ledger.frame()).empty
    ledger.pretraining("multiclass", backbone="b")
    ledger.trial("WH_vs_ZH", "finetune", 100, 1, 0.7)
    assert ranking(ledger.frame()).empty, "nothing to hold it against"
    ledger.trial("WH_vs_ZH", "scratch", 100, 1, 0.6)
    assert math.isnan(ranking(ledger.frame())["gain_low"].item())
