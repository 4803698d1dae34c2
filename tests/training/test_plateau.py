"""The plateau rule on curves drawn by hand."""

import pytest

from breakeven.training.plateau import Plateau, find_plateau


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
    assert find_plateau(losses, patience, min_delta) == expected
