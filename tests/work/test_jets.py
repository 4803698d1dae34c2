"""Trials and pretrainings on events of jets, by the same ways as on whole events."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from queues import run_alone

from breakeven.events import store
from breakeven.events.arrays import open_arrays
from breakeven.events.catalogue import source
from breakeven.events.jets import single_jets
from breakeven.events.sampling import Split
from breakeven.ledger.ledger import Ledger
from breakeven.study.identity import pretraining_identity
from breakeven.study.plan import Cell, Ingredients, trial
from breakeven.study.spec import Finetuning, Network, Pretraining, Study, task
from breakeven.training.checkpoint import read_weights
from breakeven.training.content import content_hash
from breakeven.training.workers import ALONE
from breakeven.work.job import PretrainingJob, TrialJob
from breakeven.work.pretraining import load_events, train_share
from breakeven.work.versions import trees_versions, variables_versions

NAMES = ("HH4b_1000", "QCD_600_800")
SETTINGS = Finetuning(tasks=("_vs_".join(NAMES),), sizes=(100,), baselines=("trees",), validation_events=60)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, store.Dataset]:
    """One shard of 250 events of each."""
    root = tmp_path_factory.mktemp("jets")
    found = {}
    for name in NAMES:
        recipe = store.Recipe(source(name), shard_events=250)
        store.make_shard(recipe, root, 0)
        found[name] = store.complete(recipe, root, 1)
    return found


def test_trees_on_jets_tell_two_higgs_bosons_from_qcd(made: dict[str, store.Dataset], tmp_path: Path) -> None:
    cell = Cell(task(SETTINGS.tasks[0]), "none", "trees", 100)
    made_of = Ingredients(
        {name: one.hash for name, one in made.items()}, {}, {"trees": trees_versions()}, variables_versions(made)
    )
    of_trial = trial(Study(finetuning=SETTINGS), cell, "confirm", 1, 1.0, made_of)
    assert of_trial.identity["versions"]["variables"] == "jets 1"
    record = run_alone(
        TrialJob(
            trial=of_trial,
            network=Network(),
            settings=SETTINGS,
            datasets=made,
            backbone=None,
            ledger=tmp_path,
            device="cpu",
            git_commit="abc",
        )
    )
    assert record["outcome"] == "finished", record.get("reason")
    n = record["test_events"]
    coin = 0.5 + 5 * np.sqrt((n + 1) / (3 * n**2))  # five standard deviations of the AUC of a coin
    assert n > 80 and record["metrics"]["test_auc"] > max(0.9, coin)


def test_trees_on_a_class_of_several_processes_say_their_variables(made: dict[str, store.Dataset]) -> None:
    versions = {"HH4b_1000": "jets 1", "HH4b_2000": "jets 1", "QCD_600_800": "jets 1"}
    made_of = Ingredients(dict.fromkeys(versions, "a"), {}, {"trees": trees_versions()}, versions)
    cell = Cell(task("HH4b_1000+HH4b_2000_vs_QCD_600_800"), "none", "trees", 100)
    said = trial(Study(finetuning=SETTINGS), cell, "confirm", 1, 1.0, made_of).identity
    assert said["versions"]["variables"] == "jets 1" and said["signal"] == "a+a"


def test_variables_of_whole_events_and_of_jets_have_versions_of_their_own(
    made: dict[str, store.Dataset], datasets: dict[str, store.Dataset]
) -> None:
    assert variables_versions({**made, **datasets}) == {**dict.fromkeys(NAMES, "jets 1"), "WH": "1", "ZH": "1"}


NETWORK = Network(kind="jet_transformer", options={"width": 8, "blocks": 1, "class_blocks": 1, "heads": 2, "pairs": 4})
XBB = Pretraining(
    ("xbb",), processes=NAMES, epochs=3, patience=0, batch_size=64, learning_rate=1e-3, validation_events=40
)


@pytest.fixture(scope="module")
def xbb(made: dict[str, store.Dataset], tmp_path_factory: pytest.TempPathFactory) -> PretrainingJob:
    """A backbone that was told of each jet whether it is H -> bb."""
    folder = tmp_path_factory.mktemp("xbb")
    job = PretrainingJob(
        "xbb", {"objective": "xbb"}, NETWORK, XBB, tuple(made.values()), None, folder, folder / "backbone"
    )
    Ledger(folder).refresh()
    train_share(job, ALONE, "cpu", None, lambda epoch, checkpoint: None, folder / "progress.json")
    return job


def test_a_tagger_is_taught_every_jet_by_its_own_label(xbb: PretrainingJob, made: dict[str, store.Dataset]) -> None:
    events, training, validation, n_outputs = load_events(xbb, "cpu")
    assert n_outputs == 1 and events.n_events == len(training) + len(validation) == len(events.nodes)
    signal, background = (open_arrays(dataset) for dataset in made.values())
    jets = [single_jets(arrays) for arrays in (signal, background)]
    assert len(training) == sum((one.split == Split.TRAIN).sum() for one in jets)
    assert training.target.sum() == jets[0].labels[jets[0].split == Split.TRAIN].sum() > 50, "none of QCD's"
    assert read_weights(xbb.backbone)["head.weight"].shape == (1, 8)


def test_one_backbone_serves_all_representations() -> None:
    """Its identity does not say what is made of it."""
    said = [
        pretraining_identity(XBB, replace(NETWORK, representation=name), ["a", "b"], {}) for name in ("", "V", "S+HLF")
    ]
    assert said[0] == said[1] == said[2]


@pytest.mark.parametrize("representation", ["S+HLF", "V+HLF", "V"])
@pytest.mark.parametrize("strategy", ["scratch", "frozen", "finetune"])
def test_an_event_is_told_by_its_jets(
    made: dict[str, store.Dataset], xbb: PretrainingJob, tmp_path: Path, representation: str, strategy: str
) -> None:
    settings = replace(SETTINGS, sizes=(60,), epochs=2, steps=0, head_steps=8, represented_events=5)
    network = replace(NETWORK, representation=representation)
    study = Study(network=network, finetuning=settings)
    start = None if strategy == "scratch" else xbb.backbone
    made_of = Ingredients(
        {name: one.hash for name, one in made.items()},
        {"xbb": (content_hash(xbb.backbone),)},
        {},
        variables_versions(made),
    )
    cell = Cell(task(SETTINGS.tasks[0]), "xbb" if start else "none", strategy, 60)
    of_trial = trial(study, cell, "confirm", 1, 0.3, made_of)
    record = run_alone(TrialJob(of_trial, network, settings, made, start, tmp_path, "cpu", "abc"))
    assert record["outcome"] == "finished", record.get("reason")
    assert record["epochs"] == 2 and 0.0 <= record["metrics"]["test_auc"] <= 1.0 and record["representation"]
    probed = [epoch["validation_probe_auc"] for epoch in record["curve"] if "validation_probe_auc" in epoch]
    assert ("test_probe_auc" in record["metrics"]) == (representation == "S+HLF")
    assert len(probed) == (2 if representation == "S+HLF" and strategy != "frozen" else 0)
    if probed:
        assert record["metrics"]["validation_probe_auc"] == probed[record["best_epoch"]]
    if strategy == "frozen":
        again = run_alone(TrialJob(of_trial, network, settings, made, start, tmp_path / "again", "cpu", "abc"))
        assert again["metrics"] == record["metrics"]
