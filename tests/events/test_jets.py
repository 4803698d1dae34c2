"""Events of jets survive the way to disk and back into tensors, whatever number of jets and constituents they have."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from jet_tables import by_hand, given
from small_studies import SMALL, Small

from breakeven import plugins
from breakeven.events import arrays, jets, schema, store
from breakeven.events.catalogue import known_names, source
from breakeven.events.sampling import Split
from breakeven.events.simulated_jets import SimulatedJets
from breakeven.events.single_jets import single_jets
from breakeven.events.weights import cross_section, effective_number
from breakeven.models.spec import NetworkSpec
from breakeven.physics.jets.generator import generate
from breakeven.physics.jets.processes import CATALOGUE, JETCLASS
from breakeven.training.batches import EventTensors, Sample
from breakeven.training.loop import evaluate, train
from breakeven.training.recipe import Recipe
from breakeven.training.training import Training


@pytest.fixture(scope="module")
def made(events_of: Callable[[Small], dict[str, store.Dataset]]) -> dict[str, store.Dataset]:
    """Two shards of 60 events each of a signal and a slice."""
    return events_of(SMALL[1])


def dataset(root: Path, of: SimulatedJets, n_shards: int = 2, shard_events: int = 60) -> store.Dataset:
    recipe = store.Recipe(of, shard_events=shard_events)
    for shard in range(n_shards):
        store.make_shard(recipe, root, shard)
    return store.complete(recipe, root, n_shards)


def test_a_dataset_holds_what_was_generated(made: dict[str, store.Dataset]) -> None:
    table, facts = store.read_shard(made["HH4b_1000"].paths()[1])
    assert table.num_rows == 60 and table.schema.equals(jets.JETS.arrow)
    assert facts["process"] == "HH4b_1000" and facts["n_tried"] >= 60
    recipe = store.Recipe(source("HH4b_1000"), shard_events=60)
    again = source("HH4b_1000").make(60, recipe.shard_seed(1), 1)
    assert table.equals(again.table)
    assert table["weight"].to_numpy().sum() == pytest.approx(
        facts["cross_section_pb"] * 60 / facts["n_tried"], rel=1e-5
    )


def test_arrays_have_inputs_labels_and_weights_and_no_truth_among_the_inputs(made: dict[str, store.Dataset]) -> None:
    found = arrays.open_arrays(made["HH4b_1000"])
    assert found.nodes.shape[1] == 5 and found.inner[0][0].shape[1] == 9 and found.n_events == 120
    tables = pa.concat_tables([store.read_shard(path)[0] for path in made["HH4b_1000"].paths()])
    for event, bb in enumerate(tables["bb"].to_pylist()):
        assert found.labels[event].tolist() == bb + [0] * (5 - len(bb))
    np.testing.assert_allclose(store.event_weights(made["HH4b_1000"]), found.weights, rtol=1e-6)
    total, error = cross_section(found.weights)
    manifest = made["HH4b_1000"].manifest
    assert total == pytest.approx(manifest["cross_section_pb"], rel=0.1) and 0.05 < error / total < 0.2
    assert effective_number(found.weights) > 100


def test_single_jets_are_the_jets_one_by_one(made: dict[str, store.Dataset]) -> None:
    found = arrays.open_arrays(made["HH4b_1000"])
    single = single_jets(found)
    assert single.n_events == len(found.nodes) and (np.diff(single.offsets) == 1).all()
    tables = pa.concat_tables([store.read_shard(path)[0] for path in made["HH4b_1000"].paths()])
    assert single.labels[:, 0].tolist() == schema.unnested(tables, "bb")[1].tolist()
    assert len(single.split) == len(single.weights) == single.n_events
    event = 7
    begin, end = found.offsets[event : event + 2]
    assert set(single.split[begin:end]) == {found.split[event]} and set(single.event[begin:end]) == {event}
    chosen = arrays.select([single], [np.arange(begin, end)])
    assert chosen.nodes.tolist() == found.nodes[begin:end].tolist()


def test_only_jets_can_be_taken_one_by_one(datasets: dict[str, store.Dataset]) -> None:
    whole = arrays.open_arrays(datasets["WH"])
    assert len(whole.weights) == 0
    with pytest.raises(ValueError, match=r"single_jets takes events of the schema 'jets 1', those of WH have 1"):
        single_jets(whole)


def test_events_of_several_processes_keep_their_weights(made: dict[str, store.Dataset]) -> None:
    found = [arrays.open_arrays(made[name]) for name in ("HH4b_1000", "QCD_600_800")]
    chosen = arrays.select(found, [np.array([3, 4]), np.array([0, 60, 61])])
    assert chosen.weights.tolist() == [*found[0].weights[[3, 4]], *found[1].weights[[0, 60, 61]]]
    assert chosen.process.tolist() == [0, 0, 1, 1, 1] and chosen.labels.shape == (5, 5)
    nothing = arrays.select(found, [np.array([3]), np.array([], np.int64)])
    assert nothing.process.tolist() == [0] and cross_section(nothing.weights[nothing.process == 1]) == (0, 0)


def test_tensors_gather_two_levels(made: dict[str, store.Dataset]) -> None:
    found = arrays.open_arrays(made["QCD_600_800"])
    rows = np.array([100, 5, 5])
    chosen, batch = arrays.select([found], [rows]), EventTensors.of(found).gather(torch.from_numpy(rows))
    for tensor, array in zip(batch, (chosen.nodes, chosen.offsets, *chosen.inner[0]), strict=True):
        np.testing.assert_array_equal(tensor.numpy(), array)


def test_a_network_of_two_levels_trains_on_jets(
    made: dict[str, store.Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(plugins.VARIABLE, "")
    plugins.add_files([Path(__file__).parents[1] / "data" / "jet_plugin.py"])
    found = [arrays.open_arrays(made[name]) for name in ("HH4b_1000", "QCD_600_800")]
    chosen = arrays.select(found, [np.arange(one.n_events) for one in found])
    events, target = EventTensors.of(chosen), torch.from_numpy((chosen.process == 0).astype(np.float32))
    samples = {split: Sample(rows := torch.from_numpy(chosen.rows(split)), target[rows]) for split in Split}
    network = NetworkSpec("jet_sets", {"width": 16}).build(events.levels, 1, seed=3)
    recipe = Recipe(epochs=20, batch_size=16, learning_rate=1e-2, patience=None)
    train(Training(network, events, samples[Split.TRAIN], samples[Split.VALIDATION], recipe))
    assert evaluate(network, events, samples[Split.TEST], "binary")["accuracy"] > 0.8


def test_rounding_is_below_what_is_measured() -> None:
    shard = source("jet_Wqq").make(20, 7, 0).table
    exact = generate(CATALOGUE["jet_Wqq"], 20, 7).jets.constituents
    for name, bits in (("pt", 10), ("d0_error", 8), ("dz_error", 8)):
        _, values = schema.unnested(shard, f"constituent_{name}")
        np.testing.assert_allclose(values, getattr(exact, name), rtol=2.0 ** -(bits + 1) * 1.01)
    for name in ("d0", "dz"):
        _, values = schema.unnested(shard, f"constituent_{name}")
        error, wanted = getattr(exact, f"{name}_error"), getattr(exact, name)
        assert (np.abs(values - wanted) <= error / 32 + np.abs(wanted) * 2.0**-9).all()
        prompt = (error > 0) & (np.abs(wanted) < 5 * error)
        pull = (values - wanted)[prompt] / error[prompt]
        assert 0 < np.sqrt((pull**2).mean()) < 0.02 and len(np.unique(values)) > 100


def test_an_impact_parameter_without_an_error_is_kept() -> None:
    made = generate(CATALOGUE["jet_Wqq"], 5, 7)
    sure = dataclasses.replace(made.jets.constituents, d0_error=np.zeros(len(made.jets.constituents.pt)))
    table = jets.to_table(dataclasses.replace(made, jets=dataclasses.replace(made.jets, constituents=sure)))
    np.testing.assert_allclose(schema.unnested(table, "constituent_d0")[1], sure.d0, rtol=2.0**-9)


def test_jets_without_constituents_with_one_and_with_500_and_events_without_jets(tmp_path: Path) -> None:
    table = by_hand([2, 0, 1, 3], [500, 0, 1, 0, 2, 1])

    found = arrays.open_arrays(given(tmp_path, "QCD_1000", table))
    assert np.diff(found.offsets).tolist() == [2, 0, 1, 3] and np.diff(found.inner[0][1]).tolist() == [
        500,
        0,
        1,
        0,
        2,
        1,
    ]
    assert found.labels.tolist() == [[1, 0, 0, 0, 0], [0] * 5, [1, 0, 0, 0, 0], [1, 0, 0, 0, 0]]
    _, offsets, inside, inner = EventTensors.of(found).gather(torch.tensor([1, 3, 0]))
    assert offsets.tolist() == [0, 0, 3, 5] and inner.tolist() == [0, 0, 2, 3, 503, 503]
    assert inside[:, 0].tolist() == [501, 502, 503, *range(500)]
    assert single_jets(found).labels[:, 0].tolist() == [1, 0, 1, 1, 0, 0]


def test_an_error_of_zero_is_taken_and_an_infinite_impact_parameter_is_refused() -> None:
    d0 = np.array([0.0, 3.0, 0.0], np.float32)  # three millimetres without an error: an infinite significance
    levels = arrays.things_of(by_hand([1], [3], constituent_d0=d0), jets.JETS, "mine")
    assert np.isfinite(levels[1][0]).all() and levels[1][0][1, 3] == 3
    spoilt = by_hand([1, 2], [1, 1, 1], constituent_d0=np.array([0, 0, np.inf], np.float32))
    with pytest.raises(store.CorruptDataset, match=r"mine: event 1 has d0 = inf: features must be finite"):
        arrays.things_of(spoilt, jets.JETS, "mine")
    negative = by_hand([1], [1], constituent_d0_error=np.array([-1], np.float32))
    with pytest.raises(store.CorruptDataset, match=r"event 0 has d0_error = -1: it lies between 0 and inf \(mm\)"):
        arrays.things_of(negative, jets.JETS, "mine")


def test_jets_are_sources_beside_whole_events(tmp_path: Path) -> None:
    assert {"HH4b_600", "QCD_300_470", "jet_Hbb", "ttH"} <= set(known_names())
    assert source("QCD_1000").kind == "pythia" and source("ttH").schema != source("QCD_1000").schema
    hashes = {
        store.Recipe(source(name, mpi=mpi)).hash for name in ("QCD_1000", "QCD_800_1000") for mpi in (False, True)
    }
    assert len(hashes) == 4


@pytest.mark.slow
def test_a_jet_takes_at_most_650_bytes_on_disk(tmp_path: Path) -> None:
    for name in ("HH4b_600", "HH4b_3000", "QCD_300_470", "QCD_1000", *(one.name for one in JETCLASS)):
        path = dataset(tmp_path, source(name), n_shards=1, shard_events=300).paths()[0]
        n_jets = pq.read_table(path, columns=["pt"])["pt"].combine_chunks().flatten()
        assert path.stat().st_size / len(n_jets) < 650, name
