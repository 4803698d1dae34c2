"""What several tests stand on, each made once a session: a small set of real events, an MLflow database; and who runs them."""

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
SHARED = ("sample", "empty_database")
"""Fixtures that take long to make: with several workers, one runs all tests that stand on one of them."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tell pytest-xdist which tests go to one worker: those of a group of their own, of a shared fixture, of a module."""
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            shared = [name for name in SHARED if name in getattr(item, "fixturenames", ())]
            item.add_marker(pytest.mark.xdist_group(shared[0] if shared else item.nodeid.partition("::")[0]))


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


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new MLflow database, to be copied: MLflow takes seconds to make one."""
    from breakeven.tracking import prepare  # here, as MLflow takes seconds to import

    path: Path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    prepare(f"sqlite:///{path}")
    return path
