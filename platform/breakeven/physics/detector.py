"""From particles to reconstructed objects: jets, b-tags, isolated leptons and photons, missing momentum.

Follows the structure of the Delphes ATLAS card (arXiv 1307.6346), with the object selection of arXiv 2412.10665,
section 3. Whole batches at once; never a Python loop over events or particles, never a look at the process.

Simplifications, all of them: no magnetic field and no displaced impact on the calorimeter; no pile-up; jets and missing
momentum come from calorimeter cells (as in the card), leptons from tracks, photons from their own energy smeared by the
ECAL resolution; the isolation sum runs over charged-hadron tracks, photons and neutral hadrons above 0.5 GeV, the
neutral ones with their generated momentum; no tau identification.
"""

from dataclasses import dataclass
from enum import IntEnum

import awkward as ak
import fastjet
import numpy as np
from fastjet import _swig
from numpy.typing import NDArray

from breakeven.physics import response
from breakeven.physics.cells import sum_per_cell
from breakeven.physics.particles import (
    ELECTRON,
    MUON,
    PHOTON,
    Particles,
    delta_r_squared,
    event_of,
    last_copies,
    pairs_within_event,
)
from breakeven.physics.tracks import track_pt

# FastJet greets once per process; with hundreds of workers that drowns the logs (README and CITATION.cff name it instead)
_swig.ClusterSequence.set_fastjet_banner_stream(None)

PHOTON_MIN_PT, PHOTON_MAX_ETA = 20.0, 2.37
ELECTRON_MIN_PT, ELECTRON_MAX_ETA = 10.0, 2.47
MUON_MIN_PT, MUON_MAX_ETA = 10.0, 2.7
JET_MIN_PT, JET_MAX_ETA, JET_RADIUS = 25.0, 2.5, 0.4
OVERLAP_RADIUS = 0.4
FLAVOUR_RADIUS = 0.4
FLAVOUR_QUARK_MIN_PT = 5.0
ISOLATION_RADIUS, ISOLATION_MIN_PT = 0.5, 0.5
ISOLATION_LIMIT, MUON_ISOLATION_LIMIT = 0.12, 0.25
ECAL_MIN_ENERGY, HCAL_MIN_ENERGY, CALORIMETER_MIN_SIGNIFICANCE = 0.5, 1.0, 2.0


class ObjectKind(IntEnum):
    """What a reconstructed object is; the order is the order of objects inside an event."""

    JET = 0
    ELECTRON = 1
    MUON = 2
    PHOTON = 3
    MET = 4


@dataclass(frozen=True)
class Objects:
    """Reconstructed objects of n_events events, one event after the other, by kind and falling pT inside an event.

    counts [n_events] int64, at least 1: the missing momentum is always there and always last. All else [n_objects]:
    kind int8 (ObjectKind), pt float32 in GeV, eta float32 (0 for MET), phi float32 in (-pi, pi], b_tag int8 (0 or 1,
    jets only), charge int8 (leptons only). Massless by convention: E = pt cosh(eta).
    """

    counts: NDArray[np.int64]
    kind: NDArray[np.int8]
    pt: NDArray[np.float32]
    eta: NDArray[np.float32]
    phi: NDArray[np.float32]
    b_tag: NDArray[np.int8]
    charge: NDArray[np.int8]


@dataclass(frozen=True)
class _Visible:
    """Final particles in the calorimeter's reach that leave a signal; track_pt is 0 where there is no track."""

    counts: NDArray[np.int64]
    event: NDArray[np.int64]
    kind: NDArray[np.int32]
    charge: NDArray[np.int8]
    energy: NDArray[np.float64]
    pt: NDArray[np.float64]
    eta: NDArray[np.float64]
    phi: NDArray[np.float64]
    track_pt: NDArray[np.float64]


@dataclass(frozen=True)
class _Candidates:
    """Objects of one sort, in event order."""

    event: NDArray[np.int64]
    kind: NDArray[np.int8]
    pt: NDArray[np.float64]
    eta: NDArray[np.float64]
    phi: NDArray[np.float64]
    charge: NDArray[np.int8]


def reconstruct(particles: Particles, random: np.random.Generator) -> Objects:
    """The objects that the detector makes of each event. A pure function of the particles and the state of `random`."""
    n_events = len(particles.counts)
    visible = _visible(particles, random)
    cells = _calorimeter_cells(visible, random)
    isolated = _isolated(visible, random)
    jets = _without_overlap(_jets(cells, n_events), isolated, n_events)
    b_tag = random.random(len(jets.pt)) < response.b_tag_efficiency(_flavour(jets, particles), jets.pt)
    met = _missing_momentum(cells, visible, n_events)
    return _collect(n_events, jets, b_tag, isolated, met)


def take(objects: Objects, events: NDArray[np.int64]) -> Objects:
    """The objects of the events with these numbers, in this order."""
    _, index = pairs_within_event(events, objects.counts)
    columns = (name for name in Objects.__dataclass_fields__ if name != "counts")
    return Objects(objects.counts[events], *(getattr(objects, name)[index] for name in columns))


def _visible(particles: Particles, random: np.random.Generator) -> _Visible:
    pt = np.hypot(particles.px, particles.py)
    index = np.flatnonzero(
        (particles.status > 0) & ~particles.invisible & (np.abs(particles.pz) < np.sinh(response.CALORIMETER_ETA) * pt)
    )
    kind, charge, pt = np.abs(particles.pdg[index]), particles.charge[index], pt[index]
    eta = np.arcsinh(particles.pz[index] / pt)
    event = event_of(particles.counts)[index]
    return _Visible(
        counts=np.bincount(event, minlength=len(particles.counts)),
        event=event,
        kind=kind,
        charge=charge,
        energy=particles.energy[index],
        pt=pt,
        eta=eta,
        phi=np.arctan2(particles.py[index], particles.px[index]),
        track_pt=track_pt(kind, charge, pt, eta, random),
    )


def _calorimeter_cells(visible: _Visible, random: np.random.Generator) -> _Candidates:
    """Smeared deposits of both calorimeters as massless vectors at the energy-weighted place inside their cell."""
    hit = visible.kind != MUON
    event, eta, phi = visible.event[hit], visible.eta[hit], visible.phi[hit]
    ecal_energy = visible.energy[hit] * response.ecal_fraction(visible.kind[hit])
    hcal_energy = visible.energy[hit] - ecal_energy
    layers = (
        (ecal_energy, response.ecal_cell, response.ecal_resolution, ECAL_MIN_ENERGY),
        (hcal_energy, response.hcal_cell, response.hcal_resolution, HCAL_MIN_ENERGY),
    )
    cells = []
    for deposit, cell_of, resolution, min_energy in layers:
        used = deposit > 0
        cell_event, cell_eta, cell_phi, energy = sum_per_cell(
            event[used], cell_of(eta[used], phi[used]), deposit[used], eta[used], phi[used]
        )
        measured = response.log_normal(energy, resolution(energy, cell_eta), random)
        threshold = np.maximum(min_energy, CALORIMETER_MIN_SIGNIFICANCE * resolution(measured, cell_eta))
        seen = measured > threshold
        cells.append((cell_event[seen], cell_eta[seen], cell_phi[seen], measured[seen]))
    event, eta, phi, energy = (np.concatenate(columns) for columns in zip(*cells, strict=True))
    order = np.argsort(event, kind="stable")
    zeros = np.zeros(len(event), np.int8)
    return _Candidates(event[order], zeros, (energy / np.cosh(eta))[order], eta[order], phi[order], zeros)


def _isolated(visible: _Visible, random: np.random.Generator) -> _Candidates:
    """Identified, isolated photons, electrons and muons inside the acceptance."""
    kind, eta = visible.kind, visible.eta
    absolute = np.abs(eta)
    is_photon, is_electron, is_muon = kind == PHOTON, kind == ELECTRON, kind == MUON
    # nothing below half the threshold can be smeared above it with a probability that matters
    near = np.flatnonzero(
        (is_photon & (visible.pt > PHOTON_MIN_PT / 2)) | ((is_electron | is_muon) & (visible.track_pt > 0))
    )
    pt = visible.track_pt[near]
    photon = np.flatnonzero(is_photon[near])
    energy = visible.energy[near[photon]]
    smeared = response.log_normal(energy, response.ecal_resolution(energy, eta[near[photon]]), random)
    pt[photon] = smeared / np.cosh(eta[near[photon]])

    is_photon, is_electron, is_muon, absolute = is_photon[near], is_electron[near], is_muon[near], absolute[near]
    crack = response.in_crack(absolute)
    accepted = (
        (is_photon & (pt >= PHOTON_MIN_PT) & (absolute <= PHOTON_MAX_ETA) & ~crack)
        | (is_electron & (pt >= ELECTRON_MIN_PT) & (absolute <= ELECTRON_MAX_ETA) & ~crack)
        | (is_muon & (pt >= MUON_MIN_PT) & (absolute <= MUON_MAX_ETA))
    )
    efficiency = np.where(
        is_muon,
        response.identification_efficiency(pt, absolute, max_eta=2.7),
        response.identification_efficiency(pt, absolute, max_eta=2.5),
    )
    accepted &= random.random(len(near)) < efficiency
    chosen, pt, is_photon, is_muon = near[accepted], pt[accepted], is_photon[accepted], is_muon[accepted]
    isolated = _isolation_sum(visible, chosen) <= np.where(is_muon, MUON_ISOLATION_LIMIT, ISOLATION_LIMIT) * pt
    object_kind = np.where(is_photon, ObjectKind.PHOTON, np.where(is_muon, ObjectKind.MUON, ObjectKind.ELECTRON))
    chosen = chosen[isolated]
    return _Candidates(
        event=visible.event[chosen],
        kind=object_kind[isolated].astype(np.int8),
        pt=pt[isolated],
        eta=eta[chosen],
        phi=visible.phi[chosen],
        charge=visible.charge[chosen],
    )


def _isolation_sum(visible: _Visible, chosen: NDArray[np.int64]) -> NDArray[np.float64]:
    """Sum of pT around each chosen particle, itself, electrons and muons left out."""
    neutral_pt = np.where(visible.charge == 0, visible.pt, visible.track_pt)
    counted = (neutral_pt > ISOLATION_MIN_PT) & (visible.kind != ELECTRON) & (visible.kind != MUON)
    around = np.flatnonzero(counted)
    around_counts = np.bincount(visible.event[around], minlength=len(visible.counts))
    left, right = pairs_within_event(visible.event[chosen], around_counts)
    centre, other = chosen[left], around[right]
    near = delta_r_squared(visible.eta[centre], visible.phi[centre], visible.eta[other], visible.phi[other])
    close = (near < ISOLATION_RADIUS**2) & (centre != other)
    return np.bincount(left[close], neutral_pt[other[close]], minlength=len(chosen)).astype(np.float64)


def _jets(cells: _Candidates, n_events: int) -> _Candidates:
    """Calibrated anti-kt jets (arXiv 0802.1189) of the calorimeter cells inside the acceptance."""
    vectors = ak.zip(
        {
            "px": cells.pt * np.cos(cells.phi),
            "py": cells.pt * np.sin(cells.phi),
            "pz": cells.pt * np.sinh(cells.eta),
            "E": cells.pt * np.cosh(cells.eta),
        },
        with_name="Momentum4D",
    )
    by_event = ak.unflatten(vectors, np.bincount(cells.event, minlength=n_events))
    definition = fastjet.JetDefinition(fastjet.antikt_algorithm, JET_RADIUS)
    # the calibration raises pT, at most by a third here: cluster from a lower threshold, select after it
    clustered = fastjet.ClusterSequence(by_event, definition).inclusive_jets(min_pt=0.6 * JET_MIN_PT)
    event = event_of(ak.to_numpy(ak.num(clustered)).astype(np.int64))
    flat = ak.flatten(clustered)
    px, py, pz = (ak.to_numpy(flat[name]) for name in ("px", "py", "pz"))
    pt = np.hypot(px, py)
    eta, phi = np.arcsinh(pz / pt), np.arctan2(py, px)
    pt = pt * response.jet_energy_scale(pt, eta)
    kept = (pt >= JET_MIN_PT) & (np.abs(eta) <= JET_MAX_ETA)
    zeros = np.zeros(int(kept.sum()), np.int8)
    return _Candidates(event[kept], zeros, pt[kept], eta[kept], phi[kept], zeros)


def _without_overlap(jets: _Candidates, isolated: _Candidates, n_events: int) -> _Candidates:
    """The jets that are not the calorimeter image of a photon or lepton."""
    left, right = pairs_within_event(jets.event, np.bincount(isolated.event, minlength=n_events))
    distance = delta_r_squared(jets.eta[left], jets.phi[left], isolated.eta[right], isolated.phi[right])
    kept = np.ones(len(jets.event), bool)
    kept[left[distance < OVERLAP_RADIUS**2]] = False
    return _Candidates(*(getattr(jets, name)[kept] for name in _Candidates.__dataclass_fields__))


def _flavour(jets: _Candidates, particles: Particles) -> NDArray[np.int8]:
    """5 for a jet near a bottom quark, else 4 for one near a charm quark, else 0."""
    flavour = np.zeros(len(jets.event), np.int8)
    for quark in (4, 5):
        index = last_copies(particles, (quark,), min_pt=FLAVOUR_QUARK_MIN_PT)
        counts = np.bincount(event_of(particles.counts)[index], minlength=len(particles.counts))
        px, py, pz = particles.px[index], particles.py[index], particles.pz[index]
        eta, phi = np.arcsinh(pz / np.hypot(px, py)), np.arctan2(py, px)
        left, right = pairs_within_event(jets.event, counts)
        distance = delta_r_squared(jets.eta[left], jets.phi[left], eta[right], phi[right])
        flavour[left[distance < FLAVOUR_RADIUS**2]] = quark
    return flavour


def _missing_momentum(
    cells: _Candidates, visible: _Visible, n_events: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """pT and phi [n_events] that balance all calorimeter cells and muon tracks."""
    muon = np.flatnonzero((visible.kind == MUON) & (visible.track_pt > 0))
    event = np.concatenate([cells.event, visible.event[muon]])
    pt = np.concatenate([cells.pt, visible.track_pt[muon]])
    phi = np.concatenate([cells.phi, visible.phi[muon]])
    px = -np.bincount(event, pt * np.cos(phi), minlength=n_events)
    py = -np.bincount(event, pt * np.sin(phi), minlength=n_events)
    return np.hypot(px, py), np.arctan2(py, px)


def _collect(
    n_events: int,
    jets: _Candidates,
    b_tag: NDArray[np.bool_],
    isolated: _Candidates,
    met: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> Objects:
    """All objects in the order of Objects."""
    met_pt, met_phi = met
    no_met = np.zeros(n_events, np.int8)
    event = np.concatenate([jets.event, isolated.event, np.arange(n_events)])
    kind = np.concatenate([jets.kind, isolated.kind, np.full(n_events, ObjectKind.MET, np.int8)])
    pt = np.concatenate([jets.pt, isolated.pt, met_pt])
    order = np.lexsort((-pt, kind, event))
    charge = np.where(np.isin(isolated.kind, (ObjectKind.ELECTRON, ObjectKind.MUON)), isolated.charge, 0)
    phi = np.concatenate([jets.phi, isolated.phi, met_phi])[order].astype(np.float32)
    return Objects(
        counts=np.bincount(event, minlength=n_events),
        kind=kind[order],
        pt=pt[order].astype(np.float32),
        eta=np.concatenate([jets.eta, isolated.eta, no_met])[order].astype(np.float32),
        phi=np.where(phi <= np.float32(-np.pi), np.float32(np.pi), phi),
        b_tag=np.concatenate([b_tag, np.zeros(len(isolated.event), bool), no_met])[order].astype(np.int8),
        charge=np.concatenate([jets.charge, charge, no_met])[order].astype(np.int8),
    )
