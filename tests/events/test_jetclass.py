"""A user's JetClass file becomes a dataset as any other, found again by its content."""

from pathlib import Path

import awkward as ak
import numpy as np
import pytest
from jetclass_files import changed, columns_of, plain_columns, write

from breakeven.events import arrays, jets, schema, store
from breakeven.events.catalogue import has_whole_events, source
from breakeven.events.sampling import Split
from breakeven.events.single_jets import single_jets
from breakeven.events.weights import effective_number
from breakeven.physics.jets.generator import JetEvents, generate
from breakeven.physics.jets.processes import CATALOGUE


def recipe_of(path: Path, shard_events: int = 20) -> store.Recipe:
    return store.Recipe(source("my_jets", jetclass=str(path)), shard_events=shard_events)


def dataset(path: Path, root: Path, n_shards: int) -> store.Dataset:
    recipe = recipe_of(path)
    for shard in range(n_shards):
        store.make_shard(recipe, root, shard)
    return store.complete(recipe, root, n_shards)


def test_generated_jets_and_the_same_from_a_file_are_the_same_arrays(tmp_path: Path) -> None:
    """But for the order of constituents whose pT agree within the rounding, and for the mass, which follows from the energy."""
    made: JetEvents = generate(CATALOGUE["jet_Tbqq"], 40, seed=5)
    path = write(tmp_path / "top.root", columns_of(made, "label_Tbqq"))
    found = arrays.open_arrays(dataset(path, tmp_path / "data", 2))
    own = jets.to_table(made)
    (values, counts), (inside, inner_counts) = arrays.things_of(own, jets.JETS, "own")
    assert found.n_events == 40 and np.array_equal(np.diff(found.offsets), counts)
    np.testing.assert_allclose(found.nodes, values, rtol=1e-3, atol=1e-5)
    ((there, offsets),) = found.inner
    assert np.array_equal(np.diff(offsets), inner_counts)
    for column, feature in enumerate(jets.CONSTITUENT):
        np.testing.assert_allclose(there[:, column], inside[:, column], rtol=5e-3, atol=2e-5, err_msg=feature.name)
    assert found.labels.tolist() == [[0] * 5] * 40 and effective_number(found.weights) == pytest.approx(40)
    assert np.isfinite(jets.variables_of([(found.nodes, found.offsets), *found.inner])).any(axis=0).sum() == 14


def test_the_manifest_tells_what_was_left_out_and_knows_no_cross_section(tmp_path: Path) -> None:
    path = write(tmp_path / "mixed.root", plain_columns([3, 0, 140] * 20))
    made = dataset(path, tmp_path / "data", 2)
    manifest = made.manifest
    assert "mixed.root (sha256 " in manifest["note"] and manifest["source"] == "jetclass"
    assert (
        "40 jets, 20 without constituents are left out, of 20 with more constituents the hardest 100"
        in manifest["note"]
    )
    assert manifest["cross_section_pb"] is None and manifest["cross_section_error_pb"] is None
    assert manifest["events"] == manifest["hard_events"] == 40 and manifest["versions"]["uproot"]
    found = arrays.open_arrays(made)
    assert set(np.diff(found.inner[0][1])) == {3, 100} and found.weights.sum() == pytest.approx(20)
    with pytest.raises(ValueError, match=r"mixed\.root: 40 jets with constituents, but jets 40 to 59 are asked for"):
        store.make_shard(recipe_of(path), tmp_path / "data", 2)


def test_copies_of_a_jet_share_a_split(tmp_path: Path) -> None:
    columns = plain_columns([2, 3, 4, 5, 6] * 12)
    twice = {
        name: ak.concatenate([values, values]) if isinstance(values, ak.Array) else np.concatenate([values, values])
        for name, values in columns.items()
    }
    made = dataset(write(tmp_path / "twice.root", twice), tmp_path / "data", 6)
    split = arrays.open_arrays(made).split
    assert made.manifest["hard_events"] == 60 and np.array_equal(split[:60], split[60:])
    assert set(split) == set(Split)


def test_the_content_of_the_file_decides_the_recipe_and_not_its_name(tmp_path: Path) -> None:
    columns = plain_columns([2, 3])
    one, copy = write(tmp_path / "a.root", columns), tmp_path / "b.root"
    copy.write_bytes(one.read_bytes())
    first = recipe_of(one).hash
    assert recipe_of(copy).hash == first
    write(one, changed(columns, "part_d0val", 1, 0.25))
    assert recipe_of(one).hash != first
    assert source("my_jets", jetclass=str(one)).schema is jets.JETS and has_whole_events("ttH")


def test_bb_is_what_the_file_says(tmp_path: Path) -> None:
    made = dataset(write(tmp_path / "hbb.root", plain_columns([2] * 20, "label_Hbb")), tmp_path / "data", 1)
    table, _ = store.read_shard(made.paths()[0])
    assert (
        schema.unnested(table, "bb")[1].tolist() == [1] * 20 and schema.unnested(table, "n_b")[1].tolist() == [2] * 20
    )
    assert single_jets(arrays.open_arrays(made)).labels.tolist() == [[1]] * 20
