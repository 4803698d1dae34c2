"""A Ray session: the cluster that is there, or a local one, and what it offers.

Holds how the house starts and leaves Ray.
"""

import _thread
import atexit
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import ray

from breakeven import plugins
from breakeven.distributed import internals
from breakeven.errors import StageFailed, no_way_back
from breakeven.terminal import console, show_error

_LOOK_SECONDS = 1.0
_GO_ON = "nothing finished is lost: start the same command again"
_LOST = f"Ray: the cluster is gone, no node of it is alive; {_GO_ON}"
_IDLE_SECONDS = 600.0
_IDLE = f"Ray: no node of the cluster that could work has come in {_IDLE_SECONDS / 60:.0f} minutes; {_GO_ON}"
_MISSES = 5
_HEAD_SECONDS = 20.0
"""How long a head may not answer: Ray gives up after a minute, with a traceback."""
_LEAVE_SECONDS = 20.0


@dataclass(frozen=True)
class Resources:
    """What a cluster offers."""

    cpus: int
    gpus: int
    nodes: int
    dashboard: str

    @property
    def device(self) -> str:
        """ "cuda" where the cluster has a GPU, else "cpu"."""
        return "cuda" if self.gpus else "cpu"


@contextmanager
def session() -> Iterator[Resources]:
    """Connect to the cluster of `RAY_ADDRESS`, or of `ray start` on this machine, or start one; leave it at the end.

    One that another program started for itself is never joined: it ends with that program. One that is started here listens on
    this machine alone.

    Raises ConnectionError (ray's) where `RAY_ADDRESS` names a cluster that does not answer, and StageFailed where a local
    one does not come up or the cluster is lost on the way.
    """
    address = os.environ.get(internals.ADDRESS) or _started_here() or "local"
    local = address == "local"
    try:
        with internals.on_loopback() if local else nullcontext():
            context = ray.init(
                address=address,
                log_to_driver=False,
                logging_level=logging.WARNING,
                include_dashboard=True if local else None,
                runtime_env={"env_vars": {**internals.WORKER_SETTINGS, **plugins.environment(), **plugins.pinned()}},
            )
    except Exception as error:
        if type(error) is not Exception:  # Ray has no kind of its own for a node that takes longer than half a minute
            raise
        raise StageFailed(f"Ray did not start: {error} Is this machine too busy? {_GO_ON.capitalize()}") from error
    internals.guard_token()
    nodes = _Nodes()
    try:
        offers = ray.cluster_resources()
        with _watched(nodes):
            yield Resources(
                cpus=int(offers.get("CPU", 1)),
                gpus=int(offers.get("GPU", 0)),
                nodes=sum(node["Alive"] for node in ray.nodes()),
                dashboard=f"http://{context.dashboard_url}" if context.dashboard_url else "",
            )
    except ray.exceptions.RayError as error:
        if lost := nodes.lost_head():
            raise StageFailed(lost) from error
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise StageFailed(f"Ray: {reason}; {_GO_ON}") from error
    finally:
        _leave(nodes.head_lost)


def _leave(head_lost: bool) -> None:
    """Leave Ray; without a word to a cluster whose head, or raylet here, is dead: that would end this process, with status 1."""
    if internals.abandon_dead_node(head_lost):
        atexit.unregister(ray.shutdown)
        no_way_back.set()
    else:
        ray.shutdown()


@contextmanager
def _watched(nodes: "_Nodes") -> Iterator[None]:
    """Say which nodes are lost and which have come; raise StageFailed in the main thread when there are none.

    Ray itself waits for ever for one to come back.
    """
    over, reasons = threading.Event(), list[str]()

    def watch() -> None:
        while not over.wait(_LOOK_SECONDS):
            if reason := nodes.look():
                break
        else:
            return
        reasons.append(reason)
        _thread.interrupt_main()
        if not over.wait(_LEAVE_SECONDS):  # stuck in a call to the cluster that is gone
            show_error(StageFailed(reason))
            os._exit(1)

    threading.Thread(target=watch, daemon=True, name="cluster watch").start()
    try:
        yield
    except BaseException as error:
        if reasons:
            raise StageFailed(reasons[0]) from error
        raise
    finally:
        over.set()


class _Nodes:
    """The nodes that can work, from look to look."""

    def __init__(self) -> None:
        self._there = _working(ray.nodes())
        self._most = len(self._there)
        self._missed, self._idle_since = 0, time.monotonic()
        host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
        self._head, self._heard = (host, int(port)), time.monotonic()
        self.head_lost = False

    def look(self) -> str:
        """Say what has changed; why there is no use in going on, empty where there is."""
        if not _answers(self._head):  # it is not asked what it knows, which would take a minute
            return self.lost_head() if time.monotonic() - self._heard > _HEAD_SECONDS else ""
        self._heard = time.monotonic()
        try:
            nodes = ray.nodes()
        except (RuntimeError, ray.exceptions.RayError):  # it was lost just now
            return ""
        self._missed = 0 if any(node["Alive"] for node in nodes) else self._missed + 1
        if self._missed == _MISSES:
            return _LOST
        there, before = _working(nodes), self._there
        if there != before and not self._missed:
            self._there, self._most = there, max(self._most, len(there))
            internals.nodes_have_changed()
            if lost := len(before - there):
                goes_on = f"going on with {len(there)}" if there else "waiting for one to come"
                console.print(f"[yellow]warning[/] Ray: {lost} of {len(before)} nodes lost, {goes_on}")
            if joined := len(there - before):
                console.print(f"  Ray: {joined} node(s) joined, going on with {len(there)} of {self._most}")
        if there or self._missed:
            self._idle_since = time.monotonic()
        return _IDLE if time.monotonic() - self._idle_since > _IDLE_SECONDS else ""

    def lost_head(self) -> str:
        """What to say of a head that does not answer; empty where it does."""
        self.head_lost = not _answers(self._head)
        return (
            "Ray: the head at {}:{} does not answer any more; {}".format(*self._head, _GO_ON) if self.head_lost else ""
        )


def _working(nodes: list[dict[str, Any]]) -> set[str]:
    """Those that are alive and have a device."""
    return {
        node["NodeID"]
        for node in nodes
        if node["Alive"] and any(node["Resources"].get(kind) for kind in ("CPU", "GPU"))
    }


def _started_here() -> str | None:
    """The address that `ray start` left on this machine, if a cluster still answers there."""
    address = internals.started_address()
    if not address:
        return None
    host, _, port = address.rpartition(":")
    return address if _answers((host, int(port))) else None


def _answers(address: tuple[str, int]) -> bool:
    host, port = address
    try:
        socket.create_connection((host.strip("[]"), port), timeout=2.0).close()  # as Ray writes an IPv6 address
    except OSError:
        return False
    return True
