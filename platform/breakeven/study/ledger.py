"""The ledger: what has been computed, once and for ever, and what it cost.

Append-only and content-addressed: a record's name is the hash of all that defines its result. Workers write one file a
pack, atomically and without locks; a claim with a heartbeat tells how much device time an interrupted try has lost.
Tune's state and MLflow can be thrown away; this cannot. It never trains and never decides what to run.
"""

import json
import threading
import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from breakeven import atomic
from breakeven.fingerprint import fingerprint
from breakeven.study import compact_json

VERSION = 1
HEARTBEAT_SECONDS = 1.0
_REQUIRED = (
    "ledger",
    "level",
    "record",
    "outcome",
    "device",
    "device_seconds",
    "wasted_seconds",
    "started",
    "ended",
    "checksum",
)
_COLUMNS = (
    "level", "record", "outcome", "reason", "phase", "cell", "task", "signal", "background", "pretraining", "strategy",
    "size", "seed", "ratio", "test_accuracy", "test_auc", "validation_accuracy", "validation_auc", "validation_loss",
    "epochs", "events_seen", "device", "wall_seconds", "device_seconds", "plateau_seconds", "wasted_seconds", "curve",
    "dataset", "backbone", "git_commit", "host", "started", "ended", "process", "events", "source", "workers",
)  # fmt: skip


class LedgerError(ValueError):
    """A record cannot be written or was written by a newer program; the message says which and what to do."""


class Ledger:
    """Finished and failed records below one folder.

    Reading is incremental: `refresh` parses only files that it has not seen. Files that cannot be trusted are left
    where they are, listed in `problems`, and treated as absent, so that their trials run again.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.problems: list[str] = []
        self._files: set[str] = set()
        self._records: dict[str, dict[str, Any]] = {}
        self._repeats: list[dict[str, Any]] = []

    def refresh(self) -> "Ledger":
        """Read what other processes have written since the last look; returns itself."""
        return self.read(sorted(path.name for path in (self.folder / "records").glob("*.json")))

    def read(self, names: Iterable[str]) -> "Ledger":
        """Read these files, as `write` named them, without a look at all others that there are; returns itself."""
        for name in names:
            if name in self._files:
                continue
            self._files.add(name)
            path = self.folder / "records" / name
            try:
                found = _parse(path)
            except (OSError, ValueError, KeyError, TypeError) as error:
                self.problems.append(
                    f"{path}: not used ({error}); its trials run again; move the file away to silence this"
                )
                continue
            for record in found:
                self._take(record)
        return self

    def get(self, record: str) -> dict[str, Any] | None:
        """The record with this hash as last refreshed: a finished one if there is one, else a failed one, else None."""
        return self._records.get(record)

    def finished(self, record: str) -> bool:
        """Whether a finished record with this hash is known."""
        return (found := self._records.get(record)) is not None and found["outcome"] == "finished"

    def records(self) -> list[dict[str, Any]]:
        """All records as last refreshed."""
        return list(self._records.values())

    def write(self, records: Sequence[dict[str, Any]]) -> Path:
        """Write the records of one pack as one file, atomically. Raises LedgerError on what has no exact encoding."""
        stamped = []
        for record in records:
            body = {"ledger": VERSION, "reason": "", "wasted_seconds": 0.0, **record}
            try:
                stamped.append({**body, "checksum": fingerprint(body)})
            except TypeError as error:
                raise LedgerError(f"record {record.get('record')}: {error}") from error
            if missing := [key for key in _REQUIRED if key not in stamped[-1]]:
                raise LedgerError(f"record {record.get('record')}: the fields {missing} are missing")
        path = self.folder / "records" / f"{records[0]['record']}-{uuid.uuid4().hex[:8]}.json"
        atomic.write_json(path, stamped)
        self._files.add(path.name)
        for record in stamped:
            self._take(record)
        return path

    def frame(self, records: Iterable[str] | None = None) -> pd.DataFrame:
        """One row a record, with the columns of every level; `records` restricts to these hashes, in this order."""
        chosen = (
            self._records.values() if records is None else [self._records[r] for r in records if r in self._records]
        )
        rows = [{name: record.get(name) for name in _COLUMNS} for record in chosen]
        frame = pd.DataFrame(rows, columns=list(_COLUMNS))
        repeated = pd.Series({r["record"]: 0.0 for r in self._repeats}, dtype=float)
        for record in self._repeats:
            repeated[record["record"]] += record["device_seconds"]
        numbers = ["ratio", "test_accuracy", "test_auc", "validation_accuracy", "validation_auc", "validation_loss",
                   "wall_seconds", "device_seconds", "plateau_seconds", "wasted_seconds"]  # fmt: skip
        frame[numbers] = frame[numbers].astype(float)
        frame["wasted_seconds"] = frame["wasted_seconds"].fillna(0.0) + frame["record"].map(repeated).fillna(
            0.0
        ).astype(float)
        return frame

    def claim(self, record: str) -> "Claim":
        """Say that this process works on `record` now; the claim counts what earlier, interrupted tries have lost."""
        return Claim(self.folder / "claims" / f"{record}.json")

    def _take(self, record: dict[str, Any]) -> None:
        known = self._records.get(record["record"])
        if known is None or (known["outcome"] != "finished" and record["outcome"] == "finished"):
            self._records[record["record"]] = record
        elif known["outcome"] == "finished" and record["outcome"] == "finished":
            self._repeats.append(record)
        elif record["ended"] > known["ended"] and known["outcome"] != "finished":
            self._records[record["record"]] = record


@dataclass
class Claim:
    """One process's work on one record. As a context manager it beats once a second until the work ends.

    wasted_seconds: device-seconds that earlier tries spent and lost. The file is removed by `release`, which the worker
    calls after its record is safely written; a killed worker leaves it behind for the next try to read.
    """

    path: Path
    wasted_seconds: float = 0.0

    def __enter__(self) -> "Claim":
        if self.path.exists():
            try:
                left = json.loads(self.path.read_text())
                self.wasted_seconds = float(left["wasted_seconds"]) + float(left["device_seconds"])
            except (ValueError, KeyError, TypeError):
                self.wasted_seconds = 0.0  # a claim is an estimate of lost time, never a result
        self._saved = 0.0
        self._start = time.process_time()
        self._stop = threading.Event()
        self._beat()
        self._thread = threading.Thread(target=self._run, daemon=True, name="claim")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def saved(self) -> None:
        """Say that all work so far is in a checkpoint: a kill from here on loses only what follows."""
        self._start = time.process_time()

    def release(self) -> None:
        """Remove the claim: its record is written."""
        self._stop.set()
        self._thread.join()
        self.path.unlink(missing_ok=True)

    def _run(self) -> None:
        while not self._stop.wait(HEARTBEAT_SECONDS):
            self._beat()

    def _beat(self) -> None:
        spent = time.process_time() - self._start
        atomic.write_json(self.path, {"device_seconds": spent, "wasted_seconds": self.wasted_seconds, "updated": now()})


def now() -> str:
    """This moment as ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _parse(path: Path) -> list[dict[str, Any]]:
    records = compact_json.loads(path.read_text())
    for record in records:
        if record["ledger"] > VERSION:
            raise LedgerError(
                f"written by ledger version {record['ledger']}, this program reads {VERSION}: update breakeven"
            )
        if missing := [key for key in _REQUIRED if key not in record]:
            raise LedgerError(f"the fields {missing} are missing")
        body = {key: value for key, value in record.items() if key != "checksum"}
        if fingerprint(body) != record["checksum"]:
            raise LedgerError(f"record {record['record']} was changed after it was written")
    return records
