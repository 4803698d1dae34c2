"""The plateau rule on curves drawn by hand."""

import pytest

from breakeven.training.plateau import Plateau, find_plateau
from breakeven.training.recipe import Recipe


@pytest.mark.parametrize(
    ("losses", "patience", "min_delta", "expected"),
    [
        ([], 2, 0.01, Plateau(-1, False)),
        ([1.0], 1, 0.01, Plateau(0, False)),
        ([1.0, 0.9, 0.8], 2, 0.01, Plateau(2, False)),
        ([1.0, 0.9, 0.899, 0.898], 2, 0.01, Plateau(1, True)),
        ([1.0, 0.995, 0.989, 0.95], 3, 0.01, Plateau(3, False)),  # slow, but it adds up against the last improving
        ([1.0, 1.1, 1.2, 0.1], 2, 0.01, Plateau(0, True)),  # what comes after the plateau does not count
        ([1.0, 1.1, 1.2, 1.3], None, 0.01, Plateau(0, False)),
        ([-1.0, -1.005, -1.1], 2, 0.01, Plateau(2, False)),
        ([1.0, 1.0, 1.0], 2, 0.0, Plateau(0, True)),
    ],
)
def test_plateau(losses: list[float], patience: int | None, min_delta: float, expected: Plateau) -> None:
    assert find_plateau(losses, Recipe(patience=patience, min_delta=min_delta)) == expected


def test_a_training_that_has_not_begun_to_learn_has_more_patience() -> None:
    losses, flat = [0.70] * 30, [0.693] * 30
    slow, quick = (Recipe(patience=3, min_delta=0.0, slow_start=factor) for factor in (4, 1))
    assert find_plateau(losses, slow, flat, 0.6931) == Plateau(0, True)
    assert not find_plateau(losses[:12], slow, flat[:12], 0.6931).reached
    assert find_plateau(losses[:13], slow, flat[:13], 0.6931).reached
    assert find_plateau(losses[:4], quick, flat[:4], 0.6931).reached
    begins = [0.693] * 8 + [0.68] * 22  # its patience is counted anew from there
    assert not find_plateau(losses[:11], slow, begins[:11], 0.6931).reached
    assert find_plateau(losses[:12], slow, begins[:12], 0.6931) == Plateau(0, True)
    improves = [*losses[:9], 0.6, *losses[:9]]
    assert find_plateau(improves, slow, begins, 0.6931) == Plateau(9, True)


def test_patience_counts_from_the_end_of_the_warm_up() -> None:
    losses = [1.0] * 20
    warmed_up = Recipe(patience=3, min_delta=0.0, warmup=5)
    slow = Recipe(patience=3, min_delta=0.0, warmup=5, slow_start=4)
    assert not find_plateau(losses[:8], warmed_up).reached  # epoch 5 is the first at the full rate
    assert find_plateau(losses[:9], warmed_up) == Plateau(0, True)
    improves = [1.0, 0.9, 1.0, 1.0, 1.0, 1.0, 0.8, *losses]
    assert find_plateau(improves, warmed_up) == Plateau(6, True)
    begins = [0.693] * 3 + [0.68] * 17  # within the warm-up
    assert not find_plateau(losses[:8], slow, begins[:8], 0.6931).reached
    assert find_plateau(losses[:9], slow, begins[:9], 0.6931).reached
