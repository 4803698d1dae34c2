"""Recipes and strategies: what they refuse and what they derive."""

import math
from typing import Any

import pytest

from breakeven.training.recipe import Epoch, Recipe, Result, Strategy


@pytest.mark.parametrize(
    "field",
    [
        {"objective": "regression"}, {"epochs": 0}, {"batch_size": -1}, {"evaluation_batch_size": 0}, {"patience": 0},
        {"learning_rate": 0.0}, {"learning_rate": math.nan}, {"ratio": -0.1}, {"decay": math.inf}, {"min_delta": -1e-9},
        {"precision": "float16"}, {"warmup": -1},
    ],
    ids=str,
)  # fmt: skip
def test_senseless_recipes_name_the_field(field: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(field))):
        Recipe(**field)


def test_a_senseless_strategy_is_refused() -> None:
    with pytest.raises(ValueError, match="strategy is 'freeze'"):
        Strategy("freeze")  # type: ignore[arg-type]


def test_the_rate_falls_by_one_percent_an_epoch() -> None:
    assert Recipe().rate(0) == 1e-4
    assert Recipe().rate(50) == pytest.approx(1e-4 * 0.99**50)


def test_the_rate_grows_to_its_full_size_in_even_steps() -> None:
    recipe = Recipe(warmup=3, decay=1.0, learning_rate=4e-4)
    assert [recipe.rate(epoch) for epoch in range(5)] == pytest.approx([1e-4, 2e-4, 3e-4, 4e-4, 4e-4])


def test_plateau_seconds_are_those_of_the_plateau_epoch() -> None:
    curve = tuple(Epoch(k, 2.0 * k, 3.0 * (k + 1), 10, 1.0, 1.0, 0.5, 0.5, 1e-4) for k in range(3))
    assert Result(curve, 2, 1, "plateau").plateau_seconds == 6.0
    assert Result(curve, 2, 1, "plateau").best is curve[2]
    assert math.isnan(Result(curve, 2, None, "epochs").plateau_seconds)
