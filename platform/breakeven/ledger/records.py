"""How records lie on disk: JSON files that workers write, one per pack, and Parquet files that the driver folds them into.

Pure translations between records and bytes, each verified on the way back by a hash over the bytes, so that what was cut
short or edited by hand is noticed. It opens no folder, decides nothing, and repairs nothing.
"""

import hashlib
import json
import re
import sys
import uuid
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from breakeven.fingerprint import encode, fingerprint

VERSION = 3
"""Schema of what is written. Still read are version 2 (metrics among the other facts) and version 1 (the same, with a
checksum in every record and none in the file's name).
"""

_REQUIRED = ("ledger", "level", "record", "outcome", "device", "device_seconds", "wasted_seconds", "started", "ended")
_KINDS: dict[str, Any] = {"metrics": dict, "device_seconds": (int, float), "wasted_seconds": (int, float)}
_COLUMNS = (
    "record", "level", "outcome", "phase", "cell", "device", "device_seconds", "wasted_seconds", "started", "ended",
)  # fmt: skip
FOLDED = pa.schema(
    [(name, pa.float64() if name.endswith("_seconds") else pa.string()) for name in _COLUMNS]
    + [("file", pa.string()), ("place", pa.int64()), ("digest", pa.string()), ("json", pa.string())]
)
"""Columns of a folded file."""
_PART = 256
"""Records that are turned into columns, or back, at a time: a driver does it while its study runs."""
_EXACT = ("file", "place", "digest", "json")
_LOOSE = re.compile(r".+-[0-9a-f]{8}-(?P<digest>[0-9a-f]{16})\.json")
_METRIC = re.compile(r"test_(?!events).+|validation_(accuracy|auc)")
_LOOSE_1 = re.compile(r".+-[0-9a-f]{8}\.json")


class LedgerError(ValueError):
    """A record cannot be written or cannot be read; the message says which and what to do."""


@dataclass(frozen=True, slots=True)
class Kept:
    """One record as it lies on disk, with what tells two tries of the same work apart; the rest is read when it is wanted.

    A record of twenty epochs takes 1 kB so, 5 kB as text and 30 kB as Python objects, and a driver holds thousands.
    """

    file: str
    """The file that it was written to first; with its place there it tells a try from a repeat."""
    place: int
    compressed: bytes
    """Exact JSON, compressed."""
    name: str
    outcome: str
    ended: str
    device_seconds: float
    wasted_seconds: float

    @property
    def text(self) -> bytes:
        """Exact JSON."""
        return zlib.decompress(self.compressed)

    @property
    def record(self) -> dict[str, Any]:
        """The record, read anew."""
        return _with_metrics(loads(self.text))


def loads(text: str | bytes) -> Any:
    """What `json.loads` gives, in little memory: equal strings, in this and all other texts read so, are one object.

    Thousands of records have the same names and words: half of a trial's record is such strings.
    """
    return json.loads(text, object_pairs_hook=_shared)


def _shared(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return {sys.intern(key): sys.intern(value) if type(value) is str else value for key, value in pairs}


def kept(file: str, place: int, record: Mapping[str, Any], text: bytes | None = None) -> Kept:
    """A stamped record with its text, where that is known already."""
    return Kept(
        file,
        place,
        zlib.compress(_text(record).encode() if text is None else text, level=1),
        sys.intern(record["record"]),
        sys.intern(record["outcome"]),
        record["ended"],
        record["device_seconds"],
        record["wasted_seconds"],
    )


def is_folded(name: str) -> bool:
    """Whether `name` is a Parquet file of many records."""
    return name.endswith(".parquet")


def stamp(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record with its schema version and defaults. Raises LedgerError where a field is missing or has no exact encoding."""
    body = {"ledger": VERSION, "reason": "", "wasted_seconds": 0.0, **record}
    if missing := [key for key in _REQUIRED if key not in body]:
        raise LedgerError(f"record {body.get('record')}: the fields {missing} are missing")
    try:
        encode(body)
        clean: dict[str, Any] = json.loads(_text(body))
        return clean
    except (TypeError, ValueError) as error:
        raise LedgerError(f"record {body['record']}: {error}") from error


def pack_text(stamped: Sequence[dict[str, Any]]) -> tuple[str, str]:
    """Name and content of the file of one pack: a JSON list, one record per line, its hash in the name.

    The random part of the name keeps a second try of the same work apart from the first.
    """
    text = "[\n" + ",\n".join(_text(record) for record in stamped) + "\n]\n"
    return f"{stamped[0]['record']}-{uuid.uuid4().hex[:8]}-{_digest(text.encode())}.json", text


def parse(name: str, content: bytes) -> list[tuple[Kept, dict[str, Any]]]:
    """The records of one pack's file, each also read. Raises LedgerError, or what JSON raises, where it cannot be trusted."""
    texts: Sequence[bytes | None] = []
    if named := _LOOSE.fullmatch(name):
        if _digest(content) != named["digest"]:
            raise LedgerError("it is cut short, or was changed after it was written")
        records = json.loads(content)
        for record in records:
            _check_form(record)
        lines = content.splitlines()[1:-1]
        if len(lines) == len(records):  # as this program writes it: one per line
            texts = [line.removesuffix(b",") for line in lines]
    elif _LOOSE_1.fullmatch(name):
        records = [_parse_1(record) for record in json.loads(content)]
    else:
        raise LedgerError("its name is not that of a record file, so its content cannot be verified")
    each = enumerate(zip(records, texts or [None] * len(records), strict=True))
    return [(kept(name, place, record, text), _with_metrics(record)) for place, (record, text) in each]


def fold(records: Sequence[Kept]) -> tuple[str, Iterator[pa.Table]]:
    """Name of a Parquet file of many records, and its content in parts: key columns for people, exact JSON for the ledger.

    The name comes from the files that went in, so that two drivers folding the same files write the same file.
    """
    name = f"compact-{fingerprint(sorted({one.file for one in records}))}.parquet"
    return name, (_part(records[start : start + _PART]) for start in range(0, len(records), _PART))


def _part(records: Sequence[Kept]) -> pa.Table:
    columns: dict[str, list[Any]] = {name: [] for name in FOLDED.names}
    for one in records:
        text = one.text
        record = json.loads(text)  # `one.record` shares what repeats, which pays only where it is kept
        exact = {"file": one.file, "place": one.place, "digest": _digest(text), "json": text}
        for name, column in columns.items():
            column.append(exact[name] if name in exact else record.get(name))
    return pa.table(columns, schema=FOLDED)


def unfold(content: bytes) -> tuple[list[Kept], list[str]]:
    """The records of a Parquet file that can be trusted, and what is wrong with the others.

    Raises pyarrow.ArrowInvalid (a ValueError), OSError or KeyError where the file as a whole cannot be read.
    """
    records, wrong = [], []
    file_of_parts = pq.ParquetFile(pa.BufferReader(content))
    for part in file_of_parts.iter_batches(batch_size=_PART, columns=list(_EXACT), use_threads=False):
        for file, place, digest, json_text in zip(*(part[name].to_pylist() for name in _EXACT), strict=True):
            text = json_text.encode()
            try:
                if _digest(text) != digest:
                    raise LedgerError("it was changed after it was written")
                record = json.loads(text)
                _check_form(record)
                records.append(kept(sys.intern(file), place, record, text))
            except ValueError as error:
                wrong.append(str(error))
    return records, wrong


def whole_records(content: bytes) -> int:
    """How many records of a Parquet file are as they were when it was written: a look at their hashes, not into them."""
    whole = 0
    for part in pq.ParquetFile(pa.BufferReader(content)).iter_batches(
        batch_size=_PART, columns=["digest", "json"], use_threads=False
    ):
        texts = zip(part["digest"].to_pylist(), part["json"].to_pylist(), strict=True)
        whole += sum(_digest(text.encode()) == digest for digest, text in texts)
    return whole


def _text(record: Mapping[str, Any]) -> str:
    return json.dumps(record, separators=(",", ":"), allow_nan=False)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _check_form(record: dict[str, Any]) -> None:
    if record["ledger"] > VERSION:
        raise LedgerError(
            f"written by ledger version {record['ledger']}, this program reads {VERSION}: update breakeven"
        )
    if wrong := [name for name, kind in _KINDS.items() if name in record and not isinstance(record[name], kind)]:
        raise LedgerError(f"the {wrong[0]} of record {record['record']} is {record[wrong[0]]!r}")


def _with_metrics(record: dict[str, Any]) -> dict[str, Any]:
    """A record as it is written today: before version 3 its metrics stood among its other facts."""
    if "metrics" not in record:
        record["metrics"] = {name: record.pop(name) for name in [*record] if _METRIC.fullmatch(name)}
    return record


def _parse_1(record: dict[str, Any]) -> dict[str, Any]:
    body = {key: value for key, value in record.items() if key != "checksum"}
    if fingerprint(body) != record["checksum"]:
        raise LedgerError(f"record {record['record']} was changed after it was written")
    return body
