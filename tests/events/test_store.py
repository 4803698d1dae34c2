import dataclasses
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_studies import SHARD_EVENTS, small_recipe

from breakeven.events import objects, schema, store
from breakeven.events.catalogue import source
from breakeven.events.sampling import Split, assign_splits
from breakeven.physics import hard


def test_a_shard_holds_what_was_generated(datasets):
    table, facts = store.read_shard(datasets["WH"].paths()[0])
    assert table.num_rows == SHARD_EVENTS
    assert table.schema.equals(objects.OBJECTS.arrow)
    assert facts["process"] == "WH" and facts["source"] == "pythia" and facts["cross_section_pb"] > 0
    assert (table["n_higgs"].to_numpy() == 1).all()
    assert (table["kind"].combine_chunks().flatten().to_numpy() == 4).sum() == SHARD_EVENTS  # one MET node an event


def test_the_same_recipe_gives_the_same_events_in_any_order(datasets, tmp_path):
    recipe = small_recipe("WH")
    for shard in (1, 0):
        store.make_shard(recipe, tmp_path, shard)
    again = store.complete(recipe, tmp_path, 2)
    assert again.hash == datasets["WH"].hash
    assert store.complete(recipe, tmp_path, 1).hash != again.hash


def test_another_seed_gives_other_events_and_another_folder(datasets, tmp_path):
    recipe = small_recipe("WH", seed=2)
    store.make_shard(recipe, tmp_path, 0)
    other = store.complete(recipe, tmp_path, 1)
    assert other.folder.name != datasets["WH"].folder.name
    assert other.manifest["shards"][0]["content"] != datasets["WH"].manifest["shards"][0]["content"]


def test_objects_and_truth_survive_the_way_to_disk_and_back(datasets):
    table, _ = store.read_shard(datasets["ZH"].paths()[1])
    again = objects.to_table(objects.objects_of(table), objects.truth_of(table), table["hard_event"].to_numpy())
    assert schema.content_hash(again, objects.OBJECTS) == schema.content_hash(table, objects.OBJECTS)


def test_the_manifest_tells_what_a_reader_needs(datasets):
    manifest = datasets["ZH"].manifest
    for key in (
        "process",
        "settings",
        "seed",
        "versions",
        "events",
        "cross_section_pb",
        "hash",
        "source",
        "cpu_seconds",
    ):
        assert manifest[key] not in (None, "", []), key
    assert manifest["events"] == 2 * SHARD_EVENTS


def test_the_manifest_counts_hard_events(datasets):
    manifest = datasets["WH"].manifest
    assert manifest["hard_events"] == 2 * SHARD_EVENTS
    tables = [store.read_shard(path)[0] for path in datasets["WH"].paths()]
    split = assign_splits("WH", np.concatenate([table["hard_event"].to_numpy() for table in tables]))
    assert {name: part["events"] for name, part in manifest["splits"].items()} == {
        split_.name.lower(): (split == split_).sum() for split_ in Split
    }
    assert all(part["effective"] == part["hard_events"] == part["events"] for part in manifest["splits"].values())


def test_copies_of_hard_events_are_not_counted_twice(tmp_path):
    recipe = dataclasses.replace(small_recipe("ttt"), shard_events=8)
    for shard in range(2):
        table, facts = store.read_shard(store.make_shard(recipe, tmp_path, shard))
        again = table.set_column(0, "hard_event", pa.array(np.arange(8, dtype=np.int64) % 4))
        facts["content"] = schema.content_hash(again, objects.OBJECTS)
        store.write_table(again, store.shard_path(recipe.folder(tmp_path), shard), facts)
    manifest = store.complete(recipe, tmp_path, 2).manifest
    assert manifest["events"] == 16 and manifest["hard_events"] == 4
    assert sum(part["hard_events"] for part in manifest["splits"].values()) == 4
    assert sum(part["effective"] for part in manifest["splits"].values()) == pytest.approx(4)


def covariance_error(values, errors, sample):
    """Error of the mean of correlated measurements: the square root of w^T C w, C full within a sample and zero between."""
    alike = np.equal.outer(sample, sample)
    return np.sqrt((np.outer(errors, errors) * alike).sum()) / len(values)


@pytest.mark.parametrize(
    ("values", "errors", "sample"),
    [
        ([2.0] * 40, [0.1] * 40, [0] * 40),  # slices of one sample: the error of one
        ([2.0, 2.2, 1.9, 2.1], [0.1, 0.2, 0.1, 0.15], [0, 1, 2, 3]),  # measured one by one
        ([2.0, 2.0, 2.0, 2.4], [0.1, 0.1, 0.1, 0.3], [0, 0, 0, 1]),
        ([2.0], [0.1], [0]),
        ([2.0, 2.0], [0.0, 0.0], [0, 0]),
    ],
)
def test_the_error_of_the_cross_section(values, errors, sample):
    facts = [
        {"cross_section_pb": value, "cross_section_error_pb": error}
        for value, error in zip(values, errors, strict=True)
    ]
    mean, error = store._cross_section(facts)
    assert mean == pytest.approx(np.mean(values))
    assert error == pytest.approx(covariance_error(values, errors, sample))


def test_more_shards_of_a_shipped_sample_know_its_cross_section_no_better(tmp_path):
    recipe = dataclasses.replace(small_recipe("tHq"), shard_events=2)
    for shard in range(3):
        store.make_shard(recipe, tmp_path, shard)
    for n_shards in (1, 3):
        manifest = store.complete(recipe, tmp_path, n_shards).manifest
        assert manifest["cross_section_error_pb"] == pytest.approx(0.000574015)
        assert manifest["cross_section_pb"] == pytest.approx(0.069415)


def test_an_interrupted_write_leaves_no_shard(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(OSError, match=r"No space left on device.*then start again"):
        store.make_shard(small_recipe("WH"), tmp_path, 0)
    assert store.missing_shards(small_recipe("WH"), tmp_path, 1) == [0]
    assert not list(tmp_path.rglob("*.par*"))


def test_a_missing_shard_is_named(tmp_path):
    with pytest.raises(store.CorruptDataset, match="2 of 2 shards are missing"):
        store.complete(small_recipe("WH"), tmp_path, 2)


@pytest.mark.parametrize("cut", [0, 100, -50])
def test_a_truncated_file_is_named(datasets, tmp_path, cut):
    broken = tmp_path / "shard-000000.parquet"
    broken.write_bytes(datasets["WH"].paths()[0].read_bytes()[:cut])
    with pytest.raises(store.CorruptDataset, match=r"shard-000000\.parquet"):
        store.read_shard(broken)


def test_a_foreign_parquet_file_is_named(tmp_path):
    path = tmp_path / "foreign.parquet"
    pq.write_table(pa.table({"pt": [1.0, 2.0]}), path)
    with pytest.raises(schema.SchemaMismatch, match=r"foreign\.parquet.*not a breakeven file"):
        store.read_shard(path)


def test_another_schema_version_is_named(datasets, tmp_path, monkeypatch):
    table, facts = store.read_shard(datasets["WH"].paths()[0])
    newer = dataclasses.replace(objects.OBJECTS, version=999)
    with monkeypatch.context() as patched:
        patched.setattr(store, "known_schemas", lambda: (newer,))
        store.write_table(table.replace_schema_metadata(newer.arrow.metadata), tmp_path / "new.parquet", facts)
    with pytest.raises(schema.SchemaMismatch, match=r"new\.parquet.*version 999, this program reads version 1"):
        store.read_shard(tmp_path / "new.parquet")


def test_missing_and_wrong_columns_are_listed(datasets, tmp_path):
    table, facts = store.read_shard(datasets["WH"].paths()[0])
    wrong = table.drop_columns(["n_top"]).set_column(0, "hard_event", table["hard_event"].cast(pa.int32()))
    path = tmp_path / "wrong.parquet"
    metadata = {schema.VERSION_KEY: "1", "breakeven.facts": json.dumps(facts)}
    pq.write_table(wrong.replace_schema_metadata(metadata), path)
    with pytest.raises(schema.SchemaMismatch, match="hard_event is int32, not int64") as error:
        store.read_shard(path)
    assert "n_top is missing" in str(error.value)


def test_changed_events_are_noticed(datasets, tmp_path):
    table, facts = store.read_shard(datasets["WH"].paths()[0])
    changed = table.set_column(table.schema.get_field_index("n_w"), objects.OBJECTS.arrow.field("n_w"),
                               [np.ones(table.num_rows, np.int8) * 7])  # fmt: skip
    store.write_table(changed, tmp_path / "changed.parquet", facts)
    with pytest.raises(store.CorruptDataset, match="was changed after it was written"):
        store.read_shard(tmp_path / "changed.parquet")


@pytest.mark.parametrize(
    "facts", [None, b"{not json", b"{}", b"[]", b"5", b"[" * 100_000], ids=lambda facts: str(facts)[:9]
)
def test_a_header_that_does_not_say_what_the_shard_holds_is_named(datasets, tmp_path, facts):
    recipe = small_recipe("WH")
    shutil.copytree(datasets["WH"].folder, recipe.folder(tmp_path), ignore=shutil.ignore_patterns("arrays-*", "*.seen"))
    path = store.shard_path(recipe.folder(tmp_path), 0)
    table = pq.read_table(path)
    metadata = {schema.VERSION_KEY: "1"} | ({"breakeven.facts": facts} if facts is not None else {})
    pq.write_table(table.replace_schema_metadata(metadata), path)
    for read in (lambda: store.read_shard(path), lambda: store.complete(recipe, tmp_path, 2)):
        with pytest.raises(store.CorruptDataset, match=r"shard-000000\.parquet: its header .*delete it and run again"):
            read()


@pytest.mark.parametrize("name", ["schema", "source"])
def test_what_a_manifest_does_not_say_is_named(datasets, tmp_path, name):
    recipe, hash_ = small_recipe("WH"), datasets["WH"].hash
    folder = shutil.copytree(datasets["WH"].folder, recipe.folder(tmp_path), ignore=shutil.ignore_patterns("arrays-*"))
    path = folder / "manifests" / f"{hash_}.json"
    path.write_text(json.dumps({key: value for key, value in datasets["WH"].manifest.items() if key != name}))
    with pytest.raises(store.CorruptDataset, match=rf"{hash_}\.json: not a manifest .*{name} is missing.*run again"):
        store.find_dataset(tmp_path, "WH", hash_)
    assert store.complete(recipe, tmp_path, 2).manifest[name] == datasets["WH"].manifest[name]


def test_a_broken_manifest_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"manifests.*run the generation"):
        store.open_dataset(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"0123\.json.*run the generation"):
        store.open_dataset(tmp_path, "0123")
    (tmp_path / "manifests").mkdir()
    for text in (
        '{"process": "WH"',
        "[]",
        '{"process": "WH", "events": 9, "hash": "0123", "shards": [{"content": "a"}]}',
    ):
        (tmp_path / "manifests" / "0123.json").write_text(text)
        with pytest.raises(store.CorruptDataset, match=r"0123\.json"):
            store.open_dataset(tmp_path, "0123")


def test_a_dataset_stays_what_it_is_while_others_grow_in_its_folder(datasets, tmp_path):
    recipe = small_recipe("WH")
    for shard in range(2):
        store.make_shard(recipe, tmp_path, shard)
    small = store.complete(recipe, tmp_path, 1)
    large = store.complete(recipe, tmp_path, 2)
    assert store.open_dataset(small.folder, small.hash) == small and small.manifest["events"] == SHARD_EVENTS
    assert store.open_dataset(small.folder) == large == store.find_dataset(tmp_path, "WH", large.hash)
    assert store.largest_datasets(tmp_path) == [large] and store.find_dataset(tmp_path, "WH", "0123") is None
    assert large == dataclasses.replace(datasets["WH"], folder=large.folder)


def test_the_one_manifest_of_an_older_runs_folder_is_opened(datasets, tmp_path):
    old = shutil.copytree(datasets["WH"].folder, tmp_path / "WH" / "recipe")
    shutil.rmtree(old / "manifests")
    (old / "manifest.json").write_text(json.dumps(datasets["WH"].manifest))
    assert store.open_dataset(old).hash == store.open_dataset(old, datasets["WH"].hash).hash == datasets["WH"].hash
    dataset = store.find_dataset(tmp_path, "WH", datasets["WH"].hash)
    assert dataset is not None and dataset.manifest == datasets["WH"].manifest
    with pytest.raises(FileNotFoundError, match=r"0123\.json"):
        store.open_dataset(old, "0123")


def test_lhe_content_decides_the_recipe(tmp_path):
    file = tmp_path / "events.lhe"
    file.write_text("<LesHouchesEvents version='1.0'>one</LesHouchesEvents>")
    first = store.Recipe(source("mine", lhe=str(file))).hash
    file.write_text("<LesHouchesEvents version='1.0'>two</LesHouchesEvents>")
    assert store.Recipe(source("mine", lhe=str(file))).hash != first


def test_a_shipped_sample_decides_the_recipe(tmp_path, monkeypatch):
    first = store.Recipe(source("ttt")).hash
    native = store.Recipe(source("WH")).hash
    sample = tmp_path / "ttt.parquet"
    sample.write_bytes((hard.SAMPLES / sample.name).read_bytes())
    monkeypatch.setattr(hard, "SAMPLES", tmp_path)
    assert store.Recipe(source("ttt")).hash == first
    with sample.open("ab") as file:
        file.write(b"more")
    assert store.Recipe(source("ttt")).hash != first
    assert store.Recipe(source("WH")).hash == native


def test_every_setting_decides_the_recipe():
    recipe = small_recipe("WH")
    hashes = {recipe.hash}
    for change in ({"seed": 3}, {"source": source("WH", mpi=True)}, {"shard_events": 61}):
        hashes.add(dataclasses.replace(recipe, **change).hash)
    hashes.add(small_recipe("ZH").hash)
    assert len(hashes) == 5


def test_a_read_only_folder_is_named(tmp_path, monkeypatch):
    def refuse(self: Path, *_, **__):
        raise OSError(30, "Read-only file system", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(OSError, match="Read-only file system"):
        store.make_shard(small_recipe("WH"), tmp_path / "there", 0)


def test_shards_that_nobody_touched_are_not_opened_again(datasets, tmp_path):
    recipe, folder = small_recipe("WH"), small_recipe("WH").folder(tmp_path)
    shutil.copytree(datasets["WH"].folder, folder, ignore=shutil.ignore_patterns("arrays-*"))
    first = store.complete(recipe, tmp_path, 2)
    shard = first.paths()[1]
    content, stat = shard.read_bytes(), shard.stat()
    shard.write_bytes(b"x" * len(content))
    os.utime(shard, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert store.complete(recipe, tmp_path, 2) == first  # 54,000 shards of a large study are listed, not read
    os.utime(shard)
    with pytest.raises(store.CorruptDataset, match=shard.name):
        store.complete(recipe, tmp_path, 2)
    shard.write_bytes(content)
    manifest = folder / "manifests" / f"{first.hash}.json"
    manifest.write_text("{")
    assert store.complete(recipe, tmp_path, 2) == first
    assert json.loads(manifest.read_text())["hash"] == first.hash
    part = store.complete(recipe, tmp_path, 1)
    for seen in (folder / "manifests").glob("*.seen"):
        seen.write_text("")
    assert store.complete(recipe, tmp_path, 1) == part != first


def test_a_shard_in_anothers_place_is_named(datasets, tmp_path):
    root = shutil.copytree(datasets["WH"].folder.parents[1], tmp_path / "datasets")
    recipe = small_recipe("WH")
    first, second = (store.shard_path(recipe.folder(root), shard) for shard in (0, 1))
    shutil.copy(first, second)
    with pytest.raises(store.CorruptDataset, match=rf"{second.name}: holds a shard of shard 0, not of .*'shard': 1"):
        store.complete(recipe, root, 2)
    shutil.copy(store.shard_path(small_recipe("ZH").folder(root), 1), second)
    with pytest.raises(store.CorruptDataset, match=rf"{second.name}: holds a shard of process 'ZH', recipe"):
        store.complete(recipe, root, 2)
