"""Flat arrays of events, as training wants them: built once from the shards, then mapped from disk without a copy.

Holds the cache beside a dataset's shards and the selection of events from several datasets. A batch is later index
arithmetic on two arrays, `nodes` and `offsets`. It never draws samples.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from breakeven import atomic
from breakeven.events import schema, store
from breakeven.events.sampling import Split, assign_splits
from breakeven.physics import truth

__all__ = ["NODE_FEATURES", "EventArrays", "is_flat", "nodes_of", "open_arrays", "select"]

NODE_FEATURES = ("pt", "eta", "phi", "energy", "b_tag", "charge", "kind")
_FILES = ("nodes", "offsets", "labels", "process", "split", "event")


@dataclass(frozen=True)
class EventArrays:
    """Events of one or more processes.

    nodes: [n_objects, 7] float32: pt (GeV), eta, phi (rad), energy (GeV, massless), b_tag, charge, kind.
    offsets: [n_events + 1] int64: objects of event i are nodes[offsets[i]:offsets[i + 1]].
    labels: [n_events, 41] uint8: the multilabel truth.  process: [n_events] int16, index into `process_names`.
    split: [n_events] int8, a `Split`.  event: [n_events] int64, row number in its own dataset.
    """

    nodes: np.ndarray
    offsets: np.ndarray
    labels: np.ndarray
    process: np.ndarray
    split: np.ndarray
    event: np.ndarray
    process_names: tuple[str, ...]

    @property
    def n_events(self) -> int:
        """Number of events."""
        return len(self.offsets) - 1

    def rows(self, split: Split) -> np.ndarray:
        """Row numbers of the events in `split`, ascending."""
        return np.flatnonzero(self.split == split)


def open_arrays(dataset: store.Dataset) -> EventArrays:
    """Memory-mapped arrays of a dataset; the first call checks every shard's content and builds the cache.

    Raises:
        CorruptDataset: a shard is damaged, or holds a value that is not finite.
        OSError: the disk is full.
    """
    cache = _cache(dataset)
    if not cache.is_dir():
        _build(dataset, cache)
    parts = {name: np.load(cache / f"{name}.npy", mmap_mode="r") for name in _FILES}
    return EventArrays(**parts, process_names=(dataset.process,))


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
    """
    nodes, counts = [], []
    for source, chosen in zip(sources, rows, strict=True):
        first, count = source.offsets[chosen], source.offsets[chosen + 1] - source.offsets[chosen]
        before = np.concatenate([[0], np.cumsum(count)[:-1]])
        nodes.append(source.nodes[np.repeat(first - before, count) + np.arange(count.sum())])
        counts.append(count)
    return EventArrays(
        nodes=np.concatenate(nodes),
        offsets=np.concatenate([[0], np.cumsum(np.concatenate(counts))]).astype(np.int64),
        labels=np.concatenate([source.labels[chosen] for source, chosen in zip(sources, rows, strict=True)]),
        process=np.repeat(np.arange(len(sources), dtype=np.int16), [len(chosen) for chosen in rows]),
        split=np.concatenate([source.split[chosen] for source, chosen in zip(sources, rows, strict=True)]),
        event=np.concatenate([source.event[chosen] for source, chosen in zip(sources, rows, strict=True)]),
        process_names=tuple(name for source in sources for name in source.process_names),
    )


def nodes_of(table: pa.Table, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Node features of a table with the event schema.

    Args:
        table: events.
        where: what errors call it.

    Returns:
        [n_objects, 7] float32 as in EventArrays, and objects per event [n_events] int64.

    Raises:
        CorruptDataset: a value is not finite; the message names `where`, the event and the column.
    """
    objects = schema.objects_of(table)
    energy = objects.pt * np.cosh(objects.eta)
    nodes = np.stack(
        [objects.pt, objects.eta, objects.phi, energy, objects.b_tag, objects.charge, objects.kind], axis=1
    ).astype(np.float32)
    if not np.isfinite(nodes).all():
        row, column = np.argwhere(~np.isfinite(nodes))[0]
        event = int(np.searchsorted(np.cumsum(objects.counts), row, side="right"))
        raise store.CorruptDataset(
            f"{where}: event {event} has {NODE_FEATURES[column]} = {nodes[row, column]}; features must be finite, "
            "delete the file and make it again, or mend the events you brought"
        )
    return nodes, objects.counts


def _cache(dataset: store.Dataset) -> Path:
    return dataset.folder / f"arrays-{dataset.hash}"


def _build(dataset: store.Dataset, cache: Path) -> None:
    """Write the flat arrays shard by shard: memory stays that of one shard, whatever the dataset's size."""
    n_objects = 0
    for path in dataset.paths():
        table, _ = store.read_shard(path)
        n_objects += int(nodes_of(table, str(path))[1].sum())
    n = dataset.n_events
    with atomic.replacing(cache) as folder:
        folder.mkdir()

        def new(name: str, dtype: type, *shape: int) -> np.memmap:
            return np.lib.format.open_memmap(folder / f"{name}.npy", mode="w+", dtype=dtype, shape=shape)

        nodes = new("nodes", np.float32, n_objects, len(NODE_FEATURES))
        offsets, event = new("offsets", np.int64, n + 1), new("event", np.int64, n)
        labels, split = new("labels", np.uint8, n, len(truth.LABEL_NAMES)), new("split", np.int8, n)
        process = new("process", np.int16, n)
        event[:] = np.arange(n)
        done_events = done_objects = 0
        for path in dataset.paths():
            table, _ = store.read_shard(path)
            part, counts = nodes_of(table, str(path))
            here = slice(done_events, done_events + len(counts))
            nodes[done_objects : done_objects + len(part)] = part
            offsets[here.start + 1 : here.stop + 1] = done_objects + np.cumsum(counts)
            labels[here] = truth.labels(schema.truth_of(table))
            split[here] = assign_splits(dataset.process, table["hard_event"].to_numpy())
            done_events, done_objects = here.stop, done_objects + len(part)
        for array in (nodes, offsets, event, labels, split, process):
            array.flush()
