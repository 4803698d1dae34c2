"""Fits of y(n) = a + b n^-c to means at several sizes, many resamples of them at once.

Residuals are differences of logarithms over their standard errors, so that each size counts by its relative error.
For a fixed exponent c the law is linear in a and b: a start on every point of a grid of exponents costs one small
linear solution each, so the search for the best start is exhaustive; Levenberg and Marquardt's steps with Huber's
weights end it. scipy.optimize.least_squares gives the same result (a test holds that), for one fit in the time that
this takes for hundreds. Decides nothing about what a fit may be used for.
"""

from dataclasses import dataclass

import numpy as np

# Residuals beyond this many standard errors count linearly, not squared.
_HUBER = 2.0
_STEPS = 12
_GRID = 48


@dataclass(frozen=True)
class PowerLaw:
    """a, b, c: [n_fits]. `at_bound`: whether the exponent ended at an end of its range, [n_fits] bool.

    loss: Huber's loss of the residuals, half their sum of squares where all are small, [n_fits].
    """

    a: np.ndarray
    b: np.ndarray
    c: np.ndarray
    at_bound: np.ndarray
    loss: np.ndarray

    def at(self, sizes: np.ndarray | float) -> np.ndarray:
        """y at `sizes` [n_sizes], [n_fits, n_sizes]."""
        curves: np.ndarray = self.a[:, None] + self.b[:, None] * np.atleast_1d(sizes) ** -self.c[:, None]
        return curves


def fit_power_law(
    sizes: np.ndarray, log_values: np.ndarray, log_errors: np.ndarray, exponents: tuple[float, float]
) -> PowerLaw:
    """Fit each row of log_values [n_fits, n_sizes] at sizes [n_sizes]; log_errors [n_sizes]: their standard errors.

    exponents: least and largest c, of one sign: positive for what falls with size, negative for what grows.
    b is never negative; a may be, within what keeps y above zero at the sizes fitted: held at zero it would bias the
    law, and with it every forecast, wherever the true a is small. Raises ValueError where c could be 0.
    """
    low, high = exponents
    if not low < high or low * high <= 0:
        raise ValueError(f"exponents={exponents!r}: two different exponents of the same sign, the lower one first")
    # Sizes and values in units of a typical one: a, b and c are then all of order one.
    scale = np.exp(np.log(sizes).mean())
    units = np.exp(log_values.mean(axis=1, keepdims=True))
    x, y = np.log(sizes / scale), log_values - np.log(units)
    parameters = _start(x, y, log_errors, exponents)
    parameters, loss = _polish(parameters, x, y, log_errors, exponents)
    a, b, c = parameters.T
    at_bound = (c <= low + 1e-9) | (c >= high - 1e-9)
    return PowerLaw(a * units[:, 0], b * units[:, 0] * scale**c, c, at_bound, loss)


def _start(x: np.ndarray, y: np.ndarray, errors: np.ndarray, exponents: tuple[float, float]) -> np.ndarray:
    """The best of a grid of exponents, each with its weighted linear solution for a and b; [n_fits, 3]."""
    low, high = exponents
    grid = np.sign(low) * np.geomspace(abs(low), abs(high), _GRID)
    powers = np.exp(-grid[:, None] * x)
    value = np.exp(y)
    weight = 1.0 / (errors * value) ** 2  # a relative difference is one of logarithms, to first order
    w, wy = weight.sum(1)[:, None], (weight * value).sum(1)[:, None]
    wz, wzz, wzy = weight @ powers.T, weight @ (powers**2).T, (weight * value) @ powers.T
    b = np.maximum((w * wzy - wz * wy) / (w * wzz - wz**2), 0.0)
    a = (wy - b * wz) / w
    cost = (weight * value**2).sum(1)[:, None] - 2 * a * wy - 2 * b * wzy + a * a * w + 2 * a * b * wz + b * b * wzz
    lowest = np.where((a[:, :, None] + b[:, :, None] * powers).min(axis=2) > 0, cost, np.inf)
    best, row = lowest.argmin(axis=1), np.arange(len(y))
    start = np.stack([a[row, best], b[row, best], grid[best]], axis=1)
    possible = np.isfinite(lowest.min(axis=1, keepdims=True))
    return np.where(possible, start, _without_floor(x, y, errors, exponents))


def _without_floor(x: np.ndarray, y: np.ndarray, errors: np.ndarray, exponents: tuple[float, float]) -> np.ndarray:
    """Weighted lines through the logarithms, a = 0: above zero where no combination of 1 and n^-c is; [n_fits, 3]."""
    weight = errors**-2 / (errors**-2).sum()
    x_mean, y_mean = weight @ x, y @ weight
    c = np.clip(-((y * weight) @ (x - x_mean)) / (weight @ (x - x_mean) ** 2), *exponents)
    return np.stack([np.zeros(len(y)), np.exp(y_mean + c * x_mean), c], axis=1)


def _polish(
    parameters: np.ndarray, x: np.ndarray, y: np.ndarray, errors: np.ndarray, exponents: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Damped Gauss-Newton steps of all fits at once; a step that does not lower a fit's loss is not taken."""
    loss = _loss(parameters, x, y, errors)
    damping = np.full(len(y), 1e-3)
    for _ in range(_STEPS):
        residuals, slopes = _residuals(parameters, x, y, errors)
        weight = np.minimum(1.0, _HUBER / np.maximum(np.abs(residuals), 1e-12))
        curvature = np.einsum("rsi,rs,rsj->rij", slopes, weight, slopes)
        diagonal = np.einsum("rii->ri", curvature)
        damped = curvature + (damping[:, None] * diagonal + 1e-12)[:, :, None] * np.eye(3)
        step = np.linalg.solve(damped, np.einsum("rsi,rs,rs->ri", slopes, weight, residuals)[:, :, None])[:, :, 0]
        tried = parameters - step
        tried[:, 1] = np.maximum(tried[:, 1], 0.0)
        tried[:, 2] = np.clip(tried[:, 2], *exponents)
        tried_loss = _loss(tried, x, y, errors)
        better = tried_loss < loss
        parameters = np.where(better[:, None], tried, parameters)
        loss = np.where(better, tried_loss, loss)
        damping = np.where(better, damping * 0.2, damping * 10.0)
    return parameters, loss


def _residuals(
    parameters: np.ndarray, x: np.ndarray, y: np.ndarray, errors: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """[n_fits, n_sizes] and their derivatives by a, b, c, [n_fits, n_sizes, 3]."""
    a, b, c = parameters.T[:, :, None]
    power = np.exp(-c * x)
    value = a + b * power
    slopes = np.stack([np.ones_like(power), power, -b * x * power], axis=2) / (value * errors)[:, :, None]
    return (np.log(value) - y) / errors, slopes


def _loss(parameters: np.ndarray, x: np.ndarray, y: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """Huber's loss of each fit; infinite where the law is not above zero."""
    a, b, c = parameters.T[:, :, None]
    value = a + b * np.exp(-c * x)
    possible = value > 0
    size = np.abs(np.log(np.where(possible, value, 1.0)) - y) / errors
    each = np.where(size <= _HUBER, 0.5 * size**2, _HUBER * (size - 0.5 * _HUBER))
    return np.where(possible.all(axis=1), each.sum(axis=1), np.inf)
