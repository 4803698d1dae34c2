"""One real MLflow database for all tests of the room, with an experiment for each."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tracking.studies import Experiment


@pytest.fixture(scope="session")
def database(empty_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copy(empty_database, tmp_path_factory.mktemp("tracking") / "mlflow.db"))


@pytest.fixture
def experiment(database: Path, request: pytest.FixtureRequest) -> Experiment:
    return Experiment(database, request.node.name)


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """MLflow drops ./mlruns where it is not told better; no test may leave one behind."""
    monkeypatch.chdir(tmp_path)
    yield
    assert not (tmp_path / "mlruns").exists()
