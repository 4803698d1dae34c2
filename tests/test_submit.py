"""`breakeven submit`: what it makes of a study file and its arguments, and what it says where there is no cluster."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from breakeven import cli
from breakeven.cli import main
from breakeven.study.spec import InvalidStudy

ROOT = Path(__file__).parents[1]
SCALING = ROOT / "studies" / "scaling.py"


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


def test_a_bad_study_is_told_here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    status, said = submit(monkeypatch, capsys, SCALING, "--finetuning.seeds", "0", "--address", "http://127.0.0.1:1")
    assert status == 2 and "finetuning.seeds" in said


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


def test_its_help_teaches() -> None:
    command = [sys.executable, "-c", "from breakeven.cli import main; main()", "submit", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "COLUMNS": "100"})
    assert done.returncode == 0 and "--address" in done.stdout and "studies/scaling.py" in done.stdout
