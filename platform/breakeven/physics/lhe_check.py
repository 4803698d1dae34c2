"""What a user's Les Houches event files hold, looked through whole before anything is made of them.

What makes them useless is an error, which names file, event, field and the way out; what a physicist must know of the events
that come of them is a warning. Never showers anything.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pythia8mc

from breakeven.physics import lhe
from breakeven.physics.hard import PROTON_BEAMS

_MATCHED = re.compile(r"^\s*([1-9]\d*)\s*=\s*ickkw\b", re.MULTILINE)
_PROMPT_MM = 0.1
"""Proper lifetime c tau above which a decay does not look prompt."""


@dataclass(frozen=True)
class Findings:
    """n_events: in all files.  n_distinct: without exact copies.  beams: PDG code and energy in GeV of both.  generator: its name
    and version, "" where the files do not say.  warnings: sentences, which begin with the file.
    """

    n_events: int
    n_distinct: int
    beams: tuple[int, float, int, float]
    generator: str
    cross_section_pb: float
    warnings: tuple[str, ...]


def inspect(paths: Sequence[str]) -> Findings:
    """What the files of one process hold.

    Raises FileNotFoundError; ValueError where a file cannot be read, a number of an event is not finite, weights differ or are
    not positive, a particle is unknown to Pythia and to the file's <slha> header, or the files do not fit together.
    """
    return _inspect(tuple(paths), tuple(map(lhe.changed, paths)))


@lru_cache(maxsize=16)
def _inspect(paths: tuple[str, ...], changed: tuple[object, ...]) -> Findings:
    """changed: when each file was, so that a new one is read anew."""
    del changed
    files = [lhe.open_file(path) for path in paths]
    lhe.check_alike(files)
    warnings: list[str] = []
    weights = []
    for file in files:
        heads, tables = zip(*(lhe.parse_event(file, number) for number in range(len(file))), strict=True)
        weights.append(np.array([head[2] for head in heads]))
        lhe.check_weights(weights[-1], [file.path])
        _check_particles(file, tables)
        longest = max(float(table[:, 11].max()) for table in tables)
        warnings += _warnings(file, longest)
    lhe.check_weights(np.concatenate(weights), paths)
    alike = lhe.first_alike(files)
    n_distinct = len(np.unique(alike))
    if n_distinct < len(alike):
        warnings.append(
            f"{', '.join(paths)}: {len(alike) - n_distinct:,} of {len(alike):,} events are exact copies of others: they share a "
            "split, and do not count as independent"
        )
    return Findings(
        n_events=len(alike),
        n_distinct=n_distinct,
        beams=files[0].beams,
        generator=", ".join(dict.fromkeys(filter(None, (file.generator for file in files)))),
        cross_section_pb=float(np.mean([file.cross_section_pb for file in files])),
        warnings=tuple(warnings),
    )


def _check_particles(file: lhe.LheFile, tables: Sequence[np.ndarray]) -> None:
    data, new = _pythia().particleData, lhe.new_particles(file.slha)
    for number, table in enumerate(tables):
        for code in map(int, table[:, 0]):
            if not (data.isParticle(code) or abs(code) in new):
                header = "its <slha> header does not define it" if file.slha else "it has no <slha> header"
                raise ValueError(
                    f"{file.path}: event {number}: particle {code} is unknown to Pythia, and {header}: write the events with the "
                    "model's parameter card in the header, as MadGraph does, or with codes that Pythia knows"
                )


@lru_cache(maxsize=1)
def _pythia() -> Any:
    """An instance for its table of particles, which lives no longer than it."""
    return pythia8mc.Pythia("", False)


def _warnings(file: lhe.LheFile, longest_mm: float) -> list[str]:
    problems = []
    if file.beams != PROTON_BEAMS:
        one, energy, other, other_energy = file.beams
        problems.append(
            f"beams are {one} at {energy:g} GeV and {other} at {other_energy:g} GeV, those of our own processes protons at "
            f"{PROTON_BEAMS[1]:g} GeV: a network can tell them apart by that alone"
        )
    if matched := _MATCHED.search(file.header):
        problems.append(
            f"made for jet matching (ickkw = {matched[1]}), whose veto is not applied here, so that jets are counted twice: "
            "make it without matching"
        )
    if longest_mm > _PROMPT_MM:
        problems.append(
            f"particles live up to c tau = {longest_mm:,.3g} mm, but decay promptly here: the detector knows no such vertices"
        )
    return [f"{file.path}: {one}" for one in problems]
