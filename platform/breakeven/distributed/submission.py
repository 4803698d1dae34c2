"""A study as a job of a Ray cluster: what is sent there, under which name, and what it says while it runs.

The same study submitted again while it runs is found by its name, and followed; once it has ended, it is a new job, which
goes on from the ledger.
"""

import asyncio
import logging
import os
import re
import shlex
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from ray.exceptions import RayError
from ray.job_submission import JobStatus, JobSubmissionClient

from breakeven.distributed import internals
from breakeven.errors import StageFailed

logging.getLogger("ray").setLevel(logging.ERROR)  # it tells of each file that is not sent, and of closed sockets

__all__ = ["Entry", "Submitted", "follow", "submit"]

_DASHBOARD_PORT = 8265
_ANSWER_SECONDS = 3.0
_AGENT = (
    "; another Ray on its machine may hold the port of its dashboard's agent: start the head with --dashboard-port and "
    "--dashboard-agent-listen-port of its own, and give --address with that --dashboard-port"
)
"""The way out where Ray finds no agent: one whose port is taken serves nothing, and says so in its own log alone."""


@dataclass(frozen=True)
class Entry:
    """What is submitted.

    folder: is sent whole, without what its .gitignore names.  command: run in it.  name: of the study with its hash, the same
    for the same study.  variables: environment of the job.  metadata: shown beside it.
    """

    folder: Path
    command: tuple[str, ...]
    name: str
    variables: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Submitted:
    """A job of a cluster. attached: it was there already, and runs."""

    address: str
    identifier: str
    attached: bool


def submit(entry: Entry, address: str = "") -> Submitted:
    """Submit a job, or find the one of this name that runs.

    Args:
        entry: what.
        address: of the cluster's dashboard, as http://host:8265; empty: RAY_API_SERVER_ADDRESS, or RAY_ADDRESS where it is of
            that kind, or the cluster that was started on this machine.

    Returns:
        The job, new or found.

    Raises:
        StageFailed: nothing answers there, within seconds, or it refuses; the message says what to do.
    """
    address = _address(address)
    client = _client(address)
    numbers = [0]
    for job in client.list_jobs():
        found = re.fullmatch(rf"{re.escape(entry.name)}(?:-(\d+))?", job.submission_id or "")
        if found is None:
            continue
        if not JobStatus(job.status).is_terminal():
            return Submitted(address, str(job.submission_id), attached=True)
        numbers.append(int(found[1] or 1))
    last = max(numbers)
    try:
        identifier = client.submit_job(
            entrypoint=shlex.join(entry.command),
            submission_id=entry.name if last == 0 else f"{entry.name}-{last + 1}",
            runtime_env={"working_dir": str(entry.folder), "env_vars": dict(entry.variables)},
            metadata=dict(entry.metadata),
        )
    except RuntimeError as error:
        way = _AGENT if "No available agent" in str(error) else ""
        raise StageFailed(f"{address} does not take the job: {_first_line(error)}{way}") from error
    return Submitted(address, identifier, attached=False)


def follow(job: Submitted, say: Callable[[str], None]) -> bool:
    """Hand on what a job writes until it has ended.

    Args:
        job: as `submit` gives it.
        say: called with each piece of text.

    Returns:
        Whether it succeeded.

    Raises:
        StageFailed: the cluster is lost.
    """
    client = _client(job.address)

    async def tail() -> None:
        async for text in client.tail_job_logs(job.identifier):
            say(text)

    try:
        asyncio.run(tail())
        status = client.get_job_status(job.identifier)
    except (RuntimeError, OSError, RayError) as error:
        raise StageFailed(
            f"{job.address} is lost ({_first_line(error)}); the job goes on if it lives: the same command follows it"
        ) from error
    return status == JobStatus.SUCCEEDED


def _address(asked: str) -> str:
    cluster = os.environ.get(internals.ADDRESS, "")
    address = asked or os.environ.get("RAY_API_SERVER_ADDRESS", "") or (cluster if "://" in cluster else "")
    if not address:
        started = internals.started_address()
        if not started:
            raise StageFailed(
                "no Ray cluster was started on this machine: give --address http://HOST:8265, or start one here: ray start --head"
            )
        address = f"http://{started.rpartition(':')[0]}:{_DASHBOARD_PORT}"
    address = address if "://" in address else f"http://{address}"
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise StageFailed(f"{address!r} is no address ({error}); give the dashboard's, as http://HOST:8265") from error
    if parts.scheme not in ("http", "https") or not host:
        raise StageFailed(f"{address!r} is not the address of a dashboard; give it as http://HOST:8265")
    return address if port else f"{address.rstrip('/')}:{_DASHBOARD_PORT}"


def _client(address: str) -> JobSubmissionClient:
    parts = urlsplit(address)
    try:
        socket.create_connection((parts.hostname or "", parts.port or _DASHBOARD_PORT), timeout=_ANSWER_SECONDS).close()
    except (OSError, ValueError) as error:
        raise StageFailed(
            f"no Ray dashboard answers at {address} ({error}): is it the head's, with its port, and is the way open?"
        ) from error
    try:
        return JobSubmissionClient(address)
    except (RuntimeError, ConnectionError, RayError, ValueError) as error:  # ValueError: something else answers
        raise StageFailed(f"{address} does not answer as Ray does: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
