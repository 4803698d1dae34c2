"""How long training takes until it is good enough: the published Figure 1, and the time to the plateau.

The figure of merit on validation events against device-seconds, from each trial's curve. Never sees test events: they
are evaluated once, at the end.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from breakeven.analysis import frame as ledger_frame
from breakeven.analysis.columns import columns
from breakeven.analysis.statistics import LEVEL, estimate
from breakeven.metric import MERIT, Metric

__all__ = ["time_ratios", "times_to_plateau"]

_MOST_POINTS = 60


def time_to_accuracy(curve: Iterable[Mapping[str, float]], target: float, merit: Metric = MERIT) -> float:
    """Device-seconds at the end of the first epoch whose figure of merit is at least as good as `target`; inf if none is.

    curve: one mapping an epoch, with validation_accuracy (fraction) and device_seconds since the start of training.
    """
    for epoch in curve:
        value = epoch.get(merit.column("validation"))
        if value is not None and merit.sign * value >= merit.sign * target:
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


def time_ratios(frame: pd.DataFrame, *, merit: Metric = MERIT, fraction: float = 0.99) -> pd.DataFrame:
    """Time to a fraction of the baseline's final figure of merit over the baseline's total time (arXiv 2412.10665, Fig. 1).

    Args:
        frame: the ledger frame.
        merit: the figure of merit, on validation events.
        fraction: of the baseline's; where lower is better, the baseline's over this.

    Returns:
        One row a treated cell, columns as in RATIO_COLUMNS. The baseline of a seed is the scratch training of the same seed
        (the same random subset), or the mean of all where that seed has none. Seeds that never reach the target have no
        ratio: they are in n, not in n_reached, and the mean then flatters. Hours of two kinds of device are not divided:
        such a row has n_reached 0 and unit "mixed".
    """
    of_cell = ledger_frame.cells_of(ledger_frame.confirmed(frame))
    rows = []
    for key, treated in of_cell.items():
        scratch = of_cell.get((key[0], "none", "scratch", key[3]))
        if key[2] == "scratch" or scratch is None:
            continue
        both, n = pd.concat([scratch, treated]), len(treated)
        devices = ledger_frame.several_devices(both["device"])
        epochs = [epoch for curve in treated["curve"] for epoch in curve or ()]
        untold = bool(epochs) and not any(merit.column("validation") in epoch for epoch in epochs)
        ratios = np.empty(0) if devices or untold else _ratios(treated, scratch, merit, fraction)
        reached = estimate(ratios)
        note = f"{devices}: hours of two kinds of device are not divided" if devices else ledger_frame.notes(
            f"{n - reached.n} of {n} never got there: the mean of the others flatters" if 0 < reached.n < n else "",
            f"{merit.title} is not recorded after each epoch" if untold else "no seed got there" if not reached.n else "",
            "n=1: no uncertainty" if reached.n == 1 else "",
            ledger_frame.hardware_note(both),
        )  # fmt: skip
        rows.append(
            {
                **ledger_frame.named(key), **reached.figures("ratio"), "low": reached.low, "high": reached.high,
                "median": float(np.median(ratios)) if len(ratios) else math.nan, "n_reached": reached.n, "n": n,
                "unit": ledger_frame.unit_of(both), **ledger_frame.hardware(both),
                "text": reached.text(digits=2) if reached.n else "no figure" if devices or untold else "never", "note": note,
            }
        )  # fmt: skip
    return pd.DataFrame(rows, columns=list(RATIO_COLUMNS))


def accuracy_curves(frame: pd.DataFrame, *, against: str = "events_seen", merit: Metric = MERIT) -> pd.DataFrame:
    """The figure of merit on validation events while training, mean over seeds, one row for each cell and point.

    against: `events_seen` (training events, repeats counted) or `device_hours`. Columns: task, pretraining, strategy,
    size, that one, the figure of merit by its name, sd, low, high (Student-t interval of the mean), n, n_running (seeds
    still training), unit. At a point a seed has the value of its last epoch so far, and from its end on that of the weights
    it kept; a curve begins where all seeds have ended an epoch. Raises ValueError for another `against`.
    """
    if against not in ("events_seen", "device_hours"):
        raise ValueError(f"against={against!r}: choose 'events_seen' or 'device_hours'")
    rows = []
    for key, trials in ledger_frame.cells_of(ledger_frame.confirmed(frame)).items():
        kept = ledger_frame.measured(trials, merit, "validation")
        each = (_steps(*trial, against, merit) for trial in zip(trials["curve"], kept, strict=True))
        steps = [step for step in each if step is not None]
        if not steps:
            continue
        first, ends = max(x[0] for x, _ in steps), np.array([x[-1] for x, _ in steps])
        points = np.unique(np.concatenate([x for x, _ in steps]))
        points = points[points >= first]
        if len(points) > _MOST_POINTS:
            points = points[np.linspace(0, len(points) - 1, _MOST_POINTS).round().astype(int)]
        at = merit.scale * np.stack([y[np.searchsorted(x, points, side="right") - 1] for x, y in steps])
        n, mean = len(at), at.mean(axis=0)
        sd = at.std(axis=0, ddof=1) if n > 1 else np.full(len(points), math.nan)
        half_width = sd * (float(stats.t.isf(0.5 - LEVEL / 2, n - 1)) if n > 1 else math.nan) / math.sqrt(n)
        curve = {
            **ledger_frame.named(key), against: points, merit.name: mean, "sd": sd, "low": mean - half_width,
            "high": mean + half_width, "n": n, "n_running": (points[:, None] < ends).sum(axis=1),
            "unit": ledger_frame.unit_of(trials),
        }  # fmt: skip
        rows.append(pd.DataFrame(curve))
    names = [*ledger_frame.CELL, against, merit.name, "sd", "low", "high", "n", "n_running", "unit"]
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
    for key, trials in ledger_frame.cells_of(ledger_frame.confirmed(frame)).items():
        devices = ledger_frame.several_devices(trials["device"])
        reached = estimate(() if devices else trials["plateau_seconds"])
        without = int(trials["plateau_seconds"].isna().sum())
        note = ledger_frame.notes(
            f"{without} of {len(trials)} reached no plateau" if without else "",
            f"{devices}: seconds of two kinds of device have no mean" if devices else "",
            ledger_frame.hardware_note(trials),
        )
        rows.append(
            {
                **ledger_frame.named(key), **reached.figures("seconds"), "n": reached.n, "n_without": without,
                "epochs": float(trials["epochs"].mean()), **ledger_frame.hardware(trials), "note": note,
                "text": reached.text() if reached.n else "no figure" if devices else "never",
            }
        )  # fmt: skip
    return pd.DataFrame(rows, columns=list(PLATEAU_COLUMNS))


def _ratios(treated: pd.DataFrame, scratch: pd.DataFrame, merit: Metric, fraction: float) -> np.ndarray:
    """The ratio of each treated trial, infinite where it never got there, [n]."""
    figures = pd.DataFrame(
        {"merit": ledger_frame.measured(scratch, merit, "validation"), "seconds": scratch["device_seconds"]}
    )
    by_seed, over_all = figures.groupby(scratch["seed"]).mean().to_dict("index"), figures.mean().to_dict()
    share = fraction if merit.higher_is_better else 1.0 / fraction
    ratios = []
    for seed, curve in zip(treated["seed"], treated["curve"], strict=True):
        baseline = by_seed.get(seed, over_all)
        ratios.append(time_to_accuracy(curve or (), share * baseline["merit"], merit) / baseline["seconds"])
    return np.array(ratios)


def _steps(
    curve: Sequence[Mapping[str, float]] | None, kept: float, against: str, merit: Metric
) -> tuple[np.ndarray, np.ndarray] | None:
    """Ends of the epochs and figure of merit from each on, from the last one on that of the kept weights; None without a
    curve.
    """
    column = merit.column("validation")
    epochs = [epoch for epoch in curve or () if epoch.get(column) is not None]
    if not epochs:
        return None
    x = [epoch["events_seen"] if against == "events_seen" else epoch["device_seconds"] / 3600 for epoch in epochs]
    y = [epoch[column] for epoch in epochs[:-1]] + [kept]
    return np.array(x, dtype=float), np.array(y, dtype=float)
