"""How alike two representations of the same events are: centred kernel alignment.

Holds CKA with the kernel that reproduces the published numbers (RBF, half the median distance) and the linear one.
Never builds a matrix of events x events: kernels are summed in blocks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import pdist

MEDIAN_SAMPLE = 4000
SINGLE_PRECISION_ABOVE = 20_000
_BLOCK = 2048


def cka(a: np.ndarray, b: np.ndarray, kernel: str = "rbf", bandwidth: float = 0.5, *, unbiased: bool = False) -> float:
    """Centred kernel alignment of two representations of the same events (arXiv 1905.00414, eq. 4).

    a: [n_events, width_a], b: [n_events, width_b]. kernel: `rbf`, exp(-d^2 / (2 s^2)) with s = bandwidth x the median
    distance between two different events of each representation (the median is taken over 4,000 events drawn with a
    fixed seed where there are more), or `linear`, which ignores bandwidth. unbiased: the U-statistic of HSIC
    (Song et al. 2012, eq. 5), near 0 for independent representations at any n; it can be slightly negative.
    Time grows as n_events^2 for rbf, memory only as n_events; sums are float64, kernels float32 above 20,000 events.
    Raises ValueError for shapes that do not fit, NaN or infinite values, constant representations, an unknown kernel,
    a bandwidth that is not positive, or too few events.
    """
    a, b = _checked("a", a, unbiased), _checked("b", b, unbiased)
    if len(a) != len(b):
        raise ValueError(f"a has {len(a)} rows and b {len(b)}: CKA compares the same events in the same order")
    if kernel == "linear":
        sums = _linear_sums(a, b)
    elif kernel == "rbf":
        if not (math.isfinite(bandwidth) and bandwidth > 0.0):
            raise ValueError(f"bandwidth={bandwidth!r}: it multiplies the median distance and must be positive")
        sums = _rbf_sums(a / (bandwidth * median_distance(a)), b / (bandwidth * median_distance(b)))
    else:
        raise ValueError(f"kernel={kernel!r}: choose 'rbf' or 'linear'")
    return sums.alignment(unbiased)


def median_distance(a: np.ndarray, *, sample: int = MEDIAN_SAMPLE) -> float:
    """Median Euclidean distance between two different rows; of `sample` rows drawn with a fixed seed if more.

    a: [n_events, width]. Raises ValueError where more than half of the pairs coincide, which leaves no scale.
    """
    rows = a if len(a) <= sample else a[np.random.default_rng(0).choice(len(a), sample, replace=False)]
    median = float(np.median(pdist(rows)))
    if median == 0.0:
        raise ValueError("the median distance is 0, most rows are equal: use kernel='linear'")
    return median


@dataclass(frozen=True)
class _KernelSums:
    """All that HSIC needs of two kernel matrices K and L: [n] row sums, [n] diagonals, three sums of products."""

    row_k: np.ndarray
    row_l: np.ndarray
    diagonal_k: np.ndarray
    diagonal_l: np.ndarray
    sum_kl: float
    sum_kk: float
    sum_ll: float

    def alignment(self, unbiased: bool) -> float:
        k, l = (self.row_k, self.diagonal_k), (self.row_l, self.diagonal_l)  # noqa: E741
        hsic = _unbiased_hsic if unbiased else _biased_hsic
        cross = hsic(*k, *l, self.sum_kl)
        scale = hsic(*k, *k, self.sum_kk) * hsic(*l, *l, self.sum_ll)
        if scale <= 0.0:
            raise ValueError("too few events for the unbiased estimate: its self-similarity is not positive")
        return cross / math.sqrt(scale)


def _biased_hsic(
    row_k: np.ndarray, diagonal_k: np.ndarray, row_l: np.ndarray, diagonal_l: np.ndarray, sum_kl: float
) -> float:
    """tr(K H L H) with the centring matrix H, written in row sums (the factor of n cancels in CKA)."""
    n = len(row_k)
    return float(sum_kl - 2.0 / n * (row_k @ row_l) + row_k.sum() * row_l.sum() / n**2)


def _unbiased_hsic(
    row_k: np.ndarray, diagonal_k: np.ndarray, row_l: np.ndarray, diagonal_l: np.ndarray, sum_kl: float
) -> float:
    """HSIC_1 of Song et al. 2012, eq. 5, up to 1 / (n (n - 3)), which cancels: diagonals do not count."""
    n = len(row_k)
    row_k, row_l = row_k - diagonal_k, row_l - diagonal_l
    off_diagonal = sum_kl - diagonal_k @ diagonal_l
    products = row_k.sum() * row_l.sum() / ((n - 1) * (n - 2))
    return float(off_diagonal + products - 2.0 / (n - 2) * (row_k @ row_l))


def _linear_sums(a: np.ndarray, b: np.ndarray) -> _KernelSums:
    """K = a a^T without building it: its sums follow from [width, width] products."""
    return _KernelSums(
        row_k=a @ a.sum(axis=0),
        row_l=b @ b.sum(axis=0),
        diagonal_k=np.einsum("ij,ij->i", a, a),
        diagonal_l=np.einsum("ij,ij->i", b, b),
        sum_kl=float(np.square(a.T @ b).sum()),
        sum_kk=float(np.square(a.T @ a).sum()),
        sum_ll=float(np.square(b.T @ b).sum()),
    )


def _rbf_sums(a: np.ndarray, b: np.ndarray) -> _KernelSums:
    """Both kernels in blocks of rows and columns, upper triangle only; a and b in units of the bandwidth."""
    n = len(a)
    dtype = np.float32 if n > SINGLE_PRECISION_ABOVE else np.float64
    a, b = a.astype(dtype), b.astype(dtype)
    rows = np.zeros((2, n))
    sums = np.zeros(3)
    starts = range(0, n, _BLOCK)
    for i in starts:
        for j in starts[i // _BLOCK :]:
            k = _rbf_block(a[i : i + _BLOCK], a[j : j + _BLOCK], diagonal=i == j)
            l = _rbf_block(b[i : i + _BLOCK], b[j : j + _BLOCK], diagonal=i == j)  # noqa: E741
            weight = 1.0 if i == j else 2.0
            # Row-wise float32 dot products, added up in float64.
            sums += weight * np.array(
                [np.einsum("ij,ij->i", x, y).sum(dtype=np.float64) for x, y in ((k, l), (k, k), (l, l))]
            )
            for which, block in enumerate((k, l)):
                rows[which, i : i + _BLOCK] += block.sum(axis=1, dtype=np.float64)
                if i != j:
                    rows[which, j : j + _BLOCK] += block.sum(axis=0, dtype=np.float64)
    ones = np.ones(n)
    return _KernelSums(rows[0], rows[1], ones, ones, *(float(value) for value in sums))


def _rbf_block(x: np.ndarray, y: np.ndarray, *, diagonal: bool) -> np.ndarray:
    """exp(-|x_i - y_j|^2 / 2): [n_x, n_y]."""
    exponent = x @ y.T
    exponent -= 0.5 * np.einsum("ij,ij->i", x, x)[:, None]
    exponent -= 0.5 * np.einsum("ij,ij->i", y, y)[None, :]
    np.minimum(exponent, 0.0, out=exponent)
    block = np.exp(exponent, out=exponent)
    if diagonal:
        np.fill_diagonal(block, 1.0)
    return block


def _checked(name: str, representation: np.ndarray, unbiased: bool) -> np.ndarray:
    """Float64, centred (both kernels are unchanged by it, cancellation is less), or ValueError."""
    array = np.asarray(representation, dtype=np.float64)
    if array.ndim != 2:
        raise ValueError(f"{name} has shape {array.shape}: a representation is [n_events, width]")
    least = 4 if unbiased else 2
    if len(array) < least:
        raise ValueError(f"{name} has {len(array)} rows: at least {least} events are needed")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds NaN or infinite values: {int((~np.isfinite(array)).sum())} of {array.size}")
    if (array == array[0]).all():
        raise ValueError(f"{name} is constant: every event has the same representation, CKA is not defined")
    return array - array.mean(axis=0)
