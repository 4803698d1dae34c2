"""A user's ROOT file of jets as JetClass has them (arXiv 2202.03772) as events of one jet each, any slice of it.

Lengths are in mm and momenta in GeV there as here. Directions of constituents are taken from their momenta: `part_deta` has its
sign turned where the jet's eta is negative, and is not read. Jets without constituents are left out; of all others the hardest
hundred constituents are kept. What cannot be right is an error, which names file, entry, branch, value and the way out.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import uproot
from numpy.typing import NDArray

from breakeven.physics.jets.candidates import Candidates
from breakeven.physics.jets.clustering import MAX_CONSTITUENTS, Jets
from breakeven.physics.jets.generator import SINGLE_MAX_ETA, SINGLE_MAX_PT, SINGLE_MIN_PT, JetEvents
from breakeven.physics.jets.truth import JetTruth
from breakeven.physics.particles import event_of, starts

JETCLASS_VERSION = 1
"""Raised whenever the same file begins to give other events."""

TREE = "tree"
_MOMENTUM = ("part_px", "part_py", "part_pz")
_TRACK = ("part_d0val", "part_d0err", "part_dzval", "part_dzerr")
_KINDS = ("part_isChargedHadron", "part_isNeutralHadron", "part_isPhoton", "part_isElectron", "part_isMuon")
"""In the order of candidates.CandidateKind."""
_OF_PARTS = (*_MOMENTUM, *_TRACK, "part_charge", *_KINDS)
_OF_JETS = ("jet_pt", "jet_eta", "jet_phi", "jet_energy", "jet_sdmass")
_B_HADRONS = {"label_Hbb": 2, "label_Tbqq": 1, "label_Tbl": 1}
"""In jets of these classes; of others the file does not say, and 0 is taken."""
_LABELS = (
    "label_QCD", "label_Hbb", "label_Hcc", "label_Hgg", "label_H4q", "label_Hqql", "label_Zqq", "label_Wqq", "label_Tbqq",
    "label_Tbl",
)  # fmt: skip
BRANCHES = (*_OF_PARTS, *_OF_JETS, *_LABELS)
"""What is read of the tree; more may be there."""
_BLOCK = 10_000
"""Jets that are read at a time."""
_LEAST_SQUARED_MASS = -1e-4
"""Of the squared energy: what single precision may make of the squared mass of a massless jet."""
_MAX_ETA = 10.0


@dataclass(frozen=True)
class Findings:
    """What a file holds.

    n_jets: those with constituents, which are used.  n_empty: those without.  n_cut: those of which constituents are left out.
    classes: number of used jets by label, without those that have none.  warnings: sentences, which begin with the file.
    """

    n_jets: int
    n_empty: int
    n_cut: int
    classes: dict[str, int]
    warnings: tuple[str, ...]

    @property
    def in_words(self) -> str:
        """Numbers of jets, for people."""
        classes = ", ".join(f"{name} {number:,}" for name, number in self.classes.items())
        return in_words(self.n_jets, self.n_empty, self.n_cut, f" ({classes})")


@dataclass(frozen=True)
class _Block:
    """Some jets of a file that have constituents, checked. entries [n_jets]: their places in the file; label [n_jets]: index
    into _LABELS.  parts, jets: all other branches by name, those of constituents jet after jet, `counts` [n_jets] of them.
    """

    entries: NDArray[np.int64]
    counts: NDArray[np.int64]
    parts: dict[str, NDArray[np.float64]]
    jets: dict[str, NDArray[np.float64]]
    label: NDArray[np.int64]


def count(path: str) -> tuple[int, int, int]:
    """Jets with constituents, jets without, and jets with more than are kept. Raises as `read`; looks at no values."""
    counts = _counts(path, *_changed(path))
    return int((counts > 0).sum()), int((counts == 0).sum()), int((counts > MAX_CONSTITUENTS).sum())


def in_words(n_jets: int, n_empty: int, n_cut: int, classes: str = "") -> str:
    """Numbers of jets as `count` gives them, for people."""
    empty = f", {n_empty:,} without constituents are left out" if n_empty else ""
    cut = f", of {n_cut:,} with more constituents the hardest {MAX_CONSTITUENTS} are kept" if n_cut else ""
    return f"{n_jets:,} jets{classes}{empty}{cut}"


def inspect(path: str) -> Findings:
    """What a file holds, looked through whole. Raises as `read`."""
    return _inspect(path, *_changed(path))


def read(path: str, first: int, n_events: int) -> JetEvents:
    """Jets first .. first + n_events - 1 of those that have constituents, each an event.

    hard_event is a hash of all that the file says of a jet, so that copies are known.  Every event has the weight 1; the cross
    section is not known: nan.
    Raises FileNotFoundError; ValueError where the file is none of ROOT, is truncated or damaged, lacks the tree or a branch, has
    lists of unequal lengths or a value that cannot be, or too few jets.
    """
    entries = np.flatnonzero(_counts(path, *_changed(path)))
    if first + n_events > len(entries):
        raise ValueError(
            f"{path}: {len(entries):,} jets with constituents, but jets {first:,} to {first + n_events - 1:,} are asked for; "
            "bring more or ask for fewer (jets of a user are never used twice)"
        )
    chosen = entries[first : first + n_events]
    parts = [_events(block) for block in _blocks(path, int(chosen[0]), int(chosen[-1]) + 1)]
    columns = {name: np.concatenate([columns[name] for columns, _ in parts]) for name in parts[0][0]}
    inside = {name: np.concatenate([inside[name] for _, inside in parts]) for name in parts[0][1]}
    of_jets = {name: columns[name] for name in ("pt", "eta", "phi", "mass", "soft_drop_mass")}
    return JetEvents(
        jets=Jets(counts=np.ones(n_events, np.int64), **of_jets, constituents=Candidates(**inside)),
        truth=JetTruth(bb=columns["bb"], n_b=columns["n_b"]),
        weight=np.ones(n_events),
        hard_event=columns["hard_event"],
        cross_section_pb=np.nan,
        cross_section_error_pb=np.nan,
        n_tried=n_events,
    )


def _events(block: _Block) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
    """Columns of jets [n_jets] and of their constituents by falling pT, the number of these, `counts`, among the latter."""
    jet = event_of(block.counts)
    pt = np.hypot(block.parts["part_px"], block.parts["part_py"])
    order = np.lexsort((-pt, jet))
    order = order[np.arange(len(order)) - starts(block.counts)[jet] < MAX_CONSTITUENTS]
    px, py, pz = (block.parts[name][order] for name in _MOMENTUM)
    counts = np.minimum(block.counts, MAX_CONSTITUENTS)
    inside: dict[str, NDArray[Any]] = {
        "counts": counts,
        "pt": pt[order],
        "eta": np.arcsinh(pz / pt[order]),
        "phi": np.arctan2(py, px),
        "charge": block.parts["part_charge"][order].astype(np.int8),
        "kind": _index_of_one(block.parts, _KINDS)[order].astype(np.int8),
        **dict(zip(("d0", "d0_error", "dz", "dz_error"), (block.parts[name][order] for name in _TRACK), strict=True)),
    }
    pt, eta, phi, energy, soft_drop_mass = (block.jets[name] for name in _OF_JETS)
    columns = {
        "pt": pt,
        "eta": eta,
        "phi": phi,
        "mass": np.sqrt(np.maximum(energy**2 - (pt * np.cosh(eta)) ** 2, 0.0)),
        "soft_drop_mass": np.maximum(soft_drop_mass, 0.0),
        "bb": (block.label == _LABELS.index("label_Hbb")).astype(np.int8),
        "n_b": np.array([_B_HADRONS.get(name, 0) for name in _LABELS], np.int8)[block.label],
        "hard_event": _prints(block, order, counts),
    }
    return columns, inside


def _prints(block: _Block, order: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """A number of each jet that follows from all that is kept of it, equal for copies [n_jets]."""
    rows = np.stack([block.parts[name][order] for name in _OF_PARTS], axis=1).astype(np.float32)
    heads = np.stack([*(block.jets[name] for name in _OF_JETS), block.label], axis=1).astype(np.float32)
    ends = np.cumsum(counts)
    digests = (
        hashlib.blake2b(head.tobytes() + rows[end - count : end].tobytes(), digest_size=8).digest()
        for head, end, count in zip(heads, ends, counts, strict=True)
    )
    return np.frombuffer(b"".join(digests), np.int64)


@lru_cache(maxsize=16)
def _inspect(path: str, size: int, modified: int) -> Findings:
    """size and time of change are there so that a changed file is read anew."""
    counts = _counts(path, size, modified)
    classes, pt, eta, prints = np.zeros(len(_LABELS), np.int64), [], [], []
    for block in _blocks(path, 0, len(counts)):
        classes += np.bincount(block.label, minlength=len(_LABELS))
        columns, _ = _events(block)
        pt.append(columns["pt"])
        eta.append(np.abs(columns["eta"]))
        prints.append(columns["hard_event"])
    n_jets = int(classes.sum())
    warnings = []
    if not n_jets:
        raise ValueError(f"{path}: holds no jet with constituents, of {len(counts)} entries: bring another file")
    low, high, widest = (
        float(pick(np.concatenate(values))) for pick, values in ((np.min, pt), (np.max, pt), (np.max, eta))
    )
    if low < SINGLE_MIN_PT or high > SINGLE_MAX_PT or widest > SINGLE_MAX_ETA:
        warnings.append(
            f"jets have pT from {low:,.0f} to {high:,.0f} GeV and |eta| up to {widest:.2g}, our own single jets "
            f"{SINGLE_MIN_PT:g} to {SINGLE_MAX_PT:g} GeV and {SINGLE_MAX_ETA:g}: a network can tell them apart by that alone"
        )
    if n_copies := n_jets - len(np.unique(np.concatenate(prints))):
        warnings.append(
            f"{n_copies:,} of {n_jets:,} jets are exact copies of others: they share a split, and do not count as independent"
        )
    return Findings(
        n_jets=n_jets,
        n_empty=len(counts) - n_jets,
        n_cut=int((counts > MAX_CONSTITUENTS).sum()),
        classes={name.removeprefix("label_"): int(n) for name, n in zip(_LABELS, classes, strict=True) if n},
        warnings=tuple(f"{path}: {one}" for one in warnings),
    )


@lru_cache(maxsize=16)
def _counts(path: str, size: int, modified: int) -> NDArray[np.int64]:
    """Constituents of each jet of a file [n_entries]."""
    del size, modified
    blocks = [_lengths(path, first, block) for first, block in _arrays(path, 0, None, ("part_charge",))]
    return np.concatenate([np.zeros(0, np.int64), *blocks])


def _changed(path: str) -> tuple[int, int]:
    """Size and time of change of a file. Raises FileNotFoundError."""
    place = Path(path)
    if not place.is_file():
        raise FileNotFoundError(f"{path}: no such file; give the path of an existing ROOT file of jets")
    status = place.stat()
    return status.st_size, status.st_mtime_ns


def _arrays(path: str, start: int, stop: int | None, branches: tuple[str, ...]) -> Iterator[tuple[int, ak.Array]]:
    """Some entries of the tree, block by block, and the number of the first entry of each. Raises ValueError."""
    with _reading(path):
        file = uproot.open(path)
    with file:
        if (written := file.file.fEND) > (there := os.path.getsize(path)):
            raise ValueError(f"{path}: truncated, {there:,} bytes of {written:,} are there; copy or make it again")
        if TREE not in (known := file.keys(cycle=False)):
            raise ValueError(
                f"{path}: it has no tree of the name {TREE!r}, but {', '.join(sorted(known)) or 'nothing'}: write the jets as "
                "JetClass has them"
            )
        with _reading(path):
            tree = file[TREE]
            missing = sorted({*BRANCHES} - {*tree.keys()}, key=BRANCHES.index)
        if missing:
            raise ValueError(
                f"{path}: the tree has no {', '.join(missing)}: write the jets with the branches of JetClass"
            )
        blocks = tree.iterate(list(branches), entry_start=start, entry_stop=stop, step_size=_BLOCK, library="ak")
        while True:
            with _reading(path):
                block = next(blocks, None)
            if block is None:
                break
            yield start, block
            start += len(block)


@contextmanager
def _reading(path: str) -> Iterator[None]:
    """Raise ValueError, with the file and the way out, whatever uproot and the decompressors meet in a damaged file."""
    try:
        yield
    except Exception as error:
        raise ValueError(
            f"{path}: cannot be read as a ROOT file ({' '.join(str(error).split())}); copy or make it again"
        ) from error


def _lengths(path: str, first: int, block: ak.Array) -> NDArray[np.int64]:
    """How many constituents each jet of a block has, by its charges. Raises ValueError."""
    _check_depth(path, block, ("part_charge",), depth=2)
    lengths: NDArray[np.int64] = ak.to_numpy(ak.num(block["part_charge"])).astype(np.int64)
    return lengths


def _check_depth(path: str, block: ak.Array, branches: tuple[str, ...], depth: int) -> None:
    """Raise ValueError where a branch is not a number (depth 1) or a list of numbers (depth 2) of each jet."""
    for name in branches:
        kind = str(ak.type(block[name]).content)
        numeric = kind.removeprefix("var * ") in _NUMERIC
        if not numeric or kind.startswith("var * ") != (depth == 2):
            wanted = "a list of numbers" if depth == 2 else "a number"
            raise ValueError(f"{path}: {name} is {kind} of each jet, not {wanted}: write it as JetClass has it")


_NUMERIC = {"bool", *(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)), "float32", "float64"}


def _blocks(path: str, start: int, stop: int) -> Iterator[_Block]:
    """The jets with constituents among some entries, checked, block by block. Raises ValueError."""
    for first, block in _arrays(path, start, stop, BRANCHES):
        lengths = _lengths(path, first, block)
        _check_depth(path, block, _OF_PARTS, depth=2)
        _check_depth(path, block, (*_OF_JETS, *_LABELS), depth=1)
        for name in _OF_PARTS:
            others = ak.to_numpy(ak.num(block[name]))
            if len(unequal := np.flatnonzero(others != lengths)):
                entry = unequal[0]
                raise ValueError(
                    f"{path}: entry {first + entry}: {name} has {others[entry]} values, part_charge {lengths[entry]}: a jet has "
                    "each branch of its constituents equally often; leave it out or make it again"
                )
        used = np.flatnonzero(lengths)
        parts = {name: ak.to_numpy(ak.flatten(block[name])).astype(np.float64) for name in _OF_PARTS}
        jets = {name: ak.to_numpy(block[name]).astype(np.float64)[used] for name in (*_OF_JETS, *_LABELS)}
        _check_values(path, first + used, jets)
        _check_values(path, np.repeat(first + np.arange(len(lengths)), lengths), parts)
        _check_physics(path, first + used, jets, np.repeat(first + np.arange(len(lengths)), lengths), parts)
        label = _index_of_one(jets, _LABELS)
        yield _Block(first + used, lengths[used], parts, {name: jets[name] for name in _OF_JETS}, label)


def _check_values(path: str, entries: NDArray[np.int64], columns: dict[str, NDArray[np.float64]]) -> None:
    """Raise ValueError where a value is not finite. entries [n]: of each."""
    for name, values in columns.items():
        _refuse(path, entries, name, values, np.isfinite(values), "numbers must be finite")


def _check_physics(
    path: str,
    of_jets: NDArray[np.int64],
    jets: dict[str, NDArray[np.float64]],
    of_parts: NDArray[np.int64],
    parts: dict[str, NDArray[np.float64]],
) -> None:
    """Raise ValueError where finite numbers cannot be what they are taken for."""
    pt, eta, phi, energy = (jets[name] for name in _OF_JETS[:4])
    _refuse(path, of_jets, "jet_pt", pt, pt > 0, "a transverse momentum in GeV is above 0")
    _refuse(path, of_jets, "jet_eta", eta, np.abs(eta) <= _MAX_ETA, f"it lies between -{_MAX_ETA:g} and {_MAX_ETA:g}")
    inside = np.abs(phi).astype(np.float32) <= np.float32(np.pi)
    _refuse(path, of_jets, "jet_phi", phi, inside, "it lies between -pi and pi")
    squared = energy**2 - (pt * np.cosh(np.clip(eta, -_MAX_ETA, _MAX_ETA))) ** 2
    enough = (energy > 0) & (squared >= _LEAST_SQUARED_MASS * energy**2)
    _refuse(path, of_jets, "jet_energy", energy, enough, "it is not below the jet's momentum")
    hard = np.hypot(parts["part_px"], parts["part_py"]) > 0
    _refuse(path, of_parts, "part_px", parts["part_px"], hard, "a constituent has a transverse momentum above 0")
    eta = np.arcsinh(parts["part_pz"] / np.hypot(parts["part_px"], parts["part_py"]))
    near = np.abs(eta - jets["jet_eta"][np.searchsorted(of_jets, of_parts)]) <= _MAX_ETA
    _refuse(path, of_parts, "part_pz", parts["part_pz"], near, f"its eta is within {_MAX_ETA:g} of the jet's")
    for name in ("part_d0err", "part_dzerr"):
        _refuse(path, of_parts, name, parts[name], parts[name] >= 0, "an error in mm is not negative")
    charge = parts["part_charge"]
    _refuse(path, of_parts, "part_charge", charge, np.isin(charge, (-1, 0, 1)), "a charge is -1, 0 or 1")
    for entries, columns, names in ((of_parts, parts, _KINDS), (of_jets, jets, _LABELS)):
        ones = sum((columns[name] != 0).astype(np.float64) for name in names)
        words = f"{names[0]} to {names[-1]}"
        _refuse(path, entries, f"the sum of {words}", ones, ones == 1, "exactly one of them is set")


def _refuse(
    path: str, entries: NDArray[np.int64], name: str, values: NDArray[np.float64], good: NDArray[np.bool_], rule: str
) -> None:
    """Raise ValueError at the first value that is not good. All arrays are [n]."""
    if not good.all():
        place = int(np.flatnonzero(~good)[0])
        raise ValueError(
            f"{path}: entry {entries[place]}: {name} is {values[place]:g}: {rule}; leave the jet out or make it again"
        )


def _index_of_one(columns: dict[str, NDArray[np.float64]], names: tuple[str, ...]) -> NDArray[np.int64]:
    """Which of the columns is set [n], where exactly one is."""
    index: NDArray[np.int64] = np.argmax(np.stack([columns[name] != 0 for name in names]), axis=0)
    return index
