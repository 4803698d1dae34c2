"""The ledger: what has been computed, once and for ever, and what it cost.

Append-only and content-addressed: a record's name is the hash of all that defines its result. Workers write one file per
pack, atomically and without locks; the driver folds many files into one. What the ledger says is a function of the
records in it, whatever the order in which they are read, and however often. Tune's state and MLflow can be thrown away;
this cannot. It never trains and never decides what to run.
"""

import errno
import os
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from breakeven import atomic, metric
from breakeven.ledger import records as at_rest
from breakeven.ledger.claim import Claim
from breakeven.ledger.records import FOLDED, Kept, LedgerError, is_folded

__all__ = ["Ledger", "LedgerError", "now"]

_COLUMNS = (
    "level", "record", "outcome", "reason", "phase", "cell", "task", "signal", "background", "network", "pretraining",
    "strategy", "size", "seed", "ratio", "validation_loss", "epochs", "events_seen", "device", "processor", "kernel",
    "wall_seconds", "device_seconds", "plateau_seconds", "stopped", "wasted_seconds", "curve", "dataset", "backbone",
    "git_commit", "host", "started", "ended", "process", "events", "source", "workers",
    "train_events", "start", "reservation", "pack", "energy_joules", "representation", "represented_events", "validation_events",
    "test_events", "scores", "scored_events",
)  # fmt: skip
_NUMBERS = (
    "ratio", "validation_loss", "wall_seconds", "device_seconds", "plateau_seconds", "wasted_seconds", "energy_joules",
    "train_events", "validation_events", "test_events",
)  # fmt: skip
_PARSED = 256
"""Records kept as Python objects at a time."""
_LOOKS = 14
"""Looks at a folder that others are folding, the last after half a minute: as long as NFS shows an old listing."""


class Ledger:
    """Finished and failed records below one folder.

    Reading is incremental: `refresh` parses only files that it has not seen. Files that cannot be trusted are left
    where they are, listed in `problems`, and treated as absent, so that their trials run again.

    Consistency: a record is never changed. What `write` has written is known to this ledger at once, to `refresh` of
    others on this machine, and to `refresh(certain=True)` on any; an NFS client may show it to a plain `refresh` a
    minute later. Several processes may write and fold at once; a process killed at any moment leaves whole files.
    Threads: one at a time refreshes, reads, writes, folds and gets; meanwhile others may call `finished`,
    `wasted_seconds`, and `frame` of named records.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._bad: dict[str, str] = {}
        self._files: set[str] = set()
        """Files that need not be read again: taken, not to be trusted, or wholly known from a folded one."""
        self._seen: set[tuple[str, int]] = set()
        """Records taken, by the file they were written to and their place in it."""
        self._loose: set[str] = set()
        """Files of single packs that are known and still there."""
        self._folded: dict[str, int] = {}
        """Parquet files that are there and wholly trusted, with the number of their records."""
        self._records: dict[str, Kept] = {}
        self._parsed: dict[str, tuple[Kept, dict[str, Any]]] = {}
        """The records that were read or asked for last: a driver asks for each a few times when it comes back."""
        self._spent: dict[str, float] = {}
        """Device-seconds of the other tries of each record: failed before it, or done a second time."""

    @property
    def problems(self) -> list[str]:
        """What could not be read, and what to do about it."""
        return list(self._bad.values())

    @property
    def loose(self) -> int:
        """Number of small files as last refreshed: what `compact` would fold."""
        return len(self._loose)

    def refresh(self, certain: bool = False) -> "Ledger":
        """Read what other processes have written since the last look.

        Args:
            certain: see all that was written before this call by any machine. An NFS client shows a listing that may
                be a minute old, unless the folder was changed from here; so it is.

        Returns:
            Itself.

        Raises:
            LedgerError: files keep vanishing while they are read.
        """
        if certain:
            mark = self._folder / f".look-{uuid.uuid4().hex[:8]}"
            self._folder.mkdir(parents=True, exist_ok=True)
            mark.touch()
            mark.unlink()
        for look in range(_LOOKS):
            names = self._list()
            if self._read(names):
                # Also those that a crash left behind after they had been folded: `compact` removes them.
                trusted = self._files - self._bad.keys()
                self._loose = {name for name in names if name in trusted and not is_folded(name)}
                self._folded = {name: rows for name, rows in self._folded.items() if name in names}
                return self
            time.sleep(min(0.004 * 2**look, 8.0))
        raise LedgerError(f"{self._folder}: files vanish while they are read; look for a program that removes them")

    def read(self, names: Iterable[str]) -> "Ledger":
        """Read these files without a look at all others that there are.

        Args:
            names: of files, as `write` named them. Where one has been folded meanwhile, all that is new is read.

        Returns:
            Itself.

        Raises:
            LedgerError: as `refresh`.
        """
        if not self._read(list(names)):
            self.refresh(certain=True)
        return self

    def get(self, record: str) -> dict[str, Any] | None:
        """The record with this hash as last refreshed: a finished one if there is one, else a failed one, else None."""
        if (kept := self._records.get(record)) is None:
            return None
        known = self._parsed.get(record)
        return known[1] if known is not None and known[0] is kept else self._remember(kept, kept.record)

    def finished(self, record: str) -> bool:
        """Whether a finished record with this hash is known."""
        return (kept := self._records.get(record)) is not None and kept.outcome == "finished"

    def records(self) -> list[dict[str, Any]]:
        """All records as last refreshed."""
        return [kept.record for kept in self._records.values()]

    def write(self, records: Sequence[Mapping[str, Any]]) -> Path:
        """Write the records of one pack as one file, atomically.

        Args:
            records: of any level, each with its own `record`; see records.py for what they must hold.

        Returns:
            The file; its name is what `read` takes.

        Raises:
            LedgerError: there are none, or one has no exact encoding; nothing is written.
            OSError: the disk is full (the message names the file); nothing is written.
        """
        if not records:
            raise LedgerError("no records to write")
        stamped = [at_rest.stamp(record) for record in records]
        name, text = at_rest.pack_text(stamped)
        path = self._folder / name
        atomic.write_text(path, text)
        self._files.add(name)
        self._loose.add(name)
        for place, record in enumerate(stamped):
            self._take(at_rest.kept(name, place, record))
        return path

    def compact(self) -> Path | None:
        """Fold the small files, and folded ones that are no larger, into one Parquet file.

        A small file is removed only after a Parquet file that holds it is on disk and was read back. So a crash loses
        nothing; until the removal is complete a record lies there twice, which readers recognise. Several drivers may
        fold at the same time.

        Returns:
            The Parquet file; None where there is nothing to fold.

        Raises:
            LedgerError: what was written does not read back; nothing is removed.
            OSError: the disk is full; nothing is removed.
        """
        self.refresh()
        kept: list[Kept] = []
        sources: list[str] = []
        for name in sorted(self._loose):
            if (content := self._content(name)) is not None and (records := self._parse(name, content)):
                kept += [one for one, _ in records]
                sources.append(name)
        if not sources:
            return None
        for name, rows in sorted(self._folded.items(), key=lambda item: item[1]):
            # Merging only what is no larger keeps the number of files small and writes each record a few times in all.
            if rows <= len(kept) and (content := self._content(name)) is not None:
                merged, wrong = at_rest.unfold(content)
                if not wrong:
                    kept += merged
                    sources.append(name)
        kept = list({(one.file, one.place): one for one in kept}.values())
        name, parts = at_rest.fold(kept)
        path = self._folder / name
        with atomic.replacing(path) as temporary, pq.ParquetWriter(temporary, FOLDED, compression="zstd") as writer:
            for part in parts:
                writer.write_table(part)
        _flush_folder(self._folder)
        if at_rest.whole_records(path.read_bytes()) != len(kept):
            raise LedgerError(f"{path}: not what was written to it; nothing was removed; check the disk")
        for source in sources:
            if source != name:
                (self._folder / source).unlink(missing_ok=True)
        pa.default_memory_pool().release_unused()
        self._files.add(name)
        self._loose -= set(sources)
        self._folded = {old: rows for old, rows in self._folded.items() if old not in sources} | {name: len(kept)}
        return path

    def frame(
        self,
        records: Iterable[str] | None = None,
        names: Callable[[Mapping[str, Any]], Mapping[str, str]] = lambda record: {},
    ) -> pd.DataFrame:
        """The records as a table.

        Args:
            records: hashes of those that are wanted, in order; None: all.
            names: what a study calls the parts of a record, see study/naming.py.

        Returns:
            One row per record, with the columns of every level and metric.
        """
        chosen = self._records if records is None else [name for name in records if name in self._records]
        measured = metric.columns()
        columns: dict[str, list[Any]] = {name: [] for name in (*_COLUMNS, *measured)}
        for record in chosen:
            row = self._records[record].record
            row |= {**row["metrics"], **names(row)}
            for name, column in columns.items():
                column.append(row.get(name))
        frame = pd.DataFrame(columns, columns=list(columns))
        numbers = [*_NUMBERS, *measured]
        frame[numbers] = frame[numbers].astype(float)
        frame["wasted_seconds"] = pd.Series(
            [self.wasted_seconds(name) for name in chosen], index=frame.index, dtype=float
        )
        return frame

    def wasted_seconds(self, record: str) -> float:
        """Device-seconds of all tries of this record but the one that counts: interrupted, failed before, or repeated."""
        own = kept.wasted_seconds if (kept := self._records.get(record)) is not None else 0.0
        return own + self._spent.get(record, 0.0)

    def claim(self, record: str, device: str = "cpu", share: float = 1.0) -> Claim:
        """Say that this process works on `record` now; the claim counts what earlier, interrupted tries have lost.

        Args:
            record: its hash.
            device: "cpu" charges the CPU time of this process, all else the time that passes.
            share: part of the device that works on this record.

        Returns:
            A context manager; see Claim.
        """
        return Claim(self.claim_path(record), device, share)

    def claim_path(self, record: str) -> Path:
        """File of the claim of a record."""
        return self.folder / "claims" / f"{record}.json"

    @property
    def _folder(self) -> Path:
        return self.folder / "records"

    def _list(self) -> list[str]:
        """Names in the folder, so that nothing is missed that is being folded.

        A listing may miss a small file that is removed and the Parquet file that appears meanwhile. If the next listing
        shows no other Parquet file than the first, no folding ended in between.
        """
        names = self._names()
        while True:
            following = self._names()
            if {n for n in names if is_folded(n)} == {n for n in following if is_folded(n)}:
                return names
            names = following

    def _names(self) -> list[str]:
        try:
            return sorted(name for name in os.listdir(self._folder) if name.endswith((".json", ".parquet"))
                          and not name.startswith("."))  # fmt: skip
        except FileNotFoundError:
            return []

    def _read(self, names: list[str]) -> bool:
        """Take all files that are new; whether every one was still there."""
        whole = True
        for name in names:
            if name in self._files:
                continue
            try:
                content = self._content(name)
            except OSError as error:  # a disk or server in trouble: tried again at the next look
                self._bad[name] = (
                    f"{self._folder / name}: cannot be read ({error.strerror}); mend the disk or the rights"
                )
                continue
            if content is None:
                whole = False
                continue
            self._bad.pop(name, None)
            self._files.add(name)
            if is_folded(name):
                self._take_folded(name, content)
            elif records := self._parse(name, content):
                self._loose.add(name)
                for kept, record in records:
                    self._take(kept)
                    self._remember(kept, record)
        return whole

    def _remember(self, kept: Kept, record: dict[str, Any]) -> dict[str, Any]:
        while len(self._parsed) >= _PARSED:
            del self._parsed[next(iter(self._parsed))]
        self._parsed[kept.name] = kept, record
        return record

    def _parse(self, name: str, content: bytes) -> list[tuple[Kept, dict[str, Any]]]:
        """The records of one pack's file; none, and a problem noted, where it cannot be trusted."""
        try:
            return at_rest.parse(name, content)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            self._distrust(name, f"not used ({error})")
            return []

    def _take_folded(self, name: str, content: bytes) -> None:
        try:
            records, wrong = at_rest.unfold(content)
        except (OSError, ValueError, KeyError, TypeError) as error:
            self._distrust(name, f"not used ({error})")
            return
        for kept in records:
            self._take(kept)
        if wrong:
            self._distrust(name, f"{len(wrong)} of its {len(records) + len(wrong)} records not used ({wrong[0]})")
        else:
            self._files.update(kept.file for kept in records)
            self._folded[name] = len(records)

    def _distrust(self, name: str, why: str) -> None:
        self._bad[name] = f"{self._folder / name}: {why}; its trials run again; move the file away to silence this"

    def _content(self, name: str) -> bytes | None:
        """The bytes of a file, or None where another driver has folded it in since it was listed."""
        try:
            return (self._folder / name).read_bytes()
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ESTALE):
                return None
            raise

    def _take(self, new: Kept) -> None:
        """Keep the better of two tries of one record; the device time of the other is waste."""
        if (new.file, new.place) in self._seen:
            return
        self._seen.add((new.file, new.place))
        name = new.name
        if (old := self._records.get(name)) is None:
            self._records[name] = new
            return
        better, other = (new, old) if _better(new, old) else (old, new)
        self._records[name] = better
        lost = other.device_seconds
        if other.outcome != "finished":
            lost += other.wasted_seconds  # a finished repeat counted the same interrupted tries as the first
        self._spent[name] = self._spent.get(name, 0.0) + lost


def now() -> str:
    """This moment as ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _better(one: Kept, other: Kept) -> bool:
    """Whether `one` is the try to keep: the finished one, else the first to finish or the last to fail.

    Clocks that differ or jump change which of two equal tries is kept, but never that all readers keep the same.
    """
    done = one.outcome == "finished"
    if done != (other.outcome == "finished"):
        return done
    ended, before = ((kept.ended, kept.file, kept.place) for kept in (one, other))
    return ended < before if done else ended > before


def _flush_folder(folder: Path) -> None:
    """Have the names in a folder on disk before something is removed that they replace."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # file systems that do this by themselves
            raise
    finally:
        os.close(handle)
