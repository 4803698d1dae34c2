"""The schema of jet events: an event of large-radius jets by falling pT, a jet of constituents by falling pT, and the truth.

Holds the schema and the way from generated events to a table.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from breakeven.events.schema import WEIGHT, EventSchema, HighLevel, Level, unnested
from breakeven.feature import MOMENTUM_FLOOR, Feature
from breakeven.physics.jets import variables
from breakeven.physics.jets.sample import JetSample

if TYPE_CHECKING:
    from breakeven.physics.jets.generator import JetEvents

__all__ = ["CONSTITUENT", "JET", "JETS", "MAX_JETS", "SINGLE_JETS"]

MAX_JETS = 5
"""Most jets of an event."""

JET = (
    Feature("pt", "GeV", low=0.0, title="transverse momentum", log_floor=MOMENTUM_FLOOR),
    Feature("eta", low=-10.0, high=10.0, title="pseudorapidity"),
    Feature("phi", "rad", low=-math.pi, high=math.pi, title="azimuth in (-pi, pi]"),
    Feature("mass", "GeV", low=0.0, title="invariant mass", log_floor=MOMENTUM_FLOOR),
    Feature(
        "soft_drop_mass", "GeV", low=0.0, title="mass after soft drop, 0 for one particle", log_floor=MOMENTUM_FLOOR
    ),
)
"""Of a jet: with log pT, log m and log m_SD the high-level features of arXiv 2401.13536."""

CONSTITUENT = (
    Feature("pt", "GeV", low=0.0, title="transverse momentum; massless by convention"),
    Feature("d_eta", low=-10.0, high=10.0, title="eta minus that of the jet"),
    Feature("d_phi", "rad", low=-math.pi, high=math.pi, title="phi minus that of the jet, the short way round"),
    Feature("d0", "mm", title="transverse impact parameter of the track; 0 without"),
    Feature("d0_error", "mm", low=0.0, title="its standard deviation; 0 without a track", few=True),
    Feature("dz", "mm", title="longitudinal impact parameter of the track; 0 without"),
    Feature("dz_error", "mm", low=0.0, title="its standard deviation; 0 without a track", few=True),
    Feature("charge", "e", "int8", -1, 1, "electric charge of the track; 0 without"),
    Feature("kind", "1", "int8", 0, 4, "0 charged hadron, 1 neutral hadron, 2 photon, 3 electron, 4 muon", few=True),
)
"""Of a constituent. What arXiv 2401.13536 makes of it, with its jet, is up to the network."""

_JET_TRUTH = (
    Feature("bb", "1", "int8", 0, 1, "1: a Higgs boson to two bottom quarks, both inside"),
    Feature("n_b", "1", "int8", 0, 2, "hadrons with a bottom quark inside; 2: two and more"),
)
_BITS = {"pt": 10, "d_eta": 10, "d_phi": 10, "d0": 9, "d0_error": 8, "dz": 9, "dz_error": 8}
"""Bits of the mantissa that are kept of a constituent's numbers, as far as they are measured: with 10 a relative 5e-4. The
others compress to nothing."""
_STEPS_PER_ERROR = 16
"""And d0 and dz are kept to a sixteenth of their error or less, which adds less than 4e-4 of it to their variance."""


def labels_of(table: pa.Table) -> np.ndarray:
    """Whether each of the five hardest jets is bb, [n_events, 5] uint8; 0 where there is no such jet."""
    (counts,), bb = unnested(table, "bb")
    labels = np.zeros((len(counts), MAX_JETS), np.uint8)
    labels[np.arange(MAX_JETS) < counts[:, None]] = bb
    return labels


def label_of_single(table: pa.Table) -> np.ndarray:
    """Whether the only jet is bb, [n_events, 1] uint8."""
    return labels_of(table)[:, :1]


def variables_of(levels: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """High-level variables of events [n_events, n_variables] float32."""
    (jets, offsets), (constituents, inner_offsets) = levels
    columns = [
        {feature.name: values[:, column] for column, feature in enumerate(features)}
        for values, features in ((jets, JET), (constituents, CONSTITUENT))
    ]
    return variables.high_level(columns[0], offsets, columns[1], inner_offsets)


JETS = EventSchema(
    version="jets 1",
    levels=(Level("jet", JET, truth=_JET_TRUTH), Level("constituent", CONSTITUENT, prefix="constituent_")),
    event=(Feature(WEIGHT, "pb", low=0.0, title="cross section that the event stands for in its shard"),),
    label_names=tuple(f"jet{number}_bb" for number in range(1, MAX_JETS + 1)),
    labels=labels_of,
    high_level=HighLevel(f"jets {variables.VARIABLES_VERSION}", variables_of),
    labels_of_things=True,
)
SINGLE_JETS = dataclasses.replace(JETS, version="single jets 1", label_names=("bb",), labels=label_of_single)
"""Of what single_jets.py gives; never at rest."""


def to_table(made: "JetEvents") -> pa.Table:
    """A shard of generated events as one Arrow table with the schema `JETS`, constituents' numbers rounded to what is measured of
    them. Raises ValueError where an event has more jets than the schema holds.
    """
    jets, inside = made.jets, made.jets.constituents
    if (most := int(jets.counts.max(initial=0))) > MAX_JETS:
        raise ValueError(f"an event has {most} jets, the schema {JETS.version} holds {MAX_JETS}: keep the hardest")
    eta, phi = (np.repeat(axis, inside.counts) for axis in (jets.eta, jets.phi))
    constituents = {
        **{name: getattr(inside, name) for name in ("pt", "d0", "d0_error", "dz", "dz_error", "charge", "kind")},
        "d_eta": inside.eta - eta,
        "d_phi": np.remainder(inside.phi - phi + np.pi, 2 * np.pi) - np.pi,
    }
    for name in ("d0", "dz"):
        constituents[name] = _in_steps(constituents[name], constituents[f"{name}_error"])
    constituents |= {name: _rounded(constituents[name], bits) for name, bits in _BITS.items()}
    columns = {
        "hard_event": made.hard_event,
        WEIGHT: made.weight.astype(np.float32),
        "bb": made.truth.bb,
        "n_b": made.truth.n_b,
        **{feature.name: getattr(jets, feature.name).astype(np.float32) for feature in JET},
        **{f"constituent_{name}": values for name, values in constituents.items()},
    }
    return JETS.table([jets.counts, inside.counts], columns)


def sample_of(table: pa.Table, n_shards: int) -> JetSample:
    """What a page of pictures draws of events of `n_shards` shards, whose weights are those of each."""
    (jets,), bb = unnested(table, "bb")
    (_, inside), d0 = unnested(table, "constituent_d0")
    error = unnested(table, "constituent_d0_error")[1]
    is_track = error > 0
    return JetSample(
        pt=unnested(table, "pt")[1],
        soft_drop_mass=unnested(table, "soft_drop_mass")[1],
        bb=bb,
        weight=np.repeat(table[WEIGHT].to_numpy().astype(np.float64) / n_shards, jets),
        constituents=inside,
        d0_significance=d0[is_track] / error[is_track],
        track_bb=np.repeat(bb, inside)[is_track] == 1,
    )


def _in_steps(values: np.ndarray, error: np.ndarray) -> np.ndarray:
    """The nearest multiple of a power of two that is 1/32 to 1/16 of the error; the value itself where the error is 0."""
    measured = error > 0
    step = np.exp2(np.floor(np.log2(error, out=np.zeros(len(error)), where=measured))) / _STEPS_PER_ERROR
    return np.where(measured, np.round(values / step) * step, values)


def _rounded(values: np.ndarray, bits: int) -> np.ndarray:
    """The nearest float32 with so many bits in its mantissa."""
    dropped = 23 - bits
    raw = values.astype(np.float32).view(np.uint32)
    raw = (raw + np.uint32(1 << (dropped - 1))) & np.uint32(~((1 << dropped) - 1) & 0xFFFFFFFF)
    rounded: np.ndarray = raw.view(np.float32)
    return rounded
