"""MLflow as cluster/mlflow.sh starts it: accounts, PostgreSQL, and what a study sees of its server's troubles."""

import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from mlflow.tracking import MlflowClient
from tracking.studies import frame, trial

from breakeven.tracking import Tracker, TrackingUnavailable

ROOT = Path(__file__).parents[2]
pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'breakeven[server]'")
pytest.importorskip("flask_wtf", reason="flask-wtf is not installed: pip install 'breakeven[server]'")
_PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin")) or [Path(shutil.which("initdb") or "/none").parent]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (_PROGRAMS[-1] / "initdb").exists(), reason="no PostgreSQL: apt-get install postgresql"),
]


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URI of an empty PostgreSQL database, with its password."""
    folder = Path("/tmp") / f"be-pg-{os.getpid()}"  # a path that postgres may walk to, and short enough for a socket
    folder.mkdir(mode=0o755)
    (folder / "password").write_text("a-password")
    as_postgres: list[str] = []
    if os.getuid() == 0:  # PostgreSQL refuses root
        shutil.chown(folder, "postgres", "postgres")
        shutil.chown(folder / "password", "postgres")
        as_postgres = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    port = free_port()
    subprocess.run(
        [*as_postgres, _PROGRAMS[-1] / "initdb", "-D", folder / "data", "-U", "mlflow", "-A", "scram-sha-256",
         "--pwfile", folder / "password", "--no-sync"], check=True, capture_output=True, cwd="/",
    )  # fmt: skip
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            [*as_postgres, _PROGRAMS[-1] / "postgres", "-D", folder / "data", "-k", folder, "-p", str(port), "-F"],
            stdout=log, stderr=log, cwd="/",
        )  # fmt: skip
    try:
        create = [_PROGRAMS[-1] / "createdb", "-h", "127.0.0.1", "-p", str(port), "-U", "mlflow", "mlflow"]
        own = {**os.environ, "PGPASSWORD": "a-password"}
        while subprocess.run(create, env=own, capture_output=True, cwd="/").returncode:
            assert server.poll() is None, (folder / "log").read_text()
            threading.Event().wait(0.2)
        yield f"postgresql://mlflow:a-password@127.0.0.1:{port}/mlflow"
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(30)
        shutil.rmtree(folder)


class Server:
    """MLflow as the script starts it, on one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log, self.port = folder, folder.parent / "server.log", free_port()
        self.uri = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [ROOT / "cluster/mlflow.sh", self.folder, "--port", str(self.port)],
                stdout=log, stderr=log, env={**os.environ, "PATH": path}, start_new_session=True,
            )  # fmt: skip
        while not self.answers():
            assert self.process.poll() is None, self.log.read_text()
            threading.Event().wait(0.2)

    def answers(self) -> bool:
        with suppress(OSError):
            return bool(urllib.request.urlopen(f"{self.uri}/health").status == 200)
        return False

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def command_lines(self) -> str:
        started = psutil.Process(self.process.pid)
        return " ".join(word for one in (started, *started.children(recursive=True)) for word in one.cmdline())


@pytest.fixture(scope="module")
def server(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("group") / "mlflow"
    folder.mkdir()
    (folder / "uri").write_text(database)
    server = Server(folder)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def account(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "breakeven")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", (server.folder / "password").read_text())


def test_who_has_no_account_is_told_in_a_line(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{server.uri}/api/2.0/mlflow/experiments/get?experiment_id=0")
    assert refused.value.code == 401
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "breakeven")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "a-wrong-one")
    with pytest.raises(TrackingUnavailable) as told:
        Tracker(server.uri, "study", tmp_path)
    assert "\n" not in str(told.value) and server.uri in str(told.value) and "a-wrong-one" not in str(told.value)


@pytest.mark.usefixtures("account")
def test_a_server_that_is_started_again_in_the_middle_loses_nothing(
    server: Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    first, all_of_them = (frame(*(trial(f"t{seed}", seed) for seed in range(n))) for n in (10, 20))
    tracker = Tracker(server.uri, "study", tmp_path)
    assert tracker.sync(first, {}, {}) == 10
    server.kill()
    with pytest.raises(TrackingUnavailable, match=server.uri):
        tracker.sync(all_of_them, {}, {})
    server.start()
    assert Tracker(server.uri, "study", tmp_path).sync(all_of_them, {}, {}) == 10
    runs = MlflowClient(server.uri).search_runs([tracker.experiment], "tags.level = 'trial'")
    assert sorted(run.data.tags["record"] for run in runs) == sorted(all_of_them["record"])
    assert "View run" not in "".join(capfd.readouterr())  # amid a study's lines


@pytest.mark.usefixtures("account")
def test_a_request_takes_a_tenth_of_a_second(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    """Told, not held to, as machines differ. Without the cache of accounts that the script sets it is one to two seconds."""
    client = MlflowClient(server.uri)
    taken = []
    for _ in range(20):
        began = time.perf_counter()
        assert client.get_experiment("0").name == "Default"
        taken.append(time.perf_counter() - began)
    with capsys.disabled():
        print(f"\n  MLflow with accounts and PostgreSQL: {1e3 * statistics.median(taken):.0f} ms a request")


def test_passwords_are_in_files_of_their_own_alone(server: Server, database: str) -> None:
    secrets = [(server.folder / name).read_text() for name in ("password", "key")] + ["a-password"]
    seen = server.command_lines() + server.log.read_text()
    assert "mlflow" in seen and not [one for one in secrets if one in seen]
    for name in ("uri", "password", "key", "auth.ini"):
        assert (server.folder / name).stat().st_mode & 0o777 == 0o600
