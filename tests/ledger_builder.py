"""A builder of small ledger frames with known figures, as fixtures for tests of analysis and report."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from breakeven.study.spec import TASKS

NAN = math.nan


def no_copies(record: str, n_kept: Sequence[int]) -> list[np.ndarray]:
    """Each test event is of a hard event of its own."""
    return [np.arange(n) for n in n_kept]


class LedgerBuilder:
    """Rows in the shape that the ledger reads back; each method adds one record and returns it."""

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

    def trial(self, task: str, strategy: str, size: int, seed: int, accuracy: float, **fields: Any) -> dict[str, Any]:
        """accuracy: test accuracy of a confirm trial, validation accuracy of a search trial (fraction)."""
        pretraining = fields.pop("pretraining", "none" if strategy == "scratch" else "multiclass")
        phase = fields.pop("phase", "confirm")
        signal, background = (TASKS[task].signal, TASKS[task].background) if task in TASKS else ("a", "b")
        finished = fields.get("outcome", "finished") == "finished"
        test = accuracy if phase == "confirm" and finished else NAN
        return self.add(
            "trial",
            **{
                "phase": phase,
                "cell": f"{task}/{pretraining}/{strategy}/{size}",
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
def study() -> LedgerBuilder:
    return made_study()


@pytest.fixture(scope="session")
def whole_study() -> pd.DataFrame:
    """The frame of `study`, for tests that only read it."""
    return made_study().frame()


def made_study() -> LedgerBuilder:
    """A study as the laptop preset makes it: five tasks, two pretrainings, two strategies, three sizes, three seeds.

    Finetuning gains 6, 4, 2 points (multiclass) or 3, 2, 1 (multilabel) on average at 100, 300, 1000 events; 90 s to
    the plateau from scratch, 30 s finetuned, 10 s frozen; pretrainings take 1800 s.
    """
    made, noise = LedgerBuilder(), np.random.default_rng(7)
    for process in sorted({name for task in TASKS.values() for name in (task.signal, task.background)}):
        made.generation(process, source="hard_events" if process.startswith("ttH_yy") else "pythia")
    for objective in ("multiclass", "multilabel"):
        made.pretraining(objective, device_seconds=2000.0, plateau_seconds=1800.0)
    start = {"ttH_CP": 0.52, "FCNC_vs_tHq": 0.60, "ttW_vs_ttt": 0.71, "stop_vs_ttH": 0.77, "WH_vs_ZH": 0.50}
    gain = {"multiclass": (0.06, 0.04, 0.02), "multilabel": (0.03, 0.02, 0.01)}
    seconds = {"scratch": 90.0, "finetune": 30.0, "frozen": 10.0}
    for task, chance in start.items():
        for position, size in enumerate((100, 300, 1000)):
            for seed in (1, 2, 3):
                scratch = chance + 0.025 * position + noise.normal(0.0, 0.012)
                for pretraining, strategy in (
                    ("none", "scratch"),
                    *((objective, how) for objective in gain for how in ("finetune", "frozen")),
                ):
                    more = 0.0 if strategy == "scratch" else gain[pretraining][position] + noise.normal(0.0, 0.006)
                    accuracy = scratch + more * (0.6 if strategy == "frozen" else 1.0)
                    time = seconds[strategy]
                    made.trial(
                        task, strategy, size, seed, accuracy, pretraining=pretraining, device_seconds=1.5 * time,
                        plateau_seconds=time, curve=curve([accuracy - 0.03, accuracy - 0.01, accuracy], time / 2),
                    )  # fmt: skip
    return made


@pytest.fixture
def make_curve() -> Callable[[list[float], float], list[dict[str, float]]]:
    return curve


_EMPTY: dict[str, Any] = {
    "level": "", "record": "", "outcome": "finished", "reason": "", "phase": "", "cell": "", "task": "", "signal": "",
    "background": "", "network": "", "pretraining": "none", "start": "", "strategy": "", "size": 0, "seed": 0,
    "ratio": NAN, "test_accuracy": NAN,
    "test_auc": NAN, "test_rejection_50": NAN, "test_rejection_70": NAN, "test_rejection_90": NAN,
    "test_significance_improvement": NAN, "processor": "Xeon x 2", "kernel": "fused", "validation_accuracy": NAN,
    "validation_auc": NAN, "validation_loss": NAN, "epochs": 0,
    "events_seen": 0, "device": "cpu", "wall_seconds": 36.0, "device_seconds": 36.0, "plateau_seconds": NAN, "stopped": "",
    "wasted_seconds": 0.0, "curve": (), "dataset": "d1", "backbone": "", "git_commit": "abc123", "host": "node1",
    "started": "2026-03-01T10:00:00+00:00", "ended": "", "process": "", "events": 0, "source": "", "workers": 0,
    "reservation": "", "pack": 0, "energy_joules": NAN, "representation": "", "represented_events": "",
    "validation_events": NAN, "test_events": NAN, "scores": "", "scored_events": "",
    "test_probe_auc": NAN, "validation_probe_auc": NAN, "test_probe_rejection_90": NAN,
    "train_events": NAN, "validation_rejection_80": NAN,
}  # fmt: skip
