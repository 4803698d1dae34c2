"""The figure of merit on test events: the baseline's, what each pretraining gains, and the layout of the published Table 1.

Only confirm trials count: fresh seeds, test events, never a number that a ratio was selected on. Fractions and their gains
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
from breakeven.metric import MERIT, Metric, shown

__all__ = ["cell_columns", "cells", "gain_columns", "gains", "table"]

_KEYS = ["task", "signal", "background", "pretraining", "strategy", "size"]


def cell_columns(merit: Metric = MERIT) -> dict[str, str]:
    """The columns of `cells`, among them those of every metric that is shown in percent."""
    measured = [
        f"{m.name} {m.name}_sd {m.name}_low {m.name}_high: {m.title} on test events, {m.measure}" for m in shown(merit)
    ]
    start = " ".join((*_KEYS, "cell ratio n n_failed status"))
    return columns("\n".join((start, *measured, "published published_uncertainty")))


def cells(frame: pd.DataFrame, *, merit: Metric = MERIT, level: float = 0.9) -> pd.DataFrame:
    """Test results of each cell of the grid task x (pretraining, strategy) x size that the frame spans.

    Args:
        frame: the ledger frame.
        merit: the figure of merit; a cell is finished where a trial has one.
        level: of the Student-t intervals of the means over seeds.

    Returns:
        One row a cell, columns as in `cell_columns`. status: "failed" where nothing finished and something failed,
        "missing" where there is nothing. sd (over seeds) and interval are NaN for n = 1; published: the baseline's.

    Raises:
        ValueError: a column of the ledger is missing.
    """
    every = ledger_frame.trials(frame)
    confirmed = ledger_frame.confirmed(frame)
    failures = every[(every["outcome"] == "failed") & (every["phase"] == "confirm")]
    of_cell, failures_of = ledger_frame.cells_of(confirmed), ledger_frame.cells_of(failures)
    rows = []
    for key in _grid(every):
        done, n_failed = of_cell.get(_cell(key), confirmed[:0]), len(failures_of.get(_cell(key), ()))
        means = {m: estimate(m.scale * ledger_frame.measured(done, m), level=level) for m in shown(merit)}
        n, tuned = means[merit].n, len(done) and key["strategy"] == "finetune"
        rows.append(
            {
                **key, "cell": done["cell"].iloc[0] if len(done) else "/".join(map(str, _cell(key))),
                "ratio": float(done["ratio"].iloc[0]) if tuned else math.nan, "n": n, "n_failed": n_failed,
                "status": _status(n, n_failed),
                **{name: value for metric, mean in means.items() for name, value in mean.figures(metric.name).items()},
                **(_published(key) if key["strategy"] == "scratch" else {}),
            }
        )  # fmt: skip
    return pd.DataFrame(rows, columns=list(cell_columns(merit)))


def gain_columns(merit: Metric = MERIT) -> dict[str, str]:
    """The columns of `gains`."""
    difference = (
        f"test {merit.title} minus that of scratch" if merit.higher_is_better else f"scratch minus test {merit.title}"
    )
    return columns(f"""
        task signal background pretraining strategy size
        gain gain_sd gain_low gain_high: {difference} with the same seed, {merit.points}
        n
        gain_rss: root sum of squares of both standard deviations, as the paper propagates, {merit.points}
        paired: whether the gain is over pairs of one seed
        p_value: two-sided paired t-test
        p_permutation: exact two-sided sign-flip test, which with few seeds can never be small
        p_holm: p_value with Holm's correction over all cells
        n_failed
        baseline_failed: failed records of the baseline
        status published published_uncertainty note
    """)


def gains(frame: pd.DataFrame, *, merit: Metric = MERIT, level: float = 0.9) -> pd.DataFrame:
    """What each pretraining adds to the baseline's figure of merit on test events; positive is better.

    Args:
        frame: the ledger frame.
        merit: the figure of merit.
        level: of the Student-t interval of the mean gain.

    Returns:
        One row a cell, columns as in `gain_columns`. Paired: the mean over seeds of (treated - scratch) of the same seed,
        which has the same random subset. Where no seed is shared the gain is the difference of the means, `paired` is
        False, gain_sd is the root sum of squares and there is no interval and no p-value.

    Raises:
        ValueError: a column of the ledger is missing.
    """
    of_cell = ledger_frame.cells_of(ledger_frame.confirmed(frame))
    grid = cells(frame, merit=merit, level=level)
    failures = grid[grid["strategy"] == "scratch"].set_index(["task", "size"])["n_failed"].to_dict()
    rows = []
    for cell in grid[grid["strategy"] != "scratch"].to_dict("records"):
        baseline_cell = (cell["task"], "none", "scratch", cell["size"])
        treated, baseline = (_by_seed(of_cell.get(key, frame[:0]), merit) for key in (_cell(cell), baseline_cell))
        alone = [estimate(arm) for arm in (treated, baseline)]
        pairs, rss = (treated - baseline).dropna(), root_sum_of_squares(*(arm.sd for arm in alone))
        gain, baseline_failed = estimate(pairs, level=level), failures.get((cell["task"], cell["size"]), 0)
        if pairs.empty:
            n = min(arm.n for arm in alone)
            gain = Estimate(alone[0].mean - alone[1].mean if n else math.nan, rss, n, math.nan, math.nan)
        rows.append(
            {
                **{name: cell[name] for name in _KEYS}, **gain.figures("gain"), "n": gain.n, "gain_rss": rss,
                "paired": len(pairs) > 0, "p_value": paired_t(pairs.to_numpy()),
                "p_permutation": sign_flip(pairs.to_numpy()), "n_failed": cell["n_failed"],
                "baseline_failed": baseline_failed, "status": _status(gain.n, cell["n_failed"] + baseline_failed),
                **(_published(cell) if cell["strategy"] == "finetune" and merit.name == published.METRIC else {}),
                "note": _note(gain, len(pairs) > 0),
            }
        )  # fmt: skip
    table = pd.DataFrame(rows, columns=list(gain_columns(merit)))
    return table.assign(p_holm=holm(table["p_value"].to_numpy(dtype=float)))


def table(frame: pd.DataFrame, *, merit: Metric = MERIT) -> pd.DataFrame:
    """Table 1's layout as text.

    Args:
        frame: the ledger frame.
        merit: the figure of merit.

    Returns:
        Rows (task, quantity), a column for each size, the published value in brackets. quantity: `baseline accuracy`, then
        `boosted trees gain`, `multiclass gain`, `multiclass frozen gain` ... An entry reads `84.8 ± 1.1 (n=3) [83.0 ± 0.2]`,
        `84.8 (n=1)`, `missing` or `failed (2)`; failures beside finished trials are appended as `, 1 failed`.
    """
    baseline, gained = cells(frame, merit=merit), gains(frame, merit=merit)
    baseline = baseline[baseline["strategy"] == "scratch"].assign(quantity=f"baseline {merit.title}")
    if merit.name != published.METRIC:
        baseline["published"] = math.nan
    own = gained["pretraining"].where(gained["pretraining"] != "none", "boosted") + " "
    gained = gained.assign(quantity=own + gained["strategy"].replace("finetune", "") + " gain")
    gained["quantity"] = gained["quantity"].str.replace("  ", " ")
    texts: dict[tuple[str, str], dict[int, str]] = {}
    for task in ledger_frame.ordered_tasks(baseline):
        for rows, name in ((baseline, merit.name), (gained, "gain")):
            for row in rows[rows["task"] == task].to_dict("records"):
                figure = Estimate(row[name], row[f"{name}_sd"], row["n"], math.nan, math.nan)
                entry = _entry(figure.text(digits=merit.digits, sign=name == "gain"), row)
                texts.setdefault((task, row["quantity"]), {})[row["size"]] = entry
    sizes = sorted(set(baseline["size"]))
    index = pd.MultiIndex.from_tuples(list(texts), names=["task", "quantity"])
    return pd.DataFrame([[texts[key].get(size, "missing") for size in sizes] for key in texts], index, sizes)


def _grid(every: pd.DataFrame) -> list[dict[str, Any]]:
    """Every combination of what was tried, so that a hole shows as a hole."""
    processes = every.drop_duplicates("task").set_index("task")[["signal", "background"]]
    return [
        dict(zip(_KEYS, (task, *sides, *treatment, size), strict=True))
        for task, *sides in processes.itertuples(name=None)
        for treatment in ledger_frame.treatments(every)
        for size in sorted(set(every["size"]))
    ]


def _cell(row: Mapping[Any, Any]) -> tuple[str, str, str, int]:
    return row["task"], row["pretraining"], row["strategy"], row["size"]


def _status(n: int, n_failed: int) -> str:
    return "finished" if n else "failed" if n_failed else "missing"


def _by_seed(rows: pd.DataFrame, merit: Metric) -> pd.Series:
    """The figure of merit on test events by seed, as it is shown, with the sign that makes more the better."""
    means = ledger_frame.measured(rows, merit).groupby(rows["seed"]).mean()
    return (merit.sign * merit.scale * means).dropna()


def _note(gain: Estimate, paired: bool) -> str:
    """Why a gain has no uncertainty, where it has none."""
    if gain.n == 0:
        return ""
    if not paired:
        return "no seed in common with scratch: a difference of means, without interval"
    if gain.n == 1:
        return "n=1: no uncertainty"
    return "all seeds gain the same: no p-value" if math.isclose(gain.low, gain.high, abs_tol=1e-9) else ""


def _published(row: Mapping[Any, Any]) -> dict[str, float]:
    """The paper's value of a cell or gain: it has those from scratch and finetuned alone."""
    printed = None
    if row["strategy"] in ("scratch", "finetune"):
        printed = published.accuracy_value(row["signal"], row["background"], row["pretraining"], row["size"])
    return dict(zip(("published", "published_uncertainty"), printed or (math.nan, math.nan), strict=True))


def _entry(text: str, row: Mapping[Any, Any]) -> str:
    n_failed = row["n_failed"]
    if row["status"] == "failed":
        text = f"failed ({n_failed})" if n_failed else "baseline failed"
    elif row["status"] == "finished" and n_failed:
        text += f", {n_failed} failed"
    if np.isfinite(row["published"]):
        text += f" [{row['published']:.1f} ± {format_uncertainty(row['published_uncertainty'], 1)}]"
    return text
