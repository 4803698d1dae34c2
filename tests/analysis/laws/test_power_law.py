"""Fits against known laws and against scipy's least squares."""

import numpy as np
import pytest
from scipy.optimize import least_squares

from breakeven.analysis.laws.power_law import fit_power_law
from breakeven.analysis.resampling import draws, generator, interval, size_means

SIZES = np.array([100.0, 300.0, 1000.0, 3000.0, 10_000.0, 30_000.0])


@pytest.mark.parametrize("truth", [(0.15, 1.2, 0.4), (0.0, 1.0, 0.2), (0.4, 30.0, 1.1), (0.02, 0.5, 0.1)])
def test_a_law_without_noise_is_found_exactly(truth: tuple[float, float, float]) -> None:
    a, b, c = truth
    values = np.log(a + b * SIZES**-c)[None, :]
    found = fit_power_law(SIZES, values, np.full(6, 0.01), (0.01, 2.0))
    assert (found.a[0], found.b[0], found.c[0]) == pytest.approx(truth, rel=1e-4, abs=1e-5)
    assert not found.at_bound[0] and found.loss[0] < 1e-6
    assert found.at(1e6)[0, 0] == pytest.approx(a + b * 1e6**-c, rel=1e-4)


def test_what_grows_is_fitted_with_negative_exponents() -> None:
    values = np.log(5.0 + 0.01 * SIZES**1.1)[None, :]
    found = fit_power_law(SIZES, values, np.full(6, 0.01), (-2.0, -0.02))
    assert (found.a[0], found.b[0], found.c[0]) == pytest.approx((5.0, 0.01, -1.1), rel=1e-3)


def test_it_finds_what_scipy_finds_from_many_starts() -> None:
    random = np.random.default_rng(1)
    errors = np.array([0.03, 0.02, 0.02, 0.01, 0.01, 0.01])
    noisy = np.log(0.15 + 1.2 * SIZES**-0.4) + errors * random.normal(size=(20, 6))
    noisy[0, 2] += 0.3  # one outlier, for Huber's weights
    found = fit_power_law(SIZES, noisy, errors, (0.01, 2.0))
    for row, values in enumerate(noisy):

        def residuals(p, values=values):
            return (np.log(np.maximum(p[0] + p[1] * (SIZES / 1000) ** -p[2], 1e-9)) - values) / errors

        best = min(
            least_squares(residuals, start, loss="huber", f_scale=2.0, bounds=([-1, 0, 0.01], [1, 9, 2.0])).cost
            for start in ([0.1, 0.1, 0.1], [0.1, 0.1, 0.5], [0.2, 0.05, 1.0], [0.0, 0.2, 0.3])
        )
        assert found.loss[row] == pytest.approx(best, rel=1e-3, abs=1e-5)


def test_exponents_of_both_signs_are_refused() -> None:
    with pytest.raises(ValueError, match="same sign"):
        fit_power_law(SIZES, np.zeros((1, 6)), np.ones(6), (-1.0, 1.0))


def test_one_seed_knows_no_error_and_draws_nothing_else() -> None:
    means = size_means([100, 300], [0.2, 0.1])
    assert np.isnan(means.error).all() and np.isnan(means.spread).all() and means.n_text == "1"
    assert (draws(means, 3, "x") == [0.2, 0.1]).all()


def test_a_size_with_one_seed_takes_its_error_from_the_others() -> None:
    means = size_means([100, 100, 100, 300], [0.1, 0.2, 0.3, 0.5])
    assert means.error[1] == pytest.approx(0.1) and means.freedom[1] == 2.0
    assert means.n_text == "1 to 3" and means.mean.tolist() == pytest.approx([0.2, 0.5])


def test_scatter_follows_its_trend_with_size() -> None:
    random = np.random.default_rng(2)
    sizes = np.repeat(SIZES, 40)
    means = size_means(sizes, 0.5 * sizes**-0.5 * random.normal(size=len(sizes)))
    assert means.spread == pytest.approx(0.5 * SIZES**-0.5, rel=0.35)
    alike = size_means(sizes, 0.1 * random.normal(size=len(sizes)))
    assert alike.spread == pytest.approx(np.full(6, 0.1), rel=0.35)


def test_draws_belong_to_their_name_and_intervals_keep_infinities() -> None:
    means = size_means([1, 1, 2, 2], [0.1, 0.2, 0.3, 0.5])
    assert (draws(means, 5, "a") == draws(means, 5, "a")).all() and (draws(means, 5, "a") != draws(means, 5, "b")).all()
    assert generator("a").random() == generator("a").random()
    assert interval(np.array([1.0, 2.0, np.inf, np.inf])) == (1.0, np.inf)


def test_values_that_no_law_follows_have_a_fit_above_zero() -> None:
    """Hours of a resampled cell that fall before they grow: the best combination of 1 and n^-c is below zero for every c."""
    sizes = np.array([50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0])
    errors = np.array([0.549, 0.462, 0.333, 0.275, 0.162, 0.129])
    values = np.log([[0.771, 0.294, 0.0688, 1.117, 4.283, 13.43], [0.3, 0.4, 0.6, 1.1, 2.0, 4.0]])
    found = fit_power_law(sizes, values, errors, (-2.0, -0.02))
    assert np.isfinite(found.loss).all() and (found.at(sizes) > 0).all() and (found.b >= 0).all()
