"""From a process and a seed to events of jets: Pythia in batches, candidates, jets and their truth right behind it.

One call is one shard and a pure function of its arguments: each call makes its own Pythia instances and random streams,
because a reused instance remembers the events before. Never writes anything, knows no cluster.
"""

import zlib
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import Any

import awkward as ak
import numpy as np
import pythia8mc
from numpy.typing import NDArray

from breakeven.physics.jets import candidates, clustering, truth
from breakeven.physics.jets.clustering import Jets
from breakeven.physics.jets.processes import JetProcess
from breakeven.physics.jets.truth import JetTruth
from breakeven.physics.particles import Particles, concatenate, event_of, from_pythia, pairs_within_event, starts
from breakeven.physics.pythia import PICOBARN_PER_MILLIBARN, GenerationError, draw_seed, start

JETS_VERSION = 1
"""Raised whenever the same arguments of `generate` begin to give other events."""

MIN_JETS, MAX_JETS = 2, 5
"""Of an event with the whole collision: it has at least two, and the hardest five are kept."""
SINGLE_MIN_PT, SINGLE_MAX_PT, SINGLE_MAX_ETA = 500.0, 1000.0, 2.0
"""Of an event that is one jet, as in JetClass."""

BATCH = 200
SMALLEST_BATCH = 20
GIVE_UP_AFTER, LEAST_EFFICIENCY = 2000, 0.005
"""Collisions without enough events after which, and share of them that pass below which, a process is given up."""
SHARD_STRIDE = 1 << 32


@dataclass(frozen=True)
class JetEvents:
    """One shard of n events.

    jets and their truth; weight [n] float64: the cross section in pb that each event stands for in this shard, that of the
    process over the collisions tried, so that the sum is the cross section after selection. hard_event [n] int64: the
    collision, unique within process and seed; jets of one collision that are events of their own share it.
    cross_section_pb and its error before selection, as far as this shard knows them; n_tried counts collisions.
    """

    jets: Jets
    truth: JetTruth
    weight: NDArray[np.float64]
    hard_event: NDArray[np.int64]
    cross_section_pb: float
    cross_section_error_pb: float
    n_tried: int


def generate(process: JetProcess, n_events: int, seed: int, *, mpi: bool = False, shard: int = 0) -> JetEvents:
    """Exactly n_events events that pass the selection; the same arguments give the same events anywhere, in any order.

    An event is a collision with two or more jets, of which the hardest has constituents, and its up to five hardest jets are
    kept (arXiv 2401.13536); or, for a process of single jets, one jet with 500 < pT < 1000 GeV and |eta| < 2 that holds what
    the process asks for. `mpi` switches multiparton interactions on (about three times slower). `shard` numbers the calls
    of one dataset and enters the random seed.
    Raises ValueError for bad numbers, GenerationError (naming process or settings) when Pythia fails or hardly a collision
    passes.
    """
    if n_events < 1:
        raise ValueError(f"generate {process.name}: n_events is {n_events}; ask for at least 1")
    if seed < 0 or shard < 0:
        raise ValueError(f"generate {process.name}: seed is {seed}, shard is {shard}; neither may be negative")
    random = np.random.default_rng(np.random.SeedSequence((seed, shard, zlib.crc32(process.name.encode()), int(mpi))))
    instances = [settings for settings in (process.settings, process.mirror_settings) if settings]
    parts: list[JetEvents] = []
    for number, settings in enumerate(instances):
        share = (n_events + len(instances) - 1 - number) // len(instances)
        pythia = start((*settings, f"PartonLevel:MPI={'on' if mpi else 'off'}"), draw_seed(random))
        first = shard * SHARD_STRIDE + sum(part.n_tried for part in parts)
        if share:
            parts.append(_events(process, pythia, share, first, random))
    return JetEvents(
        jets=clustering.concatenate([part.jets for part in parts]),
        truth=concatenate([part.truth for part in parts]),
        weight=np.concatenate([part.weight for part in parts]),
        hard_event=np.concatenate([part.hard_event for part in parts]),
        cross_section_pb=sum(part.cross_section_pb for part in parts),
        cross_section_error_pb=float(np.hypot.reduce([part.cross_section_error_pb for part in parts])),
        n_tried=sum(part.n_tried for part in parts),
    )


@cache
def versions() -> dict[str, str]:
    """What decides the events besides the arguments of `generate`: versions of every library in the chain."""
    libraries = {name: version(name) for name in ("pythia8mc", "fastjet", "numpy", "awkward")}
    return {**libraries, "jets": str(JETS_VERSION)}


def _events(
    process: JetProcess, pythia: pythia8mc.Pythia, n_events: int, first: int, random: np.random.Generator
) -> JetEvents:
    """Events of one instance; first: the number of its first collision."""
    parts: list[tuple[Jets, JetTruth, NDArray[np.int64]]] = []
    asked = tried = made = 0
    while made < n_events:
        # as many as are likely to be enough, so that few are made in vain at the end
        wanted = BATCH if not made else int(np.clip((n_events - made) * asked / made, SMALLEST_BATCH, BATCH))
        batch = pythia.nextBatch(wanted)
        asked += wanted
        if len(batch):
            jets, true, collision = _observe(process, batch, pythia.particleData, random)
            n_new = min(len(jets.counts), n_events - made)
            if n_new < len(jets.counts):
                # the collisions after the last event that is needed count as not tried
                batch_tried = int(collision[n_new - 1]) + 1
                jets, true = _take(jets, true, np.arange(jets.counts[:n_new].sum()), jets.counts[:n_new])
            else:
                batch_tried = len(batch)
            parts.append((jets, true, first + tried + collision[:n_new]))
            tried, made = tried + batch_tried, made + n_new
        if asked >= GIVE_UP_AFTER and made < LEAST_EFFICIENCY * asked:
            raise GenerationError(
                f"{process.name}: {made} of {asked} collisions make an event; are its jets hard enough "
                f"({_asked_for(process)})? Settings: {'; '.join(process.settings)}"
            )
    info = pythia.infoPython()
    cross_section = info.sigmaGen() * PICOBARN_PER_MILLIBARN
    return JetEvents(
        jets=clustering.concatenate([jets for jets, _, _ in parts]),
        truth=concatenate([true for _, true, _ in parts]),
        weight=np.full(n_events, cross_section / tried),
        hard_event=np.concatenate([numbers for _, _, numbers in parts]),
        cross_section_pb=cross_section,
        cross_section_error_pb=info.sigmaErr() * PICOBARN_PER_MILLIBARN,
        n_tried=tried,
    )


def _observe(
    process: JetProcess, batch: ak.Array, particle_data: Any, random: np.random.Generator
) -> tuple[Jets, JetTruth, NDArray[np.int64]]:
    """The events of a batch, and the collision of the batch that each is."""
    particles = from_pythia(batch, particle_data)
    seen = candidates.reconstruct(particles, candidates.production_vertices(batch), random)
    jets = clustering.cluster(seen)
    chosen, counts, collision = select_single(process, jets, particles) if process.single else select_whole(jets)
    return *_take(jets, truth.truth_of(jets, particles), chosen, counts), collision


def select_whole(jets: Jets) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Collisions with two or more jets, the hardest of them with constituents: the numbers of the jets that are kept, how many
    each event has [n_events], and its collision [n_events].
    """
    collision = np.flatnonzero(jets.counts >= MIN_JETS)
    hardest = starts(jets.counts)[collision]
    collision = collision[jets.constituents.counts[hardest] > 0]
    _, chosen = pairs_within_event(collision, jets.counts)
    counts = np.minimum(jets.counts[collision], MAX_JETS)
    rank = chosen - np.repeat(starts(jets.counts)[collision], jets.counts[collision])
    return chosen[rank < MAX_JETS], counts, collision


def select_single(
    process: JetProcess, jets: Jets, particles: Particles
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Jets that are events of their own, as `select_whole`."""
    passed = (
        (jets.pt > SINGLE_MIN_PT)
        & (jets.pt < SINGLE_MAX_PT)
        & (np.abs(jets.eta) < SINGLE_MAX_ETA)
        & (jets.constituents.counts > 0)
    )
    if process.holds:
        passed &= truth.contains(jets, particles, process.holds)
    chosen = np.flatnonzero(passed)
    return chosen, np.ones(len(chosen), np.int64), event_of(jets.counts)[chosen]


def _take(jets: Jets, true: JetTruth, chosen: NDArray[np.int64], counts: NDArray[np.int64]) -> tuple[Jets, JetTruth]:
    return clustering.take(jets, chosen, counts), JetTruth(true.bb[chosen], true.n_b[chosen])


def _asked_for(process: JetProcess) -> str:
    if process.single:
        return f"a jet with {SINGLE_MIN_PT:g} < pT < {SINGLE_MAX_PT:g} GeV, |eta| < {SINGLE_MAX_ETA:g}, matched to the truth"
    return f"{MIN_JETS} jets with pT > {clustering.MIN_PT:g} GeV, |eta| < {clustering.MAX_ETA:g}"
