"""Hard events of g g -> t tbar H for a top Yukawa coupling of any CP nature, from Pythia's CP-even ones.

Pythia throws CP-even events with on-shell tops and Higgs; each is kept with a probability proportional to the ratio of
|M|^2 to the CP-even one (accept-reject), and gets a colour flow drawn from its own colour-ordered amplitudes. Where the
CP-even amplitude nearly vanishes the ratio has no bound: such an event is kept several times, which keeps the sample
unbiased, and its copies share one identity. The CP-even sample takes the same road with ratio 1, so that two samples
differ in nothing but the coupling. Gluon channel only, in both. Never showers or decays anything.
"""

from typing import Any

import awkward as ak
import numpy as np
import pythia8mc
from numpy.typing import NDArray

from breakeven.physics.hard import ALPHA_QCD, ALPHA_QED, PROTON_BEAMS, UNKNOWN_SPIN, HardEvents
from breakeven.physics.matrix_element import squared_amplitude
from breakeven.physics.processes import Process
from breakeven.physics.pythia import PICOBARN_PER_MILLIBARN, GenerationError, start

TOP_MASS = 173.0
KEEP_ONCE_BELOW = 5.0
"""|M_odd|^2 / |M_even|^2 up to which an event is kept at most once: a higher value costs time, a lower one copies."""

_HARD_PROCESS_ONLY = (
    "HiggsSM:gg2Httbar=on",
    "PhaseSpace:useBreitWigners=off",
    "ProcessLevel:resonanceDecays=off",
    # the parton level stays on, for nextBatch shows nothing without it, but does nothing
    "PartonLevel:MPI=off",
    "PartonLevel:ISR=off",
    "PartonLevel:FSR=off",
    "PartonLevel:Remnants=off",
    "HadronLevel:all=off",
    "Check:event=off",
)
_RECORD = {"gluon1": 3, "gluon2": 4, "higgs": 5, "top": 6, "antitop": 7}
_RECORD_LENGTH = 8
_PDG = np.array([21, 21, 6, -6, 25])
_STATUS = np.array([-1, -1, 1, 1, 1])
_MOTHERS = np.array([[0, 0], [0, 0], [1, 2], [1, 2], [1, 2]])
# (colour, anticolour) of gluon, gluon, top, antitop, Higgs: the colour of gluon 1, or of gluon 2, goes to the top
_FLOW_12 = np.array([[501, 502], [502, 503], [501, 0], [0, 503], [0, 0]])
_FLOW_21 = np.array([[502, 503], [501, 502], [501, 0], [0, 503], [0, 0]])
_MEAN_ODD_TO_EVEN = 0.52
_MAX_BATCH = 5000


def hard_events(
    process: Process, n_events: int, first_identity: int, pythia_seed: int, random: np.random.Generator
) -> HardEvents:
    """n_events unweighted hard events for process.yukawa = (c_even, c_odd).

    The cross section is that of Pythia (process.settings may force Higgs decays) times the mean ratio, for a top
    Yukawa coupling of Standard Model strength. `identity` counts the events thrown, from first_identity on. Raises
    ValueError without a coupling, GenerationError if Pythia fails.
    """
    if process.yukawa is None or process.yukawa == (0.0, 0.0):
        raise ValueError(f"{process.name}: yukawa is {process.yukawa}; give (c_even, c_odd), not both zero")
    c_even, c_odd = process.yukawa
    keep_once_below = c_even**2 + KEEP_ONCE_BELOW * c_odd**2
    efficiency = (c_even**2 + _MEAN_ODD_TO_EVEN * c_odd**2) / keep_once_below
    pythia = start((*_HARD_PROCESS_ONLY, *process.settings), pythia_seed)
    momenta, flows, scales, ratios, identities = [], [], [], [], []
    kept = thrown = 0
    while kept < n_events:
        momentum, scale = _throw(pythia, min(_MAX_BATCH, int((n_events - kept) / efficiency) + 10))
        even = squared_amplitude(momentum, TOP_MASS, (1.0, 0.0))
        target = even if process.yukawa == (1.0, 0.0) else squared_amplitude(momentum, TOP_MASS, process.yukawa)
        ratio = target.total / even.total
        copies = np.floor(ratio / keep_once_below + random.random(len(ratio))).astype(np.int64)
        from_first = random.random(len(ratio)) * (target.order_12 + target.order_21) < target.order_12
        momenta.append(np.repeat(momentum, copies, axis=0))
        flows.append(np.repeat(np.where(from_first[:, None, None], _FLOW_12, _FLOW_21), copies, axis=0))
        scales.append(np.repeat(scale, copies))
        identities.append(first_identity + thrown + np.repeat(np.arange(len(ratio)), copies))
        ratios.append(ratio)
        kept += int(copies.sum())
        thrown += len(ratio)
    all_ratios = np.concatenate(ratios)
    info = pythia.infoPython()
    cross_section = info.sigmaGen() * PICOBARN_PER_MILLIBARN * all_ratios.mean()
    relative_error = np.hypot(
        info.sigmaErr() / info.sigmaGen(), all_ratios.std() / np.sqrt(len(all_ratios)) / all_ratios.mean()
    )
    columns = (np.concatenate(parts)[:n_events] for parts in (momenta, flows, scales, identities))
    return _as_hard_events(
        *columns,
        cross_section_pb=float(cross_section),
        cross_section_error_pb=float(cross_section * relative_error),
        n_tried=len(all_ratios),
        origin=process.name,
    )


def _throw(pythia: pythia8mc.Pythia, n_events: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Momenta [n, 5, 4] = (E, px, py, pz) of gluon, gluon, top, antitop, Higgs, and factorisation scales [n] in GeV."""
    batch = pythia.nextBatch(n_events)
    if not len(batch):
        raise GenerationError(f"Pythia makes no hard event with: {'; '.join(_HARD_PROCESS_ONLY)}")
    record = ak.to_regular(batch["prt"])
    if record.type.content.size != _RECORD_LENGTH:
        raise GenerationError(f"the hard-process record has {record.type.content.size} entries, not {_RECORD_LENGTH}")
    order = [_RECORD[name] for name in ("gluon1", "gluon2", "top", "antitop", "higgs")]
    momentum = record["p"]
    stacked = np.stack([ak.to_numpy(momentum[name]) for name in ("e", "px", "py", "pz")], axis=2)
    return stacked[:, order], ak.to_numpy(record["scale"])[:, _RECORD["top"]]


def _as_hard_events(
    momenta: NDArray[np.float64],
    flows: NDArray[np.int64],
    scales: NDArray[np.float64],
    identity: NDArray[np.int64],
    **about: Any,
) -> HardEvents:
    n_events, n_particles = len(momenta), len(_PDG)
    total = n_events * n_particles
    masses = np.tile([0.0, 0.0, TOP_MASS, TOP_MASS, 125.0], n_events)
    return HardEvents(
        counts=np.full(n_events, n_particles),
        pdg=np.tile(_PDG, n_events),
        status=np.tile(_STATUS, n_events),
        mother1=np.tile(_MOTHERS[:, 0], n_events),
        mother2=np.tile(_MOTHERS[:, 1], n_events),
        colour=flows[:, :, 0].reshape(total),
        anticolour=flows[:, :, 1].reshape(total),
        momentum=momenta[:, :, [1, 2, 3, 0]].reshape(total, 4),
        mass=masses,
        lifetime=np.zeros(total),
        spin=np.full(total, UNKNOWN_SPIN),
        scale=scales,
        alpha_qed=np.full(n_events, ALPHA_QED),
        alpha_qcd=np.full(n_events, ALPHA_QCD),
        identity=identity,
        beams=PROTON_BEAMS,
        **about,
    )
