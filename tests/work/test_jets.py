"""Trees of an analyst on events of jets, by way of a trial as any other."""

from pathlib import Path

import numpy as np
import pytest
from queues import run_alone

from breakeven.events import store
from breakeven.events.catalogue import source
from breakeven.study.plan import Cell, Ingredients, trial
from breakeven.study.spec import Finetuning, Network, Study, task
from breakeven.work.job import TrialJob
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


def test_variables_of_whole_events_and_of_jets_have_versions_of_their_own(
    made: dict[str, store.Dataset], datasets: dict[str, store.Dataset]
) -> None:
    assert variables_versions({**made, **datasets}) == {**dict.fromkeys(NAMES, "jets 1"), "WH": "1", "ZH": "1"}
