import pytest

from breakeven.estimate.budget import Budget, OverBudget, budget_of, rank
from breakeven.study.plan import Cell, Trial
from breakeven.study.spec import task


@pytest.mark.parametrize(("text", "seconds"), [("20h", 72_000.0), ("90m", 5400.0), ("1.5 h", 5400.0), ("45s", 45.0)])
def test_a_time_is_read(text, seconds):
    assert budget_of(text).seconds == seconds


@pytest.mark.parametrize("text", ["20", "h", "-3h", "0h", "ten hours", "1e3h"])
def test_anything_else_is_told_with_the_way_out(text):
    with pytest.raises(OverBudget, match=r"--budget is .*such as 20h"):
        budget_of(text)


def test_what_cannot_be_divided_must_fit():
    budget = Budget(7200.0)
    budget.charge(3600.0)
    budget.check("pretraining", 0.9)
    with pytest.raises(OverBudget, match=r"pretraining takes about 1\.5 h and 1 h of 2 h are left.*--budget 3h"):
        budget.check("pretraining", 1.5)


def test_every_cell_comes_twice_before_any_comes_thrice_and_cheap_seeds_before_dear_ones():
    small, large = Cell(task("WH_vs_ZH"), "none", "scratch", 100), Cell(task("WH_vs_ZH"), "none", "scratch", 10_000)
    seconds = {small: 1.0, large: 8.0}
    trials = [Trial(cell, "confirm", seed, 1.0, {}) for cell in (large, small) for seed in (1, 2, 3, 4)]
    ordered = sorted(trials, key=lambda one: rank(one, seconds[one.cell]))
    assert [(one.cell.size, one.seed) for one in ordered] == [
        (100, 1), (100, 2), (10_000, 1), (10_000, 2), (100, 3), (100, 4), (10_000, 3), (10_000, 4),
    ]  # fmt: skip
