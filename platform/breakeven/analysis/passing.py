"""How much background passes at a fixed signal efficiency: events, cross section, and against each process of the signal.

Counted in the scores that confirming trials kept, so it is known of whatever was trained, and of records of before. An interval
of a weighted sum of few events is Fay and Feuer's (Stat. Med. 16 (1997) 791, eq. 8), which for equal weights is the exact
Poisson one, and which knows that an event of the largest weight may only by chance not have been seen to pass.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
import pandas as pd
from scipy import special

from breakeven.analysis import frame as ledger_frame
from breakeven.analysis.columns import columns
from breakeven.analysis.event_scores import Read, threshold
from breakeven.analysis.statistics import LEVEL, estimate
from breakeven.metric import METRICS

__all__ = ["passing", "rejections"]

WEIGHTED = "by cross section"


class Evaluated(Protocol):
    """The events of a class whose scores were kept: its processes, which each event is of [n], its weight in pb [n]."""

    @property
    def processes(self) -> tuple[str, ...]: ...
    @property
    def process(self) -> np.ndarray: ...
    @property
    def weight(self) -> np.ndarray: ...


Behind = Callable[[str, Sequence[int]], Sequence[Evaluated]]
"""From a record and how many scores of signal and background it kept to their events; raises ValueError."""

_TRIAL = ["record", *ledger_frame.CELL, "seed"]
_COUNTED = ["metric", "process", "weighting", "passed", "background", "effective", "share", "share_low", "share_high"]
NOTHING = pd.DataFrame(columns=[*_TRIAL, *_COUNTED])
"""Of trials that kept no scores."""

REJECTION_COLUMNS = columns(f"""
    task pretraining strategy size
    metric: name of the rejection, with the signal efficiency in percent
    process: process of the signal whose efficiency it is; empty: of all together
    weighting: how background events count: empty, all alike; {WEIGHTED}, by what they stand for
    rejection: 1 / background efficiency, geometric mean over seeds; a seed of which none pass with its lower bound
    sd: standard deviation over seeds
    low high
    n
    n_bounds: seeds of which no background event passes
    least: fewest background events that pass, over seeds
    most: most background events that pass, over seeds
    background: background events whose scores were kept
    effective: (sum w)^2 / sum w^2 of the background events that pass, smallest over seeds
    passing: how many pass of how many, in words
    text
""")
"""The columns of `rejections`."""
PROCESS_COLUMNS = REJECTION_COLUMNS | {"parameter": "the number that ends the name of the process, as a mass in GeV"}
"""The columns of `of_processes`."""


def passing(frame: pd.DataFrame, read: Read, behind: Behind) -> pd.DataFrame:
    """What passes in each confirmed trial that kept scores which can be read.

    Args:
        frame: the ledger frame.
        read: gives a trial's scores; called once for each trial.
        behind: gives their events; called once for each sample of test events. Where it raises ValueError neither weights nor
            processes are known.

    Returns:
        One row a trial, rejection, process of the signal where it has several (empty: all together), and weighting where
        background events have different weights. passed: background events above the highest threshold that this share of the
        signal reaches, events of which count alike; background: of how many.  effective: Kish's (sum w)^2 / sum w^2 of those
        that pass.  share: of the background that passes; share_low, share_high: its interval from the test sample at LEVEL.
    """
    confirmed = ledger_frame.confirmed(frame)
    kept = confirmed[confirmed["scores"].notna() & (confirmed["scores"] != "")]
    efficiencies = {m.name: m.efficiency for m in METRICS.values() if m.efficiency is not None}
    known: dict[object, Sequence[Evaluated] | None] = {}
    rows = []
    for trial in kept[[*_TRIAL, "scores", "scored_events"]].to_dict("records"):
        try:
            scores = read(trial["record"], trial["scores"])
            signal, background = (np.asarray(scores[name], dtype=np.float32) for name in ("signal", "background"))
        except (ValueError, KeyError):
            continue  # shared_events says so
        if not (len(signal) and len(background)):
            continue
        if trial["scored_events"] not in known:
            try:
                known[trial["scored_events"]] = behind(trial["record"], (len(signal), len(background)))
            except ValueError:
                known[trial["scored_events"]] = None
        events = known[trial["scored_events"]]
        weights = {"": np.ones(len(background))}
        if events and np.ptp(events[1].weight) > 0.0:
            weights[WEIGHTED] = events[1].weight
        for process, of_process in _by_process(signal, events).items():
            ordered = np.sort(of_process)
            for metric, efficiency in efficiencies.items():
                through = background >= threshold(ordered, efficiency)
                for weighting, weight in weights.items():
                    counted = _counted(through, weight)
                    about = {"metric": metric, "process": process, "weighting": weighting}
                    rows.append({name: trial[name] for name in _TRIAL} | about | counted)
    return pd.DataFrame(rows, columns=list(NOTHING.columns))


def rejections(passed: pd.DataFrame) -> pd.DataFrame:
    """Rejections of each cell, mean over its seeds.

    Args:
        passed: what `passing` gives.

    Returns:
        Columns: REJECTION_COLUMNS. The interval adds the scatter of seeds (Student's t of the logarithms) and the test sample
        that all of them share in quadrature, end by end. Where a seed lets nothing pass its rejection is above the lower bound
        that enters the mean, and so is the mean: it has no upper end.
    """
    rows = []
    keys = [*ledger_frame.CELL, "metric", "process", "weighting"]
    for key, seeds in passed.groupby(keys, sort=False):
        share, low, high = (seeds[name].to_numpy(float) for name in ("share", "share_low", "share_high"))
        nothing = share == 0.0
        value = -np.log(np.where(nothing, high, share))
        seen = estimate(value)
        from_seeds = 0.0 if seen.n < 2 else seen.mean - seen.low
        with np.errstate(divide="ignore"):
            of_sample = np.mean(np.where(nothing, 0.0, np.log(high) + value)), np.mean(-np.log(low) - value)
        # No rejection is below 1, that of no cut.
        ends = (
            max(0.0, seen.mean - math.hypot(of_sample[0], from_seeds)),
            seen.mean + math.hypot(of_sample[1], from_seeds),
        )
        least, most, n_background = seeds["passed"].min(), seeds["passed"].max(), seeds["background"].max()
        mean = replace(seen, low=ends[0], high=ends[1]).exponential()
        row = {
            **dict(zip(keys, key, strict=True)), "rejection": mean.mean, "sd": mean.sd, "low": mean.low,
            "high": math.inf if nothing.any() else mean.high, "n": mean.n, "n_bounds": int(nothing.sum()),
            "least": least, "most": most, "background": n_background, "effective": seeds["effective"].min(),
            "passing": f"{least:,}{f' to {most:,}' if most > least else ''} of {n_background:,}",
        }  # fmt: skip
        bound = "at least " if nothing.any() else ""
        rows.append(row | {"text": bound + mean.text(digits=METRICS[seeds["metric"].iloc[0]].digits)})
    return pd.DataFrame(rows, columns=list(REJECTION_COLUMNS))


def of_processes(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """One rejection of each process of the signal at the largest size, of what `rejections` gives. Columns: PROCESS_COLUMNS."""
    rows = table[(table["metric"] == metric) & (table["process"] != "") & (table["weighting"] == "")]
    rows = rows[rows["size"] == rows["size"].max()]
    parameter = rows["process"].astype(str).str.extract(r"(\d+(?:\.\d+)?)$")[0].astype(float)
    told: pd.DataFrame = rows.assign(parameter=parameter, effective=math.nan)[list(PROCESS_COLUMNS)]
    return told


def interval_of_sum(weights: np.ndarray, largest: float) -> tuple[float, float]:
    """Ends at LEVEL of the truth behind a sum over the events that were seen, weights [n], whose number is a Poisson count.

    largest: weight that any event can have. The upper end of nothing seen is that of none: largest times 3.0.
    """
    relative, tail = weights / largest, 0.5 - LEVEL / 2
    total, square = float(relative.sum()), float((relative**2).sum())
    low = square / total * float(special.gammaincinv(total**2 / square, tail)) if total else 0.0
    above = (total + 1.0) ** 2 / (square + 1.0)
    high = (square + 1.0) / (total + 1.0) * float(special.gammaincinv(above, 1.0 - tail))
    return low * largest, high * largest


def _by_process(signal: np.ndarray, events: Sequence[Evaluated] | None) -> Mapping[str, np.ndarray]:
    """Scores of the signal: all, and those of each of its processes where it has several that are known."""
    processes = events[0].processes if events else ()
    parts = {name: signal[events[0].process == place] for place, name in enumerate(processes)} if events else {}
    return {"": signal} | {name: part for name, part in parts.items() if len(parts) > 1 and len(part)}


def _counted(through: np.ndarray, weight: np.ndarray) -> dict[str, float]:
    """Of the background: through: which events pass [n].  weight: of each [n]."""
    passed, total = weight[through], float(weight.sum())
    low, high = interval_of_sum(passed, float(weight.max()))
    square = float(((passed / weight.max()) ** 2).sum())
    return {
        "passed": int(through.sum()), "background": len(weight),
        "effective": float((passed / weight.max()).sum()) ** 2 / square if square else 0.0,
        "share": float(passed.sum()) / total, "share_low": low / total, "share_high": high / total,
    }  # fmt: skip
