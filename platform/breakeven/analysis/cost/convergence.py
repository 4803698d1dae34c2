"""How long training takes until it is good enough: the published Figure 1, and the time to the plateau.

Validation accuracy against device-seconds, from each trial's curve. Never looks at test events: that accuracy is
measured once, at the end.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from breakeven.analysis import frame as ledger_frame
from breakeven.analysis.columns import columns
from breakeven.analysis.statistics import estimate
from breakeven.ledger.charge import hours_unit


def time_to_accuracy(curve: Iterable[Mapping[str, float]], target: float) -> float:
    """Device-seconds at the end of the first epoch whose validation accuracy is at least `target`; inf if none is.

    curve: one mapping an epoch, with validation_accuracy (fraction) and device_seconds since the start of training.
    """
    for epoch in curve:
        accuracy = epoch["validation_accuracy"]
        if accuracy is not None and accuracy >= target:
            return float(epoch["device_seconds"])
    return math.inf


RATIO_COLUMNS = columns("""
    task pretraining strategy size
    ratio ratio_sd: time to the target over the baseline's total time, mean over seeds that got there
    low high
    median: median over all seeds, those that never reached the target infinite
    n_reached: seeds that reached the target
    n unit device processor text note
""")


def time_ratios(frame: pd.DataFrame, *, fraction: float = 0.99, level: float = 0.9) -> pd.DataFrame:
    """Time to `fraction` of the baseline's final accuracy over the baseline's total time (arXiv 2412.10665, Fig. 1).

    The baseline of a seed is the scratch training of the same seed (the same random subset), or the mean of all where
    that seed has none; its final accuracy is the validation accuracy it ended with. Seeds that never reach the target
    have no ratio: they are in n, not in n_reached, and the mean then flatters. Hours of two kinds of device are not
    divided: such a row has n_reached 0 and unit "mixed". Columns: RATIO_COLUMNS.
    """
    of_cell = ledger_frame.cells_of(ledger_frame.confirmed(frame))
    rows = []
    for (task, pretraining, strategy, size), treated in of_cell.items():
        scratch = of_cell.get((task, "none", "scratch", size))
        if strategy == "scratch" or scratch is None:
            continue
        both = pd.concat([scratch, treated])
        kinds = sorted(set(both["device"]))
        ratios = _ratios(treated, scratch, fraction) if len(kinds) == 1 else np.empty(0)
        reached = estimate(ratios, level=level)
        rows.append(
            {
                "task": task, "pretraining": pretraining, "strategy": strategy, "size": size, "ratio": reached.mean,
                "ratio_sd": reached.sd, "low": reached.low, "high": reached.high,
                "median": float(np.median(ratios)) if len(ratios) else math.nan, "n_reached": reached.n,
                "n": len(treated), "unit": hours_unit(kinds[0]) if len(kinds) == 1 else "mixed",
                **ledger_frame.hardware(both),
                "text": reached.text(digits=2) if reached.n else "never" if len(kinds) == 1 else "no figure",
                "note": _ratio_note(kinds, reached.n, len(treated), both),
            }
        )  # fmt: skip
    return pd.DataFrame(rows, columns=list(RATIO_COLUMNS))


def accuracy_curves(frame: pd.DataFrame, *, against: str = "events_seen", level: float = 0.9) -> pd.DataFrame:
    """Validation accuracy (percent) while training, mean over seeds, one row for each cell and point.

    against: `events_seen` (training events, repeats counted) or `device_hours`. Columns: task, pretraining, strategy,
    size, that one, accuracy, sd, low, high (Student-t interval of the mean), n, n_running (seeds still training),
    unit. At a point a seed has the accuracy of its last epoch so far, and from its end on that of the weights it
    kept; a curve begins where all seeds have ended an epoch. Raises ValueError for another `against`.
    """
    if against not in ("events_seen", "device_hours"):
        raise ValueError(f"against={against!r}: choose 'events_seen' or 'device_hours'")
    rows = []
    for key, trials in ledger_frame.cells_of(ledger_frame.confirmed(frame)).items():
        steps = [found for trial in trials.to_dict("records") if (found := _steps(trial, against)) is not None]
        if not steps:
            continue
        first, ends = max(x[0] for x, _ in steps), np.array([x[-1] for x, _ in steps])
        points = np.unique(np.concatenate([x for x, _ in steps]))
        points = points[points >= first]
        if len(points) > _MOST_POINTS:
            points = points[np.linspace(0, len(points) - 1, _MOST_POINTS).round().astype(int)]
        at = 100 * np.stack([y[np.searchsorted(x, points, side="right") - 1] for x, y in steps])
        n, mean = len(at), at.mean(axis=0)
        sd = at.std(axis=0, ddof=1) if n > 1 else np.full(len(points), math.nan)
        half_width = sd * (float(stats.t.isf(0.5 - level / 2, n - 1)) if n > 1 else math.nan) / math.sqrt(n)
        kinds = sorted(set(trials["device"]))
        curve = {
            **dict(zip(ledger_frame.CELL, key, strict=True)), against: points, "accuracy": mean, "sd": sd,
            "low": mean - half_width, "high": mean + half_width, "n": n,
            "n_running": (points[:, None] < ends).sum(axis=1),
            "unit": hours_unit(kinds[0]) if len(kinds) == 1 else "mixed",
        }  # fmt: skip
        rows.append(pd.DataFrame(curve))
    names = [*ledger_frame.CELL, against, "accuracy", "sd", "low", "high", "n", "n_running", "unit"]
    return pd.concat(rows, ignore_index=True) if rows else pd.DataFrame(columns=names)


PLATEAU_COLUMNS = columns("""
    task pretraining strategy size
    seconds seconds_sd: device-seconds until the plateau, mean over seeds that reached one
    n: seeds that reached a plateau
    n_without: seeds that reached none
    epochs: epochs trained, those after the plateau included, mean
    device processor text note
""")


def times_to_plateau(frame: pd.DataFrame) -> pd.DataFrame:
    """Device-seconds until the plateau, one row for each cell. Columns: PLATEAU_COLUMNS."""
    rows = []
    for key, here in ledger_frame.cells_of(ledger_frame.confirmed(frame)).items():
        kinds = sorted(set(here["device"]))
        reached = estimate(here["plateau_seconds"] if len(kinds) == 1 else ())
        without = int(here["plateau_seconds"].isna().sum())
        rows.append(
            {
                **dict(zip(ledger_frame.CELL, key, strict=True)),
                "seconds": reached.mean,
                "seconds_sd": reached.sd,
                "n": reached.n,
                "n_without": without,
                "epochs": float(here["epochs"].mean()),
                **ledger_frame.hardware(here),
                "text": reached.text() if reached.n else "never" if len(kinds) == 1 else "no figure",
                "note": ledger_frame.notes(
                    f"{without} of {len(here)} reached no plateau" if without else "",
                    f"trained on {' and '.join(kinds)}: seconds of two kinds of device have no mean"
                    if len(kinds) > 1
                    else "",
                    ledger_frame.hardware_note(here),
                ),
            }
        )
    return pd.DataFrame(rows, columns=list(PLATEAU_COLUMNS))


_MOST_POINTS = 60


def _ratios(treated: pd.DataFrame, scratch: pd.DataFrame, fraction: float) -> np.ndarray:
    """The ratio of each treated trial, infinite where it never got there, [n]."""
    figures = ["validation_accuracy", "device_seconds"]
    by_seed, over_all = scratch.groupby("seed")[figures].mean(), scratch[figures].mean()
    found = []
    for trial in treated.to_dict("records"):
        baseline = by_seed.loc[trial["seed"]] if trial["seed"] in by_seed.index else over_all
        reached = time_to_accuracy(trial["curve"] or (), fraction * float(baseline["validation_accuracy"]))
        found.append(reached / float(baseline["device_seconds"]))
    return np.array(found)


def _ratio_note(kinds: Sequence[str], n_reached: int, n: int, both: pd.DataFrame) -> str:
    if len(kinds) > 1:
        return f"trained on {' and '.join(kinds)}: hours of two kinds of device are not divided"
    return ledger_frame.notes(
        f"{n - n_reached} of {n} never got there: the mean of the others flatters" if 0 < n_reached < n else "",
        "no seed got there" if not n_reached else "",
        "n=1: no uncertainty" if n_reached == 1 else "",
        ledger_frame.hardware_note(both),
    )


def _steps(trial: Mapping[Any, Any], against: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Ends of the epochs and accuracy from each on, the kept weights' from the last one on; None without a curve."""
    epochs = [epoch for epoch in trial["curve"] or () if epoch["validation_accuracy"] is not None]
    if not epochs:
        return None
    x = [epoch["events_seen"] if against == "events_seen" else epoch["device_seconds"] / 3600 for epoch in epochs]
    y = [epoch["validation_accuracy"] for epoch in epochs[:-1]] + [trial["validation_accuracy"]]
    return np.array(x, dtype=float), np.array(y, dtype=float)
