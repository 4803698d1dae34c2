"""How records lie on disk: JSON files that workers write, one a pack, and Parquet files that the driver folds them into.

Pure translations between records and bytes, each verified on the way back by a hash over the bytes, so that what was cut
short or edited by hand is noticed. It opens no folder, decides nothing, and repairs nothing.
"""

import hashlib
import json
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from breakeven.fingerprint import encode, fingerprint
from breakeven.study import compact_json

VERSION = 2
"""Schema of what is written; version 1 (a checksum in every record, none in the file's name) is still read."""

_REQUIRED = ("ledger", "level", "record", "outcome", "device", "device_seconds", "wasted_seconds", "started", "ended")
_COLUMNS = (
    "record", "level", "outcome", "phase", "cell", "device", "device_seconds", "wasted_seconds", "started", "ended",
)  # fmt: skip
_FOLDED = pa.schema(
    [(name, pa.float64() if name.endswith("_seconds") else pa.string()) for name in _COLUMNS]
    + [("file", pa.string()), ("place", pa.int64()), ("digest", pa.string()), ("json", pa.string())]
)
_EXACT = ("file", "place", "digest", "json")
_LOOSE = re.compile(r".+-[0-9a-f]{8}-(?P<digest>[0-9a-f]{16})\.json")
_LOOSE_1 = re.compile(r".+-[0-9a-f]{8}\.json")


class LedgerError(ValueError):
    """A record cannot be written or cannot be read; the message says which and what to do."""


@dataclass(frozen=True)
class Kept:
    """One record as it lies on disk. The file that it was written to first and its place there tell it from a repeat."""

    file: str
    place: int
    record: dict[str, Any]


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
        return json.loads(_text(body))
    except (TypeError, ValueError) as error:
        raise LedgerError(f"record {body['record']}: {error}") from error


def pack_text(stamped: Sequence[dict[str, Any]]) -> tuple[str, str]:
    """Name and content of the file of one pack: a JSON list, one record a line, its hash in the name.

    The random part of the name keeps a second try of the same work apart from the first.
    """
    text = "[\n" + ",\n".join(_text(record) for record in stamped) + "\n]\n"
    return f"{stamped[0]['record']}-{uuid.uuid4().hex[:8]}-{_digest(text.encode())}.json", text


def parse(name: str, content: bytes) -> list[Kept]:
    """The records of one pack's file. Raises LedgerError, or what JSON raises, where it cannot be trusted."""
    if found := _LOOSE.fullmatch(name):
        if _digest(content) != found["digest"]:
            raise LedgerError("it is cut short, or was changed after it was written")
        records = compact_json.loads(content)
        for record in records:
            _check_version(record)
    elif _LOOSE_1.fullmatch(name):
        records = [_parse_1(record) for record in compact_json.loads(content)]
    else:
        raise LedgerError("its name is not that of a record file, so its content cannot be verified")
    return [Kept(name, place, record) for place, record in enumerate(records)]


def fold(kept: Sequence[Kept]) -> tuple[str, pa.Table]:
    """Name and table of a Parquet file of many records: key columns for people, the exact JSON for the ledger.

    The name comes from the files that went in, so that two drivers folding the same files write the same file.
    """
    columns: dict[str, list[Any]] = {name: [one.record.get(name) for one in kept] for name in _COLUMNS}
    texts = [_text(one.record) for one in kept]
    columns |= {
        "file": [one.file for one in kept],
        "place": [one.place for one in kept],
        "digest": [_digest(text.encode()) for text in texts],
        "json": texts,
    }
    name = f"compact-{fingerprint(sorted({one.file for one in kept}))}.parquet"
    return name, pa.table(columns, schema=_FOLDED)


def unfold(content: bytes) -> tuple[list[Kept], list[str]]:
    """The records of a Parquet file that can be trusted, and what is wrong with the others.

    Raises pyarrow.ArrowInvalid (a ValueError), OSError or KeyError where the file as a whole cannot be read.
    """
    table = pq.ParquetFile(pa.BufferReader(content)).read(columns=list(_EXACT), use_threads=False)
    kept, wrong = [], []
    for file, place, digest, text in zip(*(table[name].to_pylist() for name in _EXACT), strict=True):
        try:
            if _digest(text.encode()) != digest:
                raise LedgerError("it was changed after it was written")
            record = compact_json.loads(text)
            _check_version(record)
            kept.append(Kept(file, place, record))
        except ValueError as error:
            wrong.append(str(error))
    return kept, wrong


def _text(record: Mapping[str, Any]) -> str:
    return json.dumps(record, separators=(",", ":"), allow_nan=False)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _check_version(record: dict[str, Any]) -> None:
    if record["ledger"] > VERSION:
        raise LedgerError(
            f"written by ledger version {record['ledger']}, this program reads {VERSION}: update breakeven"
        )


def _parse_1(record: dict[str, Any]) -> dict[str, Any]:
    body = {key: value for key, value in record.items() if key != "checksum"}
    if fingerprint(body) != record["checksum"]:
        raise LedgerError(f"record {record['record']} was changed after it was written")
    return body
