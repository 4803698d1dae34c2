"""The one Arrow schema of events at rest, with units.

Holds the columns, the way from generated events to an Arrow table and back, and the content hash of a table. It never
touches a disk.
"""

import hashlib

import numpy as np
import pyarrow as pa

from breakeven.physics.detector import Objects
from breakeven.physics.truth import Truth

VERSION = 1
MULTIPLICITIES = ("n_higgs", "n_top", "n_w", "n_z")
HEAVY = ("higgs", "top1", "top2")
OBJECT_COLUMNS = ("kind", "pt", "eta", "phi", "b_tag", "charge")

_OBJECT_TYPES = {"kind": pa.int8(), "b_tag": pa.int8(), "charge": pa.int8()}
_UNITS = {"pt": "GeV", "eta": "1", "phi": "rad"}


def _field(name: str, kind: pa.DataType, unit: str = "1") -> pa.Field:
    return pa.field(name, kind, nullable=False, metadata={"unit": unit})


SCHEMA = pa.schema(
    [_field("hard_event", pa.int64())]
    + [_field(name, pa.list_(_field("item", _OBJECT_TYPES.get(name, pa.float32()))), _UNITS.get(name, "1"))
       for name in OBJECT_COLUMNS]
    + [_field(name, pa.int8()) for name in MULTIPLICITIES]
    + [_field(f"{name}_{what}", pa.float32(), _UNITS[what]) for name in HEAVY for what in ("pt", "eta", "phi")]
)  # fmt: skip


class SchemaMismatch(ValueError):
    """A file's columns are not those of this schema version; the message lists the differences and the way out."""


def to_table(objects: Objects, truth: Truth, hard_event: np.ndarray) -> pa.Table:
    """Generated events as one Arrow table with `SCHEMA`, one row an event, objects as list columns."""
    offsets = pa.array(np.concatenate([[0], np.cumsum(objects.counts)]).astype(np.int32))
    columns: dict[str, pa.Array] = {"hard_event": pa.array(hard_event.astype(np.int64))}
    for name in OBJECT_COLUMNS:
        item = SCHEMA.field(name).type.value_field
        values = pa.array(np.ascontiguousarray(getattr(objects, name)), type=item.type)
        columns[name] = pa.ListArray.from_arrays(offsets, values, type=SCHEMA.field(name).type)
    for name in MULTIPLICITIES:
        columns[name] = pa.array(np.asarray(getattr(truth, name), np.int8))
    for name in HEAVY:
        four_vector = np.asarray(getattr(truth, name), np.float32)
        for column, what in enumerate(("pt", "eta", "phi")):
            columns[f"{name}_{what}"] = pa.array(np.ascontiguousarray(four_vector[:, column]))
    return pa.Table.from_arrays([columns[name] for name in SCHEMA.names], schema=SCHEMA)


def objects_of(table: pa.Table) -> Objects:
    """The reconstructed objects of a table with `SCHEMA`."""
    counts = np.diff(_list_column(table, "kind").offsets.to_numpy()).astype(np.int64)
    flat = {name: _list_column(table, name).flatten().to_numpy() for name in OBJECT_COLUMNS}
    return Objects(counts=counts, **flat)


def truth_of(table: pa.Table) -> Truth:
    """The truth content of a table with `SCHEMA`."""
    heavy = {
        name: np.stack([table[f"{name}_{what}"].to_numpy() for what in ("pt", "eta", "phi")], axis=1) for name in HEAVY
    }
    return Truth(**{name: table[name].to_numpy() for name in MULTIPLICITIES}, **heavy)


def content_hash(table: pa.Table) -> str:
    """SHA-256 (16 hex digits) over the values of all columns: independent of file encoding, compression and chunks."""
    digest = hashlib.sha256(f"schema {VERSION}".encode())
    for name in SCHEMA.names:
        column = table[name]
        digest.update(name.encode())
        if pa.types.is_list(column.type):
            array = _list_column(table, name)
            digest.update(np.diff(array.offsets.to_numpy()).astype(np.int32).tobytes())
            digest.update(np.ascontiguousarray(array.flatten().to_numpy()).tobytes())
        else:
            digest.update(np.ascontiguousarray(column.to_numpy()).tobytes())
    return digest.hexdigest()[:16]


def check_schema(found: pa.Schema, version: str, where: str) -> None:
    """Raise SchemaMismatch unless `found` is `SCHEMA` at `VERSION`; `where` names the file in the message."""
    if version != str(VERSION):
        raise SchemaMismatch(
            f"{where}: written with event schema version {version or 'none (not a breakeven file)'}, this program "
            f"reads version {VERSION}; generate the dataset again, or read it with the version of breakeven that wrote it"
        )
    wanted, got = {f.name: f.type for f in SCHEMA}, {f.name: f.type for f in found}
    misfits = [f"{name} is missing" for name in wanted if name not in got]
    misfits += [
        f"{name} is {got[name]}, not {kind}" for name, kind in wanted.items() if name in got and got[name] != kind
    ]
    if misfits:
        raise SchemaMismatch(f"{where}: columns do not fit the event schema: {'; '.join(misfits)}; generate it again")


def _list_column(table: pa.Table, name: str) -> pa.ListArray:
    column = table[name].combine_chunks()
    return column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
