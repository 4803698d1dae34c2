"""The response of an ATLAS-like detector to single particles and jets: efficiencies, resolutions, granularity.

Every number is that of the public Delphes 3 ATLAS card (arXiv 1307.6346; the card is unchanged since 2017), but for the
b-tagging inputs, where arXiv 2412.10665 matches by dR < 0.4. All functions take and return arrays of one shape [n].
Holds no event loop and draws random numbers only in `log_normal`.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
ChargedKind = Literal["hadron", "electron", "muon"]

TRACKER_ETA = 2.5
CALORIMETER_ETA = 4.9

_LOW_PT_EFFICIENCY = {"hadron": (0.70, 0.60), "electron": (0.73, 0.50), "muon": (0.75, 0.70)}
_EFFICIENCY = {"hadron": (0.95, 0.85), "electron": (0.95, 0.83), "muon": (0.99, 0.98)}
_HIGH_PT_ELECTRON_EFFICIENCY = (0.99, 0.90)
_CONSTANT_TERM = {"hadron": (0.06, 0.10, 0.25), "electron": (0.03, 0.05, 0.15), "muon": (0.01, 0.015, 0.025)}
_CURVATURE_TERM = {
    "hadron": (1.3e-3, 1.7e-3, 3.1e-3),
    "electron": (1.3e-3, 1.7e-3, 3.1e-3),
    "muon": (1.0e-4, 1.5e-4, 3.5e-4),
}


def tracking_efficiency(kind: ChargedKind, pt: Floats, eta: Floats) -> Floats:
    """Probability that a charged particle leaves a track; pt in GeV."""
    forward = (np.abs(eta) > 1.5).astype(int)
    efficiency = np.where(pt > 1.0, np.take(_EFFICIENCY[kind], forward), np.take(_LOW_PT_EFFICIENCY[kind], forward))
    if kind == "electron":
        efficiency = np.where(pt > 100.0, np.take(_HIGH_PT_ELECTRON_EFFICIENCY, forward), efficiency)
    return np.where((pt > 0.1) & (np.abs(eta) <= TRACKER_ETA), efficiency, 0.0)


def track_resolution(kind: ChargedKind, pt: Floats, eta: Floats) -> Floats:
    """sigma(pT) / pT of a track, constant and curvature term in quadrature; pt in GeV."""
    region = np.digitize(np.abs(eta), (0.5, 1.5), right=True)
    resolution: Floats = np.hypot(np.take(_CONSTANT_TERM[kind], region), np.take(_CURVATURE_TERM[kind], region) * pt)
    return resolution


def ecal_resolution(energy: Floats, eta: Floats) -> Floats:
    """sigma(E) in GeV of the electromagnetic calorimeter."""
    barrel = np.sqrt((0.0017 * energy) ** 2 + 0.101**2 * energy)
    forward = np.sqrt((0.035 * energy) ** 2 + 0.285**2 * energy)
    return np.where(np.abs(eta) <= 3.2, barrel, forward)


def hcal_resolution(energy: Floats, eta: Floats) -> Floats:
    """sigma(E) in GeV of the hadronic calorimeter; the barrel has 1.59 GeV of noise per tower."""
    absolute = np.abs(eta)
    barrel = np.sqrt((0.0302 * energy) ** 2 + 0.5205**2 * energy + 1.59**2)
    endcap = np.sqrt((0.05 * energy) ** 2 + 0.706**2 * energy)
    forward = np.sqrt((0.0942 * energy) ** 2 + energy)
    return np.where(absolute <= 1.7, barrel, np.where(absolute <= 3.2, endcap, forward))


def ecal_fraction(pdg: NDArray[np.int32]) -> Floats:
    """Part of a particle's energy left in the electromagnetic calorimeter; the rest goes to the hadronic one.

    Not meant for muons, neutrinos and neutralinos, which leave nothing in either.
    """
    absolute = np.abs(pdg)
    electromagnetic = np.isin(absolute, (11, 22, 111))
    return np.where(electromagnetic, 1.0, np.where(np.isin(absolute, (310, 3122)), 0.3, 0.0))


def identification_efficiency(pt: Floats, eta: Floats, max_eta: float) -> Floats:
    """Probability to identify a photon or electron (max_eta 2.5) or a muon (max_eta 2.7)."""
    absolute = np.abs(eta)
    return np.where((pt > 10.0) & (absolute <= max_eta), np.where(absolute <= 1.5, 0.95, 0.85), 0.0)


def jet_energy_scale(pt: Floats, eta: Floats) -> Floats:
    """Factor that brings a calorimeter jet back to the particle scale on average."""
    return np.sqrt((3.0 - 0.2 * np.abs(eta)) ** 2 / pt + 1.0)


def b_tag_efficiency(flavour: NDArray[np.int8], pt: Floats) -> Floats:
    """Probability that a jet of flavour 5 (b), 4 (c) or 0 (light) is tagged as b; pt in GeV."""
    bottom = 0.80 * np.tanh(0.003 * pt) * 30.0 / (1.0 + 0.086 * pt)
    charm = 0.20 * np.tanh(0.02 * pt) / (1.0 + 0.0034 * pt)
    return np.where(flavour == 5, bottom, np.where(flavour == 4, charm, 0.002 + 7.3e-6 * pt))


def in_crack(eta: Floats) -> NDArray[np.bool_]:
    """Whether a direction falls between barrel and endcap, where photons and electrons are not used."""
    return (np.abs(eta) >= 1.37) & (np.abs(eta) <= 1.52)


def ecal_cell(eta: Floats, phi: Floats) -> NDArray[np.int64]:
    """Cell number of a direction: 0.0174 x 1 degree to |eta| 2.958, 0.175 x 10 degrees beyond."""
    fine = grid(eta, phi, 0.0174, 360)
    coarse = grid(eta, phi, 0.175, 36)
    return np.where(np.abs(eta) < 2.958, 2 * fine, 2 * coarse + 1)


def hcal_cell(eta: Floats, phi: Floats) -> NDArray[np.int64]:
    """Cell number of a direction: 0.1 x 10 degrees to |eta| 2.5, 0.2 x 20 degrees beyond."""
    fine = grid(eta, phi, 0.1, 36)
    coarse = grid(eta, phi, 0.2, 18)
    return np.where(np.abs(eta) < 2.5, 2 * fine, 2 * coarse + 1)


def log_normal(mean: Floats, sigma: Floats, random: np.random.Generator) -> Floats:
    """Draws with this mean and standard deviation [n] that are never negative; mean > 0."""
    width_squared = np.log1p((sigma / mean) ** 2)
    return mean * np.exp(np.sqrt(width_squared) * random.standard_normal(len(mean)) - 0.5 * width_squared)


def grid(eta: Floats, phi: Floats, eta_width: float, n_phi: int) -> NDArray[np.int64]:
    """Number of the cell that a direction falls into, of width `eta_width` and 1/n_phi of the circle."""
    column = np.floor((phi + np.pi) * (n_phi / (2 * np.pi))).astype(np.int64) % n_phi
    cell: NDArray[np.int64] = np.floor((eta + 5.0) / eta_width).astype(np.int64) * n_phi + column
    return cell
