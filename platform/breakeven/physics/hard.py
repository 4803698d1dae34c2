"""Hard events as arrays, and the way to feed them to Pythia's shower one by one.

Holds the value type, the reader of the samples that ship with the package (hard_events/README.md), and the LHAup
feeder. Never computes a matrix element and never reads a user's file.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pythia8mc
from numpy.typing import NDArray

from breakeven.physics.particles import event_of, pairs_within_event, starts

SAMPLES = Path(__file__).parent / "hard_events"
PROTON_BEAMS = (2212, 6500.0, 2212, 6500.0)
UNKNOWN_SPIN = 9.0
ALPHA_QED, ALPHA_QCD = 0.00782, 0.118
_COLUMNS = ("pdg", "colour", "anticolour", "px", "py", "pz", "mass", "scale")
_PROCESS_NUMBER = 1
_FLAVOUR_AND_COLOUR = ("pdg", "status", "mother1", "mother2", "colour", "anticolour")
_KINEMATICS = ("momentum", "mass", "lifetime", "spin")
"""The columns per particle, in the order in which Pythia takes them."""


@dataclass(frozen=True)
class HardEvents:
    """Parton-level events in Les Houches conventions (hep-ph/0609017), one after the other.

    counts [n] particles per event; all per-particle columns [n_particles]: pdg, status (-1 incoming, 2 intermediate,
    1 outgoing), mother1, mother2 (from 1 inside the event), colour, anticolour; momentum [n_particles, 4] = (px, py,
    pz, E) and mass in GeV; lifetime in mm, spin (9: unknown). Per event [n]: scale in GeV, alpha_qed, alpha_qcd,
    identity. beams is (pdg, energy in GeV) of both. origin says in words where they come from; n_tried of how many.
    slha: masses, quantum numbers and decays of particles that Pythia does not know, as a <slha> header gives them.
    """

    counts: NDArray[np.int64]
    pdg: NDArray[np.int64]
    status: NDArray[np.int64]
    mother1: NDArray[np.int64]
    mother2: NDArray[np.int64]
    colour: NDArray[np.int64]
    anticolour: NDArray[np.int64]
    momentum: NDArray[np.float64]
    mass: NDArray[np.float64]
    lifetime: NDArray[np.float64]
    spin: NDArray[np.float64]
    scale: NDArray[np.float64]
    alpha_qed: NDArray[np.float64]
    alpha_qcd: NDArray[np.float64]
    identity: NDArray[np.int64]
    beams: tuple[int, float, int, float]
    cross_section_pb: float
    cross_section_error_pb: float
    n_tried: int
    origin: str
    slha: str = ""


class Feeder(pythia8mc.LHAup):  # type: ignore[misc]
    """Hands hard events to Pythia (Beams:frameType=5) in the order asked for by `serve`.

    A feeder must live as long as the Pythia that uses it: Pythia keeps only a bare pointer.
    """

    def __init__(self, events: HardEvents) -> None:
        super().__init__(3)  # strategy 3 of the Les Houches accord: unit weights, keep every event
        self.events = events
        self._first = starts(events.counts)
        self._queue: list[int] = []
        self._next = 0

    def serve(self, positions: NDArray[np.int64]) -> None:
        """From now on hand out the events at these positions."""
        self._queue = positions.tolist()
        self._next = 0

    def setInit(self) -> bool:
        """Called by Pythia once: beams and cross section."""
        pdg_a, energy_a, pdg_b, energy_b = self.events.beams
        self.setBeamA(pdg_a, energy_a, -1, -1)
        self.setBeamB(pdg_b, energy_b, -1, -1)
        self.setStrategy(3)
        self.addProcess(_PROCESS_NUMBER, self.events.cross_section_pb, self.events.cross_section_error_pb, 1.0)
        return True

    def setEvent(self, idProc: int = 0) -> bool:
        """Called by Pythia for each event; False when the queue is empty."""
        if self._next >= len(self._queue):
            return False
        position = self._queue[self._next]
        self._next += 1
        events = self.events
        of_event = (float(getattr(events, name)[position]) for name in ("scale", "alpha_qed", "alpha_qcd"))
        self.setProcess(_PROCESS_NUMBER, 1.0, *of_event)
        begin = self._first[position]
        rows = slice(begin, begin + events.counts[position])
        columns = [getattr(events, name)[rows].tolist() for name in (*_FLAVOUR_AND_COLOUR, *_KINEMATICS)]
        for *flavour_and_colour, momentum, mass, lifetime, spin in zip(*columns, strict=True):
            self.addParticle(*flavour_and_colour, *momentum, mass, lifetime, spin)
        return True


def shipped(files: tuple[str, ...], first: int, n_events: int, random: np.random.Generator) -> HardEvents:
    """n_events events of a sample that ships with the package: numbers (first + i) modulo its size.

    Each is turned by a random angle around the beam and, with even odds, end for end (a rotation by pi around the
    x axis): proton beams know neither, so that a second pass gives new detector events of the same hard event.
    Raises FileNotFoundError and ValueError as `read_parquet`.
    """
    (name,) = files
    sample = read_parquet(SAMPLES / name)
    rows = (first + np.arange(n_events)) % len(sample.counts)
    return _turned(_take(sample, rows), random)


@lru_cache(maxsize=8)
def read_parquet(path: Path) -> HardEvents:
    """All events of a Parquet file with the columns of hard_events/README.md, momentum restored in double precision.

    `identity` is an event's number in the file, or that of the first one alike: exact repeats count as one hard event.
    Raises FileNotFoundError, or ValueError for a file that is no Parquet, lacks a column or metadata, or is empty.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such sample of hard events; the package installation is incomplete")
    try:
        table = pq.read_table(path)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path}: not a Parquet file, or a damaged one ({error})") from error
    missing = [column for column in _COLUMNS if column not in table.column_names]
    if missing:
        raise ValueError(f"{path}: not a sample of hard events: column {', '.join(missing)} is missing")
    metadata = table.schema.metadata or {}
    if b"cross_section_pb" not in metadata or b"cross_section_error_pb" not in metadata:
        raise ValueError(f"{path}: the schema metadata lacks cross_section_pb or cross_section_error_pb")
    if not table.num_rows:
        raise ValueError(f"{path}: holds no events")
    lists = {name: table[name].combine_chunks() for name in _COLUMNS if name != "scale"}
    counts = np.diff(lists["pdg"].offsets.to_numpy()).astype(np.int64)
    column = {name: values.flatten().to_numpy(zero_copy_only=False) for name, values in lists.items()}
    if any(len(values) != counts.sum() for values in column.values()) or counts.min() < 3:
        raise ValueError(f"{path}: list columns differ in length, or an event has fewer than three particles")
    place = np.arange(counts.sum()) - starts(counts)[event_of(counts)]
    outgoing = place >= 2
    n_events = len(counts)
    return HardEvents(
        counts=counts,
        pdg=column["pdg"].astype(np.int64),
        status=np.where(outgoing, 1, -1),
        mother1=np.where(outgoing, 1, 0),
        mother2=np.where(outgoing, 2, 0),
        colour=column["colour"].astype(np.int64),
        anticolour=column["anticolour"].astype(np.int64),
        momentum=_balanced(counts, column),
        mass=np.where(outgoing, column["mass"].astype(np.float64), 0.0),
        lifetime=np.zeros(len(place)),
        spin=np.full(len(place), UNKNOWN_SPIN),
        scale=table["scale"].to_numpy().astype(np.float64),
        alpha_qed=np.full(n_events, ALPHA_QED),
        alpha_qcd=np.full(n_events, ALPHA_QCD),
        identity=_first_alike(counts, column),
        beams=PROTON_BEAMS,
        cross_section_pb=float(metadata[b"cross_section_pb"]),
        cross_section_error_pb=float(metadata[b"cross_section_error_pb"]),
        n_tried=n_events,
        origin=str(path),
    )


def _first_alike(counts: NDArray[np.int64], column: dict[str, NDArray[Any]]) -> NDArray[np.int64]:
    """Number of the first event with the same particles and momenta as each [n]; colours are drawn anew for each event."""
    particles = np.stack([column[name].astype(np.float64) for name in ("pdg", "px", "py", "pz", "mass")], axis=1)
    numbers: dict[bytes, int] = {}
    events = enumerate(np.split(particles, starts(counts)[1:]))
    return np.array([numbers.setdefault(event.tobytes(), number) for number, event in events])


def _balanced(counts: NDArray[np.int64], column: dict[str, NDArray[Any]]) -> NDArray[np.float64]:
    """Momenta [n_particles, 4] that conserve energy and momentum to double precision.

    The columns are single precision: the last outgoing particle takes the residual transverse momentum, energies
    follow from masses, and the two incoming massless partons carry the sums of E and pz.
    """
    first = starts(counts)
    px, py, pz, mass = (column[name].astype(np.float64) for name in ("px", "py", "pz", "mass"))
    incoming = np.concatenate([first, first + 1])
    for component in (px, py, pz, mass):
        component[incoming] = 0.0
    last = first + counts - 1
    for component in (px, py):
        component[last] -= np.add.reduceat(component, first)
    energy = np.sqrt(px**2 + py**2 + pz**2 + mass**2)
    total_energy, total_pz = np.add.reduceat(energy, first), np.add.reduceat(pz, first)
    energy[first], energy[first + 1] = (total_energy + total_pz) / 2, (total_energy - total_pz) / 2
    pz[first], pz[first + 1] = energy[first], -energy[first + 1]
    return np.stack([px, py, pz, energy], axis=1)


def _take(events: HardEvents, rows: NDArray[np.int64]) -> HardEvents:
    _, index = pairs_within_event(rows, events.counts)
    per_event = ("counts", "scale", "alpha_qed", "alpha_qcd", "identity")
    columns = {name: getattr(events, name)[rows] for name in per_event}
    columns |= {name: getattr(events, name)[index] for name in (*_FLAVOUR_AND_COLOUR, *_KINEMATICS)}
    return replace(events, **columns, n_tried=len(rows))


def _turned(events: HardEvents, random: np.random.Generator) -> HardEvents:
    """Each event after a random rotation around the beam and perhaps end for end, the first parton still along +z."""
    n_events = len(events.counts)
    angle = random.uniform(-np.pi, np.pi, n_events)[event_of(events.counts)]
    flipped = random.random(n_events) < 0.5
    flip = np.where(flipped[event_of(events.counts)], -1.0, 1.0)
    px, py, pz, energy = events.momentum.T
    py, pz = flip * py, flip * pz
    momentum = np.stack(
        [np.cos(angle) * px - np.sin(angle) * py, np.sin(angle) * px + np.cos(angle) * py, pz, energy], axis=1
    )
    order = np.arange(len(angle))
    first = starts(events.counts)[flipped]
    order[first], order[first + 1] = first + 1, first
    turned = {name: getattr(events, name)[order] for name in ("pdg", "colour", "anticolour", "mass")}
    return replace(events, momentum=momentum[order], **turned)
