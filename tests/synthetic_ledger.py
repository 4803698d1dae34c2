"""A large ledger frame with known laws, for measuring a report: 5 tasks, 5 treatments, 8 sizes, 20 seeds, a search."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from breakeven.study.spec import TASKS

SIZES = (100, 200, 500, 1000, 2000, 5000, 10_000, 20_000)
TREATMENTS = (("none", "scratch"), ("multiclass", "finetune"), ("multiclass", "frozen"), ("multilabel", "finetune"),
              ("multilabel", "frozen"))  # fmt: skip
_LAWS = {"scratch": (0.18, 1.6, 0.45), "finetune": (0.17, 0.7, 0.4), "frozen": (0.22, 0.4, 0.4)}
_SPEEDS = {"scratch": 1.0, "finetune": 0.4, "frozen": 0.15}
_EMPTY: dict[str, Any] = {
    "outcome": "finished", "reason": "", "phase": "", "cell": "", "task": "", "signal": "", "background": "",
    "network": "", "pretraining": "none", "start": "", "strategy": "", "size": 0, "seed": 0, "ratio": math.nan,
    "test_accuracy": math.nan,
    "test_auc": math.nan, "test_rejection_50": math.nan, "test_rejection_70": math.nan, "test_rejection_90": math.nan,
    "test_significance_improvement": math.nan, "processor": "Xeon x 2", "kernel": "fused",
    "validation_accuracy": math.nan,
    "validation_auc": math.nan, "validation_loss": math.nan, "epochs": 0, "events_seen": 0, "device": "cpu",
    "wall_seconds": 36.0, "device_seconds": 36.0, "plateau_seconds": math.nan, "wasted_seconds": 0.0,
    "energy_joules": math.nan, "curve": (), "representation": "", "represented_events": "",
    "validation_events": math.nan, "test_events": math.nan, "scores": "", "scored_events": "",
    "dataset": "", "backbone": "", "git_commit": "0123abcd4567", "host": "node1", "process": "", "events": 0,
    "source": "", "workers": 0, "reservation": "", "started": "2026-03-01T10:00:00+00:00",
    "ended": "2026-03-01T10:01:00+00:00",
}  # fmt: skip


def synthetic_frame(seeds: int = 20, epochs: int = 20, ratios: int = 12) -> pd.DataFrame:
    """About 5,000 trials (4,000 confirming, 960 of a search) whose errors follow error(n) = a + b n^-c."""
    noise = np.random.default_rng(11)
    rows: list[dict[str, Any]] = []

    def add(level: str, **fields: Any) -> None:
        rows.append({**_EMPTY, "level": level, "record": f"{len(rows):016x}", **fields})

    for process in sorted({name for task in TASKS.values() for name in (task.signal, task.background)}):
        add("generation", process=process, source="pythia", events=50_000, device_seconds=400.0, dataset="d" * 16)
    for objective in ("multiclass", "multilabel"):
        add("pretraining", pretraining=objective, device_seconds=9000.0, plateau_seconds=8000.0, workers=2)
    for number, (task, parts) in enumerate(TASKS.items()):
        for pretraining, strategy in TREATMENTS:
            a, b, c = _LAWS[strategy]
            for size in SIZES:
                about = {
                    "task": task, "signal": parts.signal, "background": parts.background, "pretraining": pretraining,
                    "strategy": strategy, "size": size, "cell": f"{task}/{pretraining}/{strategy}/{size}",
                    "dataset": f"{number:016x}", "epochs": epochs,
                }  # fmt: skip
                seconds = _SPEEDS[strategy] * (5.0 + size**0.8 / 10)
                for seed in range(1, seeds + 1):
                    accuracy = 1 - (a + b * size**-c) * math.exp(noise.normal(0, 0.03)) - 0.02 * number
                    time = seconds * math.exp(noise.normal(0, 0.1))
                    add(
                        "trial", **about, phase="confirm", seed=seed, ratio=0.3 if strategy == "finetune" else math.nan,
                        test_accuracy=accuracy, test_auc=accuracy + 0.05, validation_accuracy=accuracy + 0.002,
                        validation_loss=1 - accuracy, test_rejection_50=40 * accuracy, test_rejection_70=12 * accuracy,
                        test_rejection_90=4 * accuracy, test_significance_improvement=2 * accuracy, device_seconds=time,
                        plateau_seconds=0.7 * time, curve=_curve(accuracy, epochs, time, 2 * size),
                    )  # fmt: skip
                if strategy == "finetune":
                    for ratio in np.geomspace(0.01, 1.0, ratios):
                        loss = 0.4 + 0.02 * math.log10(ratio / 0.3) ** 2 + noise.normal(0, 0.003)
                        add("trial", **about, phase="search", seed=1_000_001, ratio=float(ratio), validation_loss=loss,
                            validation_accuracy=1 - loss, device_seconds=seconds)  # fmt: skip
    return pd.DataFrame(rows)


def _curve(final: float, epochs: int, seconds: float, events: int) -> list[dict[str, float]]:
    """Rises towards the final validation accuracy, one mapping an epoch."""
    return [
        {
            "epoch": epoch, "wall_seconds": seconds * epoch / epochs, "device_seconds": seconds * epoch / epochs,
            "events_seen": events * epoch, "train_loss": 0.7 - 0.01 * epoch, "validation_loss": 0.7 - 0.01 * epoch,
            "validation_accuracy": final - 0.1 * math.exp(-6.0 * epoch / epochs), "validation_auc": final,
            "learning_rate": 1e-3,
        }
        for epoch in range(1, epochs + 1)
    ]  # fmt: skip
