"""High-level variables of an event: what an analyst would give to boosted trees, computed from its reconstructed objects.

Each is described where it is computed. Pure arithmetic on arrays; it trains nothing and reads no file.
"""

from collections.abc import Callable
from functools import cached_property

import numpy as np

from breakeven.feature import Variable

__all__ = ["VARIABLES", "VARIABLES_VERSION", "Variable", "high_level"]

VARIABLES_VERSION = 1
"""Part of the identity of every trial with trees: raise it when the same objects give other variables."""
JET, ELECTRON, MUON, PHOTON, MET = range(5)
W_MASS = 80.4
"""GeV."""
_LEADING = 4
"""Objects of a kind that pairs are made of, by descending pt."""

Vectors = np.ndarray
"""Four-momenta (px, py, pz, E) in GeV, [..., 4]; NaN where there is no object."""


class Objects:
    """The objects of many events, by kind and by descending pt.

    nodes: [n_objects, 7], the features of feature.OBJECT.  offsets: [n_events + 1].
    """

    def __init__(self, nodes: np.ndarray, offsets: np.ndarray) -> None:
        nodes = np.asarray(nodes, np.float64)
        self.n_events = len(offsets) - 1
        self.event = np.repeat(np.arange(self.n_events), np.diff(offsets))
        pt, eta, phi, energy, b_tag, self.charge, kind = nodes.T
        self.pt, self.eta, self.kind, self.b = pt, eta, kind.astype(int), b_tag > 0.5
        self.vectors = np.stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), energy], axis=1)
        self.visible = self.kind != MET
        self.is_jet, self.is_photon = self.kind == JET, self.kind == PHOTON
        self.is_lepton = (self.kind == ELECTRON) | (self.kind == MUON)

    def sum(self, values: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """Sum of `values` [n_objects] over the chosen objects of each event."""
        return np.bincount(self.event[chosen], values[chosen], self.n_events)

    def total(self, chosen: np.ndarray) -> Vectors:
        """Sum of the four-momenta of the chosen objects of each event."""
        return np.stack([self.sum(component, chosen) for component in self.vectors.T], axis=1)

    def leading(self, chosen: np.ndarray, most: int = _LEADING) -> Vectors:
        """The four-momenta of the chosen objects of highest pt [n_events, most, 4]."""
        rows = np.flatnonzero(chosen)
        rows = rows[np.lexsort((-self.pt[rows], self.event[rows]))]
        first = np.searchsorted(self.event[rows], np.arange(self.n_events))
        place = np.arange(len(rows)) - first[self.event[rows]]
        hardest = np.full((self.n_events, most, 4), np.nan)
        kept = place < most
        hardest[self.event[rows[kept]], place[kept]] = self.vectors[rows[kept]]
        return hardest

    jets = cached_property(lambda self: self.leading(self.is_jet))
    b_jets = cached_property(lambda self: self.leading(self.is_jet & self.b))
    light_jets = cached_property(lambda self: self.leading(self.is_jet & ~self.b))
    leptons = cached_property(lambda self: self.leading(self.is_lepton))
    photons = cached_property(lambda self: self.leading(self.is_photon, 2))
    met = cached_property(lambda self: self.total(~self.visible))
    everything = cached_property(lambda self: self.total(self.visible))
    diphoton = cached_property(lambda self: self.photons[:, 0] + self.photons[:, 1])


def high_level(nodes: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """All VARIABLES of many events.

    Args:
        nodes: [n_objects, 7] features of objects, as feature.OBJECT lists them.
        offsets: [n_events + 1]: objects of event i are nodes[offsets[i]:offsets[i + 1]].

    Returns:
        [n_events, len(VARIABLES)] float32; NaN where an event has not the objects that a variable needs.
    """
    objects = Objects(nodes, offsets)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.stack([variable.compute(objects) for variable in VARIABLES], axis=1).astype(np.float32)


def _pt(vectors: Vectors) -> np.ndarray:
    pt: np.ndarray = np.hypot(vectors[..., 0], vectors[..., 1])
    return pt


def _mass(vectors: Vectors) -> np.ndarray:
    """Invariant mass; that of a vector whose square is negative by rounding is 0."""
    squared = vectors[..., 3] ** 2 - (vectors[..., :3] ** 2).sum(axis=-1)
    mass: np.ndarray = np.sqrt(np.maximum(squared, 0.0))
    return mass


def _eta(vectors: Vectors) -> np.ndarray:
    eta: np.ndarray = np.arcsinh(vectors[..., 2] / _pt(vectors))
    return eta


def _delta_phi(one: Vectors, other: Vectors) -> np.ndarray:
    """Between 0 and pi; NaN where one of them has no direction."""
    angle = np.arctan2(one[..., 1], one[..., 0]) - np.arctan2(other[..., 1], other[..., 0])
    return np.where((_pt(one) > 0.0) & (_pt(other) > 0.0), np.abs((angle + np.pi) % (2 * np.pi) - np.pi), np.nan)


def _delta_r(one: Vectors, other: Vectors) -> np.ndarray:
    distance: np.ndarray = np.hypot(_eta(one) - _eta(other), _delta_phi(one, other))
    return distance


def _transverse_mass(one: Vectors, other: Vectors) -> np.ndarray:
    """sqrt(2 pt pt' (1 - cos dphi)), both massless."""
    mass: np.ndarray = np.sqrt(2.0 * _pt(one) * _pt(other) * (1.0 - np.cos(_delta_phi(one, other))))
    return mass


def _pairs(one: Vectors, other: Vectors, of: Callable[[Vectors, Vectors], np.ndarray]) -> np.ndarray:
    """`of` each object of `one` with each of `other` [n_events, n_pairs]."""
    values = of(one[:, :, None], other[:, None, :])
    return values.reshape(len(values), -1)


def _distinct(objects: Vectors, of: Callable[[Vectors, Vectors], np.ndarray]) -> np.ndarray:
    """`of` each two of `objects` [n_events, n_pairs]."""
    first, second = np.triu_indices(objects.shape[1], 1)
    return of(objects[:, first], objects[:, second])


def _least(values: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(values).all(axis=1), np.nan, np.fmin.reduce(values, axis=1))


def _most(values: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(values).all(axis=1), np.nan, np.fmax.reduce(values, axis=1))


def _nearest(values: np.ndarray, target: float) -> np.ndarray:
    """Of each row, the value nearest to `target`."""
    distance = np.where(np.isnan(values), np.inf, np.abs(values - target))
    chosen = values[np.arange(len(values)), distance.argmin(axis=1)]
    return np.where(np.isinf(distance).all(axis=1), np.nan, chosen)


def _pair_mass(one: Vectors, other: Vectors) -> np.ndarray:
    return _mass(one + other)


def _momentum_tensor(objects: Objects) -> np.ndarray:
    """Eigenvalues, ascending, of sum p_i p_j / sum p^2 over visible objects [n_events, 3] (Bjorken and Brodsky, Phys. Rev.
    D 1 (1970) 1416).
    """
    tensor = np.empty((objects.n_events, 3, 3))
    momenta = objects.vectors[:, :3]
    for i in range(3):
        for j in range(3):
            tensor[:, i, j] = objects.sum(momenta[:, i] * momenta[:, j], objects.visible)
    norm = np.trace(tensor, axis1=1, axis2=2)
    return np.linalg.eigvalsh(tensor / np.where(norm > 0, norm, 1.0)[:, None, None])


def _count(name: str, title: str, chosen: Callable[[Objects], np.ndarray]) -> Variable[Objects]:
    return Variable(name, "1", title, lambda objects: objects.sum(np.ones(len(objects.pt)), chosen(objects)))


def _leading_pt(kind: str, title: str, of: Callable[[Objects], Vectors], number: int) -> Variable[Objects]:
    return Variable(f"pt_{kind}{number + 1}", "GeV", f"pt of {title} {number + 1}", lambda it: _pt(of(it)[:, number]))


VARIABLES: tuple[Variable[Objects], ...] = (
    Variable("ht", "GeV", "scalar sum of the jets' pt", lambda it: it.sum(it.pt, it.is_jet)),
    Variable("st", "GeV", "scalar sum of all pt, MET included", lambda it: it.sum(it.pt, it.pt >= 0.0)),
    Variable("met", "GeV", "missing transverse momentum", lambda it: _pt(it.met)),
    Variable("met_significance", "sqrt(GeV)", "MET over the root of HT", lambda it: _pt(it.met) / np.sqrt(
        np.maximum(it.sum(it.pt, it.is_jet), 1.0))),
    _count("n_jets", "jets", lambda it: it.is_jet),
    _count("n_b_jets", "b-tagged jets", lambda it: it.is_jet & it.b),
    _count("n_forward_jets", "jets with |eta| above 2.5", lambda it: it.is_jet & (np.abs(it.eta) > 2.5)),
    _count("n_electrons", "electrons", lambda it: it.kind == ELECTRON),
    _count("n_muons", "muons", lambda it: it.kind == MUON),
    _count("n_photons", "photons", lambda it: it.is_photon),
    Variable("charge", "e", "sum of the leptons' charges", lambda it: it.sum(it.charge, it.is_lepton)),
    *(_leading_pt("jet", "jet", lambda it: it.jets, number) for number in range(_LEADING)),
    *(_leading_pt("b_jet", "b-jet", lambda it: it.b_jets, number) for number in range(2)),
    *(_leading_pt("lepton", "lepton", lambda it: it.leptons, number) for number in range(2)),
    *(_leading_pt("photon", "photon", lambda it: it.photons, number) for number in range(2)),
    Variable("eta_lepton1", "1", "|eta| of the leading lepton", lambda it: np.abs(_eta(it.leptons[:, 0]))),
    Variable("eta_jet_max", "1", "largest |eta| of the leading jets", lambda it: _most(np.abs(_eta(it.jets)))),
    Variable("mass", "GeV", "invariant mass of all visible objects", lambda it: _mass(it.everything)),
    Variable("mass_jets", "GeV", "invariant mass of all jets", lambda it: _mass(it.total(it.is_jet))),
    Variable("pt_visible", "GeV", "pt of the sum of all visible objects", lambda it: _pt(it.everything)),
    Variable("mass_photons", "GeV", "invariant mass of the photon pair", lambda it: _mass(it.diphoton)),
    Variable("mass_leptons", "GeV", "invariant mass of the two leading leptons",
             lambda it: _pair_mass(it.leptons[:, 0], it.leptons[:, 1])),
    Variable("mass_jet_pair", "GeV", "invariant mass of the two leading jets",
             lambda it: _pair_mass(it.jets[:, 0], it.jets[:, 1])),
    Variable("mass_b_pair", "GeV", "invariant mass of the two leading b-jets",
             lambda it: _pair_mass(it.b_jets[:, 0], it.b_jets[:, 1])),
    Variable("mass_w", "GeV", "mass of the pair of leading light jets that is nearest to the W's",
             lambda it: _nearest(_distinct(it.light_jets, _pair_mass), W_MASS)),
    Variable("mass_b_lepton_min", "GeV", "least mass of a b-jet and a lepton",
             lambda it: _least(_pairs(it.b_jets, it.leptons, _pair_mass))),
    Variable("mt_lepton", "GeV", "transverse mass of the leading lepton and MET",
             lambda it: _transverse_mass(it.leptons[:, 0], it.met)),
    Variable("mt_lepton_min", "GeV", "least transverse mass of a lepton and MET",
             lambda it: _least(_transverse_mass(it.leptons, it.met[:, None]))),
    Variable("mt_b_min", "GeV", "least transverse mass of a b-jet and MET",
             lambda it: _least(_transverse_mass(it.b_jets, it.met[:, None]))),
    Variable("pt_photon_pair", "GeV", "pt of the photon pair", lambda it: _pt(it.diphoton)),
    Variable("dr_photons", "1", "separation of the photons", lambda it: _delta_r(it.photons[:, 0], it.photons[:, 1])),
    Variable("dr_photon_pair_b", "1", "separation of the photon pair and the nearest b-jet",
             lambda it: _least(_delta_r(it.b_jets, it.diphoton[:, None]))),
    Variable("dphi_photon_pair_b", "rad", "azimuth between the photon pair and the leading b-jet",
             lambda it: _delta_phi(it.diphoton, it.b_jets[:, 0])),
    Variable("dphi_photon_pair_jets", "rad", "azimuth between the photon pair and the sum of all jets",
             lambda it: _delta_phi(it.diphoton, it.total(it.is_jet))),
    Variable("dr_leptons", "1", "separation of the two leading leptons",
             lambda it: _delta_r(it.leptons[:, 0], it.leptons[:, 1])),
    Variable("dphi_leptons", "rad", "azimuth between the two leading leptons",
             lambda it: _delta_phi(it.leptons[:, 0], it.leptons[:, 1])),
    Variable("dr_b_pair", "1", "separation of the two leading b-jets",
             lambda it: _delta_r(it.b_jets[:, 0], it.b_jets[:, 1])),
    Variable("dr_b_lepton_min", "1", "least separation of a b-jet and a lepton",
             lambda it: _least(_pairs(it.b_jets, it.leptons, _delta_r))),
    Variable("dr_jets_min", "1", "least separation of two leading jets", lambda it: _least(_distinct(it.jets, _delta_r))),
    Variable("deta_jets_max", "1", "largest difference in eta of two leading jets",
             lambda it: _most(_distinct(it.jets, lambda one, other: np.abs(_eta(one) - _eta(other))))),
    Variable("dphi_met_jet1", "rad", "azimuth between MET and the leading jet",
             lambda it: _delta_phi(it.met, it.jets[:, 0])),
    Variable("dphi_met_lepton1", "rad", "azimuth between MET and the leading lepton",
             lambda it: _delta_phi(it.met, it.leptons[:, 0])),
    Variable("centrality", "1", "scalar sum of pt over sum of energy, visible objects",
             lambda it: it.sum(it.pt, it.visible) / np.maximum(it.everything[:, 3], 1e-9)),
    Variable("sphericity", "1", "3/2 of the two lesser eigenvalues of the momentum tensor",
             lambda it: 1.5 * _momentum_tensor(it)[:, :2].sum(axis=1)),
    Variable("aplanarity", "1", "3/2 of the least eigenvalue of the momentum tensor",
             lambda it: 1.5 * _momentum_tensor(it)[:, 0]),
)  # fmt: skip
"""In the order of the columns of `high_level`."""
