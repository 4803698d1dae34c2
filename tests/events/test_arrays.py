import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest

from breakeven.events import arrays, objects, store
from breakeven.events.sampling import Split
from breakeven.physics import truth


def test_arrays_are_the_events_of_the_shards(datasets):
    flat = arrays.open_arrays(datasets["WH"])
    tables = [store.read_shard(path)[0] for path in datasets["WH"].paths()]
    pt = np.concatenate([objects.objects_of(table).pt for table in tables])
    assert flat.n_events == datasets["WH"].n_events
    np.testing.assert_array_equal(flat.nodes[:, 0], pt)
    np.testing.assert_allclose(flat.nodes[:, 3], pt * np.cosh(flat.nodes[:, 1]), rtol=1e-6)
    np.testing.assert_array_equal(flat.nodes[flat.offsets[1:] - 1, 6], 4)  # MET is the last object of each event
    labels = np.concatenate([truth.labels(objects.truth_of(table)) for table in tables])
    np.testing.assert_array_equal(flat.labels, labels)
    assert isinstance(flat.nodes, np.memmap)


def test_shards_of_other_events_than_were_planned_are_not_opened(datasets, tmp_path):
    planned = datasets["WH"]
    folder = shutil.copytree(planned.folder, tmp_path / "WH", ignore=shutil.ignore_patterns("arrays-*"))
    second = store.shard_path(folder, 1)
    second.write_bytes(store.shard_path(folder, 0).read_bytes())
    with pytest.raises(store.CorruptDataset, match=rf"{second}: .*the dataset {planned.hash} was completed with"):
        arrays.open_arrays(dataclasses.replace(planned, folder=folder))


def test_selected_events_keep_their_objects(datasets):
    sources = [arrays.open_arrays(datasets[name]) for name in ("WH", "ZH")]
    rows = [np.array([5, 0, 77]), np.array([3])]
    chosen = arrays.select(sources, rows)
    assert chosen.process_names == ("WH", "ZH") and chosen.process.tolist() == [0, 0, 0, 1]
    for i, (source, row) in enumerate([(0, 5), (0, 0), (0, 77), (1, 3)]):
        there = sources[source]
        np.testing.assert_array_equal(
            chosen.nodes[chosen.offsets[i] : chosen.offsets[i + 1]],
            there.nodes[there.offsets[row] : there.offsets[row + 1]],
        )
        np.testing.assert_array_equal(chosen.labels[i], there.labels[row])


def test_selecting_nothing_gives_no_events(datasets):
    source = arrays.open_arrays(datasets["WH"])
    empty = arrays.select([source], [np.array([], np.int64)])
    assert empty.n_events == 0 and len(empty.nodes) == 0


def test_every_event_is_in_exactly_one_split(datasets):
    flat = arrays.open_arrays(datasets["ZH"])
    rows = np.concatenate([flat.rows(split) for split in Split])
    assert sorted(rows) == list(range(flat.n_events))


def test_a_feature_that_is_not_finite_is_named(datasets):
    table, _ = store.read_shard(datasets["WH"].paths()[0])
    flat = objects.objects_of(table)
    pt = flat.pt.copy()
    pt[flat.counts[0]] = np.nan  # the first object of event 1
    bad = objects.to_table(
        type(flat)(**{**vars(flat), "pt": pt}), objects.truth_of(table), table["hard_event"].to_numpy()
    )
    with pytest.raises(store.CorruptDataset, match="mine: event 1 has pt = nan"):
        arrays.things_of(bad, objects.OBJECTS, "mine")


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY"], ids=["empty", "cut short"])
def test_arrays_that_cannot_be_read_are_named(datasets, tmp_path, damage):
    dataset = datasets["WH"]
    there = dataclasses.replace(dataset, folder=Path(shutil.copytree(dataset.folder, tmp_path / "WH")))
    arrays.open_arrays(there)
    (file,) = there.folder.glob("arrays-*/labels.npy")
    file.write_bytes(damage)
    with pytest.raises(store.CorruptDataset, match=rf"labels\.npy: cannot be read .*delete {file.parent}"):
        arrays.open_arrays(there)
