"""How alike two representations of the same events are: centred kernel alignment.

Holds CKA with the kernel that reproduces the published numbers (RBF, half the median distance) and the linear one.
Never builds a matrix of events x events: kernels are summed in blocks.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MEDIAN_SAMPLE = 4000
SINGLE_PRECISION_ABOVE = 20_000
_BLOCK = 2048


def cka_matrices(
    representations: Sequence[np.ndarray], kernel: str = "rbf", bandwidth: float = 0.5
) -> tuple[np.ndarray, np.ndarray]:
    """CKA of every pair of representations of the same events: ([m, m] as printed, [m, m] by the unbiased estimator).

    representations: m arrays [n_events, width] (arXiv 1905.00414, eq. 4). kernel: `rbf`, exp(-d^2 / (2 s^2)) with s =
    bandwidth x the median distance between two different events of each representation (the median is taken over 4,000
    events drawn with a fixed seed where there are more), or `linear`, which ignores bandwidth. unbiased: the U-statistic of
    HSIC (Song et al. 2012, eq. 5), near 0 for independent representations at any n; it can be slightly negative.
    Time grows as n_events^2 for rbf, memory only as n_events; sums are float64, kernels float32 above 20,000 events.
    Raises ValueError for shapes that do not fit, NaN or infinite values, constant representations, an unknown kernel,
    a bandwidth that is not positive, or too few events.
    """
    checked = [_checked(f"representation {number}", one) for number, one in enumerate(representations)]
    if len({len(one) for one in checked}) > 1:
        raise ValueError(
            f"{sorted({len(one) for one in checked})} rows: CKA compares the same events in the same order"
        )
    sums = _sums(checked, kernel, bandwidth)
    return sums.alignments(False), sums.alignments(True)


def median_distance(a: np.ndarray, *, sample: int = MEDIAN_SAMPLE) -> float:
    """Median Euclidean distance between two different rows; of `sample` rows drawn with a fixed seed if more.

    a: [n_events, width]. Raises ValueError where more than half of the pairs coincide, which leaves no scale.
    """
    from scipy.spatial.distance import pdist

    rows = a if len(a) <= sample else a[np.random.default_rng(0).choice(len(a), sample, replace=False)]
    median = float(np.median(pdist(rows)))
    if median == 0.0:
        raise ValueError("the median distance is 0, most rows are equal: use kernel='linear'")
    return median


@dataclass(frozen=True)
class _KernelSums:
    """All that HSIC needs of m kernel matrices: [m, n] row sums, [m, n] diagonals, [m, m] sums of products."""

    rows: np.ndarray
    diagonals: np.ndarray
    products: np.ndarray

    def alignments(self, unbiased: bool) -> np.ndarray:
        """CKA of every pair, [m, m]."""
        hsic = (_unbiased_hsic if unbiased else _biased_hsic)(self.rows, self.diagonals, self.products)
        own = np.diag(hsic)
        if (own <= 0.0).any():
            raise ValueError("too few events for the unbiased estimate: its self-similarity is not positive")
        alignments: np.ndarray = hsic / np.sqrt(np.outer(own, own))
        return alignments


def _biased_hsic(rows: np.ndarray, diagonals: np.ndarray, products: np.ndarray) -> np.ndarray:
    """tr(K H L H) with the centring matrix H, written in row sums (the factor of n cancels in CKA)."""
    n, totals = rows.shape[1], rows.sum(axis=1)
    hsic: np.ndarray = products - 2.0 / n * (rows @ rows.T) + np.outer(totals, totals) / n**2
    return hsic


def _unbiased_hsic(rows: np.ndarray, diagonals: np.ndarray, products: np.ndarray) -> np.ndarray:
    """HSIC_1 of Song et al. 2012, eq. 5, up to 1 / (n (n - 3)), which cancels: diagonals do not count."""
    n, rows = rows.shape[1], rows - diagonals
    totals = rows.sum(axis=1)
    off_diagonal: np.ndarray = products - diagonals @ diagonals.T
    off_diagonal = off_diagonal + np.outer(totals, totals) / ((n - 1) * (n - 2)) - 2.0 / (n - 2) * (rows @ rows.T)
    return off_diagonal


def _sums(representations: Sequence[np.ndarray], kernel: str, bandwidth: float) -> _KernelSums:
    if kernel == "linear":
        return _linear_sums(representations)
    if kernel != "rbf":
        raise ValueError(f"kernel={kernel!r}: choose 'rbf' or 'linear'")
    if not (math.isfinite(bandwidth) and bandwidth > 0.0):
        raise ValueError(f"bandwidth={bandwidth!r}: it multiplies the median distance and must be positive")
    return _rbf_sums([one / (bandwidth * median_distance(one)) for one in representations])


def _linear_sums(representations: Sequence[np.ndarray]) -> _KernelSums:
    """K = a a^T without building it: its sums follow from [width, width] products."""
    return _KernelSums(
        rows=np.array([one @ one.sum(axis=0) for one in representations]),
        diagonals=np.array([np.einsum("ij,ij->i", one, one) for one in representations]),
        products=np.array([[np.square(a.T @ b).sum() for b in representations] for a in representations]),
    )


def _rbf_sums(representations: Sequence[np.ndarray]) -> _KernelSums:
    """All kernels in blocks of rows and columns, upper triangle only; representations in units of the bandwidth."""
    m, n = len(representations), len(representations[0])
    dtype = np.float32 if n > SINGLE_PRECISION_ABOVE else np.float64
    points = [one.astype(dtype) for one in representations]
    rows, products = np.zeros((m, n)), np.zeros((m, m))
    length = max(1, int(_BLOCK * math.sqrt(2.0 / m)))  # the blocks of all kernels together are as large for any m
    starts = range(0, n, length)
    for i in starts:
        for j in starts[i // length :]:
            blocks = np.stack([_rbf_block(x[i : i + length], x[j : j + length], diagonal=i == j) for x in points])
            # Products of one row at a time in single precision, added up in double.
            by_row = blocks.transpose(1, 0, 2)
            products += (1.0 if i == j else 2.0) * (by_row @ by_row.transpose(0, 2, 1)).sum(axis=0, dtype=np.float64)
            rows[:, i : i + length] += blocks.sum(axis=2, dtype=np.float64)
            if i != j:
                rows[:, j : j + length] += blocks.sum(axis=1, dtype=np.float64)
    return _KernelSums(rows, np.ones((m, n)), products)


def _rbf_block(x: np.ndarray, y: np.ndarray, *, diagonal: bool) -> np.ndarray:
    """exp(-|x_i - y_j|^2 / 2): [n_x, n_y]."""
    exponent: np.ndarray = x @ y.T
    exponent -= 0.5 * np.einsum("ij,ij->i", x, x)[:, None]
    exponent -= 0.5 * np.einsum("ij,ij->i", y, y)[None, :]
    np.minimum(exponent, 0.0, out=exponent)
    np.exp(exponent, out=exponent)
    if diagonal:
        np.fill_diagonal(exponent, 1.0)
    return exponent


def _checked(name: str, representation: np.ndarray) -> np.ndarray:
    """Float64, centred (both kernels are unchanged by it, cancellation is less), or ValueError."""
    array = np.asarray(representation, dtype=np.float64)
    if array.ndim != 2:
        raise ValueError(f"{name} has shape {array.shape}: a representation is [n_events, width]")
    if len(array) < 4:
        raise ValueError(f"{name} has {len(array)} rows: at least 4 events are needed")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds NaN or infinite values: {int((~np.isfinite(array)).sum())} of {array.size}")
    if (array == array[0]).all():
        raise ValueError(f"{name} is constant: every event has the same representation, CKA is not defined")
    centred: np.ndarray = array - array.mean(axis=0)
    return centred
