"""`breakeven submit`: what it makes of a study file and its arguments, and what it says where there is no cluster."""

import json
import os
import socket
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from breakeven import cli, plugins
from breakeven.cli import main
from breakeven.study.spec import Generation, InvalidStudy, Study
from breakeven.submit import HANDED_ON, _check_files

ROOT = Path(__file__).parents[1]
SCALING = ROOT / "studies" / "scaling.py"
PLUGIN = ROOT / "tests" / "data" / "jet_plugin.py"


def submit(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str | Path
) -> tuple[int | str | None, str]:
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "argv", ["breakeven", "submit", *map(str, words)])
    with pytest.raises(SystemExit) as left:
        main()
    said = capsys.readouterr()
    return left.value.code, said.out + said.err


def test_a_study_file_says_what_it_was_asked_for() -> None:
    asked = cli._asked_of(SCALING, ["--preset", "smoke", "--finetuning.seeds", "5", "--name", "mine"])
    assert (asked.preset, asked.study.name, asked.study.finetuning.seeds) == ("smoke", "mine", 5)
    assert cli._asked_of(SCALING, []).preset == "laptop"


def test_a_file_that_is_no_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (other := tmp_path / "other.py").write_text("print('hello')\n")
    with pytest.raises(InvalidStudy, match="study_main"):
        cli._asked_of(other, [])
    status, said = submit(monkeypatch, capsys, tmp_path / "none.py")
    assert status == 2 and "there is no such file" in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--finetuning.seeds", "0"), "finetuning.seeds"),
        (("--budget", "zz"), "--budget is 'zz': write a time of one device"),
        (("--on", "h200"), "--plan and --on need no cluster"),
        (("--plan",), "--plan and --on need no cluster"),
        (("--preset", "paper"), "generation.reuse is 10"),
        (
            ("--optuna-storage", "sqlite:///ratios.db"),
            "--optuna-storage is 'sqlite:///ratios.db': a job runs in a folder",
        ),
        (("--runs-dir=runs",), "--runs-dir is 'runs': a job runs in a folder"),
        (("--plugin", str(PLUGIN), "tests/data/jet_plugin.py"), "--plugin is 'tests/data/jet_plugin.py': a job runs"),
    ],
)
def test_what_would_fail_in_the_job_is_told_here(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str
) -> None:
    monkeypatch.setenv(plugins.VARIABLE, "")
    monkeypatch.chdir(ROOT)
    status, said = submit(monkeypatch, capsys, SCALING, *words, "--address", "http://127.0.0.1:1")
    assert status == 2 and message in " ".join(said.split())


@pytest.mark.parametrize("given", ["MLFLOW_TRACKING_URI", "--optuna-storage"])
def test_a_password_is_shown_to_nobody(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], given: str
) -> None:
    address, words = "postgresql://me:hidden@db.example/ratios", list[str]()
    if given.startswith("--"):
        words = [f"{given}={address}"]
    else:
        monkeypatch.setenv(given, address)
    status, said = submit(monkeypatch, capsys, SCALING, "--preset", "smoke", *words, "--address", "http://127.0.0.1:1")
    assert status == 2 and f"{given} holds a password" in " ".join(said.split())
    assert "hidden" not in said


def test_files_of_events_are_given_by_whole_paths() -> None:
    for field in ("lhe", "jetclass"):
        with pytest.raises(InvalidStudy, match=rf"generation\.{field}: 'mine' is 'mine\.dat': a job runs in a folder"):
            _check_files(Study(generation=Generation(**{field: {"mine": "mine.dat"}})))
        _check_files(Study(generation=Generation(**{field: {"mine": "/shared/mine.dat"}})))


def test_a_file_of_two_studies(tmp_path: Path) -> None:
    (both := tmp_path / "both.py").write_text(
        "from breakeven.cli import study_main\nfrom breakeven.study.spec import Study\n"
        "for name in ('first', 'second'):\n    study_main({'only': Study(name=name)}, default='only', description='')\n"
    )
    with pytest.raises(InvalidStudy, match=r"both\.py: calls study_main 2 times \(first, second\)"):
        cli._asked_of(both, [])


def test_plugins_are_handed_on_by_whole_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    several = os.pathsep.join(["tests/data/jet_plugin.py", "/shared/mine.py"])
    assert HANDED_ON[plugins.VARIABLE](several) == os.pathsep.join([str(PLUGIN), "/shared/mine.py"])


def test_a_study_outside_a_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = tmp_path / "scaling.py"
    alone.write_text(SCALING.read_text())
    status, said = submit(monkeypatch, capsys, alone, "--preset", "smoke", "--address", "http://127.0.0.1:1")
    assert status == 2 and "pyproject.toml" in said


def test_an_address_without_ray(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        status, said = submit(monkeypatch, capsys, SCALING, "--preset", "smoke", "--address", address)
    assert status == 1 and address in said and "Traceback" not in said


class _HeadWithoutAgent(BaseHTTPRequestHandler):
    """Answers as the dashboard of a Ray head whose agent has found its port taken; it has every package already."""

    def do_GET(self) -> None:
        version = {"version": "4", "ray_version": "2.0", "ray_commit": "abc", "session_name": "one"}
        self._answer(200, json.dumps(version if self.path == "/api/version" else []))

    def do_POST(self) -> None:
        self._answer(500, "No available agent to submit job, please try again later.")

    def _answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *words: object) -> None:
        pass


def test_a_head_whose_agent_found_its_port_taken(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with HTTPServer(("127.0.0.1", 0), _HeadWithoutAgent) as head:
        Thread(target=head.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{head.server_port}"
        status, said = submit(monkeypatch, capsys, SCALING, "--preset", "smoke", "--address", address)
        head.shutdown()
    assert (
        status == 1
        and "No available agent" in said
        and "with --dashboard-port and --dashboard-agent-listen-port" in said
    )


def test_its_help_teaches() -> None:
    command = [sys.executable, "-c", "from breakeven.cli import main; main()", "submit", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "COLUMNS": "100"})
    assert done.returncode == 0 and "--address" in done.stdout and "studies/scaling.py" in done.stdout
