"""A user's Les Houches event files (hep-ph/0609017) as hard events, any slice of them without parsing the rest.

Read here and fed through `hard.Feeder`, not by Pythia's own reader (Beams:frameType=4): so the number of the hard event
behind every detector event is known for certain, and a shard is a slice. Never reuses an event and never merges jet
multiplicities: bring unweighted samples that need no matching veto. Reads .lhe and .lhe.gz.
"""

import gzip
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from breakeven.physics.hard import HardEvents

_EVENT_BEGIN = re.compile(rb"<event(?=[\s>])[^>]*>")
_N_EVENT_FIELDS, _N_PARTICLE_FIELDS, _N_BEAM_FIELDS, _N_PROCESS_FIELDS = 6, 13, 10, 4
_MAX_WEIGHT_SPREAD = 1e-5


@dataclass(frozen=True)
class _LheFile:
    """Content of one file, the byte range of each event's lines, and the numbers of its init block."""

    path: str
    content: bytes
    event_ranges: NDArray[np.int64]
    beams: tuple[int, float, int, float]
    cross_section_pb: float
    cross_section_error_pb: float


def read(paths: tuple[str, ...], first: int, n_events: int) -> HardEvents:
    """Events first .. first + n_events - 1 of the files, counted through one after the other (their `identity`).

    Raises FileNotFoundError; ValueError for a truncated or malformed file, beams that differ between files, events of
    differing weight, or too few events.
    """
    files = [_open(path) for path in paths]
    beams = files[0].beams
    for file in files:
        if file.beams != beams:
            raise ValueError(f"{file.path}: beams {file.beams} differ from {beams} in {files[0].path}")
    total = sum(len(file.event_ranges) for file in files)
    if first + n_events > total:
        raise ValueError(
            f"{', '.join(paths)}: {total} events in all, but events {first} to {first + n_events - 1} are asked for; "
            "bring more events or ask for fewer (hard events of a user are never used twice)"
        )
    parsed: list[tuple[list[float], NDArray[np.float64]]] = []
    skipped = 0
    for file in files:
        begin, end = max(first - skipped, 0), min(first + n_events - skipped, len(file.event_ranges))
        parsed += [_parse_event(file, number) for number in range(begin, end)]
        skipped += len(file.event_ranges)
    heads = np.array([head for head, _ in parsed])
    _check_weights(heads[:, 2], paths)
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
        identity=first + np.arange(n_events),
        beams=beams,
        cross_section_pb=float(cross_sections.mean()),
        cross_section_error_pb=float(np.sqrt((errors**2).sum()) / len(files)),
        n_tried=n_events,
        origin=", ".join(paths),
    )


def _open(path: str) -> _LheFile:
    place = Path(path)
    if not place.is_file():
        raise FileNotFoundError(f"{path}: no such LHE file; give the path of an existing .lhe or .lhe.gz file")
    status = place.stat()
    return _index(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=2)
def _index(path: str, size: int, modified: int) -> _LheFile:
    """The file with the places of its events; size and time of change are there so that a changed file is read anew."""
    del size, modified
    try:
        content = gzip.decompress(Path(path).read_bytes()) if path.endswith(".gz") else Path(path).read_bytes()
    except (EOFError, gzip.BadGzipFile) as error:
        raise ValueError(f"{path}: truncated or not a gzip file ({error})") from error
    if b"<LesHouchesEvents" not in content:
        raise ValueError(f"{path}: not an LHE file, the tag <LesHouchesEvents> is missing")
    if b"</LesHouchesEvents>" not in content:
        raise ValueError(f"{path}: truncated, the closing tag </LesHouchesEvents> is missing; copy or make it again")
    begins = [match.end() for match in _EVENT_BEGIN.finditer(content)]
    ends = [content.find(b"</event>", begin) for begin in begins]
    if any(end < 0 or end > following for end, following in zip(ends, [*begins[1:], len(content)], strict=True)):
        raise ValueError(f"{path}: an <event> block is not closed")
    beams, cross_section, cross_section_error = _parse_init(path, content)
    ranges = np.array([begins, ends], np.int64).T.reshape(-1, 2)
    return _LheFile(path, content, ranges, beams, cross_section, cross_section_error)


def _parse_init(path: str, content: bytes) -> tuple[tuple[int, float, int, float], float, float]:
    begin = re.search(rb"<init(?=[\s>])[^>]*>", content)
    end = content.find(b"</init>")
    if begin is None or end < begin.end():
        raise ValueError(f"{path}: the <init> block is missing or not closed")
    lines = _numbers(content[begin.end() : end])
    if not lines or len(lines[0]) < _N_BEAM_FIELDS or len(lines) < 1 + int(lines[0][9]):
        raise ValueError(f"{path}: the <init> block is malformed: beams and one line for each process are needed")
    head = [float(field) for field in lines[0]]
    processes = np.array([[float(field) for field in line[:_N_PROCESS_FIELDS]] for line in lines[1 : 1 + int(head[9])]])
    beams = (int(head[0]), head[2], int(head[1]), head[3])
    return beams, float(processes[:, 0].sum()), float(np.sqrt((processes[:, 1] ** 2).sum()))


def _parse_event(file: _LheFile, number: int) -> tuple[list[float], NDArray[np.float64]]:
    """Head (particles, process, weight, scale, alpha_qed, alpha_qcd) and table [n_particles, 13] of one event."""
    begin, end = file.event_ranges[number]
    lines = _numbers(file.content[begin:end])
    try:
        head = [float(field) for field in lines[0][:_N_EVENT_FIELDS]]
        rows = np.array([line[:_N_PARTICLE_FIELDS] for line in lines[1 : 1 + int(head[0])]], np.float64)
    except (ValueError, IndexError) as error:
        raise ValueError(f"{file.path}: event {number} is malformed ({error})") from error
    if len(head) != _N_EVENT_FIELDS or rows.shape != (int(head[0]), _N_PARTICLE_FIELDS):
        raise ValueError(f"{file.path}: event {number} is malformed: {int(head[0])} particles of 13 numbers announced")
    return head, rows


def _numbers(block: bytes) -> list[list[bytes]]:
    """The fields of each line that is neither empty, nor a comment, nor markup."""
    lines = (line.strip() for line in block.splitlines())
    return [line.split() for line in lines if line and not line.startswith((b"#", b"<"))]


def _check_weights(weights: NDArray[np.float64], paths: tuple[str, ...]) -> None:
    if weights.min() <= 0 or np.ptp(weights) > _MAX_WEIGHT_SPREAD * weights.max():
        raise ValueError(
            f"{', '.join(paths)}: event weights run from {weights.min():g} to {weights.max():g}; "
            "unweight the sample first, every event must count alike"
        )
