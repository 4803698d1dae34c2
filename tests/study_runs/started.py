"""Studies as a user starts them: a command in a process of its own, watched, killed and started again."""

import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import psutil
import pytest

from breakeven.ledger.ledger import Ledger
from breakeven.physics.processes import PRETRAINING
from breakeven.study import plan
from breakeven.study.spec import Study

ROOT = Path(__file__).parents[2]
LONGEST = 600.0
"""Seconds after which a study counts as hanging."""


@dataclass(frozen=True)
class Example:
    """A study file of the repository, whose smoke preset the tests run."""

    file: str

    @cached_property
    def smoke(self) -> Study:
        """That preset."""
        study: Study = runpy.run_path(str(ROOT / self.file))["PRESETS"]["smoke"]
        return study

    @property
    def name(self) -> str:
        """Of the study."""
        return self.smoke.name

    @property
    def processes(self) -> int:
        """That it generates."""
        return len(plan.processes(self.smoke, PRETRAINING))

    @property
    def events(self) -> int:
        """Of all processes."""
        return self.processes * self.smoke.generation.events_per_process

    @property
    def cells(self) -> int:
        """Tasks x sizes x ways to learn one."""
        study, tuning = self.smoke, self.smoke.finetuning
        ways = 1 + len(study.pretrainings_by_name()) * len(tuning.strategies)
        networks = len(study.networks_by_name())
        return len(tuning.tasks) * len(tuning.sizes) * (networks * ways + len(tuning.baselines))

    def trials(self, seeds: int = 0) -> int:
        """Reported and search trials. seeds: others than the preset's."""
        study, tuning, search = self.smoke, self.smoke.finetuning, self.smoke.search
        searched = len(tuning.tasks) * len(tuning.sizes) * len(study.networks_by_name()) * len(search.strategies)
        return self.cells * (seeds or tuning.seeds) + searched * search.trials * search.seeds

    def __str__(self) -> str:
        return Path(self.file).stem


SCALING, JOINT = Example("studies/scaling.py"), Example("studies/joint_analysis.py")
both = pytest.mark.parametrize("example", [SCALING, JOINT], ids=str, indirect=True)
"""Of a test that is run with either by `make test-all`; of the others, with jets by `make endurance`."""


class Command:
    """A running command with its output in a file, and all the processes that it has started."""

    def __init__(self, words: Iterable[str | Path], output: Path, environment: Mapping[str, str]) -> None:
        self.output = output
        self._family: dict[int, psutil.Process] = {}
        with output.open("w") as file:
            self.popen = subprocess.Popen(
                [str(word) for word in words], cwd=ROOT, env={**os.environ, **environment}, text=True,
                stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True,
                preexec_fn=_hear_ctrl_c,
            )  # fmt: skip

    @property
    def said(self) -> str:
        """Standard output and standard error so far."""
        return self.output.read_text()

    def ends(self) -> int:
        """Wait for the end; the exit status."""
        self.until(lambda: self.popen.poll() is not None)
        self.clean()
        return self.popen.returncode

    def until(self, happens: Callable[[], object]) -> None:
        """Wait until `happens` is true; fails when the command ends before, or takes longer than any study may."""
        begun = time.monotonic()
        while not happens():
            self.family()
            assert self.popen.poll() is None or happens(), f"it ended too early:\n{self.said}"
            assert time.monotonic() - begun < LONGEST, f"nothing came of it:\n{self.said}"
            time.sleep(0.05)

    def family(self) -> list[psutil.Process]:
        """Living processes that this command has started, and theirs."""
        try:
            for child in psutil.Process(self.popen.pid).children(recursive=True):
                self._family.setdefault(child.pid, child)
        except psutil.NoSuchProcess:
            pass  # it has ended: what is known of its family stays known
        return [process for process in self._family.values() if process.is_running()]

    def named(self, title: str | tuple[str, ...]) -> list[psutil.Process]:
        """Living processes of this command whose command line begins with `title`, or one of several."""
        return [process for process in self.family() if _title(process).startswith(title)]

    def kill(self) -> None:
        """kill -9 of the command itself, nothing else; then wait until its Ray has noticed."""
        self.family()
        assert self.popen.poll() is None, f"it ended before it could be killed:\n{self.said}"
        self.popen.kill()
        self.popen.wait()
        self.clean()

    def crash(self) -> None:
        """kill -9 of the command and all that it has started, as when its machine goes down."""
        for process in [psutil.Process(self.popen.pid), *self.family()] if self.popen.poll() is None else self.family():
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.popen.wait()
        self.clean()

    def clean(self) -> None:
        """Wait for all that the command started to end by itself, and end what does not."""
        for process in psutil.wait_procs(self.family(), timeout=30)[1]:
            process.kill()
        psutil.wait_procs(list(self._family.values()), timeout=30)


def study(example: Example, runs: Path, *more: str, **environment: str) -> Command:
    """Start a smoke study as the README says, with results below `runs`."""
    words = (sys.executable, example.file, "--preset", "smoke", "--runs-dir", runs, *more)
    clean = {"MLFLOW_TRACKING_URI": "", "RAY_ADDRESS": "", "RAY_AUTH_MODE": "token"}
    return Command(words, runs.with_suffix(".log"), {**clean, **environment})


def trials(runs: Path) -> list[dict]:
    """The records of all trials, one for each that is known to the ledger."""
    ledger = Ledger(runs / "shared" / "ledger").refresh()
    assert not ledger.problems
    return [record for record in ledger.records() if record["level"] == "trial"]


def files(runs: Path) -> dict[str, tuple[int, bytes]]:
    """All record files below `runs`: time of change and content by name."""
    found = sorted((runs / "shared" / "ledger" / "records").glob("*.json"))
    return {file.name: (file.stat().st_mtime_ns, file.read_bytes()) for file in found}


def assert_each_once(runs: Path, expected: int, before: Mapping[str, tuple[int, bytes]] | None = None) -> None:
    """So many trials have one finished record each in one file; files of `before` are as they were."""
    found = trials(runs)
    assert len(found) == expected and all(record["outcome"] == "finished" for record in found)
    now = files(runs)
    names = [name.rpartition("-")[0] for name in now]
    assert len(set(names)) == len(names), "a record was written twice"
    assert {name: now[name] for name in before or {}} == (before or {})


def _hear_ctrl_c() -> None:
    """As in a terminal, even where these tests were started in the background, which ignores Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
