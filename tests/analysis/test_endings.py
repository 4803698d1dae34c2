"""How trainings ended is counted from what their records say, and only from that."""

import pandas as pd
import pytest

from breakeven.analysis.endings import endings, judge_of_chance, of_pretrainings, of_trainings, too_many_capped
from breakeven.metric import METRICS


def test_trainings_at_their_cap_and_at_chance_are_counted_by_treatment_and_size(ledger) -> None:
    """Of three from scratch at 100 events two are capped and one is at chance; of two at 300 none; trees count likewise.

    Of 10,000 test events a coin's accuracy has the standard error 0.005.
    """
    told = [("epochs", 0.7), ("epochs", 0.5099), ("plateau", 0.5101)]
    for seed, (stopped, accuracy) in enumerate(told, start=1):
        ledger.trial("stop_vs_ttH", "scratch", 100, seed, accuracy, stopped=stopped, test_events=10_000)
    for seed in (1, 2):
        ledger.trial("stop_vs_ttH", "scratch", 300, seed, 0.501, stopped="plateau")
    ledger.trial("stop_vs_ttH", "trees", 100, 1, 0.7, pretraining="none", stopped="epochs")
    ledger.pretraining(stopped="epochs", validation_loss=2.0)
    ledger.pretraining(stopped="plateau", validation_loss=2.0)
    found = endings(ledger.frame())
    counted = {
        (row["strategy"], "all" if pd.isna(row["size"]) else row["size"]): (
            row["n"],
            row["n_capped"],
            row["n_at_chance"],
        )
        for row in found.to_dict("records")
    }
    assert counted == {
        ("scratch", 100): (3, 2, 1), ("scratch", 300): (2, 0, 0), ("scratch", "all"): (5, 2, 1), ("trees", 100): (1, 1, 0),
        ("pretraining", "all"): (2, 1, 0),
    }  # fmt: skip
    assert found["capped"].iloc[0] == pytest.approx(2 / 3) and found["at_chance"].iloc[0] == pytest.approx(1 / 3)
    assert of_trainings(found) == {"n": 6, "n_capped": 3, "n_at_chance": 1}
    assert of_pretrainings(found) == {"n": 2, "n_capped": 1, "n_at_chance": 0}


@pytest.mark.parametrize(
    ("merit", "judge", "n_at_chance"), [("auc", "auc", 2), ("accuracy", "accuracy", 3), ("rejection_90", "accuracy", 3)]
)
def test_chance_is_that_of_the_merit_where_a_coin_has_one(ledger, merit, judge, n_at_chance) -> None:
    """Of 100 test events a coin's accuracy has the standard error 0.05; its AUC, Mann and Whitney's, 0.058."""
    assert judge_of_chance(METRICS[merit]) == METRICS[judge]
    for seed, (accuracy, auc) in enumerate([(0.5, 0.61), (0.5, 0.62), (0.59, 0.52), (0.61, 0.62)], start=1):
        ledger.trial("stop_vs_ttH", "scratch", 100, seed, accuracy, test_auc=auc, stopped="plateau", test_events=100)
    assert endings(ledger.frame(), merit=METRICS[merit])["n_at_chance"].tolist() == [n_at_chance]


def test_searches_failures_and_silent_records_count_nowhere(ledger) -> None:
    ledger.trial("stop_vs_ttH", "scratch", 100, 1, 0.7)
    ledger.trial("stop_vs_ttH", "scratch", 100, 2, 0.7, outcome="failed", stopped="epochs")
    ledger.trial("stop_vs_ttH", "finetune", 100, 1_000_001, 0.7, phase="search", stopped="epochs")
    found = endings(ledger.frame())
    assert found.empty and of_trainings(found)["n"] == 0 and not too_many_capped(of_trainings(found))
    assert endings(ledger.frame().drop(columns="stopped")).empty, "a ledger of an older version"


def test_more_than_one_in_twenty_are_too_many() -> None:
    assert not too_many_capped({"n": 100, "n_capped": 5}) and too_many_capped({"n": 100, "n_capped": 6})
