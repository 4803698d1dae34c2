import math

import pytest

from breakeven.analysis.drift import drift, emergence


def probed(*areas: float) -> list[dict[str, float]]:
    """The curve of a training on 100 events a class whose score has these areas after its epochs."""
    return [{"events_seen": 200 * (k + 1), "validation_probe_auc": area} for k, area in enumerate(areas)]


@pytest.fixture
def scored(ledger):
    """Two seeds: a score of 0.98 frozen, 0.96 and 0.94 finetuned, and from scratch 0.9, once turned round."""
    for seed, tuned, untold in ((1, 0.96, 0.9), (2, 0.94, 0.1)):
        of_seed = {"test_probe_rejection_90": 10.0 * seed}
        ledger.trial("stop_vs_ttH", "frozen", 100, seed, 0.7, test_probe_auc=0.98, **of_seed)
        ledger.trial("stop_vs_ttH", "finetune", 100, seed, 0.7, test_probe_auc=tuned, **of_seed)
        rises = [0.5, 0.6, untold] if untold > 0.5 else [0.5, 0.4, 0.3, untold]
        ledger.trial("stop_vs_ttH", "scratch", 100, seed, 0.7, test_probe_auc=untold, validation_probe_auc=rises[-1],
                     curve=probed(*rises), **of_seed)  # fmt: skip
    ledger.trial("stop_vs_ttH", "finetune", 300, 1, 0.7, test_probe_auc=0.97)
    ledger.trial("stop_vs_ttH", "finetune", 1000, 1, 0.7)
    return ledger


def test_the_change_is_that_of_pairs_with_the_frozen_backbone(scored) -> None:
    table = drift(scored.frame()).set_index(["strategy", "size"])
    assert list(table.index) == [("frozen", 100), ("finetune", 100), ("scratch", 100), ("finetune", 300)]
    tuned = table.loc[("finetune", 100)]
    assert (tuned["auc"], tuned["before"], tuned["change"]) == pytest.approx((95.0, 98.0, -3.0))
    assert (
        tuned["change_low"] < -3.0 < tuned["change_high"]
        and tuned["n_pairs"] == 2
        and tuned["rejection"] == pytest.approx(200**0.5)
    )
    assert math.isnan(table.loc[("frozen", 100), "change"]) and math.isnan(table.loc[("scratch", 100), "before"])
    alone = table.loc[("finetune", 300)]
    assert alone["auc"] == pytest.approx(97.0) and alone["n_pairs"] == 0 and math.isnan(alone["rejection"])


def test_from_scratch_the_better_sign_counts_trial_by_trial(scored) -> None:
    row = drift(scored.frame()).set_index("strategy").loc["scratch"]
    assert row["auc"] == pytest.approx(90.0) and row["n_turned"] == 1 and row["auc_sd"] == pytest.approx(0.0, abs=1e-9)


def test_a_score_below_a_half_is_turned_from_scratch_alone(ledger) -> None:
    ledger.trial("stop_vs_ttH", "finetune", 100, 1, 0.7, test_probe_auc=0.2)
    row = drift(ledger.frame()).iloc[0]
    assert row["auc"] == pytest.approx(20.0) and row["n_turned"] == 0


def test_a_score_emerges_epoch_by_epoch(scored) -> None:
    curve = emergence(scored.frame())
    assert curve["epoch"].tolist() == [1.0, 2.0, 3.0, 4.0] and set(curve["strategy"]) == {"scratch"}
    assert curve["probe_auc"].tolist() == pytest.approx([50.0, 60.0, 80.0, 90.0]), "the first seed ended with 0.9"
    assert curve["n"].tolist() == [2] * 4


def test_networks_without_one_have_neither(ledger) -> None:
    ledger.trial("stop_vs_ttH", "scratch", 100, 1, 0.7)
    assert drift(ledger.frame()).empty and emergence(ledger.frame()).empty
    assert drift(ledger.frame()[:0]).empty and emergence(ledger.frame()[:0]).empty
