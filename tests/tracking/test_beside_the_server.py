"""MLflow's own server on the SQLite file that is being written, opened and used as people do."""

import json
import os
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tracking.studies import CELL_FIGURES, STUDY_FIGURES, Experiment, frame, trial

pytestmark = pytest.mark.slow


class Visitor(threading.Thread):
    """Searches the runs, opens some, draws a curve and leaves a tag of its own, until it is told to stop."""

    def __init__(self, address: str, experiment: str) -> None:
        super().__init__()
        self.address, self.experiment = address, experiment
        self.enough = threading.Event()
        self.rounds, self.faults = 0, []

    def run(self) -> None:
        while not self.enough.is_set():
            try:
                self._look()
            except urllib.error.HTTPError as error:
                self.faults.append(error.read().decode())
            self.rounds += 1

    def _look(self) -> None:
        asked = {"experiment_ids": [self.experiment], "max_results": 100, "filter": "tags.level = 'trial'"}
        runs = self._ask("runs/search", asked).get("runs", [])
        for run in runs[:3]:
            name = run["info"]["run_id"]
            self._ask(f"metrics/get-history?run_id={name}&metric_key=validation/loss")
            self._ask("runs/set-tag", {"run_id": name, "key": self.name, "value": str(self.rounds)})

    def _ask(self, what: str, body: dict[str, Any] | None = None) -> Any:
        url = f"{self.address}/api/2.0/mlflow/{what}"
        sent = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(urllib.request.Request(url, sent, {"Content-Type": "application/json"})) as answer:
            return json.loads(answer.read())


@pytest.fixture
def server(database: Path, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Address and log of MLflow's server on the database."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path / "server.log"
    words = [sys.executable, "-m", "mlflow", "ui", "--host", "127.0.0.1", "--port", str(port), "--workers", "2",
             "--backend-store-uri", f"sqlite:///{database}"]  # fmt: skip
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with log.open("w") as said:
        process = subprocess.Popen(
            words, stdout=said, stderr=said, env=environment, cwd=tmp_path, start_new_session=True
        )
        address = f"http://127.0.0.1:{port}"
        try:
            while not answers(f"{address}/health"):
                assert process.poll() is None, log.read_text()
                threading.Event().wait(0.2)
            yield address, log
        finally:
            os.killpg(process.pid, 15)
            process.wait()


def answers(url: str) -> bool:
    try:
        return urllib.request.urlopen(url).status == 200
    except OSError:
        return False


def test_runs_are_written_while_the_server_reads_and_writes(
    server: tuple[str, Path], experiment: Experiment, capfd: pytest.CaptureFixture[str]
) -> None:
    address, log = server
    tracker = experiment.open(patience_seconds=300.0)
    visitors = [Visitor(address, experiment.id) for _ in range(2)]
    for visitor in visitors:
        visitor.start()
    try:
        rows = frame(*(trial(f"t{seed}", seed) for seed in range(120)))
        assert tracker.sync(rows, STUDY_FIGURES, CELL_FIGURES) == 120
    finally:
        for visitor in visitors:
            visitor.enough.set()
        for visitor in visitors:
            visitor.join()
    assert all(visitor.rounds for visitor in visitors)
    assert [visitor.faults for visitor in visitors] == [[], []]
    assert "database is locked" not in log.read_text() + "".join(capfd.readouterr())
    runs = experiment.runs()
    assert len(runs) == 122 and {run.info.status for run in runs.values()} == {"FINISHED"}
