"""What several tests stand on, each made once a session: a small set of real events, an MLflow database; and who runs them."""

import os
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("RAY_AUTH_MODE", "token")
os.environ.setdefault("TRITON_INTERPRET", "1")  # read once, when Triton is first imported, by whichever test
# pytest's readline sets both for the workers of pytest-xdist, and pages would be narrower there.
os.environ.pop("COLUMNS", None)
os.environ.pop("LINES", None)

from breakeven.events import store
from breakeven.events.simulated import Simulated
from breakeven.physics.processes import CATALOGUE

SHARD_EVENTS = 60
TOGETHER = {
    "tests/distributed/test_on_ray.py": "ray",
    "tests/stages/": "ray",
    "tests/physics/": "physics",
    "tests/tracking/": "mlflow",
    "tests/test_publish.py": "mlflow",
}
"""What one worker of pytest-xdist runs: one cluster at a time, and what shares events or a database that take long to make."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give each worker whole modules, or all modules that belong together, in their order; `--dist` is not asked."""
    from xdist.scheduler import LoadScopeScheduling

    class ByRoom(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            module = nodeid.partition("::")[0]
            return next((group for path, group in TOGETHER.items() if module.startswith(path)), module)

    config.option.loadscopereorder = False  # the group with the fewest tests takes longest: it must not come last
    return ByRoom(config, log)


def small_recipe(process: str, seed: int = 1) -> store.Recipe:
    """A recipe whose shards take a third of a second."""
    return store.Recipe(Simulated(CATALOGUE[process]), seed=seed, shard_events=SHARD_EVENTS)


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
