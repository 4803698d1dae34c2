"""How MLflow is reached: new files, locks, servers that are down, addresses that are none."""

import shutil
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
from tracking.studies import Experiment, frame, trial

from breakeven.tracking import Tracker, TrackingUnavailable, prepare, resolve_uri
from breakeven.tracking.database import Connection


def refused(uri: str, tmp_path: Path, patience_seconds: float = 0.2) -> str:
    with pytest.raises(TrackingUnavailable) as caught:
        Tracker(uri, "any", tmp_path / "artifacts", patience_seconds)
    return str(caught.value)


OPEN = """
import sys
from pathlib import Path
from breakeven.tracking import Tracker
print("ready", flush=True)
sys.stdin.readline()
Tracker(f"sqlite:///{sys.argv[1]}", sys.argv[2], Path(sys.argv[1]).parent / "artifacts")
"""


@pytest.mark.slow
@pytest.mark.parametrize("names", [("one", "two", "three"), ("same", "same", "same")], ids=["studies", "drivers"])
def test_several_processes_may_open_a_new_file_at_the_same_moment(names: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    processes = [
        subprocess.Popen([sys.executable, "-c", OPEN, path, name], text=True, stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for name in names
    ]  # fmt: skip
    for process in processes:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
    said = []
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        said.append(process.communicate()[1])
    assert [process.returncode for process in processes] == [0, 0, 0], said
    assert not any(said), said
    with closing(sqlite3.connect(path)) as connection:
        assert {name for (name,) in connection.execute("select name from experiments")} == {"Default", *names}
    assert [file.name for file in tmp_path.iterdir()] == ["mlflow.db"]


def test_a_new_file_that_another_process_made_first_is_kept(tmp_path: Path, database: Path, monkeypatch) -> None:
    """The other one comes in between: after the look whether there is a file, before it gets its name."""
    path = tmp_path / "mlflow.db"
    real = Path.exists

    def exists(self: Path) -> bool:
        if self != path:
            return real(self)
        shutil.copy(database, path)
        return False

    monkeypatch.setattr(Path, "exists", exists)
    prepare(f"sqlite:///{path}")
    assert path.read_bytes() == database.read_bytes()
    assert [file.name for file in tmp_path.iterdir()] == ["mlflow.db"]


def test_a_file_system_without_hard_links_has_its_database_too(tmp_path: Path, monkeypatch) -> None:
    def link(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.link", link)
    Tracker(f"sqlite:///{tmp_path}/mlflow.db", "any", tmp_path / "artifacts")
    assert [file.name for file in tmp_path.iterdir()] == ["mlflow.db"]


def test_a_lock_that_lasts_is_said_and_loses_nothing(experiment: Experiment, database: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(database, isolation_level=None)) as holder:
        holder.execute("begin exclusive")
        message = refused(f"sqlite:///{database}?timeout=0.1", tmp_path)
    assert "database is locked" in message and "for 0 s" in message
    assert experiment.sync(frame(trial("t1"))) == 1


def test_a_lock_that_ends_is_waited_for(database: Path) -> None:
    """Writes go on when the lock is gone, and are made once."""
    own = Connection(f"sqlite:///{database}", patience_seconds=60.0)
    met = threading.Event()

    def insert() -> None:
        with closing(sqlite3.connect(database, timeout=0.0, isolation_level=None)) as connection:
            try:
                connection.execute("insert into experiments (experiment_id, name) values (4711, 'waited')")
            except sqlite3.OperationalError as error:
                met.set()
                raise OSError(str(error)) from error

    with closing(sqlite3.connect(database, isolation_level=None)) as holder:
        holder.execute("begin immediate")
        thread = threading.Thread(target=own.call, args=(insert,))
        thread.start()
        assert met.wait(60)
        holder.execute("rollback")
        thread.join()
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("select count(*) from experiments where name = 'waited'").fetchall() == [(1,)]
        connection.execute("delete from experiments where name = 'waited'")
        connection.commit()


def test_a_database_that_breaks_in_the_middle_is_said_and_can_be_rebuilt(
    experiment: Experiment, database: Path, tmp_path: Path
) -> None:
    own = tmp_path / "mlflow.db"
    shutil.copy(database, own)
    tracker = Tracker(f"sqlite:///{own}", "any", tmp_path / "artifacts")
    own.write_bytes(b"overwritten by something else" * 1000)
    with pytest.raises(TrackingUnavailable, match=str(own)):
        tracker.record(frame(trial("t1")).iloc[0])
    assert experiment.sync(frame(trial("t1"))) == 1


@pytest.mark.parametrize("place", ["none/such/folder", "file/mlflow.db"])
def test_a_place_that_cannot_be_written_is_said(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("a file, not a folder")
    (tmp_path / "none").write_text("a file, not a folder")
    assert place in refused(f"sqlite:///{tmp_path / place}", tmp_path)


def test_a_file_that_is_no_database_is_said(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("this is no database" * 100)
    assert "not a database" in refused(f"sqlite:///{tmp_path}/mlflow.db", tmp_path)


def test_a_server_that_is_down_is_said_without_its_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    message = refused("http://user:secret@127.0.0.1:9", tmp_path)
    assert message.startswith("http://127.0.0.1:9 ") and "secret" not in message


@pytest.mark.parametrize(
    ("uri", "why"),
    [
        ("http://[bad", "no tracking URI"),
        ("nonsense://server", "unsupported URI"),
        ("sqlite://nowhere", "sqlite"),
        ("postgresql+no_driver://user:secret@127.0.0.1:9/mlflow", "no_driver"),
        ("mysql+pyodbc://user:secret@127.0.0.1:9/mlflow", "pyodbc"),
    ],
)
def test_an_address_that_cannot_be_used_is_said(tmp_path: Path, uri: str, why: str) -> None:
    message = refused(uri, tmp_path)
    assert why in message and "secret" not in message


def test_the_environment_decides_before_the_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert resolve_uri(tmp_path / "mlflow.db") == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://server:5000")
    assert resolve_uri(tmp_path / "mlflow.db") == "http://server:5000"
