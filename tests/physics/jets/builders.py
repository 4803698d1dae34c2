"""Particles and candidates written down by hand."""

from collections.abc import Sequence

import numpy as np

from breakeven.physics.jets.candidates import COLUMNS, Candidates
from breakeven.physics.particles import Particles

Row = tuple[int, int, int, int, float, float, float]
"""pdg, status, daughter1, daughter2, pt, eta, phi; massless."""
SYSTEM: Row = (90, -11, 0, 0, 1e-6, 0.0, 0.0)
"""What Pythia has at place 0 of an event."""


def particles(*events: Sequence[Row]) -> Particles:
    """Records of events, each after its line of the system; charged are the light mesons and leptons."""
    rows = [row for event in events for row in (SYSTEM, *event)]
    pdg, status, first, second, pt, eta, phi = (np.array(column) for column in zip(*rows, strict=True))
    kind, sign = np.abs(pdg), np.sign(pdg)
    charge = np.where(np.isin(kind, (211, 321)), sign, np.where(np.isin(kind, (11, 13)), -sign, 0))
    return Particles(
        counts=np.array([len(event) + 1 for event in events]),
        pdg=pdg.astype(np.int32),
        status=status.astype(np.int32),
        daughter1=first.astype(np.int32),
        daughter2=second.astype(np.int32),
        px=pt * np.cos(phi),
        py=pt * np.sin(phi),
        pz=pt * np.sinh(eta),
        energy=pt * np.cosh(eta),
        charge=charge.astype(np.int8),
        invisible=np.isin(kind, (12, 14, 16)),
    )


def candidates(*events: Sequence[tuple[float, float, float]]) -> Candidates:
    """Photons as (pt, eta, phi), event by event."""
    rows = np.array([row for event in events for row in event], float).reshape(-1, 3)
    columns = dict.fromkeys(COLUMNS, np.zeros(len(rows))) | dict(zip(("pt", "eta", "phi"), rows.T, strict=True))
    columns |= {"charge": np.zeros(len(rows), np.int8), "kind": np.full(len(rows), 2, np.int8)}
    return Candidates(np.array([len(event) for event in events]), *(columns[name] for name in COLUMNS))
