"""What an event at rest holds: columns with units in Arrow, flat or ragged in several levels (event -> jets -> constituents).

Holds the value type `EventSchema`, the way between flat columns and an Arrow table, and the content hash of a table. It
never touches a disk; the schema of whole events is in objects.py.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa

from breakeven.feature import Feature, stored

VERSION_KEY = b"breakeven.schema"
"""Under which a table, and so its file, says which schema it has."""

WEIGHT = "weight"
"""Name of the event's column that says which cross section in pb it stands for: that of the process before any selection over
the number of events tried in its shard. The sum over a shard is the cross section after selection, as that shard knows it."""


class SchemaMismatch(ValueError):
    """A file's columns are not those of its schema; the message lists the differences and the way out."""


def no_labels(table: pa.Table) -> np.ndarray:
    """The label vector of events without truth: [n_events, 0] uint8."""
    return np.zeros((table.num_rows, 0), np.uint8)


@dataclass(frozen=True)
class Level:
    """Things of one kind: inside an event, or inside each of the things of the level before.

    name: of one of them.  features: of each, in the order of the flat arrays.  prefix: before a feature's name in its
    column, so that jets and constituents can both have a pt.  order: of the stored features in the file, where it is another.
    truth: what is at rest beside the features and is no input of a network, as what a jet truly holds.
    """

    name: str
    features: tuple[Feature, ...]
    prefix: str = ""
    order: tuple[str, ...] = ()
    truth: tuple[Feature, ...] = ()

    @property
    def inputs(self) -> dict[str, Feature]:
        """The stored features by the names of their columns: what a network is given, and derives the others from."""
        return {f"{self.prefix}{feature.name}": feature for feature in stored(self.features)}

    @property
    def columns(self) -> dict[str, Feature]:
        """The stored features, and the truth, by the names of their columns, in the order of the file."""
        by_name = {feature.name: feature for feature in (*stored(self.features), *self.truth)}
        return {f"{self.prefix}{name}": by_name[name] for name in self.order or by_name}


@dataclass(frozen=True)
class HighLevel:
    """What an analyst would give to boosted trees of an event.

    version: part of the identity of every trial with trees on such events; another where the same events give other variables.
    compute: from the flat arrays of all levels, values [n_things, n_features] and offsets [n_parents + 1] each, to
    [n_events, n_variables] float32; NaN where an event has not what a variable needs.
    """

    version: str
    compute: Callable[[Sequence[tuple[np.ndarray, np.ndarray]]], np.ndarray]


@dataclass(frozen=True)
class EventSchema:
    """The columns of events at rest, and what follows from them.

    version: which schema it is, written into every file: a number or, for the schemas of others, a name with a number.
    levels: what is in an event, from the outside in.  event: further columns, one value per event.
    label_names, labels: what a multilabel pretraining learns, from a table to [n_events, n_labels] uint8.
    labels_of_things: whether label k is of the k-th thing of the first level, 0 where there is none, as of each jet, and not of
    the whole event.
    high_level: what trees are given; None: they cannot be trained on such events.
    Every schema has the column "hard_event", int64: copies of one hard event have one number and share a split. One whose
    events stand for different cross sections has the event's column "weight", in pb, as each shard knows it; see WEIGHT.
    """

    version: int | str
    levels: tuple[Level, ...]
    event: tuple[Feature, ...] = ()
    label_names: tuple[str, ...] = ()
    labels: Callable[[pa.Table], np.ndarray] = no_labels
    high_level: HighLevel | None = None
    labels_of_things: bool = False

    @property
    def weighted(self) -> bool:
        """Whether its events have weights."""
        return any(feature.name == WEIGHT for feature in self.event)

    @cached_property
    def arrow(self) -> pa.Schema:
        """Its columns as Arrow has them: a column of level k is k lists deep."""
        fields = [_field("hard_event", pa.int64(), "1")]
        for depth, level in enumerate(self.levels, start=1):
            for name, feature in level.columns.items():
                kind = pa.from_numpy_dtype(feature.dtype)
                for _ in range(depth):
                    kind = pa.list_(_field("item", kind, "1"))
                fields.append(_field(name, kind, feature.unit))
        fields += [_field(one.name, pa.from_numpy_dtype(one.dtype), one.unit) for one in self.event]
        return pa.schema(fields, metadata={VERSION_KEY: str(self.version)})

    @property
    def float_leaves(self) -> list[str]:
        """Parquet's paths of the columns of real numbers of many values, which compress better as streams of bytes."""
        return self._leaves(lambda feature: not (feature.whole or feature.few))

    @property
    def few_leaves(self) -> list[str]:
        """Parquet's paths of the columns of few values, which compress better as places in a list of them."""
        return self._leaves(lambda feature: feature.few)

    def _leaves(self, chosen: Callable[[Feature], bool]) -> list[str]:
        things = [
            name + ".list.element" * depth
            for depth, level in enumerate(self.levels, start=1)
            for name, feature in level.columns.items()
            if chosen(feature)
        ]
        return things + [one.name for one in self.event if chosen(one)]

    def table(self, counts: Sequence[np.ndarray], columns: Mapping[str, np.ndarray]) -> pa.Table:
        """Events as an Arrow table, one row per event.

        counts: for each level, how many things are in each thing of the level before, the first in each event.
        columns: all columns by name, flat.
        """
        offsets = [pa.array(np.concatenate([[0], np.cumsum(count)]).astype(np.int32)) for count in counts]
        depths = {name: depth for depth, level in enumerate(self.levels, start=1) for name in level.columns}
        arrays = []
        for field in self.arrow:
            kinds = [field.type]
            while pa.types.is_list(kinds[-1]):
                kinds.append(kinds[-1].value_type)
            array = pa.array(np.ascontiguousarray(columns[field.name]), type=kinds.pop())
            for kind, offset in zip(reversed(kinds), reversed(offsets[: depths.get(field.name, 0)]), strict=True):
                array = pa.ListArray.from_arrays(offset, array, type=kind)
            arrays.append(array)
        return pa.Table.from_arrays(arrays, schema=self.arrow)


def unnested(table: pa.Table, name: str) -> tuple[list[np.ndarray], np.ndarray]:
    """A column flat: for each level of lists how many items each list has, and the values."""
    column = table[name].combine_chunks()
    array = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
    counts = []
    while pa.types.is_list(array.type):
        counts.append(np.diff(array.offsets.to_numpy()))
        array = array.flatten()
    return counts, array.to_numpy()


def content_hash(table: pa.Table, schema: EventSchema) -> str:
    """SHA-256 (16 hex digits) over the values of all columns: independent of file encoding, compression and chunks."""
    digest = hashlib.sha256(f"schema {schema.version}".encode())
    for name in schema.arrow.names:
        counts, values = unnested(table, name)
        digest.update(name.encode())
        for count in counts:
            digest.update(count.astype(np.int32).tobytes())
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()[:16]


def check_schema(columns: pa.Schema, schema: EventSchema, where: str) -> None:
    """Raise SchemaMismatch unless `columns` are those of `schema`; `where` names the file in the message."""
    wanted, got = {f.name: f.type for f in schema.arrow}, {f.name: f.type for f in columns}
    misfits = [f"{name} is missing" for name in wanted if name not in got]
    misfits += [
        f"{name} is {got[name]}, not {kind}" for name, kind in wanted.items() if name in got and got[name] != kind
    ]
    if misfits:
        raise SchemaMismatch(f"{where}: columns do not fit the event schema: {'; '.join(misfits)}; generate it again")


def _field(name: str, kind: pa.DataType, unit: str) -> pa.Field:
    return pa.field(name, kind, nullable=False, metadata={"unit": unit})
