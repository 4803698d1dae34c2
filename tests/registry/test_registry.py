"""A backbone registered in a real MLflow and loaded from there, by somebody with events of their own."""

from pathlib import Path
from types import SimpleNamespace

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from tracking.studies import STUDY_FIGURES, connect
from tracking.studies import study as study_frame

from breakeven.events.arrays import open_arrays
from breakeven.events.objects import OBJECTS
from breakeven.models import build
from breakeven.registry import package
from breakeven.registry.served import Backbone, BadEvents, tensors_of
from breakeven.tracking import Tracker
from breakeven.training.checkpoint import write_model
from breakeven.training.content import content_hash

COLUMNS = tuple(OBJECTS.levels[0].inputs)


@pytest.fixture
def events(datasets):
    return pd.concat([pd.read_parquet(path) for path in datasets["WH"].paths()], ignore_index=True)


@pytest.fixture
def places(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return SimpleNamespace(uri=f"sqlite:///{tmp_path / 'mlflow.db'}", artifacts=tmp_path / "artifacts", root=tmp_path)


def won(folder: Path, name: str, seed: int) -> package.Winner:
    write_model(folder / name, build(12, seed=seed), {})
    tags = {"backbone": content_hash(folder / name), "study": "mine", "test_gain": "1.5"}
    return package.Winner(
        "mine-backbone", "multiclass", "p1", folder / name, 64, OBJECTS.levels, f"# card of {name}", tags
    )


def test_what_is_registered_is_found_and_gives_what_the_network_gives(places, events, datasets, monkeypatch):
    tracker = Tracker(places.uri, "mine", places.artifacts)
    tracker.sync(study_frame(), STUDY_FIGURES, {})
    first = won(places.root, "first", 1)
    assert tracker.register("p1", first.as_model())
    assert not tracker.register("p1", first.as_model()), "once is enough"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", places.uri)
    mlflow.set_tracking_uri(places.uri)
    loaded = mlflow.pyfunc.load_model("models:/mine-backbone@winner")
    found = loaded.predict(events)
    arrays = open_arrays(datasets["WH"])
    network = build(12, seed=1)
    with torch.no_grad():
        expected = network.represent(
            torch.from_numpy(np.array(arrays.nodes)), torch.from_numpy(np.array(arrays.offsets))
        )
        scores = network.head(expected)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(loaded.predict(events, params={"what": "outputs"}), scores.numpy(), rtol=1e-5, atol=1e-6)
    assert sum(p.numel() for p in loaded.unwrap_python_model().network.parameters()) == 372_172
    signature = loaded.metadata.signature
    assert signature.inputs.input_names() == list(COLUMNS) and loaded.metadata.metadata["units"]["pt"] == "GeV"
    assert "(-1, 64)" in str(signature.outputs)

    client = connect(places.uri)
    version = client.get_model_version_by_alias("mine-backbone", "winner")
    assert version.description == "# card of first" and version.tags["backbone"] == first.tags["backbone"]
    second = won(places.root, "second", 2)
    assert tracker.register("p1", second.as_model())
    assert client.get_model_version_by_alias("mine-backbone", "winner").version == 2
    tracker.register("p1", package.Winner(**{**vars(first), "card": "# a newer card"}).as_model())
    again = client.get_model_version_by_alias("mine-backbone", "winner")
    assert (again.version, again.description) == (1, "# a newer card"), "the first wins again, with more trials"
    assert len(client.search_model_versions("name = 'mine-backbone'")) == 2


def test_events_become_the_graphs_of_the_training(events, datasets):
    found = tensors_of(events, OBJECTS.levels)
    arrays = open_arrays(datasets["WH"])
    assert np.array_equal(found.nodes, arrays.nodes) and np.array_equal(found.offsets, arrays.offsets)
    assert COLUMNS == ("pt", "eta", "phi", "b_tag", "charge", "kind")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda e: e.drop(columns="phi"), "no column phi; they need pt, eta"),
        (lambda e: e[:0], "there are no events"),
        (lambda e: e.assign(**{name: [[], *e[name][1:]] for name in COLUMNS}), "event 0 has no object"),
        (lambda e: e.assign(pt=[*e["pt"][:-1], [1.0]]), "event 2 has 1 entries of pt and"),
        (
            lambda e: e.assign(eta=[e["eta"][0], np.full(len(e["eta"][1]), np.nan), e["eta"][2]]),
            "event 1 has eta = nan",
        ),
        (
            lambda e: e.assign(kind=[*e["kind"][:-1], np.full(len(e["kind"][2]), 7)]),
            r"event 2 has kind = 7: it lies between 0 and 4",
        ),
    ],
)
def test_bad_events_are_named(events, spoil, message):
    with pytest.raises(BadEvents, match=message):
        tensors_of(spoil(events[:3]), OBJECTS.levels)


def test_many_events_go_through_in_parts(events, monkeypatch):
    served = Backbone()
    served.network = build(12)
    whole = served.predict(None, events)
    monkeypatch.setattr("breakeven.registry.served._BATCH", 7)
    np.testing.assert_allclose(served.predict(None, events), whole, rtol=1e-5, atol=1e-6)
