"""A user's Les Houches event files (hep-ph/0609017) as hard events, any slice of them without parsing the rest.

Read here and fed through `hard.Feeder`, not by Pythia's own reader (Beams:frameType=4): so the number of the hard event
behind every detector event is known for certain, and a shard is a slice. Never reuses an event and never merges jet
multiplicities: bring unweighted samples that need no matching veto. Compression (gzip, xz, bz2) is known by the first bytes.
"""

import bz2
import gzip
import hashlib
import lzma
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from breakeven.physics.hard import HardEvents

LHE_VERSION = 2
"""Raised whenever the same file begins to give other hard events, or others are taken for copies. 2: <slha> headers are read,
particles of new physics that do not interact are invisible, copies of an event are one hard event."""

_HEADER, _COMMENT = (re.compile(pattern, re.DOTALL) for pattern in (rb"<header>.*?</header>", rb"<!--.*?-->"))
_EVENT_BEGIN, _INIT_BEGIN = re.compile(rb"<event(?=[\s>])[^>]*>"), re.compile(rb"<init(?=[\s>])[^>]*>")
_GENERATOR = re.compile(r"""<generator[^>]*?name=["']([^"']+)["'](?:[^>]*?version=["']([^"']+)["'])?""")
_SLHA = re.compile(rb"<slha>(.*?)</slha>", re.DOTALL | re.IGNORECASE)
_FORTRAN = re.compile(rb"^([+-]?[\d.]+)[dD]?([+-]?\d+)$")
"""A number with D for E, or with three digits of exponent, for which Fortran leaves the letter out: 0.2-102."""
_UNPACK = {b"\x1f\x8b": gzip.decompress, b"\xfd7zXZ\x00": lzma.decompress, b"BZh": bz2.decompress}
"""By the first bytes of a file."""
_HEAD = ("NUP", "IDPRUP", "XWGTUP", "SCALUP", "AQEDUP", "AQCDUP")
_PARTICLE = (
    "IDUP", "ISTUP", "MOTHUP(1)", "MOTHUP(2)", "ICOLUP(1)", "ICOLUP(2)", *(f"PUP({n})" for n in range(1, 6)), "VTIMUP", "SPINUP",
)  # fmt: skip
"""Fields by their names in the accord."""
_N_BEAM_FIELDS, _N_PROCESS_FIELDS = 10, 4
_MAX_WEIGHT_SPREAD = 1e-5
_MOST = 2**31 - 1
"""The largest number of a particle or colour that Pythia takes."""


@dataclass(frozen=True)
class LheFile:
    """One file: its content without header and comments, and what stands in front of the events.

    event_ranges: [n_events, 2], places in `content` where the lines of each event begin and end.  prints: [n_events], equal
    where events have the same lines.  beams: PDG code and energy in GeV of both.  header, slha: their text.
    """

    path: str
    content: bytes
    event_ranges: NDArray[np.int64]
    prints: NDArray[np.bytes_]
    beams: tuple[int, float, int, float]
    cross_section_pb: float
    cross_section_error_pb: float
    header: str
    slha: str

    def __len__(self) -> int:
        return len(self.event_ranges)

    @property
    def generator(self) -> str:
        """Name and version of the program that made it, "" where neither the <init> block nor the header say."""
        if named := _GENERATOR.search(self.content[: self.event_ranges[0, 0]].decode(errors="replace")):
            return " ".join(filter(None, named.groups()))
        return "MadGraph5_aMC@NLO" if "MadGraph5_aMC@NLO" in self.header else ""


def read(paths: tuple[str, ...], first: int, n_events: int) -> HardEvents:
    """Events first .. first + n_events - 1 of the files, counted through one after the other.

    `identity` is an event's number, or that of the first one alike, in whichever file: exact copies count as one hard event.
    Raises FileNotFoundError; ValueError for a truncated or malformed file, beams or <slha> headers that differ between files,
    events of differing weight, or too few events.
    """
    files = [open_file(path) for path in paths]
    check_alike(files)
    total = sum(map(len, files))
    if first + n_events > total:
        raise ValueError(
            f"{', '.join(paths)}: {total} events in all, but events {first} to {first + n_events - 1} are asked for; "
            "bring more events or ask for fewer (hard events of a user are never used twice)"
        )
    parsed: list[tuple[list[float], NDArray[np.float64]]] = []
    skipped = 0
    for file in files:
        begin, end = max(first - skipped, 0), min(first + n_events - skipped, len(file))
        parsed += [parse_event(file, number) for number in range(begin, end)]
        skipped += len(file)
    heads = np.array([head for head, _ in parsed])
    check_weights(heads[:, 2], paths)
    table = np.concatenate([rows for _, rows in parsed])
    whole = table[:, :6].astype(np.int64)
    # each file is a sample of the same process: the average, not the sum, is its cross section
    cross_sections = np.array([file.cross_section_pb for file in files])
    errors = np.array([file.cross_section_error_pb for file in files])
    return HardEvents(
        counts=np.array([len(rows) for _, rows in parsed], np.int64),
        pdg=whole[:, 0],
        status=whole[:, 1],
        mother1=whole[:, 2],
        mother2=whole[:, 3],
        colour=whole[:, 4],
        anticolour=whole[:, 5],
        momentum=table[:, 6:10],
        mass=table[:, 10],
        lifetime=table[:, 11],
        spin=table[:, 12],
        scale=heads[:, 3],
        alpha_qed=heads[:, 4],
        alpha_qcd=heads[:, 5],
        identity=first_alike(files)[first : first + n_events],
        beams=files[0].beams,
        cross_section_pb=float(cross_sections.mean()),
        cross_section_error_pb=float(np.sqrt((errors**2).sum()) / len(files)),
        n_tried=n_events,
        origin=", ".join(paths),
        slha=files[0].slha,
    )


def check_alike(files: Sequence[LheFile]) -> None:
    """Raise ValueError where files of one process have other beams or another <slha> header than the first."""
    for file in files:
        if file.beams != files[0].beams:
            raise ValueError(f"{file.path}: beams {file.beams} differ from {files[0].beams} in {files[0].path}")
        if file.slha != files[0].slha:
            raise ValueError(
                f"{file.path}: the <slha> header differs from that of {files[0].path}: make them two processes"
            )


def first_alike(files: Sequence[LheFile]) -> NDArray[np.int64]:
    """Of all events of the files, counted through, the number of the first one alike [n_events]."""
    _, first, which = np.unique(np.concatenate([file.prints for file in files]), return_index=True, return_inverse=True)
    return first[which].astype(np.int64)


def open_file(path: str) -> LheFile:
    """A file with the places of its events, read once. Raises FileNotFoundError, and ValueError where it is malformed."""
    return _index(path, *changed(path))


def changed(path: str) -> tuple[int, int]:
    """Size and time of change of a file. Raises FileNotFoundError."""
    place = Path(path)
    if not place.is_file():
        raise FileNotFoundError(f"{path}: no such LHE file; give the path of an existing file, compressed or not")
    status = place.stat()
    return status.st_size, status.st_mtime_ns


@lru_cache(maxsize=2)
def _index(path: str, size: int, modified: int) -> LheFile:
    """The file with the places of its events; size and time of change are there so that a changed file is read anew."""
    del size, modified
    content = _unpacked(path)
    if b"<LesHouchesEvents" not in content:
        raise ValueError(f"{path}: not an LHE file, the tag <LesHouchesEvents> is missing")
    if b"</LesHouchesEvents>" not in content:
        raise ValueError(f"{path}: truncated, the closing tag </LesHouchesEvents> is missing; copy or make it again")
    header = b"\n".join(_HEADER.findall(content))
    slha = b"\n".join(_SLHA.findall(header))
    content = _COMMENT.sub(b"", _HEADER.sub(b"", content))  # either may speak of events
    begins = [match.end() for match in _EVENT_BEGIN.finditer(content)]
    ends = [content.find(b"</event>", begin) for begin in begins]
    if not begins:
        raise ValueError(f"{path}: holds no events")
    if any(end < 0 or end > following for end, following in zip(ends, [*begins[1:], len(content)], strict=True)):
        raise ValueError(f"{path}: an <event> block is not closed")
    beams, cross_section, cross_section_error = _parse_init(path, content)
    ranges = np.array([begins, ends], np.int64).T
    prints = np.array([_print(content[begin:end]) for begin, end in ranges])
    told = [text.decode(errors="replace") for text in (header, slha)]
    try:
        new_invisible(told[1])
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{path}: the <slha> header cannot be read ({error}); mend it or take it out") from error
    return LheFile(path, content, ranges, prints, beams, cross_section, cross_section_error, *told)


def _unpacked(path: str) -> bytes:
    """The content of a file, whatever its name says of how it is compressed."""
    content = Path(path).read_bytes()
    for begin, unpack in _UNPACK.items():
        if content.startswith(begin):
            try:
                return unpack(content)
            except (EOFError, OSError, ValueError, lzma.LZMAError, zlib.error) as error:
                raise ValueError(f"{path}: truncated or damaged, it cannot be uncompressed ({error})") from error
    return content


def _parse_init(path: str, content: bytes) -> tuple[tuple[int, float, int, float], float, float]:
    begin = _INIT_BEGIN.search(content)
    end = content.find(b"</init>")
    if begin is None or end < begin.end():
        raise ValueError(f"{path}: the <init> block is missing or not closed")
    lines = _numbers(content[begin.end() : end])
    malformed = f"{path}: the <init> block is malformed: beams and one line for each process are needed"
    try:
        head = [_float(field) for field in lines[0]]
        n_processes = int(head[9])
        processes = np.array(
            [[_float(field) for field in line[:_N_PROCESS_FIELDS]] for line in lines[1 : 1 + n_processes]]
        )
        beams = (int(head[0]), head[2], int(head[1]), head[3])
        cross_sections, errors = processes[:, 0], processes[:, 1]
    except (ValueError, IndexError, OverflowError) as error:
        raise ValueError(f"{malformed} ({error})") from error
    if len(head) < _N_BEAM_FIELDS or len(processes) < n_processes:
        raise ValueError(malformed)
    if not (np.isfinite(processes[:, :2]).all() and (cross_sections >= 0.0).all()):
        worst = cross_sections[~(cross_sections >= 0.0)]
        raise ValueError(
            f"{path}: XSECUP is {worst[0] if len(worst) else cross_sections[0]:g} in the <init> block: a cross section in pb is "
            "needed there, as the generator gives it when it ends"
        )
    return beams, float(cross_sections.sum()), float(np.sqrt((errors**2).sum()))


def parse_event(file: LheFile, number: int) -> tuple[list[float], NDArray[np.float64]]:
    """Head (particles, process, weight, scale, alpha_qed, alpha_qcd) and table [n_particles, 13] of one event.

    Raises ValueError where something is missing, is no number, or is not finite; it names file, event and field.
    """
    begin, end = file.event_ranges[number]
    lines = _numbers(file.content[begin:end])
    try:
        head = [_float(field) for field in lines[0][: len(_HEAD)]]
        rows = _table([line[: len(_PARTICLE)] for line in lines[1 : 1 + int(head[0])]])
    except (ValueError, IndexError, OverflowError) as error:
        raise ValueError(f"{file.path}: event {number} is malformed ({error})") from error
    if len(head) != len(_HEAD) or rows.shape != (int(head[0]), len(_PARTICLE)):
        raise ValueError(f"{file.path}: event {number} is malformed: {int(head[0])} particles of 13 numbers announced")
    if not (np.isfinite(head).all() and np.isfinite(rows).all()):
        where, values = "its first line", np.array(head)
        fields: tuple[str, ...] = _HEAD
        if np.isfinite(head).all():
            [row, *_] = np.flatnonzero(~np.isfinite(rows).all(axis=1))
            where, fields, values = f"particle {row + 1}", _PARTICLE, rows[row]
        [field, *_] = np.flatnonzero(~np.isfinite(values))
        raise ValueError(
            f"{file.path}: event {number}, {where}: {fields[field]} is {values[field]}; drop the event or make it again"
        )
    codes, mothers = rows[:, :6], rows[:, 2:4]
    if (
        (codes != np.round(codes)).any()
        or (np.abs(codes) > _MOST).any()
        or ((mothers < 0) | (mothers > len(rows))).any()
    ):
        raise ValueError(
            f"{file.path}: event {number}: IDUP, ISTUP, MOTHUP and ICOLUP are whole numbers, and a mother is one of the "
            f"{len(rows)} particles or 0; drop the event or make it again"
        )
    if len(lines) > 1 + len(rows):
        raise ValueError(
            f"{file.path}: event {number}: {len(rows)} particles announced (NUP), {len(lines) - 1} are there"
        )
    return head, rows


def _table(lines: list[list[bytes]]) -> NDArray[np.float64]:
    """Numbers [n_lines, n_fields]; one after the other where Fortran wrote some of them."""
    try:
        return np.array(lines, np.float64)
    except ValueError:
        return np.array([[_float(field) for field in line] for line in lines], np.float64)


def _float(field: bytes) -> float:
    try:
        return float(field)
    except ValueError:
        if (fortran := _FORTRAN.match(field)) is None:
            raise
        return float(b"e".join(fortran.groups()))


def _print(block: bytes) -> bytes:
    """Of the numbers of an event, however they are spaced, by which copies are known; hexadecimal, as no zero byte may end it."""
    return hashlib.blake2b(b"\n".join(map(b" ".join, _numbers(block))), digest_size=16).hexdigest().encode()


def _numbers(block: bytes) -> list[list[bytes]]:
    """The fields of each line that is neither empty, nor a comment, nor markup."""
    lines = (line.strip() for line in block.splitlines())
    return [line.split() for line in lines if line and not line.startswith((b"#", b"<"))]


def check_weights(weights: NDArray[np.float64], paths: Sequence[str]) -> None:
    """Raise ValueError where the weights [n_events] of the files' events are not alike, or not positive."""
    if weights.min() <= 0 or np.ptp(weights) > _MAX_WEIGHT_SPREAD * weights.max():
        raise ValueError(
            f"{', '.join(paths)}: event weights run from {weights.min():g} (event {weights.argmin()}) to {weights.max():g}; "
            "unweight the sample first, every event must count alike"
        )


def new_particles(slha: str) -> dict[int, dict[int, int]]:
    """The particles that a <slha> header defines in blocks QNUMBERS (arXiv 0712.3311): their entries, by PDG code.

    Entries: 1 three times the charge, 2 spin states, 3 dimension of the colour representation, 4 whether it has an antiparticle.
    """
    tables: dict[int, dict[int, int]] = {}
    entries: dict[int, int] | None = None
    for line in slha.splitlines():
        fields = line.partition("#")[0].split()
        if not fields:
            continue
        if fields[0].lower() in ("block", "decay"):
            is_new = fields[0].lower() == "block" and len(fields) > 2 and fields[1].lower() == "qnumbers"
            entries = tables.setdefault(int(fields[2]), {}) if is_new else None
        elif entries is not None and len(fields) > 1:
            entries[int(fields[0])] = int(float(fields[1]))
    return tables


def new_invisible(slha: str) -> list[int]:
    """Codes of the new particles of a <slha> header that carry neither charge nor colour and do not decay."""
    widths = dict(re.findall(r"^\s*DECAY\s+(\d+)\s+(\S+)", slha, re.MULTILINE | re.IGNORECASE))
    return [
        code
        for code, entries in new_particles(slha).items()
        if code > 100
        and entries.get(1, 0) == 0
        and entries.get(3, 1) == 1
        and not _float(widths.get(str(code), "0").encode())
    ]
