"""Leases: which of several drivers works on what, so that no two do the same.

A lease is a file that one driver alone can create; the driver's one heartbeat file says that all its leases are alive.
No locks, as NFS and Lustre may lack them, and no clock of another machine is believed: a driver is dead when its
heartbeat has not changed for a while on the watcher's own clock. It never looks into the ledger: who takes a lease must
look there afterwards, as the work may just have been finished.

Files: `drivers/<owner>` is a driver's heartbeat. `leases/<name>.<n>` holds the owner of the n-th lease of a name; the
highest counts. A dead driver's lease is taken over by creating the next number, which only one can do, and no number
is freed before the work is done, so that a driver that slept through a takeover cannot undo it.
"""

import json
import math
import os
import re
import socket
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from breakeven.beat import Beat

__all__ = ["Driver", "Leases"]

BEAT_SECONDS = 2.0
PATIENCE_SECONDS = 60.0
"""How long the heartbeat of a driver on another machine may stand still: NFS shows what is up to a minute old."""

_LOOK_SECONDS = 1.0
_NAMELESS = "?"
_OWNER = re.compile(rb"[\w.-]{1,255}")
_HEARTBEAT_BYTES = 1024
"""Length of every heartbeat: written over the last one, it must cover it."""


@dataclass(frozen=True)
class Driver:
    """A driver as its heartbeat shows it."""

    owner: str
    host: str
    pid: int
    study: str
    """Name of the study that it runs."""
    doing: str
    """What it is at, in words."""
    alive: bool
    """False: its process is gone, or its heartbeat has stood still for too long."""
    silent_seconds: float
    """Age of the heartbeat by the clocks of this machine and of the disk."""


class Leases:
    """The leases of one driver. As a context manager its heartbeat beats until the end, and then others may take over.

    Consistency: of all drivers on all machines at most one that lives has a lease, as long as none stands still for
    longer than `patience_seconds`; one that did finds its lease gone at the next `take`. Threads of a driver may take
    and release different names at once; one name is one thread's.

    Args:
        folder: shared by all drivers of a ledger.
        beat_seconds: between two beats.
        patience_seconds: how long another driver's heartbeat may stand still, on this driver's monotonic clock.
        study: what the heartbeat tells of this driver, for people.
    """

    def __init__(
        self,
        folder: Path,
        *,
        beat_seconds: float = BEAT_SECONDS,
        patience_seconds: float = PATIENCE_SECONDS,
        study: str = "",
    ) -> None:
        self.folder, self.beat_seconds, self.patience_seconds = folder, beat_seconds, patience_seconds
        self.study, self.doing = study, ""
        self.owner = (
            f"{re.sub(r'[^A-Za-z0-9_.-]', '_', socket.gethostname())[:200]}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        )
        self._mine: dict[str, int] = {}
        self._watched: dict[str, tuple[bytes, float]] = {}
        """Heartbeat of other drivers as last seen to change, and when, on this machine's monotonic clock."""
        self._looked: dict[str, tuple[bool, float]] = {}
        """Whether each driver lived at the last look, and when that was."""
        self._beats = 0

    def __enter__(self) -> "Leases":
        for folder in (self.folder / "drivers", self.folder / "leases"):
            folder.mkdir(parents=True, exist_ok=True)
        self._beat()
        self._heart = Beat(self.beat_seconds, self._beat_unless_the_disk_fails, "leases")
        return self

    def __exit__(self, *_: object) -> None:
        self._heart.stop()
        self._heartbeat(self.owner).unlink(missing_ok=True)

    def take(self, name: str) -> bool:
        """Take the lease of `name`, or keep it.

        Whoever gets True for the first time looks into the ledger next: the last owner may have finished the work.

        Args:
            name: of the work: a hash, or a name that all drivers know.

        Returns:
            False where another driver that lives has it.

        Raises:
            OSError: neither leases nor the heartbeat can be written.
        """
        if time.monotonic() - self._beaten > self.patience_seconds / 2:
            self._beat()
        if name in self._mine:
            if self._owns(name, self._mine[name]) and not self._path(name, self._mine[name] + 1).exists():
                return True
            del self._mine[name]  # this driver stood still for so long that another took over
        if self._create(name, 1):  # nearly always: nobody had it before
            return True
        number, owner = self._highest(name)
        return not self.lives(owner) and self._create(name, number + 1)

    def wait(self, name: str, done: Callable[[], bool]) -> bool:
        """Take the lease of `name`, or wait while a living driver has it.

        Args:
            name: of the work.
            done: whether the work is done; asked again and again.

        Returns:
            Whether the work is left to this driver, which has its lease then.

        Raises:
            OSError: as `take`.
        """
        while True:
            taken = self.take(name)
            if done():
                if taken:
                    self.release(name)
                return False
            if taken:
                return True
            time.sleep(_LOOK_SECONDS)

    def release(self, name: str) -> None:
        """Remove the lease of `name`, whose work is done: its record is in the ledger.

        Work that is not done stays leased until this driver ends.
        """
        last = self._mine.pop(name, 0)
        if last and self._owns(name, last):  # else another has taken over, and may have released it since
            for number in range(1, last + 1):
                _remove(self._path(name, number))

    def sweep(self, done: Callable[[str], bool]) -> None:
        """Remove what killed drivers left: leases of work that is done, and the heartbeats of dead drivers."""
        for path in (self.folder / "leases").iterdir():
            name = path.name.rpartition(".")[0]
            if name not in self._mine and done(name):
                _remove(path)
        for path in (self.folder / "drivers").iterdir():
            if path.name != self.owner and not self.lives(path.name):
                _remove(path)

    def lives(self, owner: str) -> bool:
        """Whether a driver lives. One that ended has no heartbeat; one killed on this machine has no process."""
        if owner == self.owner:
            return True
        alive, when = self._looked.get(owner, (False, -math.inf))
        if time.monotonic() - when < self.beat_seconds / 2:
            return alive
        alive = self._look(owner)
        self._looked[owner] = (alive, time.monotonic())
        return alive

    def drivers(self) -> list[Driver]:
        """All drivers whose heartbeats are there, living and killed; those that ended left none.

        A first look at a driver of another machine has only the heartbeat's age to go by, so clocks that differ by more
        than `patience_seconds` make it look dead or alive; nothing but what people read may depend on it.
        """
        drivers = []
        for path in sorted((self.folder / "drivers").glob("*")):
            try:
                silent = max(time.time() - path.stat().st_mtime, 0.0)
                told = json.loads(path.read_bytes())
                pid = int(told["pid"])
            except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
                continue  # it ended meanwhile, or is about to write its first heartbeat
            here = bool(machine()) and told.get("machine") == machine()
            alive = self.lives(path.name) and (here or silent < self.patience_seconds)
            study, doing = (str(told.get(name, "")) for name in ("study", "doing"))
            drivers.append(Driver(path.name, path.name.rsplit("-", 2)[0], pid, study, doing, alive, silent))
        return drivers

    def held(self) -> dict[str, str]:
        """Owner of each lease that there is, whether it lives or not."""
        names = {path.name.rpartition(".")[0] for path in (self.folder / "leases").glob("*")}
        return {name: owner for name in names if (owner := self._highest(name)[1])}

    def _create(self, name: str, number: int) -> bool:
        """Create the lease with this number; False where another driver was first."""
        path = self._path(name, number)
        try:
            with path.open("x") as file:
                file.write(self.owner)
        except FileExistsError:
            return False
        except OSError:
            path.unlink(missing_ok=True)
            raise
        self._mine[name] = number
        return True

    def _owns(self, name: str, number: int) -> bool:
        try:
            return self._path(name, number).read_bytes() == self.owner.encode()
        except (FileNotFoundError, IsADirectoryError):
            return False

    def _highest(self, name: str) -> tuple[int, str]:
        """Number and owner of the lease that counts; 0 and "" where it has just been removed."""
        number, owner = 0, ""
        while True:
            try:
                text = self._path(name, number + 1).read_bytes()
            except FileNotFoundError:
                return number, owner
            except IsADirectoryError:
                text = b""
            number += 1
            # A lease without a name is about to get one, or its driver was killed before, or it is damaged: it is watched by
            # itself, and taken over.
            owner = text.decode() if _OWNER.fullmatch(text) else f"{_NAMELESS}{name}.{number}"

    def _look(self, owner: str) -> bool:
        if not owner:
            return False
        try:
            seen = b"" if owner.startswith(_NAMELESS) else self._heartbeat(owner).read_bytes()
        except (FileNotFoundError, IsADirectoryError):
            return False
        if _gone(seen):
            return False
        before, since = self._watched.get(owner, (None, 0.0))
        if seen != before:
            self._watched[owner] = (seen, time.monotonic())
            return True
        return time.monotonic() - since < self.patience_seconds

    def _beat_unless_the_disk_fails(self) -> None:
        with suppress(OSError):  # a disk in trouble must not end the thread; `take` raises what lasts
            self._beat()

    def _beat(self) -> None:
        """Write the heartbeat in place: one small write, opened anew so that NFS sends it on closing."""
        self._beats += 1
        about = {"beats": f"{self._beats:016d}", "study": self.study, "doing": self.doing[:200]}
        text = json.dumps({**_process(), **about}).ljust(_HEARTBEAT_BYTES - 1) + "\n"
        with open(os.open(self._heartbeat(self.owner), os.O_WRONLY | os.O_CREAT, 0o666), "w") as file:
            file.write(text)
        self._beaten = time.monotonic()

    def _heartbeat(self, owner: str) -> Path:
        return self.folder / "drivers" / owner

    def _path(self, name: str, number: int) -> Path:
        return self.folder / "leases" / f"{name}.{number}"


@cache
def machine() -> str:
    """What tells where a process number means something: this boot of this kernel and its process namespace; or ""."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""  # no Linux: heartbeats alone decide


def _process() -> dict[str, str | int]:
    return {"machine": machine(), "pid": os.getpid(), "born": _born(os.getpid())}


def _born(pid: int) -> str:
    """When a process started, in ticks of the kernel since its boot; "" where it is gone or this is no Linux."""
    try:
        # The name of the program, in brackets, may hold spaces; state and start time are the 1st and 20th field after it.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def _gone(heartbeat: bytes) -> bool:
    """Whether a heartbeat is that of a process of this machine that is certainly dead."""
    try:
        told = json.loads(heartbeat)
        return bool(machine()) and told["machine"] == machine() and _born(told["pid"]) != told["born"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return False


def _remove(path: Path) -> None:
    """Remove a file that another may have removed before; a folder that somebody has put in its place stays."""
    with suppress(FileNotFoundError, IsADirectoryError):
        path.unlink()
