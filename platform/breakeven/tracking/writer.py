"""The thread that writes to MLflow beside a study, so that neither Ray nor a trial waits for a database or a server.

It holds names of records and no records: a slow MLflow costs no memory. What it could not write is in the ledger, from
which `Tracker.sync` brings MLflow up at any later time.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from threading import Event

import pandas as pd

from breakeven.observer import Observer
from breakeven.tracking.database import TrackingUnavailable
from breakeven.tracking.tracker import Tracker

AGAIN_SECONDS = 300.0
"""Pause after which an MLflow that did not answer is tried again."""

_ROWS = 64
"""Records that are held at a time."""


class Writer(Observer):
    """Writes records in the order in which they are named. As a context manager it ends at the record that it is at.

    connect: opens MLflow.  frame: the rows of these records.  ours: whether this process is the one to write now, asked
    before every record.  lost: told what went wrong, the first time.
    What MLflow does not take, or another process is to write, is passed over. Leaving raises what else went wrong.
    """

    def __init__(
        self,
        connect: Callable[[], Tracker],
        frame: Callable[[Sequence[str]], pd.DataFrame],
        ours: Callable[[], bool],
        lost: Callable[[TrackingUnavailable], None],
    ) -> None:
        self._connect, self._frame, self._ours, self._lost = connect, frame, ours, lost
        self._names: SimpleQueue[tuple[str, ...]] = SimpleQueue()
        self._asked, self._done = 0, 0
        self._tracker: Tracker | None = None
        self._failed, self._again = False, 0.0
        self._end = Event()

    def __enter__(self) -> "Writer":
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="mlflow")
        self._thread: Future[None] = self._pool.submit(self._run)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._end.set()
        self._names.put(())
        self._pool.shutdown()
        if kind is None:
            self._thread.result()

    @property
    def left(self) -> int:
        """Records that were named and not yet written or passed over; none where the thread has died."""
        return 0 if self._thread.done() else self._asked - self._done

    def recorded(self, names: Sequence[str]) -> None:
        """Have the records with these names written; returns at once."""
        self._asked += len(names)
        self._names.put(tuple(names))

    def _run(self) -> None:
        self._write(None)  # MLflow is opened while Ray starts
        while not self._end.is_set():
            self._write_all(self._names.get())

    def _write_all(self, names: Sequence[str]) -> None:
        for start in range(0, len(names), _ROWS):
            part = names[start : start + _ROWS]
            rows = self._frame(part)
            self._done += len(part) - len(rows)
            for _, row in rows.sort_values("started", kind="stable").iterrows():
                if self._end.is_set():
                    return
                self._write(row)
                self._done += 1

    def _write(self, row: pd.Series | None) -> None:
        if time.monotonic() < self._again:
            return
        try:
            if not self._ours():
                self._tracker = None  # what another process writes meanwhile must be seen
                return
            self._tracker = self._tracker or self._connect()
            if row is not None:
                self._tracker.record(row)
        except TrackingUnavailable as error:
            self._tracker, self._again = None, time.monotonic() + AGAIN_SECONDS
            if not self._failed:
                self._failed = True
                self._lost(error)
