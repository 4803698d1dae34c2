"""Flat arrays of events, as training wants them: built once from the shards, then mapped from disk without a copy.

Holds the cache beside a dataset's shards and the selection of events from several datasets. A batch is later index
arithmetic on two arrays, `nodes` and `offsets`. It never draws samples.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from breakeven import atomic
from breakeven.events import store
from breakeven.events.sampling import SPLITS_VERSION, Split, assign_splits
from breakeven.events.schema import WEIGHT, EventSchema, unnested
from breakeven.feature import first_misfit, stack
from breakeven.physics import truth

__all__ = ["FEATURES_VERSION", "EventArrays", "is_flat", "open_arrays", "select"]

FEATURES_VERSION = 1
"""Part of every identity: raise it when the same objects give other node features."""
_PER_EVENT = ("labels", "process", "split", "event")


@dataclass(frozen=True)
class EventArrays:
    """Events of one or more processes, of one schema.

    nodes: [n_objects, n_features] float32: the things of the schema's first level, with their features in its order; for
    whole events pt (GeV), eta, phi (rad), energy (GeV, massless), b_tag, charge, kind.
    offsets: [n_events + 1] int64: objects of event i are nodes[offsets[i]:offsets[i + 1]].
    inner: the same two for each further level, as constituents [n_constituents, n_features] and [n_jets + 1].
    labels: [n_events, n_labels] uint8: the multilabel truth.  process: [n_events] int16, index into `process_names`.
    split: [n_events] int8, a `Split`.  event: [n_events] int64, row number in its own dataset.
    weights: [n_events] float32, the cross section in pb that each event stands for, so that the sum over a whole dataset is the
    cross section after selection; empty where the schema has none.
    """

    schema: EventSchema
    nodes: np.ndarray
    offsets: np.ndarray
    labels: np.ndarray
    process: np.ndarray
    split: np.ndarray
    event: np.ndarray
    process_names: tuple[str, ...]
    inner: tuple[tuple[np.ndarray, np.ndarray], ...] = ()
    weights: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))

    @property
    def n_events(self) -> int:
        """Number of events."""
        return len(self.offsets) - 1

    @property
    def truth(self) -> np.ndarray:
        """The label of each thing of the first level [n_things] uint8, where labels are of things."""
        things = np.diff(self.offsets)[:, None]
        labels: np.ndarray = self.labels[np.arange(self.labels.shape[1]) < things]
        return labels

    def rows(self, split: Split) -> np.ndarray:
        """Row numbers of the events in `split`, ascending."""
        return np.flatnonzero(self.split == split)


def open_arrays(dataset: store.Dataset) -> EventArrays:
    """Memory-mapped arrays of a dataset; the first call builds the cache, after checking that every shard is its own.

    Raises:
        CorruptDataset: a shard on disk is damaged, holds other events or an impossible value.
        FileNotFoundError: a shard is gone.
        OSError: the disk is full.
    """
    cache, schema = _cache(dataset), store.schema_named(dataset.manifest["schema"], str(dataset.folder))
    if not cache.is_dir():
        _build(dataset, schema, cache)

    def opened(name: str) -> np.ndarray:
        try:
            mapped: np.ndarray = np.load(cache / f"{name}.npy", mmap_mode="r")
        except (ValueError, EOFError, FileNotFoundError) as error:
            raise store.CorruptDataset(
                f"{cache / name}.npy: cannot be read ({error}); delete {cache} and run again: it is made anew of the shards"
            ) from error
        return mapped

    outer, *inner = ((opened(f"nodes{mark}"), opened(f"offsets{mark}")) for mark in _marks(schema))
    per_event = {name: opened(name) for name in (*_PER_EVENT, *(("weights",) if schema.weighted else ()))}
    return EventArrays(schema, *outer, **per_event, process_names=(dataset.process,), inner=tuple(inner))


def is_flat(dataset: store.Dataset) -> bool:
    """Whether the arrays of a dataset are there, so that opening them takes no time."""
    return _cache(dataset).is_dir()


def select(sources: Sequence[EventArrays], rows: Sequence[np.ndarray]) -> EventArrays:
    """Events of several datasets, one after the other, copied into memory.

    Args:
        sources: the datasets' arrays.
        rows: row numbers to take from each.

    Returns:
        The events `rows[k]` of `sources[k]`; `process` becomes the number of the source, `process_names` their names.

    Raises:
        ValueError: the datasets have more than one schema.
    """
    schema = sources[0].schema
    if others := [source.process_names for source in sources if source.schema != schema]:
        raise ValueError(
            f"events of {others[0]} have the schema {[s.schema.version for s in sources]}: all must have one schema, that of "
            f"{sources[0].process_names}"
        )
    picked = [take([(one.nodes, one.offsets), *one.inner], chosen) for one, chosen in zip(sources, rows, strict=True)]
    outer, *inner = (_joined(level) for level in zip(*picked, strict=True))
    return EventArrays(
        schema,
        *outer,
        labels=_of_rows([source.labels for source in sources], rows),
        process=np.repeat(np.arange(len(sources), dtype=np.int16), [len(chosen) for chosen in rows]),
        split=_of_rows([source.split for source in sources], rows),
        event=_of_rows([source.event for source in sources], rows),
        process_names=tuple(name for source in sources for name in source.process_names),
        inner=tuple(inner),
        **({"weights": _of_rows([source.weights for source in sources], rows)} if schema.weighted else {}),
    )


def take(levels: Sequence[tuple[np.ndarray, np.ndarray]], rows: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """The events `rows` [n] in this order, with all that is in them.

    levels: values [n_things, n_features] and offsets [n_parents + 1] of each level, from the outside in.
    """
    taken = []
    for values, offsets in levels:
        first, count = offsets[rows], offsets[rows + 1] - offsets[rows]
        inside = np.concatenate([[0], np.cumsum(count)]).astype(np.int64)
        rows = np.repeat(first - inside[:-1], count) + np.arange(inside[-1])
        taken.append((values[rows], inside))
    return taken


def things_of(table: pa.Table, schema: EventSchema, where: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each level the features [n_things, n_features] float32, and how many things are in each parent [n_parents] int64.

    table: events with `schema`. Raises CorruptDataset, which names `where`, event and column, where lists differ in length or a
    value is impossible.
    """
    counts: list[np.ndarray] = []
    levels = []
    for level in schema.levels:
        columns = {}
        for name, feature in level.columns.items():
            lengths, columns[feature.name] = unnested(table, name)
            counts += lengths[len(counts) :]
            if not all(map(np.array_equal, lengths, counts)):
                raise store.CorruptDataset(
                    f"{where}: the lists of {name} are not as long as those of the columns before it; every {level.name} has "
                    f"{', '.join(level.columns)}: correct the source that made them"
                )
        values = stack(columns, level.features)
        if (misfit := first_misfit(values, level.features)) is not None:
            row, what = misfit
            for lengths_of_parents in reversed(counts):
                row = int(np.searchsorted(np.cumsum(lengths_of_parents), row, side="right"))
            raise store.CorruptDataset(
                f"{where}: event {row} has {what}; delete the file and make it again, or correct the events you brought"
            )
        levels.append((values, counts[-1].astype(np.int64)))
    return levels


def _cache(dataset: store.Dataset) -> Path:
    """Named by all that its content follows from; versions that are 1 are left out, as in identities."""
    versions = {"features": FEATURES_VERSION, "splits": SPLITS_VERSION, "labels": truth.LABELS_VERSION,
                "schema": store.computed_by(dataset) or 1}  # fmt: skip
    others = (f"-{name}{version}" for name, version in versions.items() if version != 1)
    return dataset.folder / "".join((f"arrays-{dataset.hash}", *others))


def _marks(schema: EventSchema) -> list[str]:
    """What the files of each level's arrays have in their names."""
    return [f"-{depth}" if depth else "" for depth in range(len(schema.levels))]


def _of_rows(columns: Sequence[np.ndarray], rows: Sequence[np.ndarray]) -> np.ndarray:
    """One value per event, of chosen events of several datasets."""
    return np.concatenate([column[chosen] for column, chosen in zip(columns, rows, strict=True)])


def _joined(parts: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """One level of several events after others: values and offsets."""
    counts = np.concatenate([np.diff(offsets) for _, offsets in parts])
    return np.concatenate([values for values, _ in parts]), np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def _build(dataset: store.Dataset, schema: EventSchema, cache: Path) -> None:
    """Write the flat arrays shard by shard: memory stays that of one shard, whatever the dataset's size."""
    if gone := [path for path in dataset.paths() if not path.exists()]:
        raise FileNotFoundError(f"{gone[0]}: no such shard, of {len(gone)} that are missing; run the generation again")
    # How many things each level has, the events themselves first.
    sizes = np.zeros(len(schema.levels) + 1, np.int64)
    for path, content in zip(dataset.paths(), dataset.contents, strict=True):
        table, facts = store.read_shard(path)
        if facts["content"] != content:
            raise store.CorruptDataset(
                f"{path}: its events hash to {facts['content']}, the dataset {dataset.hash} was completed with {content} "
                "there; delete the file and run again: it is made anew"
            )
        sizes += [table.num_rows, *(len(values) for values, _ in things_of(table, schema, str(path)))]
    n = int(sizes[0])
    with atomic.replacing(cache) as folder:
        folder.mkdir()

        def new(name: str, dtype: type, *shape: int) -> np.memmap:
            return np.lib.format.open_memmap(folder / f"{name}.npy", mode="w+", dtype=dtype, shape=shape)

        levels = [
            (
                new(f"nodes{mark}", np.float32, int(sizes[depth + 1]), len(level.features)),
                new(f"offsets{mark}", np.int64, int(sizes[depth]) + 1),
            )
            for depth, (mark, level) in enumerate(zip(_marks(schema), schema.levels, strict=True))
        ]
        labels, split = new("labels", np.uint8, n, len(schema.label_names)), new("split", np.int8, n)
        process, event = new("process", np.int16, n), new("event", np.int64, n)
        weights = new("weights", np.float32, n) if schema.weighted else None
        event[:] = np.arange(n)
        done = np.zeros_like(sizes)
        for path in dataset.paths():
            table, _ = store.read_shard(path)
            here = slice(int(done[0]), int(done[0]) + table.num_rows)
            labels[here] = schema.labels(table)
            split[here] = assign_splits(dataset.process, table["hard_event"].to_numpy())
            if weights is not None:  # each shard measures the whole cross section: their mean counts
                weights[here] = table[WEIGHT].to_numpy() / len(dataset.contents)
            for depth, (values, counts) in enumerate(things_of(table, schema, str(path))):
                nodes, offsets = levels[depth]
                nodes[done[depth + 1] : done[depth + 1] + len(values)] = values
                offsets[done[depth] + 1 : done[depth] + len(counts) + 1] = done[depth + 1] + np.cumsum(counts)
                done[depth] += len(counts)
            done[len(levels)] += len(values)
        for array in (*(array for level in levels for array in level), labels, process, split, event, weights):
            if array is not None:
                array.flush()
