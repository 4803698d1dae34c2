"""What a jet network sees of jets and their constituents: the 17 features of arXiv 2401.13536, four-vectors, pairs of them.

Columns are found by name in the events' levels. All is calculated in float64, so that it is finite whatever finite numbers
float32 columns hold, and so that the mass of a hard collinear pair does not drown in rounding. It learns nothing.

Impact parameters and their errors are in mm, as in JetClass (arXiv 2202.03772); in the CMS sample of arXiv 2401.13536 they
were in cm, so that its four features of displacement saturate ten times later than these.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from breakeven.feature import MOMENTUM_FLOOR, Feature, Levels, index_of

FEATURES = (
    "log_pt", "log_energy", "log_pt_fraction", "log_energy_fraction", "delta_r", "charge", "charged_hadron",
    "neutral_hadron", "photon", "electron", "muon", "d0", "d0_error", "dz", "dz_error", "d_eta", "d_phi",
)  # fmt: skip
"""Of a constituent, in the published order."""
_CENTRES = {"log_pt": (1.7, 0.7), "log_energy": (2.0, 0.7), "log_pt_fraction": (-4.7, 0.7),
            "log_energy_fraction": (-4.7, 0.7), "delta_r": (0.2, 4.0)}  # fmt: skip
"""(mean, scale) of the published (x - mean) * scale; all others stay as they are."""

PAIR_FEATURES = ("log_kt", "log_z", "log_delta_r", "log_m2")
HIGH_LEVEL = ("log_pt", "eta", "phi", "log_mass", "log_soft_drop_mass")

N_KINDS = 5
CONSTITUENT_FLOOR = 1e-3
"""GeV, far below the threshold of any detector: what the logarithm of a momentum or an energy of zero is taken of."""
PAIR_FLOOR = 1e-8
"""What the logarithm of a pair's zero is taken of (weaver-core's eps); each constituent is a pair with itself."""

_JET = {"pt": "GeV", "eta": "1", "phi": "rad", "mass": "GeV", "soft_drop_mass": "GeV"}
_CONSTITUENT = {"pt": "GeV", "d_eta": "1", "d_phi": "rad", "d0": "mm", "d0_error": "mm", "dz": "mm", "dz_error": "mm",
                "charge": "e", "kind": "1"}  # fmt: skip


class JetInputs:
    """Inputs of jets whose columns have the names and units of large-radius jets with constituents.

    levels: (features of a jet, features of a constituent), in any order, further ones are not looked at.
    Raises ValueError where these are other events, naming what is missing.
    """

    def __init__(self, levels: Levels) -> None:
        if len(levels) != 2:
            raise ValueError(f"a jet network takes events of jets with constituents, these have {_described(levels)}")
        self.jet, self.constituent = (
            _columns(name, features, wanted, levels)
            for name, features, wanted in zip(("jet", "constituent"), levels, (_JET, _CONSTITUENT), strict=True)
        )

    def constituents(self, jets: Tensor, constituents: Tensor, jet_of: Tensor) -> tuple[Tensor, Tensor]:
        """Features and kinematics of constituents.

        Args:
            jets: [n_jets, n_columns] as at rest.
            constituents: [n, n_columns] as at rest.
            jet_of: [n] int64, the jet of each.

        Returns:
            Features [n, 17] float64 as FEATURES has them, published standardisation included, and kinematics [n, 7] float64
            as `kinematics` gives them. d0 and dz are in mm: JetClass' unit.
        """
        jet = {name: jets[:, column].double().index_select(0, jet_of) for name, column in self.jet.items()}
        one = {name: constituents[:, column].double() for name, column in self.constituent.items()}
        eta = jet["eta"] + one["d_eta"]
        moving = kinematics(one["pt"], eta, jet["phi"] + one["d_phi"])
        jet_energy = torch.hypot(jet["pt"] * torch.cosh(jet["eta"]), jet["soft_drop_mass"])
        log_pt, log_energy = _log(one["pt"]), _log(moving[:, 6])
        values = {
            "log_pt": log_pt,
            "log_energy": log_energy,
            "log_pt_fraction": log_pt - _log(jet["pt"]),
            "log_energy_fraction": log_energy - _log(jet_energy),
            "delta_r": torch.hypot(one["d_eta"], one["d_phi"]),
            "charge": one["charge"],
            **{name: (one["kind"] == kind).double() for kind, name in enumerate(FEATURES[6 : 6 + N_KINDS])},
            "d0": torch.tanh(one["d0"]),
            "d0_error": one["d0_error"].clamp(0.0, 1.0),
            "dz": torch.tanh(one["dz"]),
            "dz_error": one["dz_error"].clamp(0.0, 1.0),
            # towards larger |eta| is positive; a jet at 0 counts as one at positive eta
            "d_eta": torch.where(jet["eta"] < 0.0, -one["d_eta"], one["d_eta"]),
            "d_phi": one["d_phi"],
        }
        for name, (mean, scale) in _CENTRES.items():
            values[name] = (values[name] - mean) * scale
        return torch.stack([values[name] for name in FEATURES], dim=1), moving

    def high_level(self, jets: Tensor) -> Tensor:
        """log pT, eta, phi, log m, log m_SD [n_jets, 5] float64; momenta and masses below 1 GeV count as 1 GeV."""
        values = {name: jets[:, column].double() for name, column in self.jet.items()}
        log = {name: values[name].clamp(min=MOMENTUM_FLOOR).log() for name in ("pt", "mass", "soft_drop_mass")}
        return torch.stack([log["pt"], values["eta"], values["phi"], log["mass"], log["soft_drop_mass"]], dim=1)


def kinematics(pt: Tensor, eta: Tensor, phi: Tensor) -> Tensor:
    """pt, eta, phi, px, py, pz, energy [n, 7] of massless particles; pt (GeV), eta, phi (rad): [n]."""
    px, py, pz = pt * torch.cos(phi), pt * torch.sin(phi), pt * torch.sinh(eta)
    return torch.stack([pt, eta, phi, px, py, pz, pt * torch.cosh(eta)], dim=1)


def pair_features(first: Tensor, second: Tensor) -> Tensor:
    """ln kT, ln z, ln dR, ln m2 of pairs (arXiv 2202.03772, eq. 3), [n, 4].

    first, second: [n, 7] as `kinematics` gives them. kT = min(pT) dR, z = min(pT) / (pT + pT), both in GeV; each is
    at least PAIR_FLOOR, so that all are finite.
    """
    return _pair_features(first.unbind(1), second.unbind(1))


def pairs_of(kinematics: Tensor, pairs: tuple[Tensor, Tensor]) -> Tensor:
    """`pair_features` of the rows of `kinematics` [n, 7] that `pairs` names, [n_pairs] int64 each; the faster form."""
    columns = kinematics.t().contiguous()
    first, second = ([column.index_select(0, rows) for column in columns] for rows in pairs)
    return _pair_features(first, second)


def _pair_features(first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
    """[n, 4] from the seven columns of either."""
    (pt, eta, phi, *momentum), (other_pt, other_eta, other_phi, *other_momentum) = first, second
    lower, d_phi = torch.minimum(pt, other_pt), phi - other_phi
    d_phi = d_phi - math.tau * torch.round(d_phi / math.tau)
    delta_r = ((eta - other_eta).square() + d_phi.square()).sqrt()
    px, py, pz, energy = ((one + other).square() for one, other in zip(momentum, other_momentum, strict=True))
    z = lower / (pt + other_pt).clamp(min=PAIR_FLOOR)
    return torch.stack([lower * delta_r, z, delta_r, energy - (px + py + pz)]).clamp_(min=PAIR_FLOOR).log_().t()


def _log(values: Tensor) -> Tensor:
    return values.clamp(min=CONSTITUENT_FLOOR).log()


def _columns(level: str, features: Sequence[Feature], wanted: dict[str, str], levels: Levels) -> dict[str, int]:
    """Where each wanted feature lies. Raises ValueError on those that are missing or in another unit."""
    units = {feature.name: feature.unit for feature in features}
    misfits = [f"{name} is missing" for name in wanted if name not in units]
    misfits += [
        f"{name} is in {units[name]}, not {unit}" for name, unit in wanted.items() if units.get(name, unit) != unit
    ]
    if misfits:
        raise ValueError(
            f"a jet network takes events of jets with constituents, these have {_described(levels)}: of a {level} "
            f"{', '.join(misfits)}; bring events with these columns, or choose a network of another kind"
        )
    return {name: index_of(features, name) for name in wanted}


def _described(levels: Levels) -> str:
    return " / ".join(", ".join(feature.name for feature in features) for features in levels)
