"""The three stages on real events, real Ray and a real ledger: they do what is missing, once, and find the rest."""

import json
import shutil
from dataclasses import replace

import pytest
from small_studies import SMALL, Small
from stages.driving import driving

from breakeven.estimate.budget import Budget, OverBudget
from breakeven.events import store
from breakeven.events.arrays import open_arrays
from breakeven.events.sampling import TooFewEvents
from breakeven.ledger.ledger import Ledger
from breakeven.places import Places
from breakeven.stages.generation import recipes_of
from breakeven.study.spec import Pretraining, Study

pytestmark = [
    pytest.mark.filterwarnings("default"),  # Ray's own warnings are not ours to mend
    pytest.mark.parametrize(
        "small", [SMALL[0], pytest.param(SMALL[1], marks=pytest.mark.slow)], ids=str, indirect=True
    ),
]

LITTLE = 1e-3
"""Device-seconds that nothing fits into."""


def without_pretraining(small: Small) -> Study:
    return replace(small.study, pretraining=Pretraining(objectives=()))


def with_events(runs, events):
    """A runs folder that has the events of the session, their arrays too, and nothing else."""
    for dataset in events.values():
        open_arrays(dataset)
    root = next(iter(events.values())).folder.parents[1]
    shutil.copytree(root, Places(runs, "").datasets)
    return runs


def records(runs, level):
    return [record for record in Ledger(Places(runs, "").ledger).refresh().records() if record["level"] == level]


@pytest.fixture(scope="module")
def finished(small, events, tmp_path_factory):
    """Runs folder of a study whose three stages ran once; one shard of its background was missing when it began."""
    runs = with_events(tmp_path_factory.mktemp("finished"), events)
    (recipe,) = (recipe for recipe in recipes_of(small.study) if recipe.source.name == small.names[1])
    shard = store.shard_path(recipe.folder(Places(runs, "").datasets), 1)
    shard.unlink()
    with driving(small.study, runs) as driver:
        driver.finetune()
        assert driver.started_ray
    assert shard.exists()
    return runs


@pytest.fixture
def runs(finished, tmp_path):
    """A copy of the finished study's runs folder."""
    return shutil.copytree(finished, tmp_path / "runs")


def test_each_stage_leaves_one_record_of_each_piece_of_work(small, finished, events):
    generated, (backbone,), trials = (records(finished, level) for level in ("generation", "pretraining", "trial"))
    assert {record["record"] for record in generated} == {dataset.hash for dataset in events.values()}
    assert backbone["outcome"] == "finished" and len(backbone["curve"]) == 2
    assert {trial["strategy"]: trial["outcome"] for trial in trials} == {"scratch": "finished", "finetune": "finished"}
    assert {trial["backbone"] for trial in trials} == {"", backbone["backbone"]}
    places = Places(finished, small.study.name)
    members = json.loads((places.folder / "records.json").read_text())
    assert sorted(members) == sorted(record["record"] for record in (*generated, backbone, *trials))
    assert json.loads((places.folder / "missing.json").read_text()) == {}


def test_a_second_driver_finds_all_and_needs_no_cluster(small, runs):
    before = Ledger(Places(runs, "").ledger).refresh().records()
    with driving(small.study, runs, Budget(LITTLE)) as driver:
        members = driver.finetune()
        assert not driver.started_ray and driver.driver.budget.spent == 0.0
    assert sorted(members) == sorted(record["record"] for record in before)
    assert Ledger(Places(runs, "").ledger).refresh().records() == before
    assert sorted(driver.told) == sorted(members), "what is there already is told once"


def test_events_are_recorded_once_and_made_only_within_the_budget(small, events, tmp_path):
    runs = with_events(tmp_path / "runs", events)
    for _ in range(2):
        with driving(without_pretraining(small), runs, Budget(LITTLE)) as driver:
            found = driver.generate()
            assert {name: one.hash for name, one in found.items()} == {n: one.hash for n, one in events.items()}
            assert not driver.started_ray
    assert sorted(record["process"] for record in records(runs, "generation")) == sorted(small.names)
    gone = found[small.names[1]].folder
    shutil.rmtree(gone)
    with (
        driving(without_pretraining(small), runs, Budget(LITTLE)) as driver,
        pytest.raises(OverBudget, match=r"generating the events takes about .* it was not started"),
    ):
        driver.generate()
    assert not driver.started_ray and not gone.exists()


def test_a_size_that_the_split_does_not_hold_is_told_before_pretraining(small, events, tmp_path):
    study = replace(without_pretraining(small), finetuning=replace(small.settings, sizes=(10, 100)))
    with (
        driving(study, with_events(tmp_path / "runs", events)) as driver,
        pytest.raises(
            TooFewEvents, match=rf"asks for 100 training events a class, but {small.names[0]} has \d+; raise generation"
        ),
    ):
        driver.generate()


def test_a_study_without_pretraining_has_no_backbone(small, events, tmp_path):
    with driving(without_pretraining(small), with_events(tmp_path / "runs", events)) as driver:
        made = driver.pretrain()
        assert not driver.started_ray
    assert made.backbones == {} and set(made.datasets) == set(small.names)
    assert sorted(made.records) == sorted(dataset.hash for dataset in events.values())


def test_a_pretraining_that_does_not_fit_into_the_budget_is_not_started(small, events, tmp_path):
    runs = with_events(tmp_path / "runs", events)
    with (
        driving(small.study, runs, Budget(LITTLE)) as driver,
        pytest.raises(OverBudget, match=f"{small.objective} pretraining takes"),
    ):
        driver.pretrain()
    assert not driver.started_ray and records(runs, "pretraining") == []


def test_a_backbone_whose_weights_are_gone_is_not_taken_for_done(small, runs):
    shutil.rmtree(Places(runs, small.study.name).backbones)
    with (
        driving(small.study, runs, Budget(LITTLE)) as driver,
        pytest.raises(OverBudget, match=f"{small.objective} pretraining takes"),
    ):
        driver.pretrain()


def test_trials_that_no_budget_is_left_for_are_told_as_missing(small, runs, capsys):
    grown = replace(small.study, finetuning=replace(small.settings, seeds=3))
    with driving(grown, runs, Budget(LITTLE)) as driver:
        members = driver.finetune()
    missing = json.loads((Places(runs, small.study.name).folder / "missing.json").read_text())
    assert missing == {small.cell(strategy).name: 2 for strategy in ("scratch", "finetune")}
    assert "4 trials in 2 cells are missing; the same command goes on" in capsys.readouterr().out
    assert len(records(runs, "trial")) == 2 and len(members) == 3 + 6
