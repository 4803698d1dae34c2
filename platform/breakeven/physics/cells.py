"""Calorimeter cells: what falls into one is measured as one deposit, at its energy-weighted place.

Knows neither a grid nor a resolution.
"""

import numpy as np
from numpy.typing import NDArray


def sum_per_cell(
    event: NDArray[np.int64],
    cell: NDArray[np.int64],
    energy: NDArray[np.float64],
    eta: NDArray[np.float64],
    phi: NDArray[np.float64],
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Event, eta, phi and summed energy of every cell that was hit."""
    key = event * (1 << 32) + cell
    order = np.argsort(key, kind="stable")
    key = key[order]
    first = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]])) if len(key) else np.zeros(0, np.int64)
    weight = energy[order]

    def summed(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.add.reduceat(values, first) if len(first) else np.zeros(0)

    total = summed(weight)
    # cells never straddle phi = pi, so a plain mean of phi is right
    return key[first] >> 32, summed(weight * eta[order]) / total, summed(weight * phi[order]) / total, total
