"""A builder of small ledger frames with known figures."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from breakeven.study.spec import TASKS

NAN = math.nan


class LedgerBuilder:
    """Rows in the shape that study.ledger reads back; each method adds one record and returns it."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def frame(self) -> pd.DataFrame:
        return pd.DataFrame(self.rows, columns=list(_EMPTY))

    def add(self, level: str, **fields: Any) -> dict[str, Any]:
        unknown = set(fields) - set(_EMPTY)
        assert not unknown, unknown
        row = {**_EMPTY, "level": level, "record": f"{level}{len(self.rows):05d}", **fields}
        row["ended"] = f"2026-03-01T10:{len(self.rows) // 60 % 60:02d}:{len(self.rows) % 60:02d}+00:00"
        self.rows.append(row)
        return row

    def generation(self, process: str, **fields: Any) -> dict[str, Any]:
        return self.add("generation", **{"process": process, "events": 500, "source": "pythia", **fields})

    def pretraining(self, objective: str = "multiclass", **fields: Any) -> dict[str, Any]:
        return self.add("pretraining", **{"pretraining": objective, "workers": 2, **fields})

    def trial(
        self, task: str, strategy: str, size: int, seed: int, accuracy: float, **fields: Any
    ) -> dict[str, Any]:
        """accuracy: test accuracy of a confirm trial, validation accuracy of a search trial (fraction)."""
        pretraining = fields.pop("pretraining", "none" if strategy == "scratch" else "multiclass")
        phase = fields.pop("phase", "confirm")
        middle = "scratch" if strategy == "scratch" else f"{pretraining}/{strategy}"
        signal, background = (TASKS[task].signal, TASKS[task].background) if task in TASKS else ("a", "b")
        finished = fields.get("outcome", "finished") == "finished"
        test = accuracy if phase == "confirm" and finished else NAN
        return self.add(
            "trial",
            **{
                "phase": phase,
                "cell": f"{task}/{middle}/{size}",
                "task": task,
                "signal": signal,
                "background": background,
                "pretraining": pretraining,
                "strategy": strategy,
                "size": size,
                "seed": seed,
                "ratio": 1.0 if strategy == "scratch" else 0.1,
                "test_accuracy": test,
                "test_auc": test + 0.05,
                "validation_accuracy": accuracy if finished else NAN,
                "epochs": 4,
                **fields,
            },
        )


def curve(accuracies: list[float], seconds_per_epoch: float) -> list[dict[str, float]]:
    """One dict an epoch with these validation accuracies."""
    return [
        {
            "epoch": epoch,
            "wall_seconds": epoch * seconds_per_epoch,
            "device_seconds": epoch * seconds_per_epoch,
            "events_seen": 200 * epoch,
            "train_loss": 0.7 - 0.05 * epoch,
            "validation_loss": 0.7 - 0.04 * epoch,
            "validation_accuracy": accuracy,
            "validation_auc": accuracy + 0.05,
            "learning_rate": 1e-3,
        }
        for epoch, accuracy in enumerate(accuracies, start=1)
    ]


@pytest.fixture
def ledger() -> LedgerBuilder:
    return LedgerBuilder()


@pytest.fixture
def make_curve() -> Callable[[list[float], float], list[dict[str, float]]]:
    return curve


_EMPTY: dict[str, Any] = {
    "level": "", "record": "", "outcome": "finished", "reason": "", "phase": "", "cell": "", "task": "", "signal": "",
    "background": "", "pretraining": "none", "strategy": "", "size": 0, "seed": 0, "ratio": NAN, "test_accuracy": NAN,
    "test_auc": NAN, "validation_accuracy": NAN, "validation_auc": NAN, "validation_loss": NAN, "epochs": 0,
    "events_seen": 0, "device": "cpu", "wall_seconds": 36.0, "device_seconds": 36.0, "plateau_seconds": NAN,
    "wasted_seconds": 0.0, "curve": (), "dataset": "d1", "backbone": "", "git_commit": "abc123", "host": "node1",
    "started": "2026-03-01T10:00:00+00:00", "ended": "", "process": "", "events": 0, "source": "", "workers": 0,
}  # fmt: skip
