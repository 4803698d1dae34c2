"""What a CMS-like detector measures of tracks and deposits, where it is not what the other response does.

Impact parameters have resolutions by bins of pT and |eta| as a public Delphes card for CMS has them, after figure 15 of arXiv
1405.6569; they become worse again above 100 GeV, which those of the JetClass card do not. Calorimeters are those of the
Delphes card of JetClass (arXiv 2202.03772). Efficiencies and momenta of tracks are the same in both cards, see
breakeven.physics.response. All functions take and return arrays of one shape [n].
"""

import numpy as np
from numpy.typing import NDArray

from breakeven.physics.response import Floats, grid

PHOTON_MIN_ENERGY, PHOTON_MIN_SIGNIFICANCE = 0.5, 2.0
NEUTRAL_MIN_ENERGY, NEUTRAL_MIN_SIGNIFICANCE = 1.0, 1.0
TRACKER_RADIUS, TRACKER_HALF_LENGTH = 1290.0, 3000.0
"""Millimetres. A particle that is born beyond leaves no track."""

_CENTRAL_ETA = 1.5
_PT_EDGES = (
    0.7, 0.9, 1.2, 1.6, 2.2, 3.0, 4.5, 7.0, 10.0, 16.0, 25.0, 40.0, 65.0, 100.0, 160.0, 250.0, 400.0, 650.0, 1000.0,
)  # fmt: skip
_D0 = np.array(
    (
        (0.147, 0.0938, 0.0786, 0.0609, 0.0554, 0.0414, 0.0365, 0.0308, 0.0270, 0.0239, 0.0232, 0.0236, 0.0251, 0.0297, 0.0381,
         0.0601, 0.110, 0.158, 0.156, 0.178),
        (0.288, 0.189, 0.161, 0.107, 0.0970, 0.0711, 0.0558, 0.0488, 0.0407, 0.0374, 0.0353, 0.0334, 0.0337, 0.0419, 0.0654,
         0.113, 0.181, 0.181, 0.181, 0.181),
    )
)  # fmt: skip
_DZ = np.array(
    (
        (0.196, 0.138, 0.114, 0.0911, 0.0816, 0.0651, 0.0558, 0.0502, 0.0478, 0.0437, 0.0444, 0.0505, 0.0621, 0.0766, 0.0966,
         0.121, 0.168, 0.208, 0.216, 0.202),
        (1.205, 0.830, 0.675, 0.445, 0.380, 0.284, 0.224, 0.185, 0.161, 0.143, 0.154, 0.163, 0.197, 0.231, 0.292,
         0.433, 0.495, 0.495, 0.495, 0.495),
    )
)  # fmt: skip


def impact_resolution(pt: Floats, eta: Floats) -> tuple[Floats, Floats]:
    """Standard deviations of d0 and dz of a track in mm; pt in GeV, below 0.5 GeV that of 0.5 to 0.7."""
    region, column = (np.abs(eta) > _CENTRAL_ETA).astype(int), np.digitize(pt, _PT_EDGES, right=True)
    return _D0[region, column], _DZ[region, column]


def ecal_resolution(energy: Floats, eta: Floats) -> Floats:
    """sigma(E) in GeV of the electromagnetic calorimeter, to |eta| 2.5 and beyond."""
    absolute = np.abs(eta)
    stochastic = np.sqrt((0.008 * energy) ** 2 + 0.11**2 * energy + 0.40**2)
    shape = np.where(absolute <= 1.5, 1 + 0.64 * eta**2, 2.16 + 5.6 * (absolute - 2) ** 2)
    forward = np.sqrt((0.107 * energy) ** 2 + 2.08**2 * energy)
    return np.where(absolute <= 2.5, shape * stochastic, forward)


def hcal_resolution(energy: Floats, eta: Floats) -> Floats:
    """sigma(E) in GeV of the hadronic calorimeter."""
    central = np.sqrt((0.050 * energy) ** 2 + 1.50**2 * energy)
    forward = np.sqrt((0.130 * energy) ** 2 + 2.70**2 * energy)
    return np.where(np.abs(eta) <= 3.0, central, forward)


def hcal_cell(eta: Floats, phi: Floats) -> NDArray[np.int64]:
    """Cell number of a direction: 0.087 x 5 degrees to |eta| 1.74, 0.175 x 10 degrees beyond."""
    return np.where(np.abs(eta) < 1.74, 2 * grid(eta, phi, 0.087, 72), 2 * grid(eta, phi, 0.175, 36) + 1)
