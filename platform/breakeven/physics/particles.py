"""The particles of a batch of events as flat numpy arrays, and the few questions that all of physics asks of them.

Holds the event record after the generator and before the detector. Never keeps a generator, never smears anything.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, TypeVar

import awkward as ak
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Columns = TypeVar("Columns", bound="DataclassInstance")

ELECTRON, MUON, PHOTON = 11, 13, 22
"""Absolute PDG codes."""


@dataclass(frozen=True)
class Particles:
    """Full event records, one after the other; entry 0 of each event is the system line of Pythia.

    counts [n_events] int64; all else [n_particles]: pdg, status (> 0: final), daughter1, daughter2 (positions inside
    the own event) int32; px, py, pz, energy float64 in GeV; charge int8 in units of e and
    invisible bool, whether no detector sees it, both filled for final particles only.
    """

    counts: NDArray[np.int64]
    pdg: NDArray[np.int32]
    status: NDArray[np.int32]
    daughter1: NDArray[np.int32]
    daughter2: NDArray[np.int32]
    px: NDArray[np.float64]
    py: NDArray[np.float64]
    pz: NDArray[np.float64]
    energy: NDArray[np.float64]
    charge: NDArray[np.int8]
    invisible: NDArray[np.bool_]


def from_pythia(batch: ak.Array, particle_data: Any) -> Particles:
    """The records of a `Pythia.nextBatch` without gaps; `particle_data` (Pythia's own table) knows charges and visibility."""
    layout = ak.to_packed(batch["prt"]).layout
    record = layout.content
    momentum = record["p"]
    pdg, status = np.asarray(record["id"].data), np.asarray(record["status"].data)
    charge, invisible = np.zeros(len(pdg), np.int8), np.zeros(len(pdg), bool)
    final = status > 0
    kinds, inverse = np.unique(pdg[final], return_inverse=True)
    # chargeType is three times the charge; final particles are colour neutral, so the division is exact
    charge[final] = np.array([particle_data.chargeType(int(kind)) // 3 for kind in kinds], np.int8)[inverse]
    invisible[final] = np.array([not particle_data.isVisible(int(kind)) for kind in kinds], bool)[inverse]
    return Particles(
        counts=np.diff(np.asarray(layout.offsets.data)).astype(np.int64),
        pdg=pdg,
        status=status,
        daughter1=np.asarray(record["daughter1"].data),
        daughter2=np.asarray(record["daughter2"].data),
        px=np.asarray(momentum["px"].data),
        py=np.asarray(momentum["py"].data),
        pz=np.asarray(momentum["pz"].data),
        energy=np.asarray(momentum["e"].data),
        charge=charge,
        invisible=invisible,
    )


def concatenate(parts: Sequence[Columns]) -> Columns:
    """Several batches as one: dataclasses of arrays, joined column by column."""
    names = [field.name for field in fields(parts[0])]
    return type(parts[0])(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def starts(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Position of the first entry of each event [n_events], from the entries per event [n_events]."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)[:-1]])


def last_copies(particles: Particles, kinds: tuple[int, ...], min_pt: float = 0.0) -> NDArray[np.int64]:
    """Indices of unstable particles with |pdg| in `kinds` that have no daughter of their own kind, in event order.

    A generator writes a particle anew after each recoil; the last copy is the one that decays or hadronises.
    """
    unstable = np.isin(np.abs(particles.pdg), kinds) & (particles.status < 0)
    index = np.flatnonzero(unstable)
    if min_pt > 0:
        index = index[np.hypot(particles.px[index], particles.py[index]) > min_pt]
    first = starts(particles.counts)[event_of(particles.counts)[index]]
    own = particles.pdg[index]
    copied = (particles.pdg[first + particles.daughter1[index]] == own) | (
        particles.pdg[first + particles.daughter2[index]] == own
    )
    last: NDArray[np.int64] = index[~copied]
    return last


def event_of(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """The event number of each entry [n_entries], from the entries per event [n_events]."""
    return np.repeat(np.arange(len(counts)), counts)


def pairs_within_event(
    left_event: NDArray[np.int64], right_counts: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All pairs (left, right) of entries in one event, as two index arrays [n_pairs].

    left_event [n_left] is the event of each left entry; right entries lie event by event, right_counts [n_events].
    """
    repeats = right_counts[left_event]
    left = np.repeat(np.arange(len(left_event)), repeats)
    within = np.arange(len(left)) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    return left, starts(right_counts)[left_event][left] + within


def delta_r_squared(
    eta1: NDArray[np.floating], phi1: NDArray[np.floating], eta2: NDArray[np.floating], phi2: NDArray[np.floating]
) -> NDArray[np.floating]:
    """(delta eta)^2 + (delta phi)^2, delta phi taken the short way round; all arrays of one shape."""
    delta_phi = np.abs(phi1 - phi2)
    delta_phi = np.minimum(delta_phi, 2 * np.pi - delta_phi)
    squared: NDArray[np.floating] = (eta1 - eta2) ** 2 + delta_phi**2
    return squared
