"""High-level variables of an event of large-radius jets: what an analyst would give to boosted trees without a network.

Kinematics of the jets and of the two leading ones as a pair, and what the constituents of these two say in single numbers. Each
is described where it is computed. Pure arithmetic on arrays; it trains nothing and reads no file.
"""

from collections.abc import Callable, Mapping
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from breakeven.feature import Variable

__all__ = ["VARIABLES", "VARIABLES_VERSION", "Variable", "high_level"]

VARIABLES_VERSION = 1
"""Part of the identity of every trial with trees on jets: raise it when the same jets give other variables."""
HIGGS_MASS = 125.0
"""GeV."""
DISPLACED = 3.0
"""Significance |d0| / error above which a track counts as displaced."""
MAX_SIGNIFICANCE = 100.0
"""Significances are cut off here, infinite ones too, which a d0 with an error of 0 has: one such track is not all."""
_LEADING = 3
"""Jets by falling pT that are looked at one by one."""
_AXIS_STEPS = 6
"""Of Lloyd's algorithm, after which the axes of nearly all jets rest."""

Floats = np.ndarray
Vectors = np.ndarray
"""Four-momenta (px, py, pz, E) in GeV, [..., 4]; NaN where there is no jet."""


class JetColumns:
    """The jets of many events, by falling pT, and sums over their constituents.

    jets: by name pt, mass, soft_drop_mass (GeV), eta, phi, [n_jets] each; jet k of event i is the offsets[i] + k-th.
    constituents: by name pt (GeV), d_eta, d_phi relative to the jet's axis, d0, d0_error (mm), charge (0 without a track),
    [n_constituents] each; those of jet j are inner_offsets[j] to inner_offsets[j + 1].
    """

    def __init__(
        self,
        jets: Mapping[str, NDArray[np.float32]],
        offsets: NDArray[np.int64],
        constituents: Mapping[str, NDArray[np.float32]],
        inner_offsets: NDArray[np.int64],
    ) -> None:
        self.n_events, self.n_jets = len(offsets) - 1, len(inner_offsets) - 1
        self.counts = np.diff(offsets)
        self.event = np.repeat(np.arange(self.n_events), self.counts)
        self.jet = np.repeat(np.arange(self.n_jets), np.diff(inner_offsets))
        self.of_jet = {name: np.asarray(values, np.float64) for name, values in jets.items()}
        self.inside = constituents
        order = np.lexsort((-self.of_jet["pt"], self.event))
        rank = np.arange(self.n_jets) - offsets[:-1][self.event]
        first = rank < _LEADING
        self._rows = np.full((self.n_events, _LEADING), -1)
        self._rows[self.event[first], rank[first]] = order[first]
        self._substructure: dict[str, Floats] = {}

    def leading(self, values: Floats) -> Floats:
        """Of `values` [n_jets, ...], those of the leading jets [n_events, 3, ...]; NaN where there is none."""
        missing = np.full((1, *values.shape[1:]), np.nan)
        values_of_jets: Floats = np.concatenate([values, missing])[self._rows]
        return values_of_jets

    def substructure(self, name: str) -> Floats:
        """One of _SUBSTRUCTURE [n_jets], computed once."""
        if name not in self._substructure:
            self._substructure[name] = _SUBSTRUCTURE[name][1](self)
        return self._substructure[name]

    def sum_inside(self, values: Floats) -> Floats:
        """Sum over the constituents of each jet [n_jets]."""
        return np.bincount(self.jet, values, self.n_jets)

    @cached_property
    def vectors(self) -> Vectors:
        """Of the leading jets [n_events, 3, 4]."""
        pt, eta, phi, mass = (self.of_jet[name] for name in ("pt", "eta", "phi", "mass"))
        energy = np.sqrt((pt * np.cosh(eta)) ** 2 + mass**2)
        return self.leading(np.stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), energy], axis=1))

    @cached_property
    def pt(self) -> Floats:
        """Of constituents."""
        return np.asarray(self.inside["pt"], np.float64)

    @cached_property
    def multiplicity(self) -> Floats:
        """Constituents of each jet."""
        return self.sum_inside(np.ones(len(self.jet)))

    @cached_property
    def sum_pt(self) -> Floats:
        """Of the constituents of each jet; NaN where there are none."""
        return _positive(self.sum_inside(self.pt))

    @cached_property
    def is_track(self) -> NDArray[np.bool_]:
        """Whether a constituent has a track."""
        has_one: NDArray[np.bool_] = self.inside["charge"] != 0
        return has_one

    @cached_property
    def significance(self) -> Floats:
        """|d0| / error of constituents, at most MAX_SIGNIFICANCE; 0 without a track."""
        d0, error = (np.asarray(self.inside[name], np.float64) for name in ("d0", "d0_error"))
        relative = np.divide(np.abs(d0), error, out=np.where(d0 == 0, 0.0, np.inf), where=error > 0)
        return np.where(self.is_track, np.minimum(relative, MAX_SIGNIFICANCE), 0.0)

    def largest(self, values: Floats, number: int) -> Floats:
        """Sum of the `number` largest of `values` [n_constituents], none negative, in each jet [n_jets]."""
        order = np.lexsort((-values, self.jet))
        rank = np.arange(len(order)) - np.searchsorted(self.jet, np.arange(self.n_jets))[self.jet]
        return np.bincount(self.jet, np.where(rank < number, values[order], 0.0), self.n_jets)


def high_level(
    jets: Mapping[str, NDArray[np.float32]],
    offsets: NDArray[np.int64],
    constituents: Mapping[str, NDArray[np.float32]],
    inner_offsets: NDArray[np.int64],
) -> NDArray[np.float32]:
    """All VARIABLES of many events.

    Args:
        jets: by name pt, mass, soft_drop_mass (GeV), eta, phi, [n_jets] each.
        offsets: [n_events + 1]: the jets of event i are those from offsets[i] to offsets[i + 1].
        constituents: by name pt (GeV), d_eta, d_phi, d0, d0_error (mm), charge, [n_constituents] each; see JetColumns.
        inner_offsets: [n_jets + 1]: likewise, the constituents of each jet.

    Returns:
        [n_events, len(VARIABLES)]; NaN where an event has not the jets, or a jet not the constituents, that one needs.
    """
    columns = JetColumns(jets, offsets, constituents, inner_offsets)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.stack([variable.compute(columns) for variable in VARIABLES], axis=1).astype(np.float32)


def _positive(values: Floats) -> Floats:
    return np.where(values > 0, values, np.nan)


def _pt(vectors: Vectors) -> Floats:
    pt: Floats = np.hypot(vectors[..., 0], vectors[..., 1])
    return pt


def _mass(vectors: Vectors) -> Floats:
    """Invariant mass; that of a vector whose square is negative by rounding is 0."""
    mass: Floats = np.sqrt(np.maximum(vectors[..., 3] ** 2 - (vectors[..., :3] ** 2).sum(axis=-1), 0.0))
    return mass


def _pair(columns: JetColumns) -> Vectors:
    """Sum of the two leading jets' momenta [n_events, 4]."""
    pair: Vectors = columns.vectors[:, 0] + columns.vectors[:, 1]
    return pair


def _difference(name: str, columns: JetColumns) -> Floats:
    """|x_1 - x_2| of the two leading jets; an angle phi the short way round."""
    values = columns.leading(columns.of_jet[name])
    apart: Floats = np.abs(values[:, 0] - values[:, 1])
    return np.minimum(apart, 2 * np.pi - apart) if name == "phi" else apart


def _pt_asymmetry(columns: JetColumns) -> Floats:
    pt = columns.leading(columns.of_jet["pt"])
    asymmetry: Floats = (pt[:, 0] - pt[:, 1]) / (pt[:, 0] + pt[:, 1])
    return asymmetry


def _by_closeness(columns: JetColumns) -> Floats:
    """The soft-drop masses of the two leading jets, the nearer one to the Higgs boson's first [n_events, 2]."""
    masses = columns.leading(columns.of_jet["soft_drop_mass"])[:, :2]
    order = np.argsort(np.abs(masses - HIGGS_MASS), axis=1)  # NaN comes last
    return np.take_along_axis(masses, order, axis=1)


def _width(columns: JetColumns) -> Floats:
    """sum pt dR / sum pt [n_jets], dR from the jet's axis (girth, arXiv 1106.3076 eq. 2.4)."""
    distance = np.hypot(columns.inside["d_eta"], columns.inside["d_phi"])
    width: Floats = columns.sum_inside(columns.pt * distance) / columns.sum_pt
    return width


def _dispersion(columns: JetColumns) -> Floats:
    """sqrt(sum pt^2) / sum pt [n_jets] (pTD, CMS-PAS-JME-13-002)."""
    dispersion: Floats = np.sqrt(columns.sum_inside(columns.pt**2)) / columns.sum_pt
    return dispersion


def _tau21(columns: JetColumns) -> Floats:
    """tau_2 / tau_1 [n_jets]: N-subjettiness with beta 2, its axes by Lloyd's algorithm (arXiv 1108.2701, section 3).

    The two axes start at the hardest constituent and at the one with the largest pt dR from it. NaN for fewer than two.
    """
    place = np.stack([columns.inside["d_eta"], columns.inside["d_phi"]], axis=1).astype(np.float64)
    jet, pt = columns.jet, columns.pt

    def squared_distance(axes: Floats) -> Floats:
        of_constituent: Floats = ((place - axes[jet]) ** 2).sum(axis=1)
        return of_constituent

    def at_largest(values: Floats) -> Floats:
        order = np.lexsort((-values, jet))
        axes = np.zeros((columns.n_jets, 2))
        first = np.searchsorted(jet, np.arange(columns.n_jets))
        there = columns.multiplicity > 0
        axes[there] = place[order[first[there]]]
        return axes

    def centre(chosen: NDArray[np.bool_], otherwise: Floats) -> Floats:
        weight = np.where(chosen, pt, 0.0)
        total = columns.sum_inside(weight)[:, None]
        sums = np.stack([columns.sum_inside(weight * axis) for axis in place.T], axis=1)
        return np.where(total > 0, sums / np.where(total > 0, total, 1.0), otherwise)

    one = at_largest(pt)
    other = at_largest(pt * np.sqrt(squared_distance(one)))
    for _ in range(_AXIS_STEPS):
        nearer = squared_distance(one) <= squared_distance(other)
        one, other = centre(nearer, one), centre(~nearer, other)
    tau2 = columns.sum_inside(pt * np.minimum(squared_distance(one), squared_distance(other)))
    tau1 = columns.sum_inside(pt * squared_distance(centre(np.ones(len(jet), bool), one)))
    return np.where(columns.multiplicity > 1, tau2 / _positive(tau1), np.nan)


def _track_fraction(columns: JetColumns) -> Floats:
    """pt of the hardest track over that of all constituents [n_jets]."""
    fraction: Floats = columns.largest(np.where(columns.is_track, columns.pt, 0.0), 1) / columns.sum_pt
    return fraction


_SUBSTRUCTURE: dict[str, tuple[str, Callable[[JetColumns], Floats]]] = {
    "n_constituents": ("constituents", lambda it: it.multiplicity),
    "width": ("pt-weighted distance of the constituents from the axis", _width),
    "dispersion": ("root of the sum of pt^2 over the sum of pt of the constituents", _dispersion),
    "tau21": ("2- over 1-subjettiness", _tau21),
    "n_displaced": ("tracks with |d0| above three errors", lambda it: it.sum_inside(
        (it.significance > DISPLACED).astype(np.float64))),
    "displacement": ("sum of the three largest |d0| over error", lambda it: it.largest(it.significance, 3)),
    "track_fraction": ("pt of the hardest track over that of all constituents", _track_fraction),
}  # fmt: skip
"""Of a jet, by name: what it is, and from the jets of many events to [n_jets]. All are pure numbers."""


def _of_jet(
    number: int, name: str, unit: str, title: str, compute: Callable[[JetColumns], Floats]
) -> Variable[JetColumns]:
    return Variable(
        f"{name}_jet{number + 1}", unit, f"{title} of jet {number + 1}", lambda it: it.leading(compute(it))[:, number]
    )


VARIABLES: tuple[Variable[JetColumns], ...] = (
    Variable("n_jets", "1", "number of jets", lambda it: it.counts.astype(np.float64)),
    Variable("ht", "GeV", "scalar sum of the jets' pt", lambda it: np.bincount(it.event, it.of_jet["pt"], it.n_events)),
    *(_of_jet(number, "pt", "GeV", "pt", lambda it: it.of_jet["pt"]) for number in range(_LEADING)),
    *(_of_jet(number, "eta", "1", "|eta|", lambda it: np.abs(it.of_jet["eta"])) for number in range(_LEADING)),
    *(_of_jet(number, "mass", "GeV", "mass", lambda it: it.of_jet["mass"]) for number in range(_LEADING)),
    *(_of_jet(number, "soft_drop_mass", "GeV", "soft-drop mass", lambda it: it.of_jet["soft_drop_mass"])
      for number in range(_LEADING)),
    Variable("mass_pair", "GeV", "invariant mass of the two leading jets", lambda it: _mass(_pair(it))),
    Variable("pt_pair", "GeV", "pt of the sum of the two leading jets", lambda it: _pt(_pair(it))),
    Variable("deta_pair", "1", "difference in eta of the two leading jets", lambda it: _difference("eta", it)),
    Variable("dphi_pair", "rad", "azimuth between the two leading jets", lambda it: _difference("phi", it)),
    Variable("dr_pair", "1", "separation of the two leading jets",
             lambda it: np.hypot(_difference("eta", it), _difference("phi", it))),
    Variable("pt_asymmetry", "1", "(pt1 - pt2) / (pt1 + pt2) of the two leading jets", _pt_asymmetry),
    Variable("soft_drop_mass_near", "GeV", "soft-drop mass of the leading two that is nearer to 125 GeV",
             lambda it: _by_closeness(it)[:, 0]),
    Variable("soft_drop_mass_far", "GeV", "soft-drop mass of the other one", lambda it: _by_closeness(it)[:, 1]),
    *(_of_jet(number, name, "1", title, partial(JetColumns.substructure, name=name))
      for name, (title, _) in _SUBSTRUCTURE.items() for number in range(2)),
)  # fmt: skip
"""In the order of the columns of `high_level`."""
