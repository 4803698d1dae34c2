"""Every high-level variable against the same quantity computed for one event at a time, by other formulas."""

import itertools
import math

import numpy as np
import pytest

from breakeven.events.arrays import open_arrays
from breakeven.physics.variables import VARIABLES, high_level


class Vector:
    """A four-momentum, its quantities by Python's own arithmetic."""

    def __init__(self, px, py, pz, e):
        self.p = (px, py, pz)
        self.e = e

    @staticmethod
    def of(pt, eta, phi, energy):
        return Vector(pt * math.cos(phi), pt * math.sin(phi), pt * math.sinh(eta), energy)

    def __add__(self, other):
        return Vector(*(a + b for a, b in zip(self.p, other.p, strict=True)), self.e + other.e)

    @property
    def pt(self):
        return math.sqrt(self.p[0] ** 2 + self.p[1] ** 2)

    @property
    def eta(self):
        size = math.sqrt(sum(one**2 for one in self.p))
        return 0.5 * math.log((size + self.p[2]) / (size - self.p[2]))

    @property
    def mass(self):
        return math.sqrt(max(self.e**2 - sum(one**2 for one in self.p), 0.0))

    def dphi(self, other):
        cosine = (self.p[0] * other.p[0] + self.p[1] * other.p[1]) / (self.pt * other.pt)
        return math.acos(min(1.0, max(-1.0, cosine)))

    def dr(self, other):
        return math.hypot(self.eta - other.eta, self.dphi(other))

    def mt(self, other):
        return math.sqrt(max(2 * (self.pt * other.pt - self.p[0] * other.p[0] - self.p[1] * other.p[1]), 0.0))


def total(vectors):
    return sum(vectors, Vector(0.0, 0.0, 0.0, 0.0))


def expected(rows):
    """All variables of one event that it has. rows: its objects, with the features of feature.OBJECT."""
    objects = [(Vector.of(*map(float, row[:4])), int(row[6]), bool(row[4]), float(row[5])) for row in rows]
    order = sorted(objects, key=lambda one: -one[0].pt)
    jets = [v for v, kind, _, _ in order if kind == 0]
    b_jets = [v for v, kind, b, _ in order if kind == 0 and b]
    light = [v for v, kind, b, _ in order if kind == 0 and not b]
    leptons = [v for v, kind, _, _ in order if kind in (1, 2)]
    photons = [v for v, kind, _, _ in order if kind == 3]
    (met,) = [v for v, kind, _, _ in order if kind == 4]
    seen = [v for v, kind, _, _ in order if kind != 4]
    ht, every = sum(jet.pt for jet in jets), total(seen)
    found = {
        "ht": ht, "st": sum(v.pt for v in seen) + met.pt, "met": met.pt, "met_significance": met.pt / math.sqrt(max(ht, 1.0)),
        "n_jets": len(jets), "n_b_jets": len(b_jets), "n_forward_jets": sum(abs(jet.eta) > 2.5 for jet in jets),
        "n_electrons": sum(kind == 1 for _, kind, _, _ in objects), "n_muons": sum(kind == 2 for _, kind, _, _ in objects),
        "n_photons": len(photons), "charge": sum(q for _, kind, _, q in objects if kind in (1, 2)),
        "mass": every.mass, "mass_jets": total(jets).mass, "pt_visible": every.pt,
        "centrality": sum(v.pt for v in seen) / max(every.e, 1e-9),
    }  # fmt: skip
    for name, group, most in (("jet", jets, 4), ("b_jet", b_jets, 2), ("lepton", leptons, 2), ("photon", photons, 2)):
        found |= {f"pt_{name}{number + 1}": v.pt for number, v in enumerate(group[:most])}
    pairs = {"jet_pair": jets, "b_pair": b_jets, "leptons": leptons, "photons": photons}
    for name, group in pairs.items():
        if len(group) > 1:
            found[f"mass_{name}"] = (group[0] + group[1]).mass
            found |= {f"dr_{name}": group[0].dr(group[1])} if name != "jet_pair" else {}
    jets, b_jets, leptons, light = jets[:4], b_jets[:4], leptons[:4], light[:4]
    if jets:
        found |= {"eta_jet_max": max(abs(jet.eta) for jet in jets), "dphi_met_jet1": met.dphi(jets[0])}
    if len(jets) > 1:
        found["dr_jets_min"] = min(a.dr(b) for a, b in itertools.combinations(jets, 2))
        found["deta_jets_max"] = max(abs(a.eta - b.eta) for a, b in itertools.combinations(jets, 2))
    if len(light) > 1:
        found["mass_w"] = min(((a + b).mass for a, b in itertools.combinations(light, 2)), key=lambda m: abs(m - 80.4))
    if leptons:
        found |= {"eta_lepton1": abs(leptons[0].eta), "mt_lepton": leptons[0].mt(met),
                  "mt_lepton_min": min(one.mt(met) for one in leptons), "dphi_met_lepton1": met.dphi(leptons[0])}  # fmt: skip
    if len(leptons) > 1:
        found["dphi_leptons"] = leptons[0].dphi(leptons[1])
    if b_jets:
        found["mt_b_min"] = min(one.mt(met) for one in b_jets)
    if b_jets and leptons:
        found["mass_b_lepton_min"] = min((a + b).mass for a in b_jets for b in leptons)
        found["dr_b_lepton_min"] = min(a.dr(b) for a in b_jets for b in leptons)
    if len(photons) > 1:
        pair = photons[0] + photons[1]
        found["pt_photon_pair"] = pair.pt
        if b_jets:
            found |= {"dr_photon_pair_b": min(pair.dr(b) for b in b_jets), "dphi_photon_pair_b": pair.dphi(b_jets[0])}
        if jets:
            every_jet = total([v for v, kind, _, _ in objects if kind == 0])
            found["dphi_photon_pair_jets"] = pair.dphi(every_jet)
    if not seen:
        return found | {"sphericity": 0.0, "aplanarity": 0.0}
    momenta = np.array([v.p for v in seen])
    singular = np.linalg.svd(momenta / np.linalg.norm(momenta), compute_uv=False) ** 2
    values = np.sort(np.concatenate([singular, np.zeros(3 - len(singular))]))
    return found | {"sphericity": 1.5 * (values[0] + values[1]), "aplanarity": 1.5 * values[0]}


def random_events(n_events):
    """Nodes and offsets of events with 0 to 6 jets, some of them beauty, 0 to 3 leptons, 0 to 2 photons, and MET."""
    random = np.random.default_rng(5)
    events = []
    for _ in range(n_events):
        kinds = (
            [0] * random.integers(0, 7)
            + list(random.integers(1, 3, random.integers(0, 4)))
            + [3] * random.integers(0, 3)
        )
        if not kinds:
            kinds = [3]
        pt, eta, phi = (
            random.exponential(60, len(kinds)) + 20,
            random.uniform(-4, 4, len(kinds)),
            random.uniform(-3.14, 3.14, len(kinds)),
        )
        charge = [random.choice([-1, 1]) if kind in (1, 2) else 0 for kind in kinds]
        beauty = [float(kind == 0 and random.random() < 0.4) for kind in kinds]
        event = np.stack([pt, eta, phi, pt * np.cosh(eta), beauty, charge, kinds], axis=1)
        met = random.exponential(50) + 1
        events.append(np.concatenate([event, [[met, 0, random.uniform(-3.14, 3.14), met, 0, 0, 4]]]))
    return np.concatenate(events).astype(np.float32), np.cumsum([0, *map(len, events)])


@pytest.mark.parametrize("made", ["generated", "random"])
def test_one_event_at_a_time(datasets, made):
    arrays = open_arrays(datasets["WH"])
    nodes, offsets = (arrays.nodes, arrays.offsets) if made == "generated" else random_events(200)
    together = high_level(nodes, offsets)
    names = [variable.name for variable in VARIABLES]
    assert together.shape == (len(offsets) - 1, len(set(names)))
    if made == "random":
        assert np.isfinite(together).any(axis=0).all()
    for event in range(len(offsets) - 1):
        rows = nodes[offsets[event] : offsets[event + 1]]
        one = {name: value for name, value in zip(names, together[event], strict=True) if not np.isnan(value)}
        known = expected(rows)
        assert set(one) == set(known), event
        for name, value in known.items():
            assert one[name] == pytest.approx(value, rel=1e-3, abs=2e-2 if "mass" in name else 2e-3), (event, name)


def test_a_pair_of_photons_and_what_is_not_there():
    photon, met = [50.0, 0.5, 0.0, 50.0 * math.cosh(0.5), 0, 0, 3], [1.0, 0.0, 1.0, 1.0, 0, 0, 4]
    other = [30.0, -0.5, 2.0, 30.0 * math.cosh(0.5), 0, 0, 3]
    (one,) = high_level(np.array([photon, other, met], np.float32), np.array([0, 3]))
    named = dict(zip((variable.name for variable in VARIABLES), one, strict=True))
    assert named["mass_photons"] == pytest.approx(math.sqrt(2 * 50 * 30 * (math.cosh(1.0) - math.cos(2.0))), rel=1e-6)
    assert np.isnan(named["mass_leptons"]) and np.isnan(named["dr_photon_pair_b"]) and named["n_jets"] == 0


def test_the_order_of_objects_does_not_matter(datasets):
    arrays = open_arrays(datasets["WH"])
    random, shuffled = np.random.default_rng(3), np.array(arrays.nodes)
    for begin, end in itertools.pairwise(arrays.offsets):
        shuffled[begin:end] = random.permutation(shuffled[begin:end])
    assert np.allclose(
        high_level(shuffled, arrays.offsets), high_level(arrays.nodes, arrays.offsets), rtol=1e-4, equal_nan=True
    )
