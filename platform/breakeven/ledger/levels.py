"""What a record of each level holds, for those who write and read them: events, a backbone, a trial.

Types only: the ledger checks what it needs itself (records.py) and keeps whatever else it is given.
"""

from typing import Any, Literal, TypedDict


class Record(TypedDict, total=False):
    """What all levels share. Times in seconds, moments as ISO 8601 in UTC."""

    record: str  # hash of all that defines the result: its name
    outcome: Literal["finished", "failed", "stopped"]
    reason: str  # why it failed or was stopped
    device: str
    device_seconds: float
    wall_seconds: float
    wasted_seconds: float  # of interrupted tries before this one
    started: str
    ended: str
    dataset: str  # hashes of the events, joined by +
    git_commit: str
    host: str
    processor: str
    versions: dict[str, str]
    reservation: str


class Generation(Record, total=False):
    """The events of one process."""

    level: Literal["generation"]
    process: str
    source: str
    events: int
    hard_events: int  # distinct ones among them
    splits: dict[str, dict[str, float]]  # by split: events, hard_events and their effective number
    mpi: bool


class Training(Record, total=False):
    """What every training leaves."""

    identity: dict[str, Any]
    network: str  # its name in the study that made the record; empty where that had one alone
    pretraining: str
    backbone: str  # hash of its weights
    seed: int
    kernel: str  # what computed the network
    metrics: dict[str, float | None]  # by split and name, see metric.py
    validation_loss: float
    epochs: int
    best_epoch: int
    stopped: str
    events_seen: int
    plateau_seconds: float | None
    curve: list[dict[str, Any]]  # one line per epoch
    energy_joules: float


class Pretraining(Training, total=False):
    """A backbone."""

    level: Literal["pretraining"]
    workers: int
    train_events: int
    start: str  # hash of the weights of the backbone that it started from; empty from scratch


class Trial(Training, total=False):
    """A cell with seed and ratio."""

    level: Literal["trial"]
    phase: Literal["search", "confirm"]
    cell: str
    task: str
    signal: str
    background: str
    strategy: str
    size: int
    ratio: float
    pack: int
    retry: bool  # whether another try of a failed one may help
    time_limit: float | None
    test_events: int
    validation_events: int
    representation: str
    represented_events: str
    scores: str
    scored_events: str  # equal where those of two trials are of the same events
