import math

import numpy as np
import pytest
from scipy import stats

from breakeven.analysis import accuracy
from breakeven.analysis.significance import holm, sign_flip


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, math.nan]).tolist()[:3] == pytest.approx([0.03, 0.06, 0.06])
    assert math.isnan(holm([0.01, math.nan])[1]) and holm([0.9, 0.8]).tolist() == [1.0, 1.0]
    assert holm([]).tolist() == []


@pytest.mark.parametrize("n", [2, 3, 5, 8])
def test_sign_flips_are_scipys_permutation_test(n: int) -> None:
    values = np.random.default_rng(n).normal(0.7, 1.0, n)
    reference = stats.permutation_test((values,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert sign_flip(values) == pytest.approx(reference.pvalue)
    assert sign_flip(np.abs(values)) == pytest.approx(2.0 ** (1 - n))


def test_one_value_or_too_many_have_no_permutation_test() -> None:
    assert math.isnan(sign_flip([1.0])) and sign_flip([2.0, 2.0]) == 0.5
    assert math.isnan(sign_flip(np.ones(17)))


def test_gains_have_p_values_corrected_over_all_cells(ledger) -> None:
    random = np.random.default_rng(5)
    for size, gain in ((100, 0.05), (300, 0.0)):
        for seed in range(5):
            level = random.normal(0.7, 0.02)
            ledger.trial("stop_vs_ttH", "scratch", size, seed, level)
            ledger.trial("stop_vs_ttH", "finetune", size, seed, level + gain + random.normal(0.0, 0.01))
    ledger.trial("WH_vs_ZH", "scratch", 100, 1, 0.5)
    ledger.trial("WH_vs_ZH", "finetune", 100, 1, 0.6)
    found = accuracy.gains(ledger.frame()).set_index(["task", "size"])
    real, none = found.loc[("stop_vs_ttH", 100)], found.loc[("stop_vs_ttH", 300)]
    assert real["p_holm"] == pytest.approx(2 * real["p_value"]) and real["p_holm"] < 0.05 < none["p_holm"]
    assert real["p_permutation"] == 2 / 32
    alone = found.loc[("WH_vs_ZH", 100)]
    assert math.isnan(alone["p_value"]) and math.isnan(alone["p_holm"]) and alone["note"] == "n=1: no uncertainty"


def test_no_pairs_and_no_spread_are_explained(ledger) -> None:
    ledger.trial("stop_vs_ttH", "scratch", 100, 1, 0.7)
    ledger.trial("stop_vs_ttH", "finetune", 100, 2, 0.8)
    [row] = accuracy.gains(ledger.frame()).to_dict("records")
    assert row["note"].startswith("no seed in common") and math.isnan(row["p_value"])
    for seed in (5, 6):
        ledger.trial("WH_vs_ZH", "scratch", 100, seed, 0.5)
        ledger.trial("WH_vs_ZH", "finetune", 100, seed, 0.6)
    row = accuracy.gains(ledger.frame()).set_index("task").loc["WH_vs_ZH"]
    assert row["note"].startswith("all seeds gain the same")
