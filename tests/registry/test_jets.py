"""The backbone of jets given away: registered in a real MLflow, written as ONNX, described; on real jets."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
import torch
from registry.test_card import MADE, study
from tracking.studies import STUDY_FIGURES
from tracking.studies import study as study_frame

from breakeven.analysis import backbones
from breakeven.events import store
from breakeven.events.arrays import open_arrays
from breakeven.events.catalogue import levels_of, source
from breakeven.events.jets import CONSTITUENT, JET, JETS
from breakeven.events.single_jets import single_jets
from breakeven.metric import METRICS
from breakeven.models.jet_network import JetNetwork
from breakeven.models.jet_onnx import INPUTS, OUTPUTS, export_onnx
from breakeven.models.spec import NetworkSpec
from breakeven.registry import package
from breakeven.registry.card import card
from breakeven.registry.served import Backbone, BadEvents, tensors_of
from breakeven.study.spec import Finetuning, Study
from breakeven.tracking import Tracker
from breakeven.training.batches import EventTensors
from breakeven.training.checkpoint import write_model
from breakeven.training.content import content_hash

COLUMNS = [name for level in JETS.levels for name in level.inputs]
OPTIONS = {"width": 16, "blocks": 2, "class_blocks": 1, "heads": 4, "pairs": [8]}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> store.Dataset:
    recipe, root = store.Recipe(source("HH4b_1000"), shard_events=60), tmp_path_factory.mktemp("jets")
    store.make_shard(recipe, root, 0)
    return store.complete(recipe, root, 1)


@pytest.fixture(scope="module")
def singles(dataset: store.Dataset) -> EventTensors:
    """Every jet as an event of its own, as the backbone was taught."""
    return EventTensors.of(single_jets(open_arrays(dataset)))


@pytest.fixture(scope="module")
def frame(dataset: store.Dataset) -> pd.DataFrame:
    """The same jets as the card says how to make them of the study's files."""
    events = pd.concat([pd.read_parquet(path) for path in dataset.paths()], ignore_index=True)
    return events[COLUMNS].explode(COLUMNS).dropna()


@pytest.fixture(scope="module")
def network(singles: EventTensors) -> JetNetwork:
    model = NetworkSpec("jet_transformer", OPTIONS).build((JET, CONSTITUENT), 1, 3)
    model.fit_scaling([singles.gather(torch.arange(singles.n_events))])
    assert isinstance(model, JetNetwork)
    return model.eval()


def said_by(network: JetNetwork, singles: EventTensors) -> tuple[np.ndarray, np.ndarray]:
    with torch.no_grad():
        vectors = network.represent(*singles.gather(torch.arange(singles.n_events)))
        return vectors.numpy(), network.head(vectors).numpy()


def test_three_lines_give_what_the_network_gives(
    network: JetNetwork, singles: EventTensors, frame: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    write_model(tmp_path / "weights", network, {})
    tags = {"backbone": content_hash(tmp_path / "weights"), "study": "mine", "test_gain": "1.5"}
    best = package.Winner("joint-backbone", "xbb", "p1", tmp_path / "weights", 16, JETS.levels, "# card", tags)
    tracker = Tracker(uri, "mine", tmp_path / "artifacts")
    tracker.sync(study_frame(), STUDY_FIGURES, {})
    assert tracker.register("p1", best.as_model())

    mlflow.set_tracking_uri(uri)
    loaded = mlflow.pyfunc.load_model("models:/joint-backbone@winner")
    vectors, logits = said_by(network, singles)
    assert len(frame) == len(vectors) > 100
    np.testing.assert_allclose(loaded.predict(frame), vectors, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(loaded.predict(frame, params={"what": "outputs"}), logits, rtol=1e-5, atol=1e-5)
    assert loaded.metadata.signature.inputs.input_names() == COLUMNS
    units = loaded.metadata.metadata["units"]
    assert (units["mass"], units["constituent_d0"], units["constituent_charge"]) == ("GeV", "mm", "e")


def test_a_row_per_jet_is_what_the_training_sees(singles: EventTensors, frame: pd.DataFrame) -> None:
    found = tensors_of(frame, levels_of((JET, CONSTITUENT)))
    rows = torch.arange(singles.n_events)
    assert all(map(torch.equal, found.gather(rows), singles.gather(rows)))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda t: t.drop(columns="constituent_d0"), "the jets have no column constituent_d0; they need pt, eta"),
        (lambda t: t[:0], "there are no jets"),
        (lambda t: t.assign(mass=[*t["mass"][:2], np.nan]), "jet 2 has mass = nan"),
        (lambda t: t.assign(constituent_pt=[[1.0], *t["constituent_pt"][1:]]), "jet 0 has 1 entries of constituent_pt"),
        (
            lambda t: t.assign(constituent_d0=[t["constituent_d0"].iloc[0], np.full_like(t["constituent_d0"].iloc[1], np.inf),
                                               t["constituent_d0"].iloc[2]]),
            "jet 1 has constituent_d0 = inf",
        ),
    ],
)  # fmt: skip
def test_bad_jets_are_named(frame: pd.DataFrame, spoil: Any, message: str) -> None:
    with pytest.raises(BadEvents, match=message):
        tensors_of(spoil(frame[:3]), JETS.levels)


def test_a_jet_without_constituents_is_served(network: JetNetwork, frame: pd.DataFrame) -> None:
    empty = {name: [np.zeros(0), *frame[name][1:2]] for name in JETS.levels[1].inputs}
    served = Backbone()
    served.network = network
    vectors = served.predict(None, frame[:2].assign(**empty))
    assert not vectors[0].any() and vectors[1].any()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_onnx_file_gives_what_torch_gives(network: JetNetwork, singles: EventTensors, tmp_path: Path) -> None:
    export_onnx(network, tmp_path / "backbone.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["backbone.onnx"], "one file, with its weights in it"
    session = onnxruntime.InferenceSession(tmp_path / "backbone.onnx")
    jets, _, inside, offsets = singles.gather(torch.arange(singles.n_events))
    counts = offsets.diff()
    counts[5] = 0  # a jet that nothing is said of
    for longest, rows in ((int(counts.max()) + 7, torch.arange(len(jets))), (int(counts[9]), torch.tensor([9]))):
        there = torch.arange(longest) < counts[rows, None]
        constituents = torch.zeros(len(rows), longest, inside.shape[1])
        constituents[there] = torch.cat([inside[offsets[row] : offsets[row] + counts[row]] for row in rows])
        inputs = dict(zip(INPUTS, (jets[rows].numpy(), constituents.numpy(), there.numpy()), strict=True))
        vectors, logits = session.run(list(OUTPUTS), inputs)
        expected = [array[rows.numpy()] for array in said_by(network, singles)]
        real = (counts[rows] > 0).numpy()
        np.testing.assert_allclose(vectors[real], expected[0][real], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(logits[real], expected[1][real], rtol=1e-4, atol=1e-4)
        assert not vectors[~real].any()

    said = {one.key: json.loads(one.value) for one in onnx.load(tmp_path / "backbone.onnx").metadata_props}
    names = [[(one["name"], one["unit"]) for one in level] for level in said["features"]]
    assert [len(level) for level in names] == [5, 9] and ("dz_error", "mm") in names[1] and ("pt", "GeV") in names[0]
    kinds = {"jets": np.float32, "constituents": np.float32, "there": bool}
    example = {name: np.array(values, kinds[name]) for name, values in said["example"]["inputs"].items()}
    for given, kept in zip(session.run(list(OUTPUTS), example), said["example"]["outputs"].values(), strict=True):
        np.testing.assert_allclose(given, kept, rtol=1e-4, atol=1e-4)


def test_only_the_backbone_is_written_as_onnx(tmp_path: Path) -> None:
    event = NetworkSpec("jet_transformer", {**OPTIONS, "representation": "V"}).build((JET, CONSTITUENT), 1)
    assert isinstance(event, JetNetwork)
    with pytest.raises(ValueError, match="representation is 'V'; only networks of single jets"):
        export_onnx(event, tmp_path / "backbone.onnx")


def test_the_card_says_what_a_jet_is_and_what_its_score_means() -> None:
    training = {**MADE["identity"]["training"], "events_per_process": 0}
    identity = {**MADE["identity"], "objective": "xbb", "training": training,
                "network": {"kind": "jet_transformer", "options": {"width": 16.0, "blocks": 2.0}}}  # fmt: skip
    datasets = {name: {"events": 400, "source": "jets", "hash": f"hash_{name}"} for name in ("ttH", "WH")}
    asked = Study(finetuning=Finetuning(merit="rejection_90"))
    facts = {"study": "joint", "spec": dataclasses.asdict(asked), "datasets": datasets}
    tuned = (records := study())["strategy"] == "finetune"
    records = records.assign(validation_auc=0.8 + 0.05 * tuned, test_rejection_90=10.0 + 20.0 * tuned)
    best = backbones.ranking(records, merit=METRICS["rejection_90"]).iloc[0].to_dict()
    text = card("joint-backbone", best, {**MADE, "identity": identity}, records, facts, JETS.levels, 16)
    for words in (
        "a Particle Transformer on the constituents of large-radius jets", "(xbb head)", "one row per jet",
        "| soft_drop_mass | GeV |", "| constituent_d0 | mm |", "| constituent_kind | 0 to 4 |", "impact parameters are in mm",
        "predict(jets)     # [n_jets, 16]", "one logit, above 0 for a Higgs boson to two bottom quarks", "width 16, blocks 2",
        "a CMS-like fast detector response", "Trained on 4,800 of their jets.",
        "+5.00 percentage points on validation events, by which it was chosen, and +20.00 background rejection at 90 % signal "
        "efficiency on test events", "by the same networks' validation AUC, so", "| +20.0 ± 0 (n=2) |",
    ):  # fmt: skip
        assert words in text, words
    assert "ATLAS" not in text and "message-passing" not in text and "whole collision events" not in text
