"""Events of jets as bad as they may be, through whole trainings: each ends with figures that are numbers."""

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from jet_tables import by_hand, given
from jetclass_files import changed, plain_columns, write
from queues import run_alone
from small_studies import SMALL

from breakeven.events import store
from breakeven.events.catalogue import source
from breakeven.ledger.ledger import Ledger
from breakeven.study.plan import Cell, Ingredients, trial
from breakeven.study.spec import task
from breakeven.training.content import content_hash
from breakeven.training.workers import ALONE
from breakeven.work.job import TrialJob
from breakeven.work.pretraining import train_share

JETS = SMALL[1]
SIGNAL, BACKGROUND = JETS.names
N_JETS = [2, 0, 1, 3, 1, 5]
"""Of an event in turn: most classes of events that no analysis would keep are among them."""
INSIDE = [3, 0, 1, 40, 0, 2, 7]
"""Constituents of a jet in turn; one jet in all has 500."""


def bad_events(name: str, root: Path, weights: np.ndarray | None = None) -> store.Dataset:
    """120 events without jets, with one and with five, of jets without constituents, with one and with 500; some tracks have an
    impact parameter and no error: an infinite significance. Weights lie between 1e-6 and 1 pb where no others are given.
    """
    n_jets = (N_JETS * 20)[:120]
    inside = (INSIDE * sum(n_jets))[: sum(n_jets)]
    inside[0] = 500
    random, n = np.random.default_rng(len(name)), sum(inside)
    track = random.random(n) < 0.5
    columns = {
        "constituent_pt": random.exponential(20, n).astype(np.float32),
        "constituent_d_eta": random.normal(0, 0.2, n).astype(np.float32),
        "constituent_d_phi": random.normal(0, 0.2, n).astype(np.float32),
        "constituent_d0": np.where(track, random.normal(0, 1, n), 0).astype(np.float32),
        "constituent_d0_error": np.where(track & (random.random(n) < 0.5), 0.05, 0).astype(np.float32),
        "constituent_charge": track.astype(np.int8),
        "constituent_kind": np.where(track, 0, 2).astype(np.int8),
        "weight": np.geomspace(1e-6, 1, 120).astype(np.float32) if weights is None else weights,
    }
    return given(root, name, by_hand(n_jets, inside, **columns))


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> dict[str, store.Dataset]:
    root = tmp_path_factory.mktemp("bad")
    return {name: bad_events(name, root) for name in JETS.names}


@pytest.fixture(scope="module")
def backbone(bad: dict[str, store.Dataset], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pretrained on all jets of these events."""
    return pretrained(bad, tmp_path_factory.mktemp("xbb"))


def pretrained(events: dict[str, store.Dataset], folder: Path) -> Path:
    job = JETS.pretraining_job(events, folder, learning_rate=1e-3)
    Ledger(job.ledger).refresh()
    train_share(job, ALONE, "cpu", None, lambda epoch, checkpoint: None, folder / "progress.json")
    assert all(math.isfinite(epoch["validation_loss"]) for epoch in json.loads((folder / "progress.json").read_text()))
    return job.backbone


def trained(
    events: Mapping[str, store.Dataset],
    folder: Path,
    cell: Cell,
    representation: str = "V",
    backbone: Path | None = None,
) -> dict:
    """The record of a trial on these events."""
    study = replace(JETS.study, network=replace(JETS.study.network, representation=representation))
    backbones = {"xbb": (content_hash(backbone),)} if backbone else {}
    of_trial = trial(
        study, cell, "confirm", 1, 0.3, Ingredients({name: one.hash for name, one in events.items()}, backbones)
    )
    return run_alone(TrialJob(of_trial, study.network, study.finetuning, dict(events), backbone, folder, "cpu", "abc"))


def assert_finite(record: dict) -> None:
    assert record["outcome"] == "finished", record.get("reason")
    assert record["metrics"] and all(math.isfinite(value) for value in record["metrics"].values())


@pytest.mark.parametrize(
    ("strategy", "representation"),
    [("scratch", "V"), ("frozen", "S+HLF"), ("finetune", "V+HLF"), ("trees", "V"), ("trees+score", "S+HLF")],
)
def test_jets_of_any_size_events_of_no_jets_and_infinite_significances_are_learnt(
    bad: dict[str, store.Dataset], backbone: Path, tmp_path: Path, strategy: str, representation: str
) -> None:
    cell = JETS.cell(strategy)
    assert_finite(trained(bad, tmp_path, cell, representation, backbone if cell.backbone else None))


def test_weights_over_six_orders_of_magnitude_change_no_figure_of_events_that_count_one_each(
    bad: dict[str, store.Dataset], tmp_path: Path
) -> None:
    equal = {name: bad_events(name, tmp_path / "equal", np.ones(120, np.float32)) for name in JETS.names}
    spread, even = (
        trained(events, tmp_path / name, JETS.cell()) for name, events in (("spread", bad), ("even", equal))
    )
    assert_finite(spread)
    assert spread["record"] != even["record"], "they are other events"
    for figure in ("test_auc", "test_accuracy", "test_loss"):
        assert spread["metrics"][figure] == even["metrics"][figure]


def test_a_slice_of_two_events_beside_one_of_many(bad: dict[str, store.Dataset], tmp_path: Path) -> None:
    """As one that hardly a collision passes: it has its share of the class, which may be none of a split."""
    few = given(tmp_path, "QCD_1000", by_hand([1, 2], [2, 1, 3]))
    whole = Cell(task(f"{SIGNAL}_vs_{BACKGROUND}+QCD_1000"), "none", "scratch", 20)
    assert_finite(trained({**bad, "QCD_1000": few}, tmp_path, whole))


def test_a_users_jets_of_any_size_are_learnt(tmp_path: Path) -> None:
    """From ROOT files; a jet without constituents is left out there, and the hardest 100 are kept of 500."""
    made = {}
    for name, label in (("mine", "label_Hbb"), ("theirs", "label_QCD")):
        columns = changed(plain_columns([3, 500, 1, 0, 12] * 30, label), "part_d0err", 0, 0.0)
        path = write(tmp_path / f"{name}.root", changed(columns, "part_d0val", 0, 5.0))
        recipe = store.Recipe(source(name, jetclass=str(path)), shard_events=120)
        store.make_shard(recipe, tmp_path / "data", 0)
        made[name] = store.complete(recipe, tmp_path / "data", 1)
    start = pretrained(made, tmp_path / "xbb")
    assert_finite(trained(made, tmp_path, Cell(task("mine_vs_theirs"), "xbb", "finetune", 20), "S+HLF", start))
