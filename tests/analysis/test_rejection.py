import math

import pytest

from breakeven.analysis.rejection import working_points


def test_means_and_improvements_are_paired_by_seed(ledger) -> None:
    for seed, rejection in ((1, 10.0), (2, 20.0)):
        ledger.trial("stop_vs_ttH", "scratch", 100, seed, 0.7, test_rejection_50=rejection)
        ledger.trial("stop_vs_ttH", "finetune", 100, seed, 0.7, test_rejection_50=2 * rejection)
    scratch, tuned = working_points(ledger.frame()).to_dict("records")
    assert scratch["quantity"] == "background rejection at 50 % signal efficiency"
    assert scratch["value"] == pytest.approx(math.sqrt(200)), "the geometric mean"
    assert scratch["text"] == "14.1 ± 6.9 (n=2)" and math.isnan(scratch["improvement"])
    assert tuned["improvement"] == pytest.approx(2.0) and tuned["n_pairs"] == 2
    assert tuned["improvement_low"] == pytest.approx(2.0) and "test sample" in tuned["note"]


def test_seeds_without_a_figure_are_counted(ledger) -> None:
    ledger.trial("stop_vs_ttH", "scratch", 100, 1, 0.7, test_rejection_90=3.0, test_significance_improvement=1.2)
    ledger.trial("stop_vs_ttH", "scratch", 100, 2, 0.7, test_significance_improvement=1.4)
    rejection, improvement = working_points(ledger.frame()).to_dict("records")
    assert (rejection["n"], rejection["n_without"], rejection["text"]) == (1, 1, "3.0 (n=1)")
    assert "1 of 2 seeds have no figure" in rejection["note"] and "n=1: no uncertainty" in rejection["note"]
    assert improvement["value"] == pytest.approx(1.3) and improvement["n_without"] == 0


def test_a_cell_that_has_none_is_undefined_and_older_ledgers_have_no_table(ledger) -> None:
    ledger.trial("stop_vs_ttH", "scratch", 100, 1, 0.7)
    assert working_points(ledger.frame()).empty
    ledger.trial("stop_vs_ttH", "scratch", 1000, 1, 0.7, test_rejection_70=4.0)
    found = working_points(ledger.frame()).set_index("size")
    assert found.loc[100, "text"] == "undefined" and found.loc[1000, "text"] == "4.0 (n=1)"
    assert working_points(ledger.frame()[:0]).empty
