"""What several tests stand on, each made once a session: small sets of real events, an MLflow database; and who runs them."""

import fcntl
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("RAY_AUTH_MODE", "token")
os.environ.setdefault("TRITON_INTERPRET", "1")  # read once, when Triton is first imported, by whichever test
# pytest's readline sets both for the workers of pytest-xdist, and pages would be narrower there.
os.environ.pop("COLUMNS", None)
os.environ.pop("LINES", None)

from small_studies import SMALL, Small, made

from breakeven.events import store

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


@pytest.fixture(scope="module", params=SMALL, ids=str)
def small(request: pytest.FixtureRequest) -> Small:
    """The study of whole events, and that of jets."""
    found: Small = request.param
    return found


@pytest.fixture(scope="session")
def events_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Small], dict[str, store.Dataset]]:
    """A function from a small study to its events: two shards each of its signal and background, 120 real events a process.

    They are made once for all workers of pytest-xdist: those of jets take seconds.
    """
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    @cache
    def make(small: Small) -> dict[str, store.Dataset]:
        with (shared / f"{small}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            return made(shared / f"{small}-events", *small.names)

    return make


@pytest.fixture(scope="session")
def datasets(events_of: Callable[[Small], dict[str, store.Dataset]]) -> dict[str, store.Dataset]:
    """Two shards each of WH and ZH."""
    return events_of(SMALL[0])


@pytest.fixture(scope="module")
def events(small: Small, events_of: Callable[[Small], dict[str, store.Dataset]]) -> dict[str, store.Dataset]:
    """Those of the small study."""
    return events_of(small)


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new MLflow database, to be copied: MLflow takes seconds to make one."""
    from breakeven.tracking import prepare  # here, as MLflow takes seconds to import

    path: Path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    prepare(f"sqlite:///{path}")
    return path
