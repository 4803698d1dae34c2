"""Hashes that must never change by accident: a new one orphans the datasets and the records that stand on them."""

import numpy as np
import pytest

from breakeven.events import objects, schema, store
from breakeven.events.catalogue import source
from breakeven.events.simulated import Simulated
from breakeven.physics import generator
from breakeven.physics.detector import Objects
from breakeven.physics.truth import Truth


@pytest.fixture(autouse=True)
def the_versions_of_then(monkeypatch):
    monkeypatch.setattr(generator, "versions", lambda: {"pythia8mc": "8.317.2", "physics": "1"})


@pytest.mark.parametrize(
    ("process", "default", "other"),
    [
        ("WH", "a079595242336fd9", "95ab729e3acfa135"),
        ("tHq", "a8f446cab3659fe7", "86e5de9daeb29a15"),
        ("ttH_yy_odd", "1cfbde40a7a957e3", "9986fb3d2318ef39"),
        ("FCNC", "6054ef8dfc275058", "cae8a70152c7238a"),
        ("stop_pair", "bec2d1a67ea091af", "0d58b022213c17d3"),
    ],
)
def test_recipes(process, default, other):
    assert store.Recipe(source(process)).hash == default
    assert store.Recipe(source(process, mpi=True), seed=2, shard_events=60).hash == other


def test_recipe_of_a_users_file(tmp_path):
    file = tmp_path / "events.lhe"
    file.write_text("<LesHouchesEvents version='1.0'>one</LesHouchesEvents>")
    mine = source("mine", lhe=str(file))
    assert isinstance(mine, Simulated) and mine.kind == "lhe"
    assert store.Recipe(mine).hash == "f19695019145f5b8"


def test_seed_of_a_shard():
    assert store.Recipe(source("WH")).shard_seed(3) == 682109699


def test_content_of_events():
    reconstructed = Objects(
        counts=np.array([2, 1, 3]),
        kind=np.array([0, 4, 4, 1, 2, 4], np.int8),
        pt=np.array([30.5, 12, 7, 40, 20.25, 15], np.float32),
        eta=np.array([0.5, 0, 0, -1.25, 2, 0], np.float32),
        phi=np.array([1, -2, 3, 0.5, -0.5, 0], np.float32),
        b_tag=np.array([1, 0, 0, 0, 0, 0], np.int8),
        charge=np.array([0, 0, 0, -1, 1, 0], np.int8),
    )
    heavy = np.array([[100, 0.5, 1], [np.nan] * 3, [50, -1, 2]], np.float32)
    true = Truth(
        n_higgs=np.array([1, 0, 1], np.int8),
        n_top=np.array([0, 2, 1], np.int8),
        n_w=np.array([1, 2, 1], np.int8),
        n_z=np.array([0, 0, 1], np.int8),
        higgs=heavy,
        top1=heavy[::-1].copy(),
        top2=heavy * 0,
    )
    table = objects.to_table(reconstructed, true, np.array([7, 8, 9]))
    assert schema.content_hash(table, objects.OBJECTS) == "3b53a11f258c32b6"
    assert schema.content_hash(table.slice(1), objects.OBJECTS) == schema.content_hash(
        objects.to_table(objects.objects_of(table.slice(1)), objects.truth_of(table.slice(1)), np.array([8, 9])),
        objects.OBJECTS,
    )
