"""From a process and a seed to reconstructed events: Pythia in batches, the detector and the truth right behind it.

One call is one shard and a pure function of its arguments: each call makes its own Pythia instances and random streams
(0.15 core-seconds), because a reused instance remembers the events before. Never writes anything, knows no cluster.
"""

import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import awkward as ak
import numpy as np
import pythia8mc
from numpy.typing import NDArray

from breakeven.physics import detector, hard, higgs_cp, lhe, truth
from breakeven.physics.detector import Objects
from breakeven.physics.particles import Particles, concatenate, from_pythia
from breakeven.physics.processes import Process
from breakeven.physics.pythia import PICOBARN_PER_MILLIBARN, GenerationError, draw_seed, start
from breakeven.physics.truth import Truth

PHYSICS_VERSION = 1
"""Raised whenever the same arguments of `generate` begin to give other events."""

EVENTS_PER_BATCH = 200
MAX_TRIES_PER_HARD_EVENT = 10
NATIVE_SHARD_STRIDE = 1 << 32


@dataclass(frozen=True)
class Generated:
    """One shard of events.

    objects and truth of the same n events; hard_event [n] int64 is the identity of the hard event inside its source
    sample (two events with the same number are copies and must stay on one side of a split), for native processes a
    number unique within process and seed; cross_section_pb and its error as far as this shard knows them (leading
    order, forced decays included); n_tried counts the events tried for those n.
    """

    objects: Objects
    truth: Truth
    hard_event: NDArray[np.int64]
    cross_section_pb: float
    cross_section_error_pb: float
    n_tried: int


def generate(process: Process, n_events: int, seed: int, *, mpi: bool = False, shard: int = 0) -> Generated:
    """Exactly n_events events of a process; the same arguments give the same events on any machine, in any order.

    `mpi` switches multiparton interactions on (about four times slower). `shard` numbers the calls of one dataset: it
    enters the random seed, and decides which hard events of a finite sample are used, those from shard * n_events on.
    Raises ValueError for bad numbers or hard-event files, FileNotFoundError for a missing file, GenerationError (naming
    the settings) when Pythia fails.
    """
    if n_events < 1:
        raise ValueError(f"generate {process.name}: n_events is {n_events}; ask for at least 1")
    if seed < 0 or shard < 0:
        raise ValueError(f"generate {process.name}: seed is {seed}, shard is {shard}; neither may be negative")
    entropy = (seed, shard, zlib.crc32(process.name.encode()), int(mpi))
    random = np.random.default_rng(np.random.SeedSequence(entropy))
    if process.source not in ("pythia", *_HARD_EVENTS):
        raise ValueError(f"generate {process.name}: no generator for source {process.source!r}; use pythia or one of "
                         f"{', '.join(_HARD_EVENTS)}")  # fmt: skip
    if process.source == "pythia":
        return _native(process, n_events, shard, mpi, random)
    return _from_hard_events(process, _HARD_EVENTS[process.source](process, n_events, shard, random), mpi, random)


@cache
def versions() -> dict[str, str]:
    """What decides the events besides the arguments of `generate`: versions of every library in the chain."""
    libraries = {name: version(name) for name in ("pythia8mc", "fastjet", "numpy", "awkward")}
    return {**libraries, "physics": str(PHYSICS_VERSION)}


def files_of(process: Process) -> list[Path]:
    """The files that its hard events are read from, which decide the events as well."""
    return [hard.SAMPLES / name if process.source == "hard_events" else Path(name) for name in process.files]


def _weighted(process: Process, n_events: int, shard: int, random: np.random.Generator) -> hard.HardEvents:
    return higgs_cp.hard_events(process, n_events, shard * NATIVE_SHARD_STRIDE, draw_seed(random), random)


def _shipped(process: Process, n_events: int, shard: int, random: np.random.Generator) -> hard.HardEvents:
    return hard.shipped(process.files, first=shard * n_events, n_events=n_events, random=random)


def _of_user(process: Process, n_events: int, shard: int, random: np.random.Generator) -> hard.HardEvents:
    return lhe.read(process.files, first=shard * n_events, n_events=n_events)


_HARD_EVENTS: dict[str, Callable[[Process, int, int, np.random.Generator], hard.HardEvents]] = {
    "matrix_element": _weighted,
    "hard_events": _shipped,
    "lhe": _of_user,
}
"""The hard events of a shard, by where they come from; Pythia's own never leave it."""


def _native(process: Process, n_events: int, shard: int, mpi: bool, random: np.random.Generator) -> Generated:
    instances = [settings for settings in (process.settings, process.mirror_settings) if settings]
    shares = [(n_events + len(instances) - 1 - number) // len(instances) for number in range(len(instances))]
    if shard % 2:
        instances.reverse()
    parts: list[tuple[Objects, Truth]] = []
    cross_section = variance = 0.0
    n_tried = 0
    for settings, share in zip(instances, shares, strict=True):
        pythia = start((*settings, _mpi_setting(mpi)), draw_seed(random))
        if share:
            parts.append(_observe(_complete_events(pythia, share, settings), random))
        info = pythia.infoPython()
        cross_section += info.sigmaGen() * PICOBARN_PER_MILLIBARN
        variance += (info.sigmaErr() * PICOBARN_PER_MILLIBARN) ** 2
        n_tried += info.nTried()
    objects = concatenate([part for part, _ in parts])
    true = concatenate([part for _, part in parts])
    if len(instances) > 1:
        # events of the two instances take turns, so that any stretch of the shard holds both alike
        alternating = np.argsort(np.concatenate([np.arange(share) for share in shares]), kind="stable")
        objects, true = detector.take(objects, alternating), truth.take(true, alternating)
    identity = shard * NATIVE_SHARD_STRIDE + np.arange(n_events)
    return Generated(objects, true, identity, cross_section, float(np.sqrt(variance)), n_tried)


def _from_hard_events(process: Process, pool: hard.HardEvents, mpi: bool, random: np.random.Generator) -> Generated:
    feeder = hard.Feeder(pool)
    with _slha_settings(pool.slha) as of_particles:
        settings = ("Beams:frameType=5", *of_particles, *process.settings, _mpi_setting(mpi))
        pythia = start(settings, draw_seed(random), feeder)
    if pool.slha:
        for code in lhe.new_invisible(pool.slha):  # of the particles that it knows Pythia's own table says so
            pythia.particleData.isVisible(code, False)
        for setting in process.settings:  # the header was read after them, and what a user asks for stands above it
            if setting[:1].isdigit():
                pythia.particleData.readString(setting)
    objects, true = _observe(_each_hard_event(pythia, feeder, len(pool.identity)), random)
    return Generated(
        objects=objects,
        truth=true,
        hard_event=pool.identity,
        cross_section_pb=pool.cross_section_pb,
        cross_section_error_pb=pool.cross_section_error_pb,
        n_tried=pool.n_tried,
    )


@contextmanager
def _slha_settings(slha: str) -> Iterator[tuple[str, ...]]:
    """What makes Pythia read masses, quantum numbers and decays, as its own reader does of a file's header.

    Those of the particles of the Standard Model stay as they are (SLHA:keepSM).
    """
    if not slha:
        yield ()
        return
    with TemporaryDirectory() as folder:
        place = Path(folder) / "header.slha"
        place.write_text(slha)
        yield (f"SLHA:file={place}", "SLHA:readFrom=2", "SLHA:verbose=0")


def _observe(batches: Iterator[Particles], random: np.random.Generator) -> tuple[Objects, Truth]:
    objects, true = [], []
    for particles in batches:
        objects.append(detector.reconstruct(particles, random))
        true.append(truth.truth_of(particles))
    return concatenate(objects), concatenate(true)


def _complete_events(pythia: pythia8mc.Pythia, n_events: int, settings: tuple[str, ...]) -> Iterator[Particles]:
    """Batches that hold n_events events in all; the few that Pythia gives up on are made up for."""
    made = failed = 0
    while made < n_events:
        wanted = min(EVENTS_PER_BATCH, n_events - made)
        batch = pythia.nextBatch(wanted)
        if len(batch):
            yield from_pythia(batch, pythia.particleData)
        made += len(batch)
        failed += wanted - len(batch)
        if failed > 100 + n_events:
            raise GenerationError(
                f"Pythia fails on most events ({failed} failed, {made} made) with: {'; '.join(settings)}"
            )


def _each_hard_event(pythia: pythia8mc.Pythia, feeder: "hard.Feeder", n_events: int) -> Iterator[Particles]:
    """Batches with every hard event exactly once, in order; one that fails is showered again with other numbers."""
    for begin in range(0, n_events, EVENTS_PER_BATCH):
        wanted = np.arange(begin, min(begin + EVENTS_PER_BATCH, n_events))
        made: list[ak.Array] = []
        positions: list[NDArray[np.int64]] = []
        pending = wanted
        for _ in range(MAX_TRIES_PER_HARD_EVENT):
            feeder.serve(pending)
            batch = pythia.nextBatch(len(pending), "none")
            failed = ak.to_numpy(ak.is_none(batch)) | (np.arange(len(pending)) >= len(batch))
            made.append(ak.drop_none(batch))
            positions.append(pending[~failed])
            pending = pending[failed]
            if not len(pending):
                break
        else:
            raise GenerationError(
                f"Pythia refused hard event {feeder.events.identity[pending[0]]} of {feeder.events.origin} "
                f"{MAX_TRIES_PER_HARD_EVENT} times; check its momenta, colours and flavours"
            )
        whole = ak.concatenate(made) if len(made) > 1 else made[0]
        yield from_pythia(whole[np.argsort(np.concatenate(positions))], pythia.particleData)


def _mpi_setting(mpi: bool) -> str:
    return f"PartonLevel:MPI={'on' if mpi else 'off'}"
