"""What several tests stand on: one small set of real events, made once a session."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("RAY_AUTH_MODE", "token")
# pytest's readline sets both for the workers of pytest-xdist, and pages would be narrower there.
os.environ.pop("COLUMNS", None)
os.environ.pop("LINES", None)

from breakeven.events import store
from breakeven.physics.processes import CATALOGUE

SHARD_EVENTS = 60


def small_recipe(process: str, seed: int = 1) -> store.Recipe:
    """A recipe whose shards take a third of a second."""
    return store.Recipe(CATALOGUE[process], seed=seed, shard_events=SHARD_EVENTS)


@pytest.fixture(scope="session")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, store.Dataset]:
    """Two shards each of WH and ZH: 120 real events a process."""
    root: Path = tmp_path_factory.mktemp("datasets")
    made = {}
    for process in ("WH", "ZH"):
        recipe = small_recipe(process)
        for shard in range(2):
            store.make_shard(recipe, root, shard)
        made[process] = store.complete(recipe, root, 2)
    return made
