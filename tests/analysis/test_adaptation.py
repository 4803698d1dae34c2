import math

import pytest

from breakeven.analysis.adaptation import adaptation


@pytest.fixture
def started(ledger):
    """Taggers on 1,000 jets, three seeds: from scratch rejecting 4, 5 and 8, from a start twice that; and one on more jets."""
    ledger.pretraining("jetclass", backbone="j", dataset="other", train_events=9000, seed=1, validation_auc=0.9)
    for seed, rejection in enumerate((4.0, 5.0, 8.0), start=1):
        about = {"dataset": "d", "train_events": 1000 + seed, "seed": seed}
        ledger.pretraining("xbb", backbone=f"x{seed}", validation_auc=0.9, validation_rejection_80=rejection, **about)
        ledger.pretraining("jetclass-xbb", backbone=f"a{seed}", start="j", validation_auc=0.95,
                           validation_rejection_80=2 * rejection, **about)  # fmt: skip
    ledger.pretraining("large", backbone="l", start="j", dataset="d", train_events=5000, seed=1, validation_auc=0.97,
                       validation_rejection_80=40.0)  # fmt: skip
    return ledger


def test_a_start_is_held_against_the_same_things_from_scratch_seed_by_seed(started) -> None:
    table = adaptation(started.frame()).set_index("pretraining")
    assert list(table.index) == ["xbb", "jetclass-xbb", "large"], "the one that all start from has nothing beside it"
    told = table.loc["jetclass-xbb"]
    assert (told["start"], told["train_events"], told["n_pairs"]) == ("jetclass", 1002.0, 3)
    assert [told[name] for name in ("factor", "factor_low", "factor_high")] == pytest.approx([2.0] * 3)
    assert told["rejection"] == pytest.approx((8 * 10 * 16) ** (1 / 3)) and told["auc"] == pytest.approx(95.0)
    assert math.isnan(table.loc["xbb", "factor"]) and math.isnan(table.loc["large", "factor"])


def test_a_start_of_another_study_is_said_so_and_without_starts_there_is_no_table(ledger) -> None:
    ledger.pretraining("xbb", dataset="d", train_events=10, seed=1, validation_rejection_80=2.0)
    assert adaptation(ledger.frame()).empty and adaptation(ledger.frame()[:0]).empty
    ledger.pretraining("told", dataset="d", train_events=10, seed=1, start="gone", validation_rejection_80=3.0)
    table = adaptation(ledger.frame()).set_index("pretraining")
    assert table.loc["told", "start"] == "another study" and table.loc["told", "factor"] == pytest.approx(1.5)
