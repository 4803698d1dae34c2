"""The three stages on real events, real Ray and a real ledger: they do what is missing, once, and find the rest."""

import json
import shutil
from dataclasses import replace

import pytest
from stages.driving import driving

from breakeven.estimate.budget import Budget, OverBudget
from breakeven.events import store
from breakeven.events.arrays import open_arrays
from breakeven.events.sampling import TooFewEvents
from breakeven.ledger.ledger import Ledger
from breakeven.places import Places
from breakeven.stages.generation import recipes_of
from breakeven.study.spec import Finetuning, Generation, Pretraining, Search, Study

pytestmark = pytest.mark.filterwarnings("default")  # Ray's own warnings are not ours to mend

STUDY = Study(
    name="tiny",
    generation=Generation(events_per_process=120, shard_events=60),
    pretraining=Pretraining(objectives=("multiclass",), processes=("WH", "ZH"), epochs=2, batch_size=32, workers=1),
    finetuning=Finetuning(tasks=("WH_vs_ZH",), strategies=("finetune",), sizes=(20,), seeds=1, epochs=2, steps=0,
                          batch_size=16, validation_events=10),
    search=Search(trials=0),
)  # fmt: skip
NO_PRETRAINING = replace(STUDY, pretraining=Pretraining(objectives=()))
LITTLE = 1e-3
"""Device-seconds that nothing fits into."""


def with_events(runs, datasets):
    """A runs folder that has the events of the session, their arrays too, and nothing else."""
    for dataset in datasets.values():
        open_arrays(dataset)
    root = next(iter(datasets.values())).folder.parents[1]
    shutil.copytree(root, Places(runs, "tiny").datasets)
    return runs


def records(runs, level):
    return [record for record in Ledger(Places(runs, "").ledger).refresh().records() if record["level"] == level]


@pytest.fixture(scope="module")
def finished(datasets, tmp_path_factory):
    """Runs folder of a study whose three stages ran once; one shard of ZH was missing when it began."""
    runs = with_events(tmp_path_factory.mktemp("finished"), datasets)
    (recipe,) = (recipe for recipe in recipes_of(STUDY) if recipe.source.name == "ZH")
    shard = store.shard_path(recipe.folder(Places(runs, "tiny").datasets), 1)
    shard.unlink()
    with driving(STUDY, runs) as driver:
        driver.finetune()
        assert driver.started_ray
    assert shard.exists()
    return runs


@pytest.fixture
def runs(finished, tmp_path):
    """A copy of the finished study's runs folder."""
    return shutil.copytree(finished, tmp_path / "runs")


def test_each_stage_leaves_one_record_of_each_piece_of_work(finished, datasets):
    events, (backbone,), trials = (records(finished, level) for level in ("generation", "pretraining", "trial"))
    assert {record["record"] for record in events} == {dataset.hash for dataset in datasets.values()}
    assert backbone["outcome"] == "finished" and len(backbone["curve"]) == 2
    assert {trial["strategy"]: trial["outcome"] for trial in trials} == {"scratch": "finished", "finetune": "finished"}
    assert {trial["backbone"] for trial in trials} == {"", backbone["backbone"]}
    places = Places(finished, "tiny")
    members = json.loads((places.folder / "records.json").read_text())
    assert sorted(members) == sorted(record["record"] for record in (*events, backbone, *trials))
    assert json.loads((places.folder / "missing.json").read_text()) == {}


def test_a_second_driver_finds_all_and_needs_no_cluster(runs):
    before = Ledger(Places(runs, "").ledger).refresh().records()
    with driving(STUDY, runs, Budget(LITTLE)) as driver:
        members = driver.finetune()
        assert not driver.started_ray and driver.driver.budget.spent == 0.0
    assert sorted(members) == sorted(record["record"] for record in before)
    assert Ledger(Places(runs, "").ledger).refresh().records() == before
    assert sorted(driver.told) == sorted(members), "what is there already is told once"


def test_events_are_recorded_once_and_made_only_within_the_budget(datasets, tmp_path):
    runs = with_events(tmp_path / "runs", datasets)
    for _ in range(2):
        with driving(NO_PRETRAINING, runs, Budget(LITTLE)) as driver:
            found = driver.generate()
            assert {name: one.hash for name, one in found.items()} == {n: one.hash for n, one in datasets.items()}
            assert not driver.started_ray
    assert sorted(record["process"] for record in records(runs, "generation")) == ["WH", "ZH"]
    shutil.rmtree(found["ZH"].folder)
    with (
        driving(NO_PRETRAINING, runs, Budget(LITTLE)) as driver,
        pytest.raises(OverBudget, match=r"generating the events takes about .* it was not started"),
    ):
        driver.generate()
    assert not driver.started_ray and not found["ZH"].folder.exists()


def test_a_size_that_the_split_does_not_hold_is_told_before_pretraining(datasets, tmp_path):
    study = replace(NO_PRETRAINING, finetuning=replace(STUDY.finetuning, sizes=(10, 100)))
    with (
        driving(study, with_events(tmp_path / "runs", datasets)) as driver,
        pytest.raises(TooFewEvents, match=r"asks for 100 training events a class, but WH has \d+; raise generation"),
    ):
        driver.generate()


def test_a_study_without_pretraining_has_no_backbone(datasets, tmp_path):
    with driving(NO_PRETRAINING, with_events(tmp_path / "runs", datasets)) as driver:
        made = driver.pretrain()
        assert not driver.started_ray
    assert made.backbones == {} and set(made.datasets) == {"WH", "ZH"}
    assert sorted(made.records) == sorted(dataset.hash for dataset in datasets.values())


def test_a_pretraining_that_does_not_fit_into_the_budget_is_not_started(datasets, tmp_path):
    runs = with_events(tmp_path / "runs", datasets)
    with (
        driving(STUDY, runs, Budget(LITTLE)) as driver,
        pytest.raises(OverBudget, match="multiclass pretraining takes"),
    ):
        driver.pretrain()
    assert not driver.started_ray and records(runs, "pretraining") == []


def test_a_backbone_whose_weights_are_gone_is_not_taken_for_done(runs):
    shutil.rmtree(Places(runs, "tiny").backbones)
    with (
        driving(STUDY, runs, Budget(LITTLE)) as driver,
        pytest.raises(OverBudget, match="multiclass pretraining takes"),
    ):
        driver.pretrain()


def test_trials_that_no_budget_is_left_for_are_told_as_missing(runs, capsys):
    grown = replace(STUDY, finetuning=replace(STUDY.finetuning, seeds=3))
    with driving(grown, runs, Budget(LITTLE)) as driver:
        members = driver.finetune()
    missing = json.loads((Places(runs, "tiny").folder / "missing.json").read_text())
    assert missing == {"WH_vs_ZH/none/scratch/20": 2, "WH_vs_ZH/multiclass/finetune/20": 2}
    assert "4 trials in 2 cells are missing; the same command goes on" in capsys.readouterr().out
    assert len(records(runs, "trial")) == 2 and len(members) == 3 + 6
