"""From particles to the particle-flow candidates that jets are made of: tracks with impact parameters, photons, neutral hadrons.

Simplifications, all of them: particle flow is perfect, so that a track takes its particle's deposit away whole; no magnetic
field, so that directions are those at birth and an impact parameter is that of a straight line; no pile-up and no vertex
spread, so that the primary vertex is the origin; candidates are massless; no nuclear interactions and no fake tracks.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from breakeven.physics import response as tracking
from breakeven.physics.cells import sum_per_cell
from breakeven.physics.jets import response
from breakeven.physics.particles import ELECTRON, MUON, PHOTON, Particles, event_of
from breakeven.physics.tracks import track_pt

MAX_ETA = 4.0
"""Jets end at |eta| 2.4 and are 0.8 wide; what is around them must be there too, as it competes for what is between."""
MIN_PT = 0.5


class CandidateKind(IntEnum):
    """What a candidate is taken for."""

    CHARGED_HADRON = 0
    NEUTRAL_HADRON = 1
    PHOTON = 2
    ELECTRON = 3
    MUON = 4


@dataclass(frozen=True)
class Candidates:
    """Candidates of n_events events, one event after the other.

    counts [n_events] int64. All else [n_candidates]: pt in GeV, eta, phi float64, massless by convention; charge int8; kind
    int8 (CandidateKind). d0, dz: impact parameters relative to the primary vertex in mm, signed by direction of flight;
    d0_error, dz_error: their standard deviations in mm. All four are 0 for what has no track.
    """

    counts: NDArray[np.int64]
    pt: NDArray[np.float64]
    eta: NDArray[np.float64]
    phi: NDArray[np.float64]
    charge: NDArray[np.int8]
    kind: NDArray[np.int8]
    d0: NDArray[np.float64]
    d0_error: NDArray[np.float64]
    dz: NDArray[np.float64]
    dz_error: NDArray[np.float64]


COLUMNS = ("pt", "eta", "phi", "charge", "kind", "d0", "d0_error", "dz", "dz_error")
"""Those with one value per candidate."""


def reconstruct(particles: Particles, vertices: NDArray[np.float64], random: np.random.Generator) -> Candidates:
    """The candidates of each event, with pT above 0.5 GeV and |eta| below 4; a function of arguments and state of `random`.

    vertices: [n_particles, 3], see production_vertices.
    """
    pt = np.hypot(particles.px, particles.py)
    index = np.flatnonzero(
        (particles.status > 0) & ~particles.invisible & (np.abs(particles.pz) < np.sinh(MAX_ETA) * pt)
    )
    pdg, pt, charge = np.abs(particles.pdg[index]), pt[index], particles.charge[index]
    eta, phi = np.arcsinh(particles.pz[index] / pt), np.arctan2(particles.py[index], particles.px[index])
    event, energy = event_of(particles.counts)[index], particles.energy[index]
    x, y, z = np.abs(vertices[index]).T
    inside = (np.hypot(x, y) < response.TRACKER_RADIUS) & (z < response.TRACKER_HALF_LENGTH)
    measured = track_pt(pdg, charge, pt, eta, random, inside)

    is_track = measured > 0
    lost = ~is_track & (pdg != MUON)
    electromagnetic = lost & ((pdg == PHOTON) | (pdg == ELECTRON))
    of_track: dict[str, NDArray[Any]] = {"event": event, "charge": charge, "pt": measured, "eta": eta, "phi": phi}
    tracks = {name: column[is_track] for name, column in of_track.items()}
    sorts = [_tracks(tracks, pdg[is_track], vertices[index][is_track], random)]
    for kind, deposit in (
        (CandidateKind.PHOTON, electromagnetic),
        (CandidateKind.NEUTRAL_HADRON, lost & ~electromagnetic),
    ):
        sorts.append(_deposits(kind, event[deposit], energy[deposit], eta[deposit], phi[deposit], random))
    columns = {name: np.concatenate([sort[name] for sort in sorts]) for name in ("event", *COLUMNS)}
    kept = np.flatnonzero(columns["pt"] > MIN_PT)
    kept = kept[np.argsort(columns["event"][kept], kind="stable")]
    counts = np.bincount(columns["event"][kept], minlength=len(particles.counts))
    return Candidates(counts, *(columns[name][kept] for name in COLUMNS))


def production_vertices(batch: ak.Array) -> NDArray[np.float64]:
    """Where each particle of a `Pythia.nextBatch` is born, in mm from the primary vertex: [n_particles, 3].

    Pythia says nothing of those that are born at the primary vertex.
    """
    said = ak.to_packed(batch["prt"]).layout.content["vProd"]
    place = np.asarray(said.index.data)
    displaced = np.flatnonzero(place >= 0)
    vertices = np.zeros((len(place), 3))
    for column, name in enumerate(("px", "py", "pz")):
        vertices[displaced, column] = np.asarray(said.content[name].data)[place[displaced]]
    return vertices


def impact_parameters(
    vertex: NDArray[np.float64], phi: NDArray[np.float64], eta: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """d0 and dz [n] in mm of straight lines from `vertex` [n, 3], relative to the beam line and the origin.

    d0 = x sin(phi) - y cos(phi), dz = z - (x cos(phi) + y sin(phi)) sinh(eta), at the point of closest approach in the plane.
    """
    x, y, z = vertex.T
    cos, sin = np.cos(phi), np.sin(phi)
    return x * sin - y * cos, z - (x * cos + y * sin) * np.sinh(eta)


def _tracks(
    tracks: dict[str, NDArray[Any]], pdg: NDArray[np.int32], vertex: NDArray[np.float64], random: np.random.Generator
) -> dict[str, NDArray[Any]]:
    """`tracks` with their kinds and impact parameters."""
    d0, dz = impact_parameters(vertex, tracks["phi"], tracks["eta"])
    d0_error, dz_error = response.impact_resolution(tracks["pt"], tracks["eta"])
    lepton = np.where(pdg == MUON, CandidateKind.MUON, CandidateKind.ELECTRON)
    hadron = (pdg != MUON) & (pdg != ELECTRON)
    return {
        **tracks,
        "kind": np.where(hadron, CandidateKind.CHARGED_HADRON, lepton).astype(np.int8),
        "d0": d0 + d0_error * random.standard_normal(len(pdg)),
        "d0_error": d0_error,
        "dz": dz + dz_error * random.standard_normal(len(pdg)),
        "dz_error": dz_error,
    }


def _deposits(
    kind: CandidateKind,
    event: NDArray[np.int64],
    energy: NDArray[np.float64],
    eta: NDArray[np.float64],
    phi: NDArray[np.float64],
    random: np.random.Generator,
) -> dict[str, NDArray[Any]]:
    """What a calorimeter sees of particles without a track: one candidate per cell above threshold."""
    if kind == CandidateKind.PHOTON:
        cell, resolution = tracking.ecal_cell(eta, phi), response.ecal_resolution
        least, significance = response.PHOTON_MIN_ENERGY, response.PHOTON_MIN_SIGNIFICANCE
    else:
        cell, resolution = response.hcal_cell(eta, phi), response.hcal_resolution
        least, significance = response.NEUTRAL_MIN_ENERGY, response.NEUTRAL_MIN_SIGNIFICANCE
    event, eta, phi, energy = sum_per_cell(event, cell, energy, eta, phi)
    measured = tracking.log_normal(energy, resolution(energy, eta), random)
    seen = measured > np.maximum(least, significance * resolution(measured, eta))
    zeros = np.zeros(int(seen.sum()))
    return {
        "event": event[seen],
        "pt": (measured / np.cosh(eta))[seen],
        "eta": eta[seen],
        "phi": phi[seen],
        "charge": zeros.astype(np.int8),
        "kind": np.full(len(zeros), kind, np.int8),
        **{name: zeros for name in ("d0", "d0_error", "dz", "dz_error")},
    }
