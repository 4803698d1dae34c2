"""The boards and alerts of dashboards/: written anew as they are, tried by promtool, and every expression answered in a study."""

import importlib.util
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from breakeven.distributed import gauges

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "dashboards"


def boards() -> ModuleType:
    spec = importlib.util.spec_from_file_location("boards", FOLDER / "boards.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["boards"] = module
    spec.loader.exec_module(module)
    return module


BOARDS = boards().BOARDS


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
def test_the_files_are_those_of_the_lists(board: Any) -> None:
    from grafana_foundation_sdk.models.dashboard import Dashboard

    text = (FOLDER / "grafana" / f"{board.name}.json").read_text()
    assert text == boards().as_json(board), "run python dashboards/boards.py"
    page = Dashboard.from_json(json.loads(text))
    assert page.title == board.title and page.uid == board.name


def test_boards_and_alerts_ask_for_what_the_house_tells() -> None:
    asked = "".join(path.read_text() for path in (*FOLDER.glob("grafana/*.json"), FOLDER / "prometheus" / "alerts.yml"))
    known = {series.exported for series in gauges.ALL}
    assert {*re.findall(r"ray_breakeven_\w+", asked)} == known - {gauges.CELLS_LEFT.exported}


@pytest.mark.slow
def test_alerts_as_promtool_tries_them() -> None:
    promtool = installed("promtool")
    for command in (["check", "config", "prometheus.yml"], ["test", "rules", "alerts_test.yml"]):
        done = subprocess.run([promtool, *command], cwd=FOLDER / "prometheus", capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_every_panel_has_data_from_a_study(tmp_path: Path) -> None:
    prometheus = installed("prometheus")
    address = f"127.0.0.1:{free_port()}"
    configuration = (FOLDER / "prometheus" / "prometheus.yml").read_text()
    ray = Path(tempfile.mkdtemp(prefix="be", dir="/tmp"))  # sockets below it: their paths have a short limit
    configuration = configuration.replace("/tmp/ray/", f"{ray}/ray/").replace("10s", "1s")
    (tmp_path / "alerts.yml").write_text((FOLDER / "prometheus" / "alerts.yml").read_text())
    (tmp_path / "prometheus.yml").write_text(configuration)
    server = subprocess.Popen(
        [prometheus, "--config.file=prometheus.yml", f"--web.listen-address={address}", f"--storage.tsdb.path={tmp_path / 'db'}"],
        cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        begun = time.time()
        study = (
            ROOT / "studies" / "scaling.py",
            "--preset",
            "smoke",
            "--name",
            "watched",
            "--runs-dir",
            tmp_path / "runs",
        )
        often = {"RAY_TMPDIR": str(ray), "RAY_metrics_report_interval_ms": "1000"}
        subprocess.run([sys.executable, *study], check=True, env=environment() | often, stdout=subprocess.DEVNULL)
        silent = []
        for board in BOARDS:
            for panel in board.panels:
                for line in panel.lines:
                    answer = ask(address, line.expression.replace("$study", "watched"), begun, time.time())
                    if bool(answer) == bool(panel.needs):
                        silent.append((panel.title, line.expression, len(answer)))
        assert not silent
    finally:
        server.terminate()
        server.wait(20)
        shutil.rmtree(ray, ignore_errors=True)


def ask(address: str, expression: str, begin: float, end: float) -> list[Any]:
    query = urllib.parse.urlencode({"query": expression, "start": begin, "end": end, "step": 2})
    with urllib.request.urlopen(f"http://{address}/api/v1/query_range?{query}", timeout=20) as answer:
        found: list[Any] = json.load(answer)["data"]["result"]
    return found


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def installed(program: str) -> str:
    if (path := shutil.which(program)) is None:
        pytest.skip(f"{program} is not installed: `make test-all` installs it where it can")
    return path
