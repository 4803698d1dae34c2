"""The smoke study of either file once, from nothing; what the tests stand on are copies of it."""

import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from study_runs.started import JOINT, SCALING, Command, Example, study

Finished = tuple[Path, Command]
"""Runs folder of a finished study, and the command that made it."""


@pytest.fixture(scope="module", params=[SCALING, pytest.param(JOINT, marks=pytest.mark.endurance)], ids=str)
def example(request: pytest.FixtureRequest) -> Example:
    """The study of whole events, and that of jets."""
    found: Example = request.param
    return found


@pytest.fixture(scope="session")
def finished_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Example], Finished]:
    """A function that runs the smoke study of a file, at its first call."""

    @cache
    def run(example: Example) -> Finished:
        runs = tmp_path_factory.mktemp("finished") / "runs"
        command = study(example, runs)
        assert command.ends() == 0, command.said
        return runs, command

    return run


@pytest.fixture
def finished(example: Example, finished_of: Callable[[Example], Finished]) -> Finished:
    """The finished smoke study."""
    return finished_of(example)


@pytest.fixture
def copy(finished: Finished, tmp_path: Path) -> Path:
    """A copy of the finished study."""
    return Path(shutil.copytree(finished[0], tmp_path / "runs"))


@pytest.fixture
def prepared(finished: Finished, tmp_path: Path) -> Path:
    """A runs folder where events and backbone are there, and no trial yet."""
    runs = Path(shutil.copytree(finished[0] / "shared", tmp_path / "runs" / "shared")).parent
    for file in (runs / "shared" / "ledger" / "records").iterdir():
        if json.loads(file.read_text())[0]["level"] == "trial":
            file.unlink()
    for file in (runs / "shared" / "ledger" / "reservations").glob("*-finetuning.json"):
        file.unlink()  # of the trials that are gone
    return runs


@pytest.fixture
def starting() -> Callable[[Command], Command]:
    """Remembers commands and ends, with the test, what is left of them."""
    started: list[Command] = []

    def remember(command: Command) -> Command:
        started.append(command)
        return command

    yield remember
    for command in started:
        if command.popen.poll() is None:
            command.popen.kill()
            command.popen.wait()
        command.clean()
