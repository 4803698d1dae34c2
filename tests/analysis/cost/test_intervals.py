"""Intervals of break-even: exact over tasks, the same whatever a generator is seeded with, and wide enough."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from breakeven.analysis.cost.intervals import (
    MOST_TASKS_ENUMERATED,
    backbones_half_width,
    joined,
    saving_interval,
    tasks_for_saving,
)


def by_every_draw(savings: np.ndarray, level: float) -> tuple[float, float]:
    """The studentised interval from all n^n draws, one by one, with the quantile as the first that leaves no more outside."""
    n, mean, error = len(savings), savings.mean(), savings.std(ddof=1) / math.sqrt(len(savings))
    distances = sorted(
        (drawn.mean() - mean) / (drawn.std(ddof=1) / math.sqrt(n))
        for drawn in (savings[list(chosen)] for chosen in itertools.product(range(n), repeat=n))
        if drawn.std(ddof=1) > 1e-9
    )
    tail = 0.5 - level / 2
    low, high = (distances[math.ceil(share * len(distances) - 1e-9) - 1] for share in (tail, 1 - tail))
    return mean - high * error, mean - low * error


@pytest.mark.parametrize("level", [0.68, 0.9])
def test_five_tasks_are_enumerated(level: float) -> None:
    savings = np.array([4.0, 0.4, -0.5, -3.9, 9.0])
    assert saving_interval(savings, level=level) == pytest.approx(by_every_draw(savings, level))


def test_no_generator_has_a_say_for_up_to_six_tasks(monkeypatch) -> None:
    before = {n: saving_interval(np.arange(1.0, n + 1) ** 2) for n in range(2, MOST_TASKS_ENUMERATED + 1)}
    monkeypatch.setattr(np.random, "default_rng", None)
    assert {n: saving_interval(np.arange(1.0, n + 1) ** 2) for n in before} == before


def test_few_tasks_have_students_t_and_one_none() -> None:
    savings = np.array([1.0, 2.0, 6.0])
    expected = stats.t.interval(0.9, 2, savings.mean(), stats.sem(savings))
    assert saving_interval(savings) == pytest.approx(expected)
    assert all(map(math.isnan, saving_interval(np.array([1.0]))))
    assert saving_interval(np.full(5, 2.0)) == (2.0, 2.0)


def test_more_tasks_are_drawn_often_enough(monkeypatch) -> None:
    """Another seed of the generator moves an end by less than a tenth of its distance."""
    savings = np.random.default_rng(3).lognormal(0.0, 1.0, 9)
    made, ends = np.random.default_rng, []
    for seed in range(5):
        monkeypatch.setattr(np.random, "default_rng", lambda _, seed=seed: made(seed))
        from breakeven.analysis.cost import intervals

        intervals._resamples.cache_clear()
        ends.append(saving_interval(savings))
    intervals._resamples.cache_clear()
    distances = np.abs(np.array(ends) - savings.mean())
    assert (np.ptp(distances, axis=0) < 0.1 * distances.mean(axis=0)).all()


def test_backbones_are_an_independent_error_of_the_mean() -> None:
    gains = np.array([1.0, 1.4, 0.9])
    low, high = stats.t.interval(0.9, 2, gains.mean(), stats.sem(gains))
    assert backbones_half_width(gains) == pytest.approx((high - low) / 2)
    assert backbones_half_width(gains[:1]) == 0.0
    assert joined(10.0, (7.0, 18.0), 4.0) == pytest.approx((10 - 5, 10 + math.hypot(8, 4)))
    assert joined(10.0, (7.0, 18.0), 0.0) == (7.0, 18.0)


def test_an_end_that_saves_nothing_is_never() -> None:
    assert tasks_for_saving(10.0, -0.1) == tasks_for_saving(10.0, 0.0) == math.inf
    assert tasks_for_saving(10.0, 0.5) == 20.0 and math.isnan(tasks_for_saving(10.0, math.nan))


@pytest.mark.parametrize(("between_tasks", "between_seeds"), [(20.0, 5.0), (2.0, 20.0)])
def test_intervals_cover_the_true_saving_at_the_stated_rate(between_tasks: float, between_seeds: float) -> None:
    """200 studies of five tasks and three seeds with a mean saving of 100: 90 % intervals cover 85 to 95 %."""
    random = np.random.default_rng(11)
    covered = 0
    for _ in range(200):
        of_task = 100.0 + between_tasks * random.normal(size=5)
        savings = (of_task[:, None] + between_seeds * random.normal(size=(5, 3))).mean(axis=1)
        low, high = saving_interval(savings, level=0.9)
        covered += low <= 100.0 <= high
    assert 0.85 <= covered / 200 <= 0.95
