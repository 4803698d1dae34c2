import math

import numpy as np
import pytest

from breakeven.analysis.learning_rate import optima, response_curves, responses

RATIOS = np.geomspace(0.03, 1.0, 6)


def search(ledger, best=0.3, bend=0.05, noise=0.0, ratios=RATIOS, seeds=(1,), size=100, accuracy_bend=0.02, **fields):
    random = np.random.default_rng(int(1000 * best))
    for seed in seeds:
        for ratio in ratios:
            away = np.log10(ratio / best) ** 2
            ledger.trial("stop_vs_ttH", "finetune", size, 1_000_000 + seed, 0.8 - accuracy_bend * away, phase="search",
                         ratio=float(ratio), validation_loss=0.1 * seed + bend * away + random.normal(0.0, noise),
                         **fields)  # fmt: skip


def only(table):
    [row] = table.to_dict("records")
    return row


def test_the_vertex_of_the_losses_is_the_optimum_and_the_published_ratio_has_its_price(ledger) -> None:
    search(ledger, noise=1e-4, seeds=(1, 2))
    row = only(optima(ledger.frame()))
    lost = np.log10(0.1 / 0.3) ** 2
    assert row["ratio"] == pytest.approx(0.3, rel=0.02) and row["low"] < row["ratio"] < row["high"]
    assert row["loss_excess"] == pytest.approx(0.05 * lost, rel=0.05)
    assert row["accuracy_lost"] == pytest.approx(100 * 0.02 * lost, rel=0.05)
    assert row["best_tried"] == pytest.approx(RATIOS[np.abs(np.log(RATIOS / 0.3)).argmin()])
    assert (row["n_trials"], row["n_ratios"], row["n_seeds"], row["note"]) == (12, 6, 2, "")
    curve = response_curves(ledger.frame())
    assert len(curve) == 33 and curve["excess"].min() == pytest.approx(0.0, abs=1e-4)
    assert ((curve["low"] <= curve["excess"]) & (curve["excess"] <= curve["high"])).all()


@pytest.mark.parametrize(("best", "end", "text"), [(5.0, 1.0, "1 or above"), (0.005, 0.03, "0.03 or below")])
def test_an_optimum_outside_what_was_tried_is_at_its_end(ledger, best: float, end: float, text: str) -> None:
    search(ledger, best=best, noise=1e-4)
    row = only(optima(ledger.frame()))
    assert row["ratio"] == pytest.approx(end) and row["text"] == text
    assert math.isnan(row["low"]) and math.isnan(row["high"]), "nothing is known of where it ends"
    assert row["note"].startswith("at an end of the range tried (0.03 to 1)")


def test_flat_losses_identify_nothing(ledger) -> None:
    search(ledger, bend=0.0, noise=0.01)
    row = only(optima(ledger.frame()))
    assert row["note"].startswith("not identified") and (row["low"], row["high"]) == pytest.approx((0.03, 1.0))


def test_two_ratios_say_nothing_alone_but_pooled_cells_may(ledger) -> None:
    search(ledger, ratios=(0.1, 0.5))
    search(ledger, ratios=(0.1, 1.0), size=300)
    search(ledger, ratios=(0.1, 0.05), size=1000)
    alone = optima(ledger.frame())
    assert (alone["text"] == "no figure").all() and alone["note"].str.startswith("2 different ratios tried").all()
    pooled = only(optima(ledger.frame(), by=("pretraining",)))
    assert pooled["ratio"] == pytest.approx(0.3, rel=0.01) and pooled["n_trials"] == 6
    assert response_curves(ledger.frame()).empty


def test_three_ratios_and_one_seed_have_no_uncertainty(ledger) -> None:
    search(ledger, ratios=(0.1, 0.3, 1.0))
    row = only(optima(ledger.frame()))
    assert row["ratio"] == pytest.approx(0.3) and math.isnan(row["low"]) and row["text"] == "0.3"
    assert "no uncertainty" in row["note"] and math.isnan(row["loss_excess_low"])


def test_stopped_and_failed_trials_are_counted_and_never_fitted(ledger) -> None:
    search(ledger, noise=1e-4)
    for outcome in ("stopped", "failed"):
        ledger.trial("stop_vs_ttH", "finetune", 100, 1_000_001, 0.0, phase="search", ratio=0.01, outcome=outcome,
                     validation_loss=0.0)  # fmt: skip
    ledger.trial("stop_vs_ttH", "finetune", 100, 1, 0.9, ratio=0.02, validation_loss=0.0)  # confirm
    row = only(optima(ledger.frame()))
    assert row["ratio"] == pytest.approx(0.3, rel=0.02) and (row["n_stopped"], row["n_failed"]) == (1, 1)
    assert row["note"].startswith("1 stopped without a loss")
    measured = responses(ledger.frame())
    assert measured["n"].tolist() == [1] * 6 + [0] and measured["n_stopped"].tolist() == [0] * 6 + [1]


def test_a_published_ratio_that_was_not_tried_is_extrapolated_and_says_so(ledger) -> None:
    search(ledger, noise=1e-4, ratios=np.geomspace(0.2, 1.0, 5))
    assert "0.1 was outside the range tried" in only(optima(ledger.frame()))["note"]


def test_an_empty_ledger_has_no_search(ledger) -> None:
    for table in (optima(ledger.frame()), responses(ledger.frame()), response_curves(ledger.frame())):
        assert table.empty and "ratio" in table.columns
