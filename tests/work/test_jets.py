"""Trials and pretrainings on events of jets, by the same ways as on whole events."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from queues import run_alone

from breakeven.events import store
from breakeven.events.arrays import open_arrays, select
from breakeven.events.catalogue import source
from breakeven.events.sampling import Split
from breakeven.events.single_jets import single_jets
from breakeven.ledger.embeddings import Embeddings
from breakeven.ledger.ledger import Ledger
from breakeven.models.jet_network import JetNetwork
from breakeven.models.weights import load_weights
from breakeven.study.identity import pretraining_identity
from breakeven.study.plan import Cell, Ingredients, cells, trial
from breakeven.study.spec import Finetuning, Generation, Network, Pretraining, Search, Study, task
from breakeven.training.batches import EventTensors
from breakeven.training.checkpoint import read_weights
from breakeven.training.content import content_hash
from breakeven.training.engines import in_batches
from breakeven.training.workers import ALONE
from breakeven.views.disk import events_bytes, kept_bytes
from breakeven.work import trees as work_trees
from breakeven.work.job import PretrainingJob, TrialJob
from breakeven.work.network import build_network
from breakeven.work.pretraining import load_events, train_share
from breakeven.work.trial_events import seen_by
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


def test_a_plan_knows_what_jets_take_on_disk(made: dict[str, store.Dataset]) -> None:
    folders = [open_arrays(one) and one.folder for one in made.values()]
    there = sum(path.stat().st_size for folder in folders for path in folder.rglob("*.*"))
    asked = Study("", Generation(events_per_process=250), pretraining=XBB, finetuning=SETTINGS)
    assert events_bytes(asked) == pytest.approx(there, rel=0.1)


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


def test_a_tagger_starts_from_a_backbone_of_classes_of_jets(made: dict[str, store.Dataset], tmp_path: Path) -> None:
    """All of it but its head, which had an output for each class; and it says how it tags where enough background passes."""
    classes = replace(XBB, objectives=("multiclass",), epochs=1)
    still = replace(XBB, learning_rate=1e-12, epochs=1, events_per_process=100)
    folders: list[Path | None] = [None]
    for name, settings in (("classes", classes), ("told", still)):
        folder = tmp_path / name
        job = PretrainingJob(
            name, {"name": name}, NETWORK, settings, tuple(made.values()), folders[-1], tmp_path, folder
        )
        Ledger(tmp_path).refresh()
        train_share(job, ALONE, "cpu", None, lambda epoch, checkpoint: None, tmp_path / "progress.json")
        folders.append(folder)
    before, after = (read_weights(folder) for folder in folders[1:] if folder)
    assert before["head.weight"].shape == (2, 8) and after["head.weight"].shape == (1, 8)
    for name, tensor in before.items():
        if not name.startswith("head."):
            torch.testing.assert_close(after[name], tensor, atol=1e-9, rtol=0)
    facts = [json.loads((folder / "model.json").read_text())["about"] for folder in folders[1:] if folder]
    assert (
        "validation_rejection_80" not in facts[0]["metrics"] and facts[1]["metrics"]["validation_rejection_80"] >= 1.0
    )
    assert facts[1]["train_events"] > 200, "jets, of 200 events"


def test_one_backbone_serves_all_representations() -> None:
    """Its identity does not say what is made of it."""
    said = [
        pretraining_identity(XBB, replace(NETWORK, representation=name), ["a", "b"], {}) for name in ("", "V", "S+HLF")
    ]
    assert said[0] == said[1] == said[2]


def trees_job(
    made: dict[str, store.Dataset], backbone: PretrainingJob, folder: Path, strategy: str, size: int = 100, **asked: Any
) -> TrialJob:
    network = replace(NETWORK, representation="S+HLF")
    finetuning = replace(SETTINGS, sizes=(size,), baselines=("trees", "trees+score"), **asked)
    study = Study(network=network, pretraining=XBB, finetuning=finetuning)
    made_of = Ingredients(
        {name: one.hash for name, one in made.items()},
        {"xbb": (content_hash(backbone.backbone),)},
        {"trees": trees_versions()},
        variables_versions(made),
    )
    cell = next(cell for cell in cells(study) if cell.strategy == strategy)
    start = backbone.backbone if cell.backbone else None
    of_trial = trial(study, cell, "confirm", 1, 1.0, made_of)
    return TrialJob(of_trial, network, study.finetuning, made, start, folder, "cpu", "abc")


def test_trees_are_given_the_scores_of_the_backbone_and_charged_for_them(
    made: dict[str, store.Dataset], xbb: PretrainingJob, tmp_path: Path
) -> None:
    records = {name: run_alone(trees_job(made, xbb, tmp_path, name)) for name in ("trees", "trees+score")}
    assert {record["outcome"] for record in records.values()} == {"finished"}, records["trees+score"].get("reason")
    plain, scored = records["trees"], records["trees+score"]
    assert scored["backbone"] == content_hash(xbb.backbone) and scored["pretraining"] == "xbb" and not plain["backbone"]
    assert scored["metrics"] != plain["metrics"] and scored["test_events"] == plain["test_events"]
    spent = {name: record["device_seconds"] - record["curve"][-1]["device_seconds"] for name, record in records.items()}
    assert spent["trees+score"] > spent["trees"], "the backbone's own time is not charged"


def test_scores_stand_with_the_jets_that_they_are_of(
    made: dict[str, store.Dataset], xbb: PretrainingJob, tmp_path: Path
) -> None:
    job = trees_job(made, xbb, tmp_path, "trees+score")
    chosen = select([open_arrays(made["HH4b_1000"])], [np.array([5, 3, 8])])
    scores = work_trees._scores(job, chosen, "three events")
    jets = single_jets(chosen)
    tagger = build_network(NETWORK, tuple(level.features for level in jets.schema.levels), 1)
    load_weights(tagger, read_weights(xbb.backbone), source="the tagger")
    expected = in_batches(tagger, EventTensors.of(jets), torch.arange(jets.n_events))[:, 0].detach().numpy()
    there = np.isfinite(scores)
    assert there.sum(1).tolist() == np.diff(chosen.offsets).tolist() and there[:, 0].all()
    np.testing.assert_allclose(scores[there], expected, atol=1e-5)


def test_a_backbone_that_says_nothing_of_jets_gives_trees_no_scores(
    made: dict[str, store.Dataset], xbb: PretrainingJob, tmp_path: Path
) -> None:
    vectors = replace(NETWORK, representation="V")
    job = replace(trees_job(made, xbb, tmp_path, "trees+score"), network=vectors)
    record = run_alone(job)
    assert record["outcome"] == "failed" and "gives no scores that trees could have" in record["reason"]


def test_all_seeds_may_have_the_same_events_and_larger_sizes_hold_the_smaller(made: dict[str, store.Dataset]) -> None:
    def training(size: int, seed: int, **asked: Any) -> list[set[int]]:
        study = Study(finetuning=replace(SETTINGS, **asked))
        made_of = Ingredients({name: one.hash for name, one in made.items()}, {})
        of_trial = trial(study, Cell(task(SETTINGS.tasks[0]), "none", "scratch", size), "confirm", seed, 1.0, made_of)
        job = TrialJob(of_trial, NETWORK, study.finetuning, made, None, Path(), "cpu", "abc")
        return [set(rows[Split.TRAIN]) for rows in seen_by(job).values()]

    natural = [training(size, 1, same_events=True, signal_fraction=0.068) for size in (40, 70)]
    assert [list(map(len, rows)) for rows in natural] == [[5, 75], [10, 130]], "6.8 % of 80 and 140"
    assert all(few < many for few, many in zip(*natural, strict=True))
    for seed in (1, 2):
        assert training(40, seed, same_events=True) == training(40, 1, same_events=True)
        assert all(few < many for few, many in zip(training(40, seed), training(90, seed), strict=True))
    assert training(40, 1) != training(40, 2)
    for few, many in zip(training(40, 1, same_events=True), training(90, 2, same_events=True), strict=True):
        assert few < many and len(few) == 40


@pytest.mark.parametrize("representation", ["S+HLF", "V+HLF", "V"])
@pytest.mark.parametrize("strategy", ["scratch", "frozen", "finetune"])
def test_an_event_is_told_by_its_jets(
    made: dict[str, store.Dataset], xbb: PretrainingJob, tmp_path: Path, representation: str, strategy: str
) -> None:
    record = run_alone(job_of(made, xbb, tmp_path, representation, strategy))
    assert record["outcome"] == "finished", record.get("reason")
    assert record["epochs"] == 2 and 0.0 <= record["metrics"]["test_auc"] <= 1.0 and record["representation"]
    probed = [epoch["validation_probe_auc"] for epoch in record["curve"] if "validation_probe_auc" in epoch]
    assert ("test_probe_auc" in record["metrics"]) == (representation == "S+HLF")
    assert len(probed) == (2 if representation == "S+HLF" and strategy != "frozen" else 0)
    if probed:
        assert record["metrics"]["validation_probe_auc"] == probed[record["best_epoch"]]
    if strategy == "frozen":
        again = run_alone(job_of(made, xbb, tmp_path / "again", representation, strategy))
        assert again["metrics"] == record["metrics"]


@pytest.mark.parametrize("strategy", ["scratch", "frozen", "finetune", "trees+score"])
def test_the_published_recipe_has_a_natural_mixture_and_weights(
    made: dict[str, store.Dataset], xbb: PretrainingJob, tmp_path: Path, strategy: str
) -> None:
    """What the preset paper asks for, 8 events of signal among 112; a loss without weights would begin far below a coin's."""
    published: dict[str, Any] = {"signal_fraction": 0.068, "same_events": True, "head_steps": 0}
    if strategy == "trees+score":
        job = trees_job(made, xbb, tmp_path, strategy, 60, **published)
    else:
        job = job_of(made, xbb, tmp_path, "V", strategy, **published)
    assert [len(rows[Split.TRAIN]) for rows in seen_by(job).values()] == [8, 112]
    record = run_alone(job)
    assert record["outcome"] == "finished", record.get("reason")
    assert record["curve"][0]["train_loss"] > 0.3 and job.trial.identity["training"]["signal_fraction"] == 0.068


def job_of(
    made: dict[str, store.Dataset],
    xbb: PretrainingJob,
    ledger: Path,
    representation: str,
    strategy: str,
    **asked: Any,
) -> TrialJob:
    """A trial of two epochs that is evaluated on test events."""
    settings = replace(SETTINGS, sizes=(60,), epochs=2, steps=0, represented_events=5, **{"head_steps": 8, **asked})
    network = replace(NETWORK, representation=representation)
    start = None if strategy == "scratch" else xbb.backbone
    made_of = Ingredients(
        {name: one.hash for name, one in made.items()},
        {"xbb": (content_hash(xbb.backbone),)},
        {},
        variables_versions(made),
    )
    cell = Cell(task(SETTINGS.tasks[0]), "xbb" if start else "none", strategy, 60)
    of_trial = trial(Study(network=network, finetuning=settings), cell, "confirm", 1, 0.3, made_of)
    return TrialJob(of_trial, network, settings, made, start, ledger, "cpu", "abc")


@pytest.mark.slow
def test_what_a_frozen_backbone_says_is_computed_once_for_all_that_stand_on_it(
    made: dict[str, store.Dataset], xbb: PretrainingJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Training, validation and test events, each once; every number is that of a trial that computes it for itself."""
    trials = [(name, strategy) for name in ("V", "S+HLF", "V+HLF") for strategy in ("frozen", "finetune")]

    def run(ledger: Path) -> list[dict[str, Any]]:
        records = [run_alone(job_of(made, xbb, ledger, *one)) for one in trials]
        records += [run_alone(trees_job(made, xbb, ledger, "trees+score", size=60))]
        assert all(record is not None and record["outcome"] == "finished" for record in records)
        return [
            {name: record.get(name) for name in ("metrics", "validation_loss", "scores", "representation")}
            | {"curve": [epoch["train_loss"] for epoch in record["curve"]]}
            for record in records
        ]

    asked = []
    original = JetNetwork.pretrained

    def counted(self: JetNetwork, *batch: torch.Tensor) -> torch.Tensor:
        asked.append(len(batch[1]) - 1)
        return original(self, *batch)

    monkeypatch.setattr(JetNetwork, "pretrained", counted)
    kept = run(tmp_path / "kept")
    once, files = list(asked), sorted((tmp_path / "kept" / "embeddings").glob("*.npy"))
    assert len(once) == len(files) == 3, "three samples, of fewer events than a batch"
    assert sorted(once) == sorted(len(np.load(file, mmap_mode="r")) for file in files)
    settings = replace(SETTINGS, sizes=(60,), seeds=1, strategies=("finetune", "frozen"), head_steps=8)
    networks = {name: replace(NETWORK, representation=name) for name, _ in trials}
    asked_for = Study(
        "",
        Generation(events_per_process=250),
        networks=networks,
        pretraining=XBB,
        finetuning=settings,
        search=Search(trials=0),
    )
    assert kept_bytes(asked_for) == pytest.approx(sum(file.stat().st_size for file in files), rel=0.25)
    asked.clear()
    monkeypatch.setattr(Embeddings, "get", lambda self, name, compute: compute())
    assert run(tmp_path / "alone") == kept and len(asked) > 6
