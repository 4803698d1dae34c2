"""Parts of an error against closed forms, and intervals against simulated truths."""

import math

import numpy as np
import pytest
from scipy import stats

from breakeven.analysis.uncertainty import binomial, scatter, uncertain

LOW, HIGH = 0.85, 0.95
STUDIES = 600


def test_without_another_part_it_is_students_interval_and_test() -> None:
    values = [1.0, 2.5, 0.5, 3.0]
    found = uncertain(values)
    expected = stats.ttest_1samp(values, 0.0)
    ends = expected.confidence_interval(0.9)
    assert (found.mean.low, found.mean.high) == pytest.approx((ends.low, ends.high))
    assert found.p_value == pytest.approx(expected.pvalue) and found.seed_se == pytest.approx(stats.sem(values))
    assert math.isnan(found.test_se) and math.isnan(found.backbone_se)


def test_a_second_part_has_welchs_degrees_of_freedom() -> None:
    values = np.array([1.0, 2.0, 4.0])
    found, own = uncertain(values, test=0.25), float(values.var(ddof=1)) / 3
    freedom = 2 * ((own + 0.25) / own) ** 2
    half = stats.t.ppf(0.95, freedom) * math.sqrt(own + 0.25)
    assert (found.mean.low, found.mean.high) == pytest.approx((values.mean() - half, values.mean() + half))
    assert found.test_se == 0.5 and found.mean.sd == pytest.approx(values.std(ddof=1)), "the spread is the seeds' alone"
    random = np.random.default_rng(8)
    drawn = math.sqrt(own) * random.standard_t(2, 10**6) + 0.5 * random.normal(size=10**6)
    assert found.p_value == pytest.approx(float(np.mean(abs(drawn) > values.mean())), abs=2e-3), "Behrens and Fisher's"
    far = uncertain(values + 10.0, test=0.25).p_value
    assert far > 5 * 2 * stats.t.sf(values.mean() + 10.0, freedom, scale=math.sqrt(own + 0.25)), (
        "not Welch's in the tail"
    )


def test_three_seeds_that_agree_by_luck_do_not_scatter_less_than_their_test_events_make_them() -> None:
    values = np.array([1.0, 1.1, 1.2])
    found = uncertain(values, test=0.02, test_scatter=0.09)
    freedom = 2 * ((0.03 + 0.02) / 0.03) ** 2
    half = stats.t.ppf(0.95, freedom) * math.sqrt(0.05)
    assert found.seed_se == pytest.approx(math.sqrt(0.03)) and found.mean.sd == pytest.approx(0.1)
    assert (found.mean.low, found.mean.high) == pytest.approx((1.1 - half, 1.1 + half))
    wide = uncertain([0.0, 1.0, 2.0], test=0.02, test_scatter=0.09)
    assert wide.mean == uncertain([0.0, 1.0, 2.0], test=0.02).mean, "what is more than that is the seeds' own"


def test_gains_that_are_none_are_rarely_significant_over_thirty_cells() -> None:
    """Of three seeds on one test sample, whose events err by 0.2 alike and by 0.6 from seed to seed, and nothing else."""
    random = np.random.default_rng(3)
    values = 0.2 * random.normal(size=(12_000, 1)) + 0.6 * random.normal(size=(12_000, 3))

    def share(wanted: float, least: float) -> float:
        return float(np.mean([uncertain(one, test=0.04, test_scatter=least).p_value < wanted for one in values]))

    for least in (0.36, math.nan):
        assert share(0.05 / 30, least) <= 0.05 / 30 and share(0.1, least) <= 0.1


def test_seeds_that_agree_leave_the_test_sample() -> None:
    found = uncertain([2.0, 2.0, 2.0], test=0.04)
    assert (found.mean.low, found.mean.high) == pytest.approx((2 - 1.645 * 0.2, 2 + 1.645 * 0.2), abs=1e-3)
    assert found.p_value < 1e-6 and math.isnan(uncertain([2.0, 2.0]).p_value)


@pytest.mark.parametrize("values", [[1.0], [1.0, math.nan], []])
def test_fewer_than_two_seeds_have_no_interval(values) -> None:
    found = uncertain(values, test=0.04)
    assert math.isnan(found.mean.low) and math.isnan(found.mean.high) and math.isnan(found.p_value)
    assert math.isnan(found.seed_se) and found.test_se == 0.2


def test_backbones_that_several_seeds_share_are_told_apart_from_seeds() -> None:
    """Balanced: mean squares by hand, and the variance of the mean is the one between backbones, with their freedom."""
    values = np.array([1.0, 2.0, 4.0, 5.0, 9.0, 10.0])
    found = scatter(values, list("aabbcc"))
    between, within = 2 * np.var([1.5, 4.5, 9.5], ddof=1), 0.5
    assert found.seed == pytest.approx(within / 6) and found.backbone == pytest.approx((between - within) / 2 / 3)
    assert found.total == pytest.approx(between / 6) and found.freedom == pytest.approx(2.0)
    parts = uncertain(values, backbones=list("aabbcc"))
    assert parts.backbone_se == pytest.approx(math.sqrt(found.backbone))
    left_out = uncertain([*values, math.nan], backbones=list("aabbccd"))
    assert left_out.figures("a") == pytest.approx(parts.figures("a"), nan_ok=True)


def test_groups_of_unequal_size_are_unbiased() -> None:
    random, group = np.random.default_rng(3), np.repeat([0, 1, 2], [4, 2, 1])
    values = 2.0 * random.normal(size=(5000, 3))[:, group] + random.normal(size=(5000, 7))
    found = [scatter(one, list(group)) for one in values]
    # The mean's true variance is that of all of them; variances below 0 that become 0 raise it a little.
    assert np.mean([one.total for one in found]) == pytest.approx(values.mean(axis=1).var(), rel=0.08)


@pytest.mark.parametrize("backbones", [list("aaa"), list("abc"), ["", "", ""]])
def test_where_groups_say_nothing_the_spread_is_the_seeds(backbones) -> None:
    found = scatter(np.array([1.0, 2.0, 4.0]), backbones)
    assert math.isnan(found.backbone) and found.freedom == 2.0
    assert found.total == pytest.approx(np.var([1.0, 2.0, 4.0], ddof=1) / 3)


def test_backbones_that_do_not_differ_add_nothing() -> None:
    found = scatter(np.array([1.0, 3.0, 3.0, 1.0]), list("aabb"))
    assert found.backbone == 0.0 and found.freedom == 3.0
    assert found.total == pytest.approx(np.var([1.0, 3.0, 3.0, 1.0], ddof=1) / 4)


def test_counts_bound_a_share() -> None:
    assert binomial(0.8, 2000) == pytest.approx(0.16 / 2000) and math.isnan(binomial(0.8, math.nan))


@pytest.mark.parametrize("heavy", [False, True])
@pytest.mark.parametrize("shared", [0.5, 1.0, 3.0])
@pytest.mark.parametrize(("seeds", "backbones"), [(3, 3), (4, 2), (5, 3), (6, 3)])
def test_intervals_of_correlated_seeds_cover(seeds: int, backbones: int, shared: float, heavy: bool) -> None:
    """Seed k stands on backbone (k - 1) mod n, whose own scatter is `shared` times that of seeds."""
    random, group = np.random.default_rng(11), np.arange(seeds) % backbones
    own = random.standard_t(3, (STUDIES, seeds)) / math.sqrt(3) if heavy else random.normal(size=(STUDIES, seeds))
    values = own + shared * random.normal(size=(STUDIES, backbones))[:, group]
    found = [uncertain(one, backbones=list(group)).mean for one in values]
    assert LOW <= np.mean([one.low <= 0.0 <= one.high for one in found]) <= HIGH


def test_seeds_alone_would_not_cover() -> None:
    """What intervals said before: six seeds are not six backbones."""
    random, group = np.random.default_rng(11), np.arange(6) % 3
    values = random.normal(size=(STUDIES, 6)) + 2.0 * random.normal(size=(STUDIES, 3))[:, group]
    found = [uncertain(one).mean for one in values]
    assert np.mean([one.low <= 0.0 <= one.high for one in found]) < LOW
