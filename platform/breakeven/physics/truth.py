"""What truly happened: Higgs and top four-vectors, multiplicities of heavy particles, and the 41 labels made of them.

Reads generator records only. Never looks at a reconstructed object.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from breakeven.physics.particles import Particles, event_of, last_copies, starts

HIGGS, TOP, Z, W = 25, 6, 23, 24

LABELS_VERSION = 1
"""Part of the identity of what learns the labels: raise it when the same truth gives others."""
N_MULTIPLICITIES = 5
HIGGS_PT_EDGES = (30.0, 200.0)
TOP_PT_EDGES = (30.0, 300.0)
ETA_EDGES = (-1.5, 0.0, 1.5)
PHI_EDGES = (-np.pi / 2, 0.0, np.pi / 2)


def _bin_names(target: str, quantity: str, edges: tuple[float, ...]) -> tuple[str, ...]:
    return tuple(f"{target}_{quantity}_bin_{number}" for number in range(len(edges) + 1))


def _target_names(target: str, pt_edges: tuple[float, ...]) -> tuple[str, ...]:
    return (
        f"{target}_present",
        *_bin_names(target, "pt", pt_edges),
        *_bin_names(target, "eta", ETA_EDGES),
        *_bin_names(target, "phi", PHI_EDGES),
    )


LABEL_NAMES: tuple[str, ...] = (
    *("n_higgs", "n_top", "n_v", "n_w", "n_z"),
    *_target_names("higgs", HIGGS_PT_EDGES),
    *_target_names("top1", TOP_PT_EDGES),
    *_target_names("top2", TOP_PT_EDGES),
)
"""Five multiplicities (regression), then presence and bins of pT, eta and phi of three targets (binary): 41."""


@dataclass(frozen=True)
class Truth:
    """Heavy particles of each event, all from last copies in the generator record.

    n_higgs, n_top, n_w, n_z [n_events] int8 (decay products of Higgs and tops count too); higgs, top1, top2
    [n_events, 3] float32 = (pt in GeV, eta, phi), NaN where absent. Each is the hardest of its kind; top2 the second.
    """

    n_higgs: NDArray[np.int8]
    n_top: NDArray[np.int8]
    n_w: NDArray[np.int8]
    n_z: NDArray[np.int8]
    higgs: NDArray[np.float32]
    top1: NDArray[np.float32]
    top2: NDArray[np.float32]


def truth_of(particles: Particles) -> Truth:
    """The truth of each event of a batch."""
    return Truth(
        n_higgs=_count(particles, HIGGS),
        n_top=_count(particles, TOP),
        n_w=_count(particles, W),
        n_z=_count(particles, Z),
        higgs=_hardest(particles, HIGGS, rank=0),
        top1=_hardest(particles, TOP, rank=0),
        top2=_hardest(particles, TOP, rank=1),
    )


def labels(truth: Truth) -> NDArray[np.float32]:
    """The label vector of each event [n_events, 41], columns as in LABEL_NAMES; bins of an absent target are all 0.

    Multiplicities and bins of arXiv 2412.10665, section 3; the presence flags complete its count of 41 (our reading).
    """
    n_w, n_z = truth.n_w.astype(np.float32), truth.n_z.astype(np.float32)
    multiplicities = np.stack([truth.n_higgs, truth.n_top, n_w + n_z, n_w, n_z], axis=1).astype(np.float32)
    return np.concatenate(
        [
            multiplicities,
            _target_labels(truth.higgs, HIGGS_PT_EDGES),
            _target_labels(truth.top1, TOP_PT_EDGES),
            _target_labels(truth.top2, TOP_PT_EDGES),
        ],
        axis=1,
    )


def take(truth: Truth, events: NDArray[np.int64]) -> Truth:
    """The truth of the events with these numbers, in this order."""
    return Truth(*(getattr(truth, name)[events] for name in Truth.__dataclass_fields__))


def _count(particles: Particles, kind: int) -> NDArray[np.int8]:
    event = event_of(particles.counts)[last_copies(particles, (kind,))]
    return np.bincount(event, minlength=len(particles.counts)).astype(np.int8)


def _hardest(particles: Particles, kind: int, rank: int) -> NDArray[np.float32]:
    index = last_copies(particles, (kind,))
    event = event_of(particles.counts)[index]
    px, py, pz = particles.px[index], particles.py[index], particles.pz[index]
    pt = np.hypot(px, py)
    order = np.lexsort((-pt, event))
    counts = np.bincount(event, minlength=len(particles.counts))
    has = np.flatnonzero(counts > rank)
    chosen = order[starts(counts)[has] + rank]
    result = np.full((len(counts), 3), np.nan, np.float32)
    eta = np.arcsinh(pz[chosen] / np.maximum(pt[chosen], 1e-9))
    result[has] = np.stack([pt[chosen], eta, np.arctan2(py[chosen], px[chosen])], axis=1)
    return result


def _target_labels(target: NDArray[np.float32], pt_edges: tuple[float, ...]) -> NDArray[np.float32]:
    present = ~np.isnan(target[:, 0])
    columns = [present[:, None]]
    for quantity, edges in enumerate((pt_edges, ETA_EDGES, PHI_EDGES)):
        which = np.digitize(target[:, quantity], edges)
        columns.append((which[:, None] == np.arange(len(edges) + 1)) & present[:, None])
    return np.concatenate(columns, axis=1).astype(np.float32)
