"""A Ray session: the cluster that is there, or a local one, and what it offers.

Holds how the house starts and leaves Ray.
"""

import _thread
import atexit
import logging
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import ray

from breakeven import plugins
from breakeven.distributed import internals
from breakeven.errors import StageFailed, no_way_back
from breakeven.terminal import show_error

_GO_ON = "nothing finished is lost: start the same command again"
_LOST = f"Ray: the cluster is gone, no node of it is alive; {_GO_ON}"
_MISSES = 3
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

    One that another program started for itself is never joined: it ends with that program.

    Raises ConnectionError (ray's) where `RAY_ADDRESS` names a cluster that does not answer, and StageFailed where a local
    one does not come up or the cluster is lost on the way.
    """
    address = os.environ.get(internals.ADDRESS) or _started_here() or "local"
    local = address == "local"
    try:
        context = ray.init(
            address=address,
            log_to_driver=False,
            logging_level=logging.WARNING,
            include_dashboard=True if local else None,
            runtime_env={"env_vars": {**internals.WORKER_SETTINGS, **plugins.environment()}},
        )
    except Exception as error:
        if type(error) is not Exception:  # Ray has no kind of its own for a node that takes longer than half a minute
            raise
        raise StageFailed(f"Ray did not start: {error} Is this machine too busy? {_GO_ON.capitalize()}") from error
    try:
        offers = ray.cluster_resources()
        with _watched():
            yield Resources(
                cpus=int(offers.get("CPU", 1)),
                gpus=int(offers.get("GPU", 0)),
                nodes=sum(node["Alive"] for node in ray.nodes()),
                dashboard=f"http://{context.dashboard_url}" if context.dashboard_url else "",
            )
    except ray.exceptions.RayError as error:
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise StageFailed(f"Ray: {reason}; {_GO_ON}") from error
    finally:
        _leave()


def _leave() -> None:
    """Leave Ray; without a word to a cluster whose raylet here is dead, as that ends this process, silently, with status 1."""
    if internals.abandon_dead_node():
        atexit.unregister(ray.shutdown)
        no_way_back.set()
    else:
        ray.shutdown()


@contextmanager
def _watched() -> Iterator[None]:
    """Raise StageFailed in the main thread when no node is alive: Ray itself waits for ever for one to come back."""
    over, lost = threading.Event(), threading.Event()

    def watch() -> None:
        missed = 0
        while missed < _MISSES and not over.wait(2.0):
            missed = 0 if any(node["Alive"] for node in ray.nodes()) else missed + 1
        if over.is_set():
            return
        lost.set()
        _thread.interrupt_main()
        if not over.wait(_LEAVE_SECONDS):  # stuck in a call to the cluster that is gone
            show_error(StageFailed(_LOST))
            os._exit(1)

    threading.Thread(target=watch, daemon=True, name="cluster watch").start()
    try:
        yield
    except BaseException as error:
        if lost.is_set():
            raise StageFailed(_LOST) from error
        raise
    finally:
        over.set()


def _started_here() -> str | None:
    """The address that `ray start` left on this machine, if a cluster still answers there."""
    address = internals.started_address()
    if not address:
        return None
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=2.0).close()
    except OSError:
        return None
    return address
