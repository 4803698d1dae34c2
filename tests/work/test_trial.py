"""One trial from job to record, on real events and without Ray."""

import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from queues import run_alone
from sklearn.metrics import roc_auc_score
from small_studies import SMALL, made, small_recipe

from breakeven.events import store
from breakeven.events.arrays import open_arrays, select
from breakeven.events.evaluated_events import behind, kept_rows
from breakeven.events.sampling import Split, capped, subset
from breakeven.ledger.ledger import Ledger
from breakeven.ledger.responses import Responses
from breakeven.models.weights import load_weights
from breakeven.physics.variables import high_level
from breakeven.study.plan import Cell, Ingredients, space, trial
from breakeven.study.spec import Network, task
from breakeven.training.batches import EventTensors
from breakeven.training.checkpoint import read_weights, write_model
from breakeven.training.content import content_hash
from breakeven.training.recipe import Recipe
from breakeven.training.trees import train_trees
from breakeven.work.facts import evaluation
from breakeven.work.job import TrialJob, lost_record
from breakeven.work.trial_events import seen_by

WHOLE = SMALL[0]


@pytest.fixture(scope="module")
def backbone(small, events, tmp_path_factory):
    folder = tmp_path_factory.mktemp("backbone") / "b"
    write_model(folder, small.network(open_arrays(events[small.names[0]]), 1, seed=3, backbone=True), {})
    return folder


def job_for(events, folder, cell=None, phase="confirm", backbone=None, small=WHOLE, **more):
    hashes = {name: dataset.hash for name, dataset in events.items()}
    made_of = Ingredients(hashes, {small.objective: (content_hash(backbone),)} if backbone else {})
    study = replace(small.study, finetuning=replace(small.settings, **more))
    cell = cell or small.cell()
    return TrialJob(
        trial=trial(study, cell, phase, seed=1, ratio=space(study, cell).published, made_of=made_of),
        network=study.network, settings=study.finetuning, datasets=events, backbone=backbone, ledger=folder,
        device="cpu", git_commit="abc",
    )  # fmt: skip


@pytest.mark.parametrize("strategy", ["scratch", "finetune", "frozen"])
def test_a_trial_leaves_one_whole_record(small, events, tmp_path, backbone, strategy):
    start, cell = None if strategy == "scratch" else backbone, small.cell(strategy)
    job = job_for(events, tmp_path, cell, backbone=start, small=small)
    written = run_alone(job)
    found = Ledger(tmp_path).refresh().get(job.trial.hash)
    assert found is not None and found["outcome"] == "finished"
    assert 0.0 <= found["metrics"]["test_accuracy"] <= 1.0 and found["metrics"] == written["metrics"]
    assert len(found["curve"]) == found["epochs"] == 2 and found["events_seen"] == 2 * 40
    assert found["device_seconds"] > 0 and found["git_commit"] == "abc" and found["cell"] == cell.name
    measured = found["metrics"]
    assert measured["test_rejection_90"] >= 1.0 and measured["test_significance_improvement"] >= 1.0
    assert Ledger(tmp_path).refresh().frame()["test_rejection_90"].item() == measured["test_rejection_90"]
    assert found["test_events"] > 20 and found["validation_events"] == 20
    assert not (tmp_path / "claims" / f"{job.trial.hash}.json").exists()
    kernel = small.network(open_arrays(events[small.names[0]])).kernel()
    assert found["kernel"] == kernel == Ledger(tmp_path).refresh().frame()["kernel"].item()


def test_networks_of_the_largest_size_say_what_they_make_of_the_same_test_events(small, events, tmp_path, backbone):
    asked = {"represented_events": 7, "small": small}
    records = [
        run_alone(job_for(events, tmp_path, **asked)),
        run_alone(job_for(events, tmp_path, small.cell("frozen"), backbone=backbone, test_events=12, **asked)),
    ]
    assert records[0]["represented_events"] == records[1]["represented_events"]
    scratch, frozen = (
        Responses(tmp_path, "representations").read(one["record"], one["representation"]) for one in records
    )
    sides = [open_arrays(dataset) for dataset in events.values()]
    chosen = select(
        sides, [capped(side.split, Split.TEST, 7, name) for side, name in zip(sides, small.names, strict=True)]
    )
    assert (chosen.split == Split.TEST).all()
    network = small.network(chosen)
    network.fit_scaling([EventTensors.of(chosen).gather(torch.arange(14))])  # of new layers, which say nothing here
    load_weights(network, network.from_pretrained(read_weights(backbone)), source="it", skip=network.new_layers)
    with torch.no_grad():
        expected = network.layers(*EventTensors.of(chosen).gather(torch.arange(14)))
    assert list(scratch) == list(frozen) == list(expected)
    assert all(scratch[name].shape == frozen[name].shape == layer.shape for name, layer in expected.items())
    np.testing.assert_allclose(frozen[small.last], expected[small.last].numpy(), rtol=2e-3, atol=2e-3)
    assert np.abs(scratch[small.last] - frozen[small.last]).max() > 0.1


def test_a_class_of_two_processes_takes_events_of_both(small, events, tmp_path):
    """Drawn from the events of both, and known apart from copies of one hard event."""
    own, last = small.names
    whole = Cell(task(f"{own}+{small.more}_vs_{last}"), "none", "scratch", 50)
    every = {**events, **made(tmp_path, small.more, shards=1)}
    three = {name: every[name] for name in whole.task.processes}
    first, second = whole.task.classes[0]
    job = job_for(three, tmp_path, whole, small=small, validation_events=1000)
    signal, other, background = (seen_by(job)[dataset] for dataset in three.values())
    assert len(signal[Split.TRAIN]) + len(other[Split.TRAIN]) == 50 == len(background[Split.TRAIN])
    assert min(len(signal[Split.TRAIN]), len(other[Split.TRAIN])) > 10, "each has its share"
    for rows, dataset in ((signal, three[first]), (other, three[second])):
        arrays = open_arrays(dataset)
        for split in (Split.TRAIN, Split.VALIDATION, Split.TEST):
            assert (arrays.split[rows[split]] == split).all() and len(np.unique(rows[split])) == len(rows[split])
    fewer = seen_by(job_for(three, tmp_path, replace(whole, size=20), small=small))
    assert set(fewer[three[second]][Split.TRAIN]) < set(other[Split.TRAIN]), "larger sizes contain the smaller ones"
    record = run_alone(job)
    assert record["outcome"] == "finished" and record["signal"] == f"{first}+{second}"
    assert record["dataset"] == "+".join(dataset.hash for dataset in three.values())
    n_kept = [len(one) for one in Responses(tmp_path, "scores").read(record["record"], record["scores"]).values()]
    assert n_kept[0] == len(signal[Split.TEST]) + len(other[Split.TEST])
    found = behind([[three[first], three[second]], [three[last]]], 2_000_000, n_kept, record["scored_events"])
    assert [len(np.unique(of_class.hard_event)) for of_class in found] == n_kept
    assert found[0].processes == (first, second) and (found[0].weight > 0.0).all()
    assert np.bincount(found[0].process).tolist() == [len(signal[Split.TEST]), len(other[Split.TEST])]
    trees = run_alone(job_for(three, tmp_path, replace(whole, strategy="trees"), small=small, baselines=("trees",)))
    assert trees["outcome"] == "finished" and trees["scored_events"] == record["scored_events"]


def test_where_few_scores_are_kept_each_process_has_its_share(datasets, tmp_path):
    """Of a class of several processes, whose events stand one process after the other."""
    recipe = small_recipe("VBF")
    for shard in range(3):
        store.make_shard(recipe, tmp_path, shard)
    three = {"WH": datasets["WH"], "VBF": store.complete(recipe, tmp_path, 3), "ZH": datasets["ZH"]}
    cell = Cell(task("WH+VBF_vs_ZH"), "none", "trees", 50)
    every, few = (
        run_alone(job_for(three, tmp_path / str(most), cell, baselines=("trees",), scored_events=most))
        for most in (9000, 10)
    )
    scores = [
        Responses(tmp_path / str(most), "scores").read(one["record"], one["scores"])
        for one, most in ((every, 9000), (few, 10))
    ]
    found = behind([[three["VBF"], three["WH"]], [three["ZH"]]], 2_000_000, [10, 10], few["scored_events"])
    share = np.bincount(found[0].process) / 10
    of_all = behind(
        [[three["VBF"], three["WH"]], [three["ZH"]]], 2_000_000, [*map(len, scores[0].values())], every["scored_events"]
    )
    assert share.tolist() == pytest.approx((np.bincount(of_all[0].process) / len(of_all[0].process)).tolist(), abs=0.11)
    rows = kept_rows(len(scores[0]["signal"]), 10, 2)
    assert scores[1]["signal"].tolist() == scores[0]["signal"][rows].tolist(), "the scores are those of the events"
    assert scores[1]["background"].tolist() == scores[0]["background"][:10].tolist(), "of one process the first"


def test_trees_are_trained_on_the_same_events_and_recorded_as_any_other_trial(datasets, tmp_path):
    record = run_alone(job_for(datasets, tmp_path, WHOLE.cell("trees"), baselines=("trees",), represented_events=7))
    assert record["outcome"] == "finished" and record["kernel"] == "scikit-learn" and "representation" not in record
    sides = [open_arrays(datasets[name]) for name in ("WH", "ZH")]

    def sample(rows_of):
        rows = [rows_of(side, name) for side, name in zip(sides, ("WH", "ZH"), strict=True)]
        chosen = select(sides, rows)
        return high_level(chosen.nodes, chosen.offsets), np.repeat([1, 0], [len(part) for part in rows])

    own = sample(lambda side, name: subset(side.rows(Split.TRAIN), 20, 1, name))
    validation = sample(lambda side, name: capped(side.split, Split.VALIDATION, 10, name))
    test = sample(lambda side, name: side.rows(Split.TEST))
    model, result = train_trees(own, validation, Recipe(epochs=200, patience=15, seed=1))
    assert record["validation_loss"] == result.best.validation_loss and record["epochs"] == len(result.curve)
    share = torch.sigmoid(model.outputs(test[0])).numpy().ravel()
    assert record["metrics"]["test_accuracy"] == pytest.approx(((share > 0.5) == test[1]).mean())
    assert record["test_events"] == len(test[1]) and record["plateau_seconds"] <= record["device_seconds"]
    scores = Responses(tmp_path, "scores").read(record["record"], record["scores"])
    kept = torch.from_numpy(np.concatenate([scores["signal"], scores["background"]])).float()
    torch.testing.assert_close(kept, model.outputs(test[0]).ravel(), rtol=1e-3, atol=1e-3)


def test_every_confirming_trial_keeps_the_scores_of_its_test_events(small, events, tmp_path, backbone):
    backbones = {"scratch": None, "frozen": backbone, "trees": None}
    records = [
        run_alone(job_for(events, tmp_path, small.cell(strategy), backbone=start, small=small))
        for strategy, start in backbones.items()
    ]
    sides = [[dataset] for dataset in events.values()]
    assert len({record["scored_events"] for record in records}) == 1, "all are of the same events"
    for record in records:
        scores = Responses(tmp_path, "scores").read(record["record"], record["scores"])
        right = np.concatenate([scores["signal"] >= 0, scores["background"] < 0])
        assert list(scores) == ["signal", "background"] and len(right) == record["test_events"]
        assert right.mean() == pytest.approx(record["metrics"]["test_accuracy"], abs=1e-9)
        truth = np.repeat([1, 0], [len(one) for one in scores.values()])
        auc = roc_auc_score(truth, np.concatenate(list(scores.values())))
        assert auc == pytest.approx(record["metrics"]["test_auc"], abs=2e-3)  # scores that half precision makes equal
        n_kept = [len(one) for one in scores.values()]
        of_classes = behind(sides, 2_000_000, n_kept, record["scored_events"])
        for dataset, found in zip(events.values(), of_classes, strict=True):
            rows = open_arrays(dataset).rows(Split.TEST)
            expected = np.unique(store.hard_events(dataset)[rows], return_inverse=True)[1]
            assert found.hard_event.tolist() == expected.tolist()
    with pytest.raises(ValueError, match=r"not \[3, 3\] of the test events"):
        behind(sides[::-1], 2_000_000, [3, 3], records[0]["scored_events"])
    frame = Ledger(tmp_path).refresh().frame()
    assert set(frame["scores"]) == {record["scores"] for record in records} and frame["test_events"].notna().all()


def test_scores_of_fewer_test_events_are_another_sample_and_none_may_be_asked_for(datasets, tmp_path):
    whole, fewer = (run_alone(job_for(datasets, tmp_path / str(n), scored_events=n)) for n in (20_000, 4))
    assert whole["record"] == fewer["record"], "no part of the identity"
    assert whole["scored_events"] != fewer["scored_events"] and whole["metrics"] == fewer["metrics"]
    some = Responses(tmp_path / "4", "scores").read(fewer["record"], fewer["scores"])
    every = Responses(tmp_path / "20000", "scores").read(whole["record"], whole["scores"])
    for name, scores in some.items():
        assert scores.tolist() == every[name][:4].tolist()
    none = run_alone(job_for(datasets, tmp_path / "0", scored_events=0))
    assert "scores" not in none and not (tmp_path / "0" / "scores").exists()
    searched = run_alone(job_for(datasets, tmp_path / "search", phase="search"))
    assert "scores" not in searched and not (tmp_path / "search" / "scores").exists()


def test_scores_that_cannot_be_kept_are_no_failed_trial(datasets, tmp_path):
    (tmp_path / "scores").write_text("no folder")
    record = run_alone(job_for(datasets, tmp_path))
    assert record["outcome"] == "finished" and "scores" not in record and "scores" in record["no_scores"]
    logits = torch.tensor([[1e6], [-1e6], [0.5]])
    facts = evaluation(job_for(datasets, tmp_path / "far"), logits, torch.tensor([1.0, 0.0, 0.0]))
    scores = Responses(tmp_path / "far", "scores").read(job_for(datasets, tmp_path).trial.hash, facts["scores"])
    assert scores["signal"].tolist() == [65504.0] and scores["background"].tolist() == [-65504.0, 0.5]


@pytest.mark.parametrize("more", [{"represented_events": 0}, {"sizes": (20, 40)}])
def test_other_networks_keep_nothing(datasets, tmp_path, more):
    record = run_alone(job_for(datasets, tmp_path, **more))
    assert record["outcome"] == "finished" and "representation" not in record
    assert not (tmp_path / "representations").exists()


def test_a_record_says_why_its_representation_is_missing(datasets, tmp_path):
    (tmp_path / "representations").write_text("no folder")
    record = run_alone(job_for(datasets, tmp_path, represented_events=7))
    assert record["outcome"] == "finished" and "representation" not in record
    assert "representations" in record["no_representation"]


def test_the_width_of_the_network_is_that_of_the_study(datasets, tmp_path):
    job = job_for(datasets, tmp_path, represented_events=7)
    record = run_alone(replace(job, network=Network(hidden=8)))
    layers = Responses(tmp_path, "representations").read(record["record"], record["representation"])
    assert {layer.shape[1] for layer in layers.values()} == {8} and record["kernel"] == "torch"


def test_the_same_trial_gives_the_same_numbers(small, events, tmp_path):
    first, second = (run_alone(job_for(events, tmp_path / name, small=small)) for name in ("one", "two"))
    for key in ("metrics", "validation_loss", "best_epoch"):
        assert first[key] == second[key]


def test_a_search_trial_never_sees_a_test_event(small, events, tmp_path):
    record = run_alone(job_for(events, tmp_path, small=small, phase="search"))
    assert record["outcome"] == "finished" and math.isfinite(record["validation_loss"])
    assert not [key for key in (*record, *record["metrics"]) if key.startswith("test_")]


def test_a_pruned_search_trial_stops_and_is_no_result(small, events, tmp_path):
    job = job_for(events, tmp_path, small=small, phase="search", epochs=6)
    record = run_alone(replace(job, limits=(math.inf, 0.0, 0.0, 0.0, 0.0, 0.0)))
    assert record["outcome"] == "stopped" and "pruned after epoch 2" in record["reason"]
    assert len(record["curve"]) == record["epochs"] == 2 and record["device_seconds"] > 0
    whole = run_alone(replace(job, ledger=tmp_path / "whole", limits=(math.inf,) * 5 + (0.0,)))
    assert whole["outcome"] == "finished" and whole["epochs"] == 6  # at the last epoch there is nothing to save


def test_a_loss_that_is_not_finite_is_recorded_and_final(small, events, tmp_path):
    record = run_alone(job_for(events, tmp_path, small=small, learning_rate=1e30))
    assert record["outcome"] == "failed" and record["reason"].startswith("NonFinite") and not record["retry"]
    assert Ledger(tmp_path).refresh().get(record["record"])["reason"] == record["reason"]


def test_too_few_events_are_recorded_with_the_way_out(small, events, tmp_path):
    record = run_alone(job_for(events, tmp_path, small.cell(size=5000), small=small))
    assert record["outcome"] == "failed" and "5,000 events asked for" in record["reason"]


def test_two_studies_that_grow_one_recipe_train_each_on_what_it_planned(small, events, tmp_path):
    """The first has planned two shards when the second completes three of the same folder, before the first trains."""
    name = small.names[0]
    shutil.copytree(events[name].folder.parent, tmp_path / "grown" / name)
    (larger,) = made(tmp_path / "grown", name, shards=3).values()
    planned = store.complete(small_recipe(name), tmp_path / "grown", 2)
    assert planned.folder == larger.folder and planned.hash == events[name].hash != larger.hash
    alone = run_alone(job_for(events, tmp_path / "alone", small=small))
    beside = run_alone(job_for({**events, name: planned}, tmp_path / "beside", small=small))
    after = run_alone(job_for({**events, name: larger}, tmp_path / "after", small=small))
    assert beside["record"] == alone["record"] != after["record"]
    assert {"test_accuracy", "test_loss"} <= set(alone["metrics"])
    for key in ("metrics", "validation_loss", "test_events"):
        assert beside[key] == alone[key]
    assert after["test_events"] > alone["test_events"]


def test_a_missing_dataset_may_be_tried_again(small, events, tmp_path):
    job = job_for(events, tmp_path, small=small)
    gone = replace(job, datasets={n: replace(found, folder=tmp_path / "gone") for n, found in job.datasets.items()})
    record = run_alone(gone)
    assert record["outcome"] == "failed" and record["retry"] and "gone" in record["reason"]


def test_a_lost_trial_is_recorded_with_what_it_cost(datasets, tmp_path):
    job = job_for(datasets, tmp_path)
    ledger = Ledger(tmp_path)
    with ledger.claim(job.trial.hash):
        sum(range(3_000_000))
    ledger.write([lost_record(job, "its worker died")])
    found = ledger.get(job.trial.hash)
    assert found["outcome"] == "failed" and found["retry"] and found["wasted_seconds"] > 0.0
