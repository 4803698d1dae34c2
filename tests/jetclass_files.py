"""ROOT files as JetClass has them, made of our own jets: what a user brings."""

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import uproot

from breakeven.physics.jets.generator import JetEvents
from breakeven.physics.jets.jetclass import BRANCHES

KINDS = ("part_isChargedHadron", "part_isNeutralHadron", "part_isPhoton", "part_isElectron", "part_isMuon")
LABELS = [name for name in BRANCHES if name.startswith("label_")]
Columns = dict[str, Any]


def columns_of(made: JetEvents, label: str) -> Columns:
    """What JetClass says of generated jets. The order of constituents is turned around, as none is promised."""
    jets, inside = made.jets, made.jets.constituents
    eta, phi = (np.repeat(axis, inside.counts) for axis in (jets.eta, jets.phi))
    sign = np.where(eta > 0, 1, -1)
    flat = {
        "part_px": inside.pt * np.cos(inside.phi),
        "part_py": inside.pt * np.sin(inside.phi),
        "part_pz": inside.pt * np.sinh(inside.eta),
        "part_energy": inside.pt * np.cosh(inside.eta),
        "part_deta": sign * (inside.eta - eta),
        "part_dphi": np.remainder(inside.phi - phi + np.pi, 2 * np.pi) - np.pi,
        "part_d0val": inside.d0,
        "part_d0err": inside.d0_error,
        "part_dzval": inside.dz,
        "part_dzerr": inside.dz_error,
        "part_charge": inside.charge,
        **{name: inside.kind == kind for kind, name in enumerate(KINDS)},
    }
    of_jets = {
        "jet_pt": jets.pt,
        "jet_eta": jets.eta,
        "jet_phi": jets.phi,
        "jet_energy": np.sqrt((jets.pt * np.cosh(jets.eta)) ** 2 + jets.mass**2),
        "jet_nparticles": inside.counts,
        "jet_sdmass": jets.soft_drop_mass,
        "jet_tau1": np.zeros(len(jets.pt)),
        **{name: np.full(len(jets.pt), name == label) for name in LABELS},
    }
    lists = {
        name: ak.values_astype(ak.unflatten(values, inside.counts)[:, ::-1], np.float32)
        for name, values in flat.items()
    }
    return {**lists, **{name: _narrow(values) for name, values in of_jets.items()}}


def plain_columns(counts: list[int], label: str = "label_QCD") -> Columns:
    """Jets of random photons and tracks, as many in each as `counts` says."""
    random, n_jets, n_parts = np.random.default_rng(2), len(counts), sum(counts)
    eta, phi = random.uniform(-1.5, 1.5, n_jets), random.uniform(-3, 3, n_jets)
    of_parts = [np.repeat(axis, counts) + random.normal(0, 0.1, n_parts) for axis in (eta, phi)]
    pt, charged = random.exponential(20, n_parts) + 1, random.random(n_parts) < 0.5
    flat = {
        "part_px": pt * np.cos(of_parts[1]),
        "part_py": pt * np.sin(of_parts[1]),
        "part_pz": pt * np.sinh(of_parts[0]),
        "part_d0val": np.where(charged, random.normal(0, 0.1, n_parts), 0),
        "part_d0err": np.where(charged, 0.1, 0),
        "part_dzval": np.where(charged, random.normal(0, 0.1, n_parts), 0),
        "part_dzerr": np.where(charged, 0.1, 0),
        "part_charge": np.where(charged, random.choice([-1, 1], n_parts), 0),
        **dict.fromkeys(KINDS, np.zeros(n_parts)),
        KINDS[0]: charged,
        KINDS[2]: ~charged,
    }
    jet_pt = random.uniform(500, 1000, n_jets)
    of_jets = {
        "jet_pt": jet_pt,
        "jet_eta": eta,
        "jet_phi": phi,
        "jet_energy": 1.1 * jet_pt * np.cosh(eta),
        "jet_sdmass": random.uniform(0, 200, n_jets),
        **{name: np.full(n_jets, name == label) for name in LABELS},
    }
    lists = {name: ak.unflatten(values.astype(np.float32), counts) for name, values in flat.items()}
    return {**lists, **{name: _narrow(values) for name, values in of_jets.items()}}


def changed(columns: Columns, name: str, entry: int, value: float, place: int = 0) -> Columns:
    """The same with one value of a jet, or of one of its constituents, changed."""
    values = columns[name]
    if isinstance(values, np.ndarray):
        other = values.copy()
        other[entry] = value
    else:
        flat = ak.to_numpy(ak.flatten(values)).copy()
        flat[int(ak.sum(ak.num(values[:entry]))) + place] = value
        other = ak.unflatten(flat, ak.num(values))
    return {**columns, name: other}


def write(path: Path, columns: Columns, tree: str = "tree") -> Path:
    """A ROOT file with this tree."""
    with uproot.recreate(path) as file:
        kinds = {
            name: values.dtype if isinstance(values, np.ndarray) else values.type.content
            for name, values in columns.items()
        }
        file.mktree(tree, kinds)
        file[tree].extend(columns)
    return path


def _narrow(values: np.ndarray) -> np.ndarray:
    return values if values.dtype == bool else values.astype(np.float32)
