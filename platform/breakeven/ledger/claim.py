"""Claims: how much device time a try that never came to its end has lost.

A worker's small file beside the ledger, rewritten in place once per second while it works. It is an estimate of lost time,
never a result, and it keeps nobody from working on the same record: that is what leases are for.
"""

import json
import math
import os
import re
import socket
import time
from pathlib import Path

from breakeven.beat import Beat

BEAT_SECONDS = 1.0


class Claim:
    """One worker's work on one record. As a context manager it beats once per second until the work ends.

    path: its file.  device: "cpu" charges the CPU time of this process, all else the time that passes.
    share: part of the device that works on this record: 1/16 in a pack of 16, 4 where four workers train one backbone.
    wasted_seconds: device-seconds that earlier tries spent and lost. The file is removed by `release`, which the worker
    calls after its record is safely written; a killed worker leaves it behind for the next try to read.
    """

    def __init__(self, path: Path, device: str = "cpu", share: float = 1.0) -> None:
        self.path, self.share = path, share
        self.wasted_seconds = 0.0
        self._clock = time.process_time if device == "cpu" else time.monotonic

    def __enter__(self) -> "Claim":
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
        now_spent, before = _read(os.pread(self._file, 400, 0))
        self.wasted_seconds = now_spent + before
        self._start = self._clock()
        self._write()
        self._beat = Beat(BEAT_SECONDS, self._write, "claim")
        return self

    def __exit__(self, *_: object) -> None:
        if not self._beat.stopped:
            self._beat.stop()
            self._write()
        os.close(self._file)

    def saved(self) -> None:
        """Say that all work so far is in a checkpoint: a kill from here on loses only what follows."""
        self._start = self._clock()

    def release(self) -> None:
        """Remove the claim: its record is written."""
        self._beat.stop()
        self.path.unlink(missing_ok=True)

    def _write(self) -> None:
        """One write of fixed length over the last one: no flush, as a lost second costs less than a flush per second."""
        spent = (self._clock() - self._start) * self.share
        times = f'"device_seconds": {spent:16.3f}, "wasted_seconds": {self.wasted_seconds:16.3f}'
        text = f'{{{times}, "worker": "{worker_name():80}"}}\n'
        os.pwrite(self._file, text.encode(), 0)


def last_try(path: Path) -> tuple[float, str]:
    """Device-seconds that the last try of a claim has spent so far, and its worker; 0 and "" where there is none."""
    try:
        content = path.read_bytes()
    except OSError:
        return 0.0, ""
    worker = re.search(rb'"worker": "([^"]*)"', content)
    return _read(content)[0], worker[1].decode(errors="replace").strip() if worker else ""


def worker_name() -> str:
    """Name of this process among all workers: its host and number."""
    return f"{socket.gethostname()[:64]} {os.getpid()}"


def _read(content: bytes) -> tuple[float, float]:
    """Device-seconds of the last try and of those before; 0 where they are damaged: an estimate less."""
    try:
        left = json.loads(content or b"{}")
        spent, before = (float(left.get(name, 0.0)) for name in ("device_seconds", "wasted_seconds"))
        return (spent, before) if 0.0 <= spent + before < math.inf else (0.0, 0.0)
    except (ValueError, AttributeError, TypeError, OverflowError, RecursionError):
        return 0.0, 0.0
