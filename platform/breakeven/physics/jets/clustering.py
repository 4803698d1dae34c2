"""From candidates to large-radius jets with their constituents: anti-kt (arXiv 0802.1189) of radius 0.8, soft drop (1402.2657).

Selection as in arXiv 2401.13536: pT above 200 GeV, |eta| below 2.4, constituents above 0.95 GeV, the hardest hundred of them.
Knows no truth and chooses no events.
"""

from dataclasses import dataclass
from typing import Any

import awkward as ak
import fastjet
import numpy as np
from fastjet import _swig
from numpy.typing import NDArray

from breakeven.physics.jets.candidates import COLUMNS, Candidates
from breakeven.physics.particles import event_of, pairs_within_event, starts

# FastJet greets once per process; with hundreds of workers that drowns the logs (README and CITATION.cff name it instead)
_swig.ClusterSequence.set_fastjet_banner_stream(None)

RADIUS = 0.8
MIN_PT, MAX_ETA = 200.0, 2.4
CONSTITUENT_MIN_PT, MAX_CONSTITUENTS = 0.95, 100
SOFT_DROP_CUT, SOFT_DROP_BETA = 0.1, 0


@dataclass(frozen=True)
class Jets:
    """Jets of n_events events, one event after the other, by falling pT inside an event.

    counts [n_events] int64. pt, mass, soft_drop_mass in GeV, eta, phi in (-pi, pi]: [n_jets] float64, of all candidates in the
    jet. constituents: those that are kept, jet after jet by falling pT; their counts are those of the jets [n_jets].
    """

    counts: NDArray[np.int64]
    pt: NDArray[np.float64]
    eta: NDArray[np.float64]
    phi: NDArray[np.float64]
    mass: NDArray[np.float64]
    soft_drop_mass: NDArray[np.float64]
    constituents: Candidates


_OF_JETS = ("pt", "eta", "phi", "mass", "soft_drop_mass")
"""The columns with one value per jet."""


def cluster(candidates: Candidates) -> Jets:
    """The jets of each event."""
    n_events = len(candidates.counts)
    clustering = fastjet.ClusterSequence(
        ak.unflatten(_vectors(candidates, slice(None)), candidates.counts),
        fastjet.JetDefinition(fastjet.antikt_algorithm, RADIUS),
    )
    jets, inside = clustering.inclusive_jets(min_pt=MIN_PT), clustering.constituent_index(min_pt=MIN_PT)
    event = event_of(ak.to_numpy(ak.num(jets)).astype(np.int64))
    flat = ak.flatten(jets)
    px, py, pz, energy = (ak.to_numpy(flat[name]) for name in ("px", "py", "pz", "E"))
    pt = np.hypot(px, py)
    eta, phi = np.arcsinh(pz / pt), np.arctan2(py, px)
    mass = np.sqrt(np.maximum(energy**2 - pt**2 - pz**2, 0.0))
    members = ak.flatten(inside, axis=1)
    sizes = ak.to_numpy(ak.num(members)).astype(np.int64)
    candidate = ak.to_numpy(ak.flatten(members)) + np.repeat(starts(candidates.counts)[event], sizes)

    order = np.lexsort((-pt, event))
    order = order[np.abs(eta[order]) < MAX_ETA]
    _, place = pairs_within_event(order, sizes)
    candidate, sizes = candidate[place], sizes[order]
    return Jets(
        counts=np.bincount(event[order], minlength=n_events),
        pt=pt[order],
        eta=eta[order],
        phi=phi[order],
        mass=mass[order],
        soft_drop_mass=_soft_drop_mass(candidates, candidate, sizes),
        constituents=_kept(candidates, candidate, sizes),
    )


def take(jets: Jets, chosen: NDArray[np.int64], counts: NDArray[np.int64]) -> Jets:
    """The jets with these numbers, with all that is in them; counts [n] says anew how many of them each event has."""
    _, inside = pairs_within_event(chosen, jets.constituents.counts)
    parts = Candidates(
        jets.constituents.counts[chosen], *(getattr(jets.constituents, name)[inside] for name in COLUMNS)
    )
    columns: dict[str, Any] = {name: getattr(jets, name)[chosen] for name in _OF_JETS}
    return Jets(counts=counts, constituents=parts, **columns)


def concatenate(parts: list[Jets]) -> Jets:
    """Several batches as one."""
    inner = [part.constituents for part in parts]
    constituents = Candidates(*(np.concatenate([getattr(one, name) for one in inner]) for name in ("counts", *COLUMNS)))
    columns: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in parts]) for name in ("counts", *_OF_JETS)
    }
    return Jets(constituents=constituents, **columns)


def _soft_drop_mass(
    candidates: Candidates, candidate: NDArray[np.int64], sizes: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Mass [n_jets] in GeV of what soft drop leaves of jets that are made of these candidates; 0 where one is left."""
    if not len(sizes):
        return np.zeros(0)
    reclustered = fastjet.ClusterSequence(
        ak.unflatten(_vectors(candidates, candidate), sizes),
        fastjet.JetDefinition(fastjet.cambridge_algorithm, _WHOLE_JET),
    )
    groomed = reclustered.exclusive_jets_softdrop_grooming(
        njets=1, beta=SOFT_DROP_BETA, symmetry_cut=SOFT_DROP_CUT, R0=RADIUS
    )
    masses: NDArray[np.float64] = np.maximum(ak.to_numpy(groomed["msoftdrop"]).reshape(-1), 0.0)
    return masses


_WHOLE_JET = 100.0
"""A radius in which a jet is clustered anew into one, whatever its size."""


def _kept(candidates: Candidates, candidate: NDArray[np.int64], sizes: NDArray[np.int64]) -> Candidates:
    """The constituents of each jet that are hard enough, at most a hundred, by falling pT."""
    jet = event_of(sizes)
    hard = candidates.pt[candidate] > CONSTITUENT_MIN_PT
    candidate, jet = candidate[hard], jet[hard]
    order = np.lexsort((-candidates.pt[candidate], jet))
    candidate, jet = candidate[order], jet[order]
    rank = np.arange(len(jet)) - starts(np.bincount(jet, minlength=len(sizes)))[jet]
    first = rank < MAX_CONSTITUENTS
    counts = np.bincount(jet[first], minlength=len(sizes))
    return Candidates(counts, *(getattr(candidates, name)[candidate[first]] for name in COLUMNS))


def _vectors(candidates: Candidates, which: NDArray[np.int64] | slice) -> ak.Array:
    pt, eta, phi = candidates.pt[which], candidates.eta[which], candidates.phi[which]
    momenta = {"px": pt * np.cos(phi), "py": pt * np.sin(phi), "pz": pt * np.sinh(eta), "E": pt * np.cosh(eta)}
    return ak.zip(momenta, with_name="Momentum4D")
