"""Datasets: Parquet shards of one process and a manifest that says what they are.

A dataset lives in `<root>/<process>/<recipe hash>/`. Shard k is a pure function of the recipe and k, so shards can be
made anywhere in any order, a larger dataset only adds shards, and an interrupted one goes on where it stood. Files are
written atomically. It never generates events and never computes.
"""

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from breakeven import atomic
from breakeven.events import schema
from breakeven.fingerprint import fingerprint
from breakeven.physics import generator
from breakeven.physics.processes import Process

__all__ = [
    "CorruptDataset",
    "Dataset",
    "Recipe",
    "complete",
    "make_shard",
    "missing_shards",
    "open_dataset",
    "read_facts",
    "read_shard",
    "shard_path",
    "write_table",
]

_MANIFEST = "manifest.json"
_FLOATS = [f"{name}.list.element" for name in ("pt", "eta", "phi")] + [
    f"{name}_{what}" for name in schema.HEAVY for what in ("pt", "eta", "phi")
]


class CorruptDataset(ValueError):
    """A shard or manifest cannot be read, or is not what its manifest says; names the file and the way out."""


@dataclass(frozen=True)
class Recipe:
    """What defines a dataset: process, base seed, multiparton interactions on or off, events in each shard."""

    process: Process
    seed: int = 1
    mpi: bool = False
    shard_events: int = 500

    @cached_property
    def hash(self) -> str:
        """Hash over all that decides which events a shard holds, versions of the physics code and Pythia included."""
        made_by = generator.versions()
        return fingerprint(
            {
                "process": self.process.name,
                "source": self.process.source,
                "settings": [*self.process.settings, "mirror", *self.process.mirror_settings],
                "yukawa": list(self.process.yukawa or ()),
                "files": [_file_hash(Path(file)) for file in self.process.files if self.process.source == "lhe"],
                "seed": self.seed,
                "mpi": self.mpi,
                "shard_events": self.shard_events,
                "physics": made_by["physics"],
                "pythia": made_by["pythia8mc"],
                "schema": schema.VERSION,
            }
        )

    def folder(self, root: Path) -> Path:
        """Where this recipe's shards live below `root`."""
        return root / self.process.name / self.hash

    def shards_for(self, n_events: int) -> int:
        """Number of shards that hold at least `n_events` events."""
        return -(-n_events // self.shard_events)

    def shard_seed(self, shard: int) -> int:
        """Random seed of one shard, within Pythia's range of 1 to 900,000,000."""
        return int(fingerprint([self.process.name, self.seed, shard]), 16) % 900_000_000 + 1


@dataclass(frozen=True)
class Dataset:
    """A complete dataset at rest: its folder, the shards that belong to it, and the manifest."""

    folder: Path
    process: str
    n_events: int
    shards: tuple[str, ...]
    hash: str
    manifest: dict[str, Any]

    def paths(self) -> list[Path]:
        """The shard files, in order."""
        return [self.folder / name for name in self.shards]


def shard_path(folder: Path, shard: int) -> Path:
    """File of one shard.

    Args:
        folder: of the dataset.
        shard: its number, from 0.

    Returns:
        Its path, whether it is there or not.
    """
    return folder / f"shard-{shard:06d}.parquet"


def missing_shards(recipe: Recipe, root: Path, n_shards: int) -> list[int]:
    """The shards that are not on disk yet.

    Args:
        recipe: of the dataset.
        root: folder of all datasets.
        n_shards: how many the dataset is to have.

    Returns:
        Their numbers, ascending.
    """
    folder = recipe.folder(root)
    return [shard for shard in range(n_shards) if not shard_path(folder, shard).exists()]


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
        OSError: the disk is full.
    """
    start = time.process_time()
    made = generator.generate(
        recipe.process, recipe.shard_events, recipe.shard_seed(shard), mpi=recipe.mpi, shard=shard
    )
    table = schema.to_table(made.objects, made.truth, made.hard_event)
    facts = {
        "process": recipe.process.name,
        "source": recipe.process.source,
        "recipe": recipe.hash,
        "shard": shard,
        "seed": recipe.shard_seed(shard),
        "mpi": recipe.mpi,
        "settings": list(recipe.process.settings),
        "cross_section_pb": made.cross_section_pb,
        "cross_section_error_pb": made.cross_section_error_pb,
        "n_tried": made.n_tried,
        "versions": generator.versions(),
        "content": schema.content_hash(table),
        "cpu_seconds": time.process_time() - start,
    }
    path = shard_path(recipe.folder(root), shard)
    write_table(table, path, facts)
    return path


def write_table(table: pa.Table, path: Path, facts: dict[str, Any]) -> None:
    """Write events as one Parquet shard: zstd, byte-stream-split floats, atomically.

    Args:
        table: events with `SCHEMA`.
        path: the file.
        facts: JSON-able, for its header.
    """
    metadata = {"breakeven.schema": str(schema.VERSION), "breakeven.facts": json.dumps(facts, sort_keys=True)}
    with atomic.replacing(path) as temporary:
        pq.write_table(
            table.replace_schema_metadata(metadata),
            temporary,
            compression="zstd",
            use_dictionary=False,
            use_byte_stream_split=_FLOATS,
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
    schema.check_schema(table.schema, str(schema.VERSION), str(path))
    if (found := schema.content_hash(table)) != facts["content"]:
        raise CorruptDataset(
            f"{path}: its events hash to {found}, its header says {facts['content']}: the file was changed after it was "
            "written; delete it and run again: it is made anew"
        )
    return table, facts


def read_facts(path: Path) -> dict[str, Any]:
    """The facts in a shard's header, without reading events. Raises CorruptDataset and SchemaMismatch as
    `read_shard`."""
    try:
        found = pq.read_schema(path)
    except (pa.ArrowException, OSError) as error:
        raise CorruptDataset(f"{path}: not a readable Parquet file ({error}); delete it and run again") from error
    metadata = {
        key.decode(): value.decode() for key, value in (found.metadata or {}).items() if key.startswith(b"breakeven")
    }
    schema.check_schema(found, metadata.get("breakeven.schema", ""), str(path))
    facts: dict[str, Any] = json.loads(metadata["breakeven.facts"])
    return facts


def complete(recipe: Recipe, root: Path, n_shards: int) -> Dataset:
    """The dataset of the first shards, all of which are there; writes its manifest.

    Args:
        recipe: of the dataset.
        root: folder of all datasets.
        n_shards: how many shards belong to it.

    Returns:
        The dataset, whose hash is that of its content.

    Raises:
        CorruptDataset: a shard is missing or damaged.
    """
    folder = recipe.folder(root)
    if missing := missing_shards(recipe, root, n_shards):
        raise CorruptDataset(
            f"{folder}: {len(missing)} of {n_shards} shards are missing, the first is {missing[0]}; run again"
        )
    facts = [read_facts(shard_path(folder, shard)) for shard in range(n_shards)]
    mean_sigma, error_sigma = _cross_section(facts)
    manifest = {
        "process": recipe.process.name,
        "source": recipe.process.source,
        "note": recipe.process.notes,
        "recipe": recipe.hash,
        "hash": fingerprint([fact["content"] for fact in facts]),
        "events": n_shards * recipe.shard_events,
        "shard_events": recipe.shard_events,
        "settings": list(recipe.process.settings),
        "seed": recipe.seed,
        "mpi": recipe.mpi,
        "cross_section_pb": mean_sigma,
        "cross_section_error_pb": error_sigma,
        "versions": facts[0]["versions"],
        "schema": schema.VERSION,
        "cpu_seconds": sum(fact["cpu_seconds"] for fact in facts),
        "shards": [{"file": shard_path(folder, i).name, **{k: fact[k] for k in ("seed", "n_tried", "content")}}
                   for i, fact in enumerate(facts)],
    }  # fmt: skip
    atomic.write_json(folder / _MANIFEST, manifest)
    return _from_manifest(folder, manifest)


def open_dataset(folder: Path) -> Dataset:
    """The dataset in `folder`, by its manifest.

    Raises:
        FileNotFoundError: there is none.
        CorruptDataset: the manifest cannot be read; the message names the file.
    """
    path = folder / _MANIFEST
    if not path.exists():
        raise FileNotFoundError(
            f"{path}: no such manifest; name the folder of a finished dataset, or run the generation"
        )
    try:
        return _from_manifest(folder, json.loads(path.read_text()))
    except (json.JSONDecodeError, KeyError) as error:
        raise CorruptDataset(f"{path}: not a manifest ({error!r}); delete it and run again: it is made anew") from error


def _from_manifest(folder: Path, manifest: dict[str, Any]) -> Dataset:
    return Dataset(
        folder=folder,
        process=manifest["process"],
        n_events=manifest["events"],
        shards=tuple(shard["file"] for shard in manifest["shards"]),
        hash=manifest["hash"],
        manifest=manifest,
    )


def _cross_section(facts: Sequence[dict[str, Any]]) -> tuple[float, float]:
    """Mean over shards, and its error, in pb: shards of one source sample share its error, so it does not shrink."""
    mean = sum(fact["cross_section_pb"] for fact in facts) / len(facts)
    error = (sum(fact["cross_section_error_pb"] ** 2 for fact in facts) ** 0.5) / len(facts)
    return mean, max(error, min(fact["cross_section_error_pb"] for fact in facts) / len(facts) ** 0.5)


def _file_hash(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()[:16]
