"""How long training takes until it is good enough: the published Figure 1, and the time to the plateau.

Validation accuracy against device-seconds, from each trial's curve. Never looks at test events: that accuracy is
measured once, at the end.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import pandas as pd

from breakeven.analysis import frame as ledger_frame
from breakeven.analysis.statistics import estimate


def time_to_accuracy(curve: Iterable[Mapping[str, float]], target: float) -> float:
    """Device-seconds at the end of the first epoch whose validation accuracy is at least `target`; inf if none is.

    curve: one mapping an epoch, with validation_accuracy (fraction) and device_seconds since the start of training.
    """
    for epoch in curve:
        accuracy = epoch["validation_accuracy"]
        if accuracy is not None and accuracy >= target:
            return float(epoch["device_seconds"])
    return math.inf


def time_ratios(frame: pd.DataFrame, *, fraction: float = 0.99) -> pd.DataFrame:
    """Time to `fraction` of the baseline's final accuracy over the baseline's total time (arXiv 2412.10665, Fig. 1).

    One row for each task, pretraining, strategy and size: ratio, ratio_sd (over seeds), n_reached, n, unit. The
    baseline of a seed is the scratch training of the same seed (the same random subset), or the mean of all where that
    seed has none; its final accuracy is the validation accuracy it ended with. Seeds that never reach the target have
    no ratio: they are in n, not in n_reached, and the mean then flatters. Hours of two kinds of device are not
    divided: such a row has n_reached 0 and unit "mixed".
    """
    confirmed = ledger_frame.confirmed(frame)
    rows = []
    for (task, size), here in confirmed.groupby(["task", "size"], sort=False):
        scratch = here[here["strategy"] == "scratch"]
        if scratch.empty:
            continue
        for pretraining, strategy in ledger_frame.treatments(here):
            if strategy == "scratch":
                continue
            treated = here[(here["pretraining"] == pretraining) & (here["strategy"] == strategy)]
            kinds = set(scratch["device"]) | set(treated["device"])
            ratios = [_ratio(trial, scratch, fraction) for _, trial in treated.iterrows()] if len(kinds) == 1 else []
            reached = estimate(ratios)
            rows.append(
                {
                    "task": task,
                    "pretraining": pretraining,
                    "strategy": strategy,
                    "size": size,
                    "ratio": reached.mean,
                    "ratio_sd": reached.sd,
                    "n_reached": reached.n,
                    "n": len(treated),
                    "unit": ledger_frame.hours_unit(kinds.pop()) if len(kinds) == 1 else "mixed",
                }
            )
    return pd.DataFrame(rows, columns=_RATIO_COLUMNS)


def times_to_plateau(frame: pd.DataFrame) -> pd.DataFrame:
    """Device-seconds until the plateau, one row for each cell: seconds, seconds_sd, n (reached it), n_without, epochs.

    epochs: mean number of epochs trained, those after the plateau included.
    """
    rows = [
        {
            "task": task,
            "pretraining": pretraining,
            "strategy": strategy,
            "size": size,
            "seconds": reached.mean,
            "seconds_sd": reached.sd,
            "n": reached.n,
            "n_without": len(here) - reached.n,
            "epochs": float(here["epochs"].mean()),
        }
        for (task, pretraining, strategy, size), here in ledger_frame.confirmed(frame).groupby(
            ["task", "pretraining", "strategy", "size"], sort=False
        )
        for reached in [estimate(here["plateau_seconds"])]
    ]
    return pd.DataFrame(rows, columns=_PLATEAU_COLUMNS)


_RATIO_COLUMNS = ["task", "pretraining", "strategy", "size", "ratio", "ratio_sd", "n_reached", "n", "unit"]
_PLATEAU_COLUMNS = [
    "task", "pretraining", "strategy", "size", "seconds", "seconds_sd", "n", "n_without", "epochs",
]  # fmt: skip


def _ratio(trial: pd.Series, scratch: pd.DataFrame, fraction: float) -> float:
    of_seed = scratch[scratch["seed"] == trial["seed"]]
    baseline = of_seed if len(of_seed) else scratch
    reached = time_to_accuracy(trial["curve"], fraction * float(baseline["validation_accuracy"].mean()))
    return reached / float(baseline["device_seconds"].mean())
