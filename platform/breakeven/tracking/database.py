"""How MLflow is reached: its client, a new SQLite file, and patience with a locked one.

Turns all that MLflow, its database and its server raise into TrackingUnavailable. It knows nothing of runs.
"""

import errno
import logging
import os
import re
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import ParamSpec, TypeVar

# Before mlflow is imported: a server that is down must not hold a study up, and nothing is reported to its makers.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # of two files, amid a study's lines
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # of each run, amid a study's lines
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")

import alembic.util
import requests
import sqlalchemy
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

for _logger in ("alembic", "mlflow.tracking"):
    logging.getLogger(_logger).setLevel(logging.WARNING)
logging.getLogger("mlflow.store.db.utils").setLevel(
    logging.CRITICAL
)  # what it logs is raised too, and told in one line

PATIENCE_SECONDS = 60.0
"""How long a locked database is tried again. Each try waits for 20 s inside SQLite before it counts as locked."""

_LOCKED = ("database is locked", "database table is locked", "deadlock", "database schema is locked")

_P = ParamSpec("_P")
_T = TypeVar("_T")


class TrackingUnavailable(ConnectionError):
    """MLflow cannot be reached or written to; the study itself is not touched."""


# ImportError: the driver of a PostgreSQL or MySQL server is not installed.
_UNREACHED = (MlflowException, sqlalchemy.exc.SQLAlchemyError, alembic.util.CommandError, requests.RequestException,
              OSError, ImportError)  # fmt: skip


class Connection:
    """One tracking URI, and how long a lock on its database is waited for.

    Raises TrackingUnavailable where MLflow does not answer.
    """

    def __init__(self, uri: str, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self.uri, self.patience_seconds = uri, patience_seconds

    def client(self) -> MlflowClient:
        """MLflow's client, its database opened; a new SQLite file is made first."""
        self.call(_create, self.uri)
        return self.call(_connect, self.uri)

    def call(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """`function(...)`, made again with growing pauses while the database is locked; nothing was written then.

        Raises TrackingUnavailable on all else that MLflow raises, and where the lock outlasts `patience_seconds`.
        """
        until, pause = time.monotonic() + self.patience_seconds, 0.05
        while True:
            try:
                return function(*args, **kwargs)
            except _UNREACHED as error:
                if not _locked(error) or time.monotonic() + pause > until:
                    raise self._unavailable(error) from error
            time.sleep(pause)
            pause = min(2 * pause, 5.0)

    def _unavailable(self, error: Exception) -> TrackingUnavailable:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        lasting = f", for {self.patience_seconds:.0f} s" if _locked(error) else ""
        return TrackingUnavailable(
            without_password(f"{self.uri} does not take what it is given ({first[:300]}{lasting})")
        )


def resolve_uri(default: Path) -> str:
    """`MLFLOW_TRACKING_URI` where it is set, else a SQLite file at `default`."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{default}"


def prepare(uri: str) -> None:
    """Make the SQLite file of `uri` with all its tables where there is none, for programs that open it by themselves.

    Raises TrackingUnavailable where that cannot be.
    """
    Connection(uri).call(_create, uri)


def _connect(uri: str) -> MlflowClient:
    with _mapping_tables():
        try:
            return MlflowClient(tracking_uri=uri)
        except ValueError as error:
            raise MlflowException(f"this is no tracking URI: {error}") from error


def _create(uri: str) -> None:
    """Make a SQLite file that is not there under another name, and give it its own only when all tables are in it.

    MLflow makes the tables in dozens of steps; two programs that did so in one file, or one killed half way, would leave
    a file that nobody can open. A hard link, unlike a rename, never replaces what another program made first.
    """
    if not uri.startswith("sqlite:///") or (path := _file(uri)) is None or path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        with _mapping_tables():
            from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

            SqlAlchemyStore(f"sqlite:///{temporary}", "./mlruns").engine.dispose()
        _name_file(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _mapping_tables() -> Iterator[None]:
    """MLflow maps its tables with a loader that SQLAlchemy 2.1 deprecates; nothing that a user could change."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The ``noload`` loader", sqlalchemy.exc.SADeprecationWarning)
        yield


def _name_file(temporary: Path, path: Path) -> None:
    with suppress(FileExistsError):
        try:
            os.link(temporary, path)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS):
                raise
            if not path.exists():  # a file system without hard links
                temporary.rename(path)


def _file(uri: str) -> Path | None:
    """The file of a SQLite URI; None for a database in memory."""
    name = sqlalchemy.engine.make_url(uri).database
    return Path(name) if name and name != ":memory:" else None


def _locked(error: Exception) -> bool:
    return any(words in str(error).lower() for words in _LOCKED)


def without_password(text: str) -> str:
    """`text` with what stands between `//` and `@` left out."""
    return re.sub(r"(?<=//)[^/@\s]*@", "", text)
