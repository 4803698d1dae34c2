"""Leading-order helicity amplitudes of g g -> t tbar and g g -> t tbar H with a Yukawa coupling of any CP nature.

Pure numpy, whole batches of phase-space points at once. Never samples phase space and knows no parton densities.

Conventions: metric (+ - - -); chiral representation, gamma5 = diag(-1, -1, 1, 1); helicity spinors as in HELAS
(H. Murayama, I. Watanabe, K. Hagiwara, KEK-91-11); strong coupling 1; the Higgs vertex is c_even + i c_odd gamma5
(the CP-mixed top Yukawa coupling of arXiv 1407.5089, section 2, its overall strength m_t / v left out). The amplitude
is split by colour into A12 T^1 T^2 + A21 T^2 T^1, each part gauge invariant (M. Mangano, S. Parke, hep-th/0509223);
the three-gluon diagram enters both with opposite signs. Checks in the tests: closed form of g g -> t tbar, gauge
invariance, Bose and Lorentz symmetry, equal CP-even and CP-odd results for massless quarks.
"""

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Momenta = NDArray[np.float64]
Complex = NDArray[np.complex128]

_METRIC = np.array([1.0, -1.0, -1.0, -1.0])
_PAULI = np.array([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])
_ZERO = np.zeros((2, 2))
_GAMMA = np.array(
    [np.block([[_ZERO, np.eye(2)], [np.eye(2), _ZERO]])] + [np.block([[_ZERO, s], [-s, _ZERO]]) for s in _PAULI]
)
_GAMMA_LOWER = _GAMMA * _METRIC[:, None, None]
_GAMMA5 = np.diag([-1.0, -1.0, 1.0, 1.0]).astype(complex)
_HELICITIES = (1, -1)
# colour traces: tr(T1 T2 T2 T1) and tr(T1 T2 T1 T2), summed over gluon colours
_SAME_ORDER, _OTHER_ORDER = 16.0 / 3.0, -2.0 / 3.0


@dataclass(frozen=True)
class SquaredAmplitude:
    """|M|^2 summed over spins and colours [n], and its two leading-colour parts [n].

    order_12 belongs to the colour flow in which the top carries the colour of the first gluon, order_21 to the other.
    """

    total: NDArray[np.float64]
    order_12: NDArray[np.float64]
    order_21: NDArray[np.float64]


@dataclass(frozen=True)
class _Boson:
    """A boson on the quark line: its incoming momentum [n, 4] and its vertex [n, 4, 4]."""

    momentum: Momenta
    vertex: Complex


@dataclass(frozen=True)
class _QuarkEnds:
    """Both ends of the quark line: top and its mass, ubar(top) [n, 2, 4] and v(antitop) [n, 4, 2] of both helicities."""

    top: Momenta
    mass: float
    top_bar: Complex
    antitop_spinor: Complex


def squared_amplitude(
    momenta: Momenta, mass: float, yukawa: tuple[float, float] | None = None, *, replace_polarisation: int | None = None
) -> SquaredAmplitude:
    """|M|^2 of g g -> t tbar (yukawa None) or g g -> t tbar H with yukawa = (c_even, c_odd).

    momenta [n, 4 or 5, 4] = (E, px, py, pz) in GeV of gluon, gluon, top, antitop (, Higgs), on shell with top mass
    `mass`; gluons may point anywhere. `replace_polarisation` (0 or 1) puts the momentum of that gluon in place of its
    polarisation, after which the result must vanish: the gauge check. Raises ValueError for a wrong shape.
    """
    n_particles = 4 if yukawa is None else 5
    if momenta.ndim != 3 or momenta.shape[1:] != (n_particles, 4):
        raise ValueError(f"momenta have shape {momenta.shape}, expected [n, {n_particles}, 4]")
    gluon1, gluon2, top, antitop = (momenta[:, place] for place in range(4))
    neutral = [] if yukawa is None else [_higgs(momenta[:, 4], yukawa)]
    top_bar = np.stack([_adjoint(_quark_spinor(top, helicity)) for helicity in _HELICITIES], axis=1)
    antitop_spinor = np.stack([_antiquark_spinor(antitop, helicity) for helicity in _HELICITIES], axis=2)
    ends = _QuarkEnds(top, mass, top_bar, antitop_spinor)

    order_12 = np.zeros(len(momenta))
    order_21 = np.zeros(len(momenta))
    interference = np.zeros(len(momenta))
    # parity turns all helicities round: for a coupling of pure CP the second half repeats the first
    pure = yukawa is None or 0.0 in yukawa
    for helicity1, helicity2 in itertools.product(_HELICITIES[:1] if pure else _HELICITIES, _HELICITIES):
        polarisation1, polarisation2 = _polarisation(gluon1, helicity1), _polarisation(gluon2, helicity2)
        if replace_polarisation == 0:
            polarisation1 = gluon1.astype(complex)
        elif replace_polarisation == 1:
            polarisation2 = gluon2.astype(complex)
        gluons = (gluon1, polarisation1), (gluon2, polarisation2)
        amplitude_12, amplitude_21 = _colour_ordered(*gluons, neutral, ends)
        order_12 += (np.abs(amplitude_12) ** 2).sum(axis=(1, 2))
        order_21 += (np.abs(amplitude_21) ** 2).sum(axis=(1, 2))
        interference += (amplitude_12 * amplitude_21.conj()).real.sum(axis=(1, 2))
    total = _SAME_ORDER * (order_12 + order_21) + 2 * _OTHER_ORDER * interference
    repeats = 2.0 if pure else 1.0
    return SquaredAmplitude(repeats * total, repeats * order_12, repeats * order_21)


def _colour_ordered(
    first: tuple[Momenta, Complex], second: tuple[Momenta, Complex], neutral: list[_Boson], ends: _QuarkEnds
) -> tuple[Complex, Complex]:
    """A12 and A21 [n, top helicity, antitop helicity] of gluons given as (momentum, polarisation)."""
    gluons = [_Boson(momentum, _slash(polarisation)) for momentum, polarisation in (first, second)]
    bosons = [*gluons, *neutral]
    shape = (len(ends.top), 2, 2)
    amplitude_12, amplitude_21 = np.zeros(shape, complex), np.zeros(shape, complex)
    for order in itertools.permutations(range(len(bosons))):
        diagram = _quark_line([bosons[place] for place in order], ends)
        if order.index(0) < order.index(1):
            amplitude_12 += diagram
        else:
            amplitude_21 += diagram
    for line in itertools.permutations([_three_gluon_current(first, second), *neutral]):
        diagram = _quark_line(list(line), ends)
        amplitude_12 += diagram
        amplitude_21 -= diagram
    return amplitude_12, amplitude_21


def _quark_line(bosons: list[_Boson], ends: _QuarkEnds) -> Complex:
    """ubar(top) V1 S V2 S ... v(antitop) [n, 2, 2], the bosons in order from the top end."""
    row = ends.top_bar @ bosons[0].vertex
    momentum = ends.top - bosons[0].momentum
    for boson in bosons[1:]:
        virtuality = _dot(momentum, momentum) - ends.mass**2
        row = (row @ _slash(momentum) + ends.mass * row) / virtuality[:, None, None]
        row = row @ boson.vertex
        momentum = momentum - boson.momentum
    return row @ ends.antitop_spinor


def _three_gluon_current(first: tuple[Momenta, Complex], second: tuple[Momenta, Complex]) -> _Boson:
    """The virtual gluon made by two incoming ones, in Feynman gauge."""
    (momentum1, polarisation1), (momentum2, polarisation2) = first, second
    momentum = momentum1 + momentum2
    current = (
        _dot(polarisation1, polarisation2)[:, None] * (momentum1 - momentum2)
        + 2 * _dot(momentum2, polarisation1)[:, None] * polarisation2
        - 2 * _dot(momentum1, polarisation2)[:, None] * polarisation1
    )
    return _Boson(momentum, _slash(current / _dot(momentum, momentum)[:, None]))


def _higgs(momentum: Momenta, yukawa: tuple[float, float]) -> _Boson:
    vertex = yukawa[0] * np.eye(4) + 1j * yukawa[1] * _GAMMA5
    return _Boson(-momentum, np.broadcast_to(vertex, (len(momentum), 4, 4)))


def _slash(vector: NDArray[Any]) -> Complex:
    return np.tensordot(vector, _GAMMA_LOWER, axes=(1, 0))


def _dot(left: NDArray[Any], right: NDArray[Any]) -> NDArray[Any]:
    product: NDArray[Any] = (left * right) @ _METRIC
    return product


def _angles(momentum: Momenta) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Absolute value, polar and azimuthal angle of the three-momentum."""
    size = np.linalg.norm(momentum[:, 1:], axis=1)
    theta = np.arctan2(np.hypot(momentum[:, 1], momentum[:, 2]), momentum[:, 3])
    return size, theta, np.arctan2(momentum[:, 2], momentum[:, 1])


def _weyl(theta: NDArray[np.float64], phi: NDArray[np.float64], helicity: int) -> Complex:
    if helicity > 0:
        return np.stack([np.cos(theta / 2) + 0j, np.sin(theta / 2) * np.exp(1j * phi)], axis=1)
    return np.stack([-np.sin(theta / 2) * np.exp(-1j * phi), np.cos(theta / 2) + 0j], axis=1)


def _quark_spinor(momentum: Momenta, helicity: int) -> Complex:
    size, theta, phi = _angles(momentum)
    weyl = _weyl(theta, phi, helicity)
    left = np.sqrt(np.maximum(momentum[:, 0] - helicity * size, 0.0))
    right = np.sqrt(np.maximum(momentum[:, 0] + helicity * size, 0.0))
    return np.concatenate([left[:, None] * weyl, right[:, None] * weyl], axis=1)


def _antiquark_spinor(momentum: Momenta, helicity: int) -> Complex:
    size, theta, phi = _angles(momentum)
    weyl = _weyl(theta, phi, -helicity)
    left = np.sqrt(np.maximum(momentum[:, 0] + helicity * size, 0.0))
    right = np.sqrt(np.maximum(momentum[:, 0] - helicity * size, 0.0))
    return np.concatenate([left[:, None] * weyl, -right[:, None] * weyl], axis=1)


def _adjoint(spinor: Complex) -> Complex:
    adjoint: Complex = spinor.conj() @ _GAMMA[0]
    return adjoint


def _polarisation(momentum: Momenta, helicity: int) -> Complex:
    """Polarisation vector of an incoming gluon, transverse to its own three-momentum."""
    _, theta, phi = _angles(momentum)
    cos_theta, sin_theta, cos_phi, sin_phi = np.cos(theta), np.sin(theta), np.cos(phi), np.sin(phi)
    components = [
        np.zeros(len(momentum)) + 0j,
        -helicity * cos_theta * cos_phi + 1j * sin_phi,
        -helicity * cos_theta * sin_phi - 1j * cos_phi,
        helicity * sin_theta + 0j,
    ]
    vector: Complex = np.stack(components, axis=1) / np.sqrt(2)
    return vector
