"""Accuracy on test events: the baseline, what each pretraining gains, and the layout of the published Table 1.

Only confirm trials count: fresh seeds, test events, never a number that a ratio was selected on. Accuracies and gains
are in percent. Never imputes a missing cell: it says missing, or failed, with the count.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from breakeven.analysis import frame as ledger_frame
from breakeven.analysis import published
from breakeven.analysis.columns import columns
from breakeven.analysis.significance import holm, paired_t, sign_flip
from breakeven.analysis.statistics import Estimate, estimate, format_uncertainty, root_sum_of_squares
from breakeven.metric import MERIT, percentages

_KEYS = ["task", "signal", "background", "pretraining", "strategy", "size"]


def cell_columns() -> dict[str, str]:
    """The columns of `cells`, among them those of every metric that is shown in percent."""
    measured = [
        f"{m.name} {m.name}_sd {m.name}_low {m.name}_high: {m.title} on test events, percent" for m in percentages()
    ]
    start = " ".join((*_KEYS, "cell ratio n n_failed status"))
    return columns("\n".join((start, *measured, "published published_uncertainty")))


def cells(frame: pd.DataFrame, *, level: float = 0.9) -> pd.DataFrame:
    """One row for each cell of the grid task x (pretraining, strategy) x size that the frame spans.

    status: "failed" where nothing finished and something failed, "missing" where there is nothing. sd (over seeds) and
    interval (of the mean) are NaN for n = 1; published is the baseline's accuracy alone. Columns: cell_columns.
    """
    every = ledger_frame.trials(frame)
    confirmed = ledger_frame.confirmed(frame)
    failures = every[(every["outcome"] == "failed") & (every["phase"] == "confirm")]
    of_cell, failures_of = ledger_frame.cells_of(confirmed), ledger_frame.cells_of(failures)
    rows = []
    for key in _grid(every):
        done, broken = of_cell.get(_name(key), confirmed[:0]), failures_of.get(_name(key), failures[:0])
        found = {
            metric.name: estimate(metric.scale * ledger_frame.measured(done, metric), level=level)
            for metric in percentages()
        }
        n = found[MERIT.name].n
        ratio = float(done["ratio"].iloc[0]) if len(done) else math.nan
        rows.append(
            {
                **key,
                "cell": done["cell"].iloc[0] if len(done) else "{task}/{pretraining}/{strategy}/{size}".format(**key),
                "ratio": ratio if key["strategy"] == "finetune" else math.nan, "n": n, "n_failed": len(broken),
                "status": "finished" if n else "failed" if len(broken) else "missing",
                **({name: value for metric, one in found.items() for name, value in one.figures(metric).items()}),
                **(_published(key) if key["strategy"] == "scratch" else {}),
            }
        )  # fmt: skip
    return pd.DataFrame(rows, columns=list(cell_columns()))


GAIN_COLUMNS = columns("""
    task signal background pretraining strategy size
    gain gain_sd gain_low gain_high: test accuracy minus that of scratch with the same seed, percentage points
    n
    gain_rss: root sum of squares of both standard deviations, as the paper propagates, percentage points
    paired: whether the gain is over pairs of one seed
    p_value: two-sided paired t-test
    p_permutation: exact two-sided sign-flip test, which with few seeds can never be small
    p_holm: p_value with Holm's correction over all cells
    n_failed
    baseline_failed: failed records of the baseline
    status published published_uncertainty note
""")


def gains(frame: pd.DataFrame, *, level: float = 0.9) -> pd.DataFrame:
    """What each pretraining adds to the baseline's test accuracy, in percentage points, one row for each cell.

    Paired: the mean over seeds of (treated - scratch) of the same seed, which has the same random subset. Where no seed
    is shared the gain is the difference of the means, `paired` is False, gain_sd is the root sum of squares and there is
    no interval and no p-value. Columns: GAIN_COLUMNS.
    """
    of_cell = ledger_frame.cells_of(ledger_frame.confirmed(frame))
    nothing = frame[:0]
    grid = cells(frame, level=level)
    scratch = grid[grid["strategy"] == "scratch"]
    broken = dict(zip(zip(scratch["task"], scratch["size"], strict=True), scratch["n_failed"], strict=True))
    rows = []
    for cell in grid[grid["strategy"] != "scratch"].to_dict("records"):
        key: dict[str, Any] = {name: cell[name] for name in _KEYS}
        treated = _by_seed(of_cell.get(_name(key), nothing))
        baseline = _by_seed(of_cell.get((key["task"], "none", "scratch", key["size"]), nothing))
        difference, paired = _difference(treated, baseline, level)
        pairs = (treated - baseline).dropna().to_numpy() if paired else np.empty(0)
        broken_baseline = broken.get((cell["task"], cell["size"]), 0)
        rows.append(
            {
                **key, **difference.figures("gain"), "n": difference.n,
                "gain_rss": root_sum_of_squares(estimate(treated).sd, estimate(baseline).sd), "paired": paired,
                "p_value": paired_t(pairs), "p_permutation": sign_flip(pairs), "n_failed": cell["n_failed"],
                "baseline_failed": broken_baseline,
                "status": "finished" if difference.n else "failed" if cell["n_failed"] + broken_baseline else "missing",
                **(_published(key) if key["strategy"] == "finetune" else {}), "note": _note(difference, paired),
            }
        )  # fmt: skip
    found = pd.DataFrame(rows, columns=list(GAIN_COLUMNS))
    return found.assign(p_holm=holm(found["p_value"].to_numpy(dtype=float)))


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """Table 1's layout as text: rows (task, quantity), a column for each size, the published value in brackets.

    quantity: `baseline accuracy`, then `multiclass gain`, `multiclass frozen gain` ... An entry reads
    `84.8 ± 1.1 (n=3) [83.0 ± 0.2]`, `84.8 (n=1)`, `missing` or `failed (2)`; failures beside finished trials are
    appended as `, 1 failed`.
    """
    baseline, gained = cells(frame), gains(frame)
    sizes = sorted(set(baseline["size"]))
    texts: dict[tuple[str, str], dict[int, str]] = {}
    for task in ledger_frame.ordered_tasks(baseline):
        for row in baseline[(baseline["task"] == task) & (baseline["strategy"] == "scratch")].to_dict("records"):
            entry = Estimate(row["accuracy"], row["accuracy_sd"], row["n"], math.nan, math.nan).text()
            texts.setdefault((task, "baseline accuracy"), {})[row["size"]] = _entry(entry, row, row["n_failed"])
        for row in gained[gained["task"] == task].to_dict("records"):
            quantity = f"{row['pretraining']} {'gain' if row['strategy'] == 'finetune' else row['strategy'] + ' gain'}"
            entry = Estimate(row["gain"], row["gain_sd"], row["n"], math.nan, math.nan).text(sign=True)
            texts.setdefault((task, quantity), {})[row["size"]] = _entry(entry, row, row["n_failed"])
    index = pd.MultiIndex.from_tuples(list(texts), names=["task", "quantity"])
    return pd.DataFrame([[texts[key].get(size, "missing") for size in sizes] for key in texts], index, sizes)


def _grid(every: pd.DataFrame) -> list[dict[str, Any]]:
    """Every combination of what was tried, so that a hole shows as a hole."""
    if every.empty:
        return []
    processes = every.drop_duplicates("task").set_index("task")
    return [
        {
            "task": task,
            "signal": processes.at[task, "signal"],
            "background": processes.at[task, "background"],
            "pretraining": pretraining,
            "strategy": strategy,
            "size": size,
        }
        for task in ledger_frame.ordered_tasks(every)
        for pretraining, strategy in ledger_frame.treatments(every)
        for size in sorted(set(every["size"]))
    ]


def _name(key: Mapping[str, Any]) -> tuple[str, str, str, int]:
    return key["task"], key["pretraining"], key["strategy"], key["size"]


def _by_seed(rows: pd.DataFrame) -> pd.Series:
    """Test accuracy in percent, indexed by seed."""
    return (100 * rows.groupby("seed")["test_accuracy"].mean()).dropna()


def _difference(treated: pd.Series, baseline: pd.Series, level: float) -> tuple[Estimate, bool]:
    shared = treated.index.intersection(baseline.index)
    if len(shared):
        return estimate(treated[shared] - baseline[shared], level=level), True
    over_treated, over_baseline = estimate(treated), estimate(baseline)
    n = min(over_treated.n, over_baseline.n)
    sd = root_sum_of_squares(over_treated.sd, over_baseline.sd)
    return Estimate(over_treated.mean - over_baseline.mean if n else math.nan, sd, n, math.nan, math.nan), False


def _note(difference: Estimate, paired: bool) -> str:
    """Why a gain has no uncertainty, where it has none."""
    if difference.n == 0:
        return ""
    if not paired:
        return "no seed in common with scratch: a difference of means, without interval"
    if difference.n == 1:
        return "n=1: no uncertainty"
    return "all seeds gain the same: no p-value" if math.isclose(difference.low, difference.high, abs_tol=1e-9) else ""


def _published(key: Mapping[str, Any]) -> dict[str, float]:
    found = published.accuracy_value(key["signal"], key["background"], key["pretraining"], key["size"])
    return dict(zip(("published", "published_uncertainty"), found or (math.nan, math.nan), strict=True))


def _entry(text: str, row: Mapping[Any, Any], n_failed: int) -> str:
    if row["status"] == "failed":
        text = f"failed ({n_failed})" if n_failed else "baseline failed"
    elif row["status"] == "finished" and n_failed:
        text += f", {n_failed} failed"
    if isinstance(row["published"], float) and math.isfinite(row["published"]):
        text += f" [{row['published']:.1f} ± {format_uncertainty(row['published_uncertainty'], 1)}]"
    return text
