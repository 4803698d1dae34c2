"""Datasets: the first Parquet shards of one recipe, and a manifest for each number of them that says what they are.

Shards live in `<root>/<process>/<recipe hash>/`. Shard k is a pure function of the recipe and k, so shards can be made
anywhere in any order, a larger dataset only adds shards, and an interrupted one goes on where it stood. A dataset is its
content: one that is complete stays what it is while others grow in the same folder. Files are written atomically. It
never generates events and never computes.
"""

import json
import math
import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from breakeven import atomic, plugins
from breakeven.events.catalogue import known_schemas, own_schemas
from breakeven.events.sampling import SPLITS_VERSION, count_hard_events
from breakeven.events.schema import VERSION_KEY, WEIGHT, EventSchema, SchemaMismatch, check_schema, content_hash
from breakeven.events.source import Source
from breakeven.fingerprint import fingerprint

__all__ = [
    "CorruptDataset", "Dataset", "Recipe", "complete", "make_shard", "open_dataset", "read_shard",
]  # fmt: skip

_UNSAID = {"note": "", "settings": [], "mpi": False, "versions": {}}
"""What a manifest always says, where a source says nothing about it."""

_FACTS = ("content", "seed", "n_tried", "versions", "cpu_seconds", "cross_section_pb", "cross_section_error_pb")
_SAID = ("process", "source", "note", "hash", "events", "versions", "schema", "cpu_seconds", "shards")
"""What the header of every shard and every manifest has said since the first version, and readers ask for."""

_ZSTD_LEVEL = 9
"""Jets take 6 % less than at pyarrow's own level, for milliseconds a shard."""


class CorruptDataset(ValueError):
    """A shard or manifest cannot be read, or is not what its manifest says; names the file and the way out."""


@dataclass(frozen=True)
class Recipe:
    """What defines a dataset: where its events come from, base seed, events in each shard."""

    source: Source
    seed: int = 1
    shard_events: int = 500

    @cached_property
    def hash(self) -> str:
        """Hash over all that decides which events a shard holds."""
        own = {"seed": self.seed, "shard_events": self.shard_events, "schema": self.source.schema.version}
        own, identity = {**own, **plugins.origin(self.source)}, self.source.identity()
        if taken := own.keys() & identity.keys():
            raise plugins.BadPlugin(
                f"the identity of the source {self.source.name!r} has {', '.join(map(repr, sorted(taken)))}, which every dataset "
                "has of its own: name it otherwise, or what it says would be lost"
            )
        return fingerprint({**identity, **own})

    def folder(self, root: Path) -> Path:
        """Where this recipe's shards live below `root`."""
        return root / self.source.name / self.hash

    def shards_for(self, n_events: int) -> int:
        """Number of shards that hold at least `n_events` events."""
        return -(-n_events // self.shard_events)

    def shard_seed(self, shard: int) -> int:
        """Random seed of one shard, within Pythia's range of 1 to 900,000,000."""
        return int(fingerprint([self.source.name, self.seed, shard]), 16) % 900_000_000 + 1


@dataclass(frozen=True)
class Dataset:
    """A complete dataset at rest: plain values, which say the same for ever, whatever its folder gains."""

    folder: Path
    process: str
    n_events: int
    contents: tuple[str, ...]
    """Content hash of each shard, in order."""

    @cached_property
    def hash(self) -> str:
        """Hash of all its events."""
        return fingerprint(self.contents)

    @property
    def manifest(self) -> dict[str, Any]:
        """All that is known of it, read from disk; raises as `open_dataset`."""
        return _read_manifest(_manifest_path(self.folder, self.hash))

    def paths(self) -> list[Path]:
        """The shard files, in order."""
        return [shard_path(self.folder, shard) for shard in range(len(self.contents))]


def shard_path(folder: Path, shard: int) -> Path:
    """File of one shard, counted from 0, whether it is there or not."""
    return folder / f"shard-{shard:06d}.parquet"


def missing_shards(recipe: Recipe, root: Path, n_shards: int) -> list[int]:
    """Numbers of the shards, of `n_shards` in all, that are not on disk below `root` yet, ascending."""
    folder = recipe.folder(root)
    there = set(os.listdir(folder)) if folder.is_dir() else set()  # one request, where a folder may hold 50,000 shards
    return [shard for shard in range(n_shards) if shard_path(folder, shard).name not in there]


def make_shard(recipe: Recipe, root: Path, shard: int) -> Path:
    """Generate one shard and write it, atomically: the same recipe and number give the same events anywhere.

    Args:
        recipe: of the dataset.
        root: folder of all datasets.
        shard: its number, from 0.

    Returns:
        Its file.

    Raises:
        GenerationError: Pythia refuses a setting or fails; the message names it.
        ValueError: the source made another number of events than it was asked for.
        SchemaMismatch: the source made events of another schema than its own.
        OSError: the disk is full.
    """
    start = time.process_time()
    source, seed = recipe.source, recipe.shard_seed(shard)
    made = source.make(recipe.shard_events, seed, shard)
    check_schema(made.table.schema, source.schema, f"the source {source.name}, shard {shard}")
    if made.table.num_rows != recipe.shard_events:
        raise ValueError(
            f"the source {source.name} made {made.table.num_rows} events, not the {recipe.shard_events} asked for"
        )
    facts = {
        **_UNSAID,
        **source.about(),
        "process": source.name,
        "source": source.kind,
        "recipe": recipe.hash,
        "shard": shard,
        "seed": seed,
        "cross_section_pb": made.cross_section_pb,
        "cross_section_error_pb": made.cross_section_error_pb,
        "n_tried": made.n_tried,
        "content": content_hash(made.table, source.schema),
        "cpu_seconds": time.process_time() - start,
    }
    path = shard_path(recipe.folder(root), shard)
    write_table(made.table, path, facts)
    return path


def write_table(table: pa.Table, path: Path, facts: dict[str, Any]) -> None:
    """Write events as one Parquet shard with `facts`, JSON-able, in its header, atomically: zstd, byte-stream-split floats.

    Raises SchemaMismatch where no known schema has these columns, OSError where the disk is full.
    """
    schema = schema_of(table.schema, str(path))
    metadata = {VERSION_KEY: str(schema.version), "breakeven.facts": json.dumps(facts, sort_keys=True)}
    with atomic.replacing(path) as temporary:
        pq.write_table(
            table.replace_schema_metadata(metadata),
            temporary,
            compression="zstd",
            compression_level=_ZSTD_LEVEL,
            use_dictionary=schema.few_leaves or False,
            use_byte_stream_split=schema.float_leaves,
        )


def read_shard(path: Path) -> tuple[pa.Table, dict[str, Any]]:
    """Events and facts of one shard.

    Returns:
        The table, and the facts of its header.

    Raises:
        CorruptDataset: it is no readable Parquet file, or its events are not those that were written.
        SchemaMismatch: it is a foreign file or of another schema version.
    """
    facts = read_facts(path)
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise CorruptDataset(f"{path}: cannot be read ({error}); delete it and run again: it is made anew") from error
    if (content := content_hash(table, schema_of(table.schema, str(path)))) != facts["content"]:
        raise CorruptDataset(
            f"{path}: its events hash to {content}, its header says {facts['content']}: the file was changed after it was "
            "written; delete it and run again: it is made anew"
        )
    return table, facts


def read_facts(path: Path) -> dict[str, Any]:
    """The facts in a shard's header, without reading events. Raises CorruptDataset and SchemaMismatch as
    `read_shard`."""
    try:
        header = pq.read_schema(path)
    except (pa.ArrowException, OSError) as error:
        raise CorruptDataset(f"{path}: not a readable Parquet file ({error}); delete it and run again") from error
    check_schema(header, schema_of(header, str(path)), str(path))
    try:
        return _with(_FACTS, json.loads(header.metadata[b"breakeven.facts"]))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CorruptDataset(
            f"{path}: its header does not say what it holds ({error!r}); delete it and run again: it is made anew"
        ) from error


def schema_of(columns: pa.Schema, where: str) -> EventSchema:
    """The event schema that a file or table says it has; raises SchemaMismatch, naming `where`, if it is not known."""
    return schema_named((columns.metadata or {}).get(VERSION_KEY, b"").decode(errors="replace"), where)


def schema_named(version: int | str, where: str) -> EventSchema:
    """The event schema of this version: of whole events, of jets, or of a plug-in's source; raises as `schema_of`."""
    known = {str(schema.version): schema for schema in known_schemas()}
    if str(version) not in known:
        raise SchemaMismatch(
            f"{where}: written with event schema version {version or 'none (not a breakeven file)'}, this program reads "
            f"version {', '.join(known)}; generate the dataset again, or read it with the version or the plug-in that wrote it"
        )
    return known[str(version)]


def computed_by(dataset: Dataset) -> str:
    """What decides labels and derived features of a dataset besides the program: the hash of the plug-in whose schema it has."""
    if str(dataset.manifest["schema"]) in {str(schema.version) for schema in own_schemas()}:
        return ""
    return plugins.version("SOURCES", dataset.process)


def complete(recipe: Recipe, root: Path, n_shards: int) -> Dataset:
    """The dataset of the first shards, all of which are there; writes a manifest of its own.

    Args:
        recipe: of the dataset.
        root: folder of all datasets.
        n_shards: how many shards belong to it.

    Returns:
        The dataset, whose hash is that of its content. Where its shards have not been touched since an earlier call they are
        not opened.

    Raises:
        CorruptDataset: a shard is missing or damaged.
    """
    folder = recipe.folder(root)
    if missing := missing_shards(recipe, root, n_shards):
        raise CorruptDataset(
            f"{folder}: {len(missing)} of {n_shards} shards are missing, the first is {missing[0]}; run again"
        )
    paths = [shard_path(folder, shard) for shard in range(n_shards)]
    seen = folder / _MANIFESTS / f"{_stamp(recipe, paths)}.seen"
    with suppress(FileNotFoundError, CorruptDataset, UnicodeDecodeError):
        return open_dataset(folder, seen.read_text() or "none")  # an empty name is that of the largest
    facts = [_facts_of(recipe, path, shard) for shard, path in enumerate(paths)]
    mean_sigma, error_sigma = _cross_section(facts)
    hard_event = _column(paths, "hard_event")
    manifest = {
        **_UNSAID,
        **recipe.source.about(),
        "process": recipe.source.name,
        "source": recipe.source.kind,
        "recipe": recipe.hash,
        "hash": fingerprint([fact["content"] for fact in facts]),
        "events": n_shards * recipe.shard_events,
        "hard_events": len(np.unique(hard_event)),
        "splits": count_hard_events(recipe.source.name, hard_event),
        "shard_events": recipe.shard_events,
        "seed": recipe.seed,
        "cross_section_pb": mean_sigma,
        "cross_section_error_pb": error_sigma,
        "versions": facts[0]["versions"],
        "schema": recipe.source.schema.version,
        "cpu_seconds": sum(fact["cpu_seconds"] for fact in facts),
        "shards": [{"file": shard_path(folder, i).name, **{k: fact[k] for k in ("seed", "n_tried", "content")}}
                   for i, fact in enumerate(facts)],
    }  # fmt: skip
    dataset = _dataset(folder, manifest)
    atomic.write_json(folder / _MANIFESTS / f"{dataset.hash}.json", manifest)
    atomic.write_text(seen, dataset.hash)
    return dataset


def _facts_of(recipe: Recipe, path: Path, shard: int) -> dict[str, Any]:
    """The facts of a shard, which must be the one of its place. Raises CorruptDataset and SchemaMismatch."""
    facts, wanted = read_facts(path), {"process": recipe.source.name, "recipe": recipe.hash, "shard": shard}
    if other := [f"{name} {facts[name]!r}" for name, value in wanted.items() if facts.get(name, value) != value]:
        raise CorruptDataset(
            f"{path}: holds a shard of {', '.join(other)}, not of {wanted}; delete it and run again: it is made anew"
        )
    return facts


def _stamp(recipe: Recipe, paths: Sequence[Path]) -> str:
    """Of the shards as they lie on disk, and of what a manifest says beside them; while it is the same, none is opened again."""
    files = [[status.st_size, status.st_mtime_ns] for status in map(Path.stat, paths)]
    return fingerprint([{**_UNSAID, **recipe.source.about()}, recipe.source.schema.version, SPLITS_VERSION, files])


def open_dataset(folder: Path, content: str = "") -> Dataset:
    """A dataset, by its manifest.

    Args:
        folder: where its shards are.
        content: its hash; empty: the largest one of the folder.

    Returns:
        The dataset; its shards are not opened.

    Raises:
        FileNotFoundError: there is no such manifest; the message names the file.
        CorruptDataset: the manifest cannot be read; the message names the file.
    """
    if content:
        return _dataset(folder, _read_manifest(_manifest_path(folder, content)))
    datasets = [_dataset(folder, _read_manifest(path)) for path in _manifests(folder)]
    if not datasets:
        raise FileNotFoundError(
            f"{folder / _MANIFESTS}: no manifest; name the folder of a finished dataset, or run the generation"
        )
    return max(datasets, key=lambda dataset: dataset.n_events)


def hard_events(dataset: Dataset) -> np.ndarray:
    """The hard event of each event of a dataset [n_events] int64, equal for its copies; raises CorruptDataset."""
    return _column(dataset.paths(), "hard_event")


def event_weights(dataset: Dataset) -> np.ndarray:
    """The cross section in pb that each event of a dataset stands for [n_events] float64, so that their sum is the mean of what
    its shards know; 1 for each where its schema has no weights. Raises CorruptDataset and SchemaMismatch.
    """
    if not schema_named(dataset.manifest["schema"], str(dataset.folder)).weighted:
        return np.ones(dataset.n_events)
    return _column(dataset.paths(), WEIGHT).astype(np.float64) / len(dataset.contents)


def find_dataset(root: Path, process: str, content: str) -> Dataset | None:
    """The dataset of a process with the hash `content` below `root`, by whichever recipe; None where it is not there."""
    for folder in sorted((root / process).glob("*/")):
        with suppress(FileNotFoundError):
            return open_dataset(folder, content)
    return None


def other_process(root: Path, dataset: Dataset) -> str:
    """Another process below `root` that has the very same events; empty where there is none."""
    folders = (path.parents[1] for path in sorted(root.glob(f"*/*/{_MANIFESTS}/{dataset.hash}.json")))
    return next((folder.parent.name for folder in folders if folder.parent.name != dataset.process), "")


def largest_datasets(root: Path) -> list[Dataset]:
    """The largest dataset of each recipe below `root`."""
    return [open_dataset(folder) for folder in sorted(root.glob("*/*/")) if _manifests(folder)]


_MANIFESTS = "manifests"
_MANIFEST_1 = "manifest.json"
"""The one manifest of a folder by the first version of this program, which overwrote it when more shards came."""


def _manifests(folder: Path) -> list[Path]:
    return [path for path in (*sorted(folder.glob(f"{_MANIFESTS}/*.json")), folder / _MANIFEST_1) if path.exists()]


def _manifest_path(folder: Path, content: str) -> Path:
    path, old = folder / _MANIFESTS / f"{content}.json", folder / _MANIFEST_1
    if not path.exists() and old.exists() and _read_manifest(old)["hash"] == content:
        return old
    return path


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = _with(_SAID, json.loads(path.read_text()))
        if _dataset(path.parent, manifest).hash != manifest["hash"]:
            raise ValueError("its shards do not have its hash")
        return manifest
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path}: no such manifest; name a finished dataset, or run the generation") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CorruptDataset(f"{path}: not a manifest ({error!r}); delete it and run again: it is made anew") from error


def _with(names: Sequence[str], values: dict[str, Any]) -> dict[str, Any]:
    """The values. Raises ValueError where one of these names is missing, TypeError where they are no values by name."""
    if missing := [name for name in names if name not in values]:
        raise ValueError(f"{missing[0]} is missing")
    return values


def _dataset(folder: Path, manifest: Mapping[str, Any]) -> Dataset:
    contents = tuple(shard["content"] for shard in manifest["shards"])
    return Dataset(folder, manifest["process"], manifest["events"], contents)


def _column(paths: Sequence[Path], name: str) -> np.ndarray:
    """A column that has one value for each event, of these shards one after the other [n_events]; raises CorruptDataset."""
    parts: list[np.ndarray] = []
    for path in paths:
        try:
            with pq.ParquetFile(
                path
            ) as file:  # a third of the time of pq.read_table, which brings threads and datasets
                parts.append(file.read([name], use_threads=False)[name].to_numpy())
        except (pa.ArrowException, OSError) as error:
            raise CorruptDataset(
                f"{path}: cannot be read ({error}); delete it and run again: it is made anew"
            ) from error
    return np.concatenate(parts)


def _cross_section(facts: Sequence[dict[str, Any]]) -> tuple[float | None, float | None]:
    """Mean over shards, and its error, in pb; None where the source knows none.

    Shards that say the very same are slices of one source sample, as of a file that ships or a user's: they have one error
    together, however many they are. All others were measured one by one, and their errors are independent.
    """
    if facts[0]["cross_section_pb"] is None:
        return None, None
    said = Counter((fact["cross_section_pb"], fact["cross_section_error_pb"]) for fact in facts)
    mean = sum(count * value for (value, _), count in said.items()) / len(facts)
    error = math.hypot(*(count * error for (_, error), count in said.items())) / len(facts)
    return mean, error
