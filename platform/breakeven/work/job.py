"""What a worker is told to do, and who its record is about. Plain values: the driver needs nothing of training for them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from breakeven import provenance
from breakeven.events.store import Dataset
from breakeven.fingerprint import fingerprint
from breakeven.ledger import levels
from breakeven.ledger.ledger import Ledger, now
from breakeven.study.plan import Trial
from breakeven.study.spec import Finetuning, Network, Pretraining
from breakeven.work.deadline import Check


@dataclass(frozen=True)
class TrialJob:
    """All that a worker needs to train one trial: plain values and paths on shared storage."""

    trial: Trial
    network: Network
    settings: Finetuning
    datasets: dict[str, Dataset]
    """Events of the signal and of the background process, by name: as planned, whatever others add beside them."""
    backbone: Path | None
    ledger: Path
    device: str
    git_commit: str
    reservation: str = ""
    """Name of the reservation that its device time is part of."""
    pack: int = 0
    """Number of its pack within the reservation: what one worker trained in one go."""
    limits: tuple[float, ...] = ()
    """Validation losses, by epoch, above which the trial is pruned."""

    def __repr__(self) -> str:
        return f"TrialJob({self.trial.hash})"


@dataclass(frozen=True)
class PretrainingJob:
    """All that the workers need: plain values and paths on shared storage."""

    name: str
    """Of the backbone, for people."""
    identity: dict[str, Any]
    network: Network
    settings: Pretraining
    datasets: tuple[Dataset, ...]
    """Events of the classes, in the order of the class numbers."""
    start: Path | None
    """Folder of the backbone whose weights it starts from; None: from scratch."""
    ledger: Path
    backbone: Path
    """Folder that the finished backbone is written to."""
    device: str = "cpu"

    @cached_property
    def hash(self) -> str:
        """Hash of the identity: the name of its record in the ledger."""
        return fingerprint(self.identity)


Train = Callable[[TrialJob, Check], dict[str, Any]]
"""Trains and evaluates one trial and returns its facts; it calls the check now and then, which ends one that takes too long."""


def lost_record(job: TrialJob, reason: str) -> levels.Trial:
    """The record of a trial whose worker died again and again before it could write one."""
    with Ledger(job.ledger).claim(job.trial.hash) as claim:
        wasted = claim.wasted_seconds
        claim.release()
    return {
        **about(job), "outcome": "failed", "reason": reason, "retry": True, "device_seconds": 0.0, "wall_seconds": 0.0,
        "wasted_seconds": wasted, "started": now(), "ended": now(),
    }  # fmt: skip


def about(job: TrialJob) -> levels.Trial:
    """Who a record is: identity, names, provenance."""
    trial = job.trial
    wanted = trial.cell.task
    return {
        "level": "trial",
        "record": trial.hash,
        "phase": trial.phase,
        "cell": trial.cell.name,
        "task": wanted.name,
        "network": trial.cell.network,
        "signal": wanted.signal,
        "background": wanted.background,
        "pretraining": trial.cell.pretraining,
        "strategy": trial.cell.strategy,
        "size": trial.cell.size,
        "seed": trial.seed,
        "ratio": trial.ratio,
        "identity": trial.identity,
        "dataset": f"{trial.identity['signal']}+{trial.identity['background']}",
        "backbone": trial.identity["backbone"],
        "device": job.device,
        "git_commit": job.git_commit,
        "reservation": job.reservation,
        "pack": job.pack,
        "host": provenance.host(),
        "processor": provenance.processor(),
        "versions": provenance.versions(),
    }
