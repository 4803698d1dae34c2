"""Which charged particles leave a track, and the pT that is measured of it: the same in every detector here."""

import numpy as np
from numpy.typing import NDArray

from breakeven.physics import response
from breakeven.physics.particles import ELECTRON, MUON


def track_pt(
    pdg: NDArray[np.int32],
    charge: NDArray[np.int8],
    pt: NDArray[np.float64],
    eta: NDArray[np.float64],
    random: np.random.Generator,
    possible: NDArray[np.bool_] | bool = True,
) -> NDArray[np.float64]:
    """Measured pT of those that leave a track, 0 for all others [n]; possible: which may, as those born inside the tracker."""
    measured = np.zeros(len(pt))
    is_electron, is_muon = pdg == ELECTRON, pdg == MUON
    sorts: tuple[tuple[response.ChargedKind, NDArray[np.bool_]], ...] = (
        ("hadron", (charge != 0) & ~is_electron & ~is_muon),
        ("electron", is_electron),
        ("muon", is_muon),
    )
    for sort, members in sorts:
        which = np.flatnonzero(members & possible & (np.abs(eta) <= response.TRACKER_ETA))
        which = which[random.random(len(which)) < response.tracking_efficiency(sort, pt[which], eta[which])]
        sigma = pt[which] * response.track_resolution(sort, pt[which], eta[which])
        measured[which] = response.log_normal(pt[which], sigma, random)
    return measured
