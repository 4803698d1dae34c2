"""What a page of pictures needs to know of the events of one process of jets. Draws nothing."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class JetSample:
    """What is drawn of the events of one process.

    pt, soft_drop_mass in GeV, bb [n_jets], weight [n_jets] in pb, constituents per jet [n_jets]; d0_significance [n_tracks] and
    track_bb [n_tracks], whether the track's jet is bb.
    """

    pt: NDArray[np.float32]
    soft_drop_mass: NDArray[np.float32]
    bb: NDArray[np.int8]
    weight: NDArray[np.float64]
    constituents: NDArray[np.int64]
    d0_significance: NDArray[np.float32]
    track_bb: NDArray[np.bool_]
