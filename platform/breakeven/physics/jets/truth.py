"""What is truly inside a jet: bosons and tops with all that they decay to, and hadrons with a bottom quark.

Reads generator records and the directions of jets. Never looks at a constituent.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from breakeven.physics.jets.clustering import RADIUS, Jets
from breakeven.physics.jets.processes import HIGGS, TOP, W, Z
from breakeven.physics.particles import Particles, delta_r_squared, event_of, last_copies, pairs_within_event, starts

BOTTOM = 5
NEUTRINOS = (12, 14, 16)
HADRON_MIN_PT = 5.0
_DECAYS_FURTHER = (TOP, Z, W)


@dataclass(frozen=True)
class JetTruth:
    """Of each jet [n_jets] int8.

    bb: 1 for H_bb of arXiv 2401.13536: a Higgs boson that decays to two bottom quarks and both of them are within 0.8 of the
    jet's axis; 0 for all else, jets of signal events too.
    n_b: hadrons with a bottom quark within 0.8, at their last copy, with pT above 5 GeV; 2 for two and more.
    """

    bb: NDArray[np.int8]
    n_b: NDArray[np.int8]


def truth_of(jets: Jets, particles: Particles) -> JetTruth:
    """The truth of the jets of the same events."""
    return JetTruth(contains(jets, particles, HIGGS, quark=BOTTOM).astype(np.int8), _count_b_hadrons(jets, particles))


def contains(jets: Jets, particles: Particles, kind: int, quark: int = 0) -> NDArray[np.bool_]:
    """Whether a particle with |pdg| `kind` and all that is visible of its decay is within 0.8 of each jet's axis [n_jets].

    Quarks, gluons and charged leptons at the end of the decay chain through tops, W and Z count, as in JetClass (arXiv
    2202.03772). quark: only decays to two of this |pdg| count; 0: all.
    """
    heavy = last_copies(particles, (kind,))
    n_heavy, event = len(heavy), event_of(particles.counts)
    owner, product = _decay_products(particles, heavy)
    products = np.bincount(owner, minlength=n_heavy)
    right = products > 0
    if quark:
        of_quark = np.abs(particles.pdg[product]) == quark
        right = (products == 2) & (np.bincount(owner[of_quark], minlength=n_heavy) == 2)
    member = np.concatenate([heavy, product])
    member = member[np.argsort(np.concatenate([np.arange(n_heavy), owner]), kind="stable")]
    eta, phi = _directions(particles, member)

    jet, which = pairs_within_event(
        event_of(jets.counts), np.bincount(event[heavy], minlength=len(particles.counts)).astype(np.int64)
    )
    pair, one = pairs_within_event(which, products + 1)
    outside = delta_r_squared(jets.eta[jet[pair]], jets.phi[jet[pair]], eta[one], phi[one]) >= RADIUS**2
    whole = (np.bincount(pair[outside], minlength=len(jet)) == 0) & right[which]
    holds = np.zeros(len(jets.pt), bool)
    holds[jet[whole]] = True
    return holds


def _decay_products(particles: Particles, heavy: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Visible particles at the end of the decays of `heavy`: number of the one that each is of, and its index [n_products]."""
    first = starts(particles.counts)[event_of(particles.counts)]
    owner, parent = np.arange(len(heavy)), heavy
    owners, products = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    while len(parent):
        child = np.concatenate(
            [first[parent] + particles.daughter1[parent], first[parent] + particles.daughter2[parent]]
        )
        owner = np.concatenate([owner, owner])
        kind = np.abs(particles.pdg[child])
        further = np.isin(kind, _DECAYS_FURTHER)
        visible = ~further & ~np.isin(kind, NEUTRINOS)
        owners.append(owner[visible])
        products.append(child[visible])
        owner, parent = owner[further], _last_copy(particles, first, child[further])
    return np.concatenate(owners), np.concatenate(products)


def _last_copy(particles: Particles, first: NDArray[np.int64], index: NDArray[np.int64]) -> NDArray[np.int64]:
    """The last copy of each of these particles; first: of each particle, where its event begins."""
    while True:
        one, two = first[index] + particles.daughter1[index], first[index] + particles.daughter2[index]
        own = particles.pdg[index]
        following = np.where(particles.pdg[one] == own, one, np.where(particles.pdg[two] == own, two, index))
        if np.array_equal(following, index):
            return index
        index = following


def _count_b_hadrons(jets: Jets, particles: Particles) -> NDArray[np.int8]:
    """See JetTruth.n_b."""
    is_b = _has_bottom(particles.pdg)
    index = np.flatnonzero(is_b & (np.hypot(particles.px, particles.py) > HADRON_MIN_PT))
    event = event_of(particles.counts)[index]
    first = starts(particles.counts)[event]
    decays_to_b = is_b[first + particles.daughter1[index]] | is_b[first + particles.daughter2[index]]
    index, event = index[~decays_to_b], event[~decays_to_b]
    eta, phi = _directions(particles, index)
    jet, hadron = pairs_within_event(
        event_of(jets.counts), np.bincount(event, minlength=len(particles.counts)).astype(np.int64)
    )
    near = delta_r_squared(jets.eta[jet], jets.phi[jet], eta[hadron], phi[hadron]) < RADIUS**2
    return np.minimum(np.bincount(jet[near], minlength=len(jets.pt)), 2).astype(np.int8)


def _has_bottom(pdg: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Whether a particle is a hadron with a bottom quark, by the digits of its number."""
    kind = np.abs(pdg)
    has: NDArray[np.bool_] = (kind > 100) & ((kind // 100 % 10 == BOTTOM) | (kind // 1000 % 10 == BOTTOM))
    return has


def _directions(particles: Particles, index: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """eta and phi of particles."""
    px, py = particles.px[index], particles.py[index]
    return np.arcsinh(particles.pz[index] / np.maximum(np.hypot(px, py), 1e-9)), np.arctan2(py, px)
