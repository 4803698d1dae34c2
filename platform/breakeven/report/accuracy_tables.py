"""Tables of what pretraining does to the figure of merit: over all tasks, Table 1 of the paper, cells, gains."""

import math
from typing import Any

import pandas as pd

from breakeven.analysis import (
    accuracy,
    over_tasks,
)
from breakeven.analysis.columns import columns
from breakeven.analysis.exposure import EXPOSURE_COLUMNS
from breakeven.analysis.statistics import format_uncertainty
from breakeven.metric import Metric, shown
from breakeven.report import wording
from breakeven.report.results import Results
from breakeven.report.table import (
    CELL,
    NOTE,
    PRETRAINING,
    SIZE,
    STRATEGY,
    TASK,
    Column,
    Row,
    Table,
    count,
    interval,
    plain,
    published,
    written,
)


def accuracy_tables(results: Results) -> list[Table]:
    """In the order in which they are read."""
    merit, cells = results.merit, results.cells.drop(columns="cell")
    *first, last = (metric.title for metric in shown(merit))
    titles = f"{', '.join(first)} and {last}"
    told = results.exposures[results.exposures["exposure"] != ""].drop_duplicates(["task", "exposure"])
    seen = told.groupby("task")["exposure"].agg(" or ".join).to_dict()
    table_1 = results.table_1.reset_index().rename(columns=lambda name: f"{name:,}" if isinstance(name, int) else name)
    if merit.by_factors:
        table_1 = table_1.apply(_with_passing, axis=1, results=results)
    table_1.insert(1, "classes", [seen.get(task, "") for task in table_1["task"]])
    return [
        _summary(results),
        Table(
            "table_1",
            f"{merit.heading} and gains" + (" in the layout of the paper's Table 1" if results.in_paper else ""),
            f"Test {merit.title}{merit.in_percent}, and gains over it ({merit.points}), by training events per class: "
            f"{merit.mean} ± standard deviation over seeds (n){_COUNTS[merit.by_factors]}, mean gain ± the same. Gains are "
            "paired: the same seed and the same events from scratch."
            + (" In square brackets: arXiv 2412.10665, Table 1, at the same size." if results.in_paper else "")
            + " Classes: whether the backbone was taught both of the task's "
            "classes (seen), one (half-seen), only some processes of a class (partly seen) or none (unseen).",
            table_1,
            (TASK, *map(plain, table_1.columns[1:])),
            meanings=columns(f"task\nclasses: {EXPOSURE_COLUMNS['exposure']}\nquantity: what is measured"),
        ),
        Table(
            "accuracy",
            f"{titles[0].upper()}{titles[1:]} of every cell",
            f"Test {titles}: mean, of rejections the geometric one, ± standard deviation over n seeds, each with its own random "
            f"subset and initialisation; 90 %: interval of that of the {merit.title}. {_PARTS}"
            + (" Published: arXiv 2412.10665." if results.in_paper else ""),
            cells.assign(passing=[results.passing_of(row, merit) for row in cells.to_dict("records")]),
            (
                *CELL,
                Column(_heading(merit), lambda row: _mean(row, merit) if row["n"] else row["status"], merit.name),
                plain("background passing", "passing"),
                interval(merit.name, digits=merit.digits),
                *_errors(merit.name, merit),
                *(_measured(metric) for metric in shown(merit) if metric != merit),
                count("failed", "n_failed", zero=""),
                published("published, %"),
                NOTE,
            ),
            meanings=accuracy.cell_columns(merit) | {"passing": _PASSING},
        ),
        Table(
            "gains",
            "Gain over training from scratch",
            f"{merit.points.capitalize()} of test {merit.title}: mean ± standard deviation of (treated - scratch) over n pairs "
            f"with the same seed and the same events; 90 %: interval of the mean. {_PARTS} p: two-sided test of no gain, with "
            "the interval's error; Holm: corrected over all cells of one network; sign-flip: exact permutation test of the seeds "
            "alone, which cannot be small with few of them.",
            results.gains.merge(results.exposures, how="left"),
            (
                *CELL,
                plain("classes", "exposure"),
                Column(_points("gain", merit), lambda row: _gain(row, merit) if row["n"] else row["status"], "gain"),
                interval("gain", digits=merit.digits, sign=True),
                *_errors("gain", merit),
                written("p", "p_value", wording.p_value),
                written("p, Holm", "p_holm", wording.p_value),
                written("p, sign-flip", "p_permutation", wording.p_value),
                published(_points("published", merit), sign=True),
                NOTE,
            ),
            meanings=accuracy.gain_columns(merit) | EXPOSURE_COLUMNS,
        ),
    ]


def _summary(results: Results) -> Table:
    merit, keys = results.merit, ["pretraining", "strategy", "size"]
    means: dict[tuple[Any, ...], dict[Any, Any]] = {
        tuple(mean[name] for name in keys): mean for mean in results.mean_gains.to_dict("records")
    }
    rows = []
    for key, gains in results.gains[results.gains["n"] > 0].groupby(keys, sort=False):
        factors = results.factors.merge(gains[["task", *keys]]).dropna(subset=["factor"])
        better = gains["gain"] > 0
        rows.append(
            {
                **means[key],
                "n_better": int(better.sum()), "n_beyond_interval": int((gains["gain_low"] > 0).sum()),
                "n_significant": int((better & (gains["p_holm"] < wording.SIGNIFICANT)).sum()), **_median_of(factors),
                "n_factors": len(factors),
            }
        )  # fmt: skip
    meanings = over_tasks.mean_gain_columns(merit) | columns("""
        n_better: tasks with a positive gain
        n_beyond_interval: tasks whose 90 % interval of the gain lies above zero
        n_significant: tasks with a gain of p < 0.05 after Holm's correction
        factor_median: median over tasks of how many times fewer events; inf: more than factor_bound, 0: less than it
        factor_bound: what is known of a median beyond the sizes measured
        n_factors: tasks with a factor, those beyond the sizes measured among them
    """)
    return Table(
        "summary",
        "What pretraining gains, over all tasks",
        f"Gain in test {merit.title} over training from scratch, {merit.points}: mean ± standard deviation over tasks (n tasks), "
        "with the 90 % interval of that mean, which holds tasks with their seeds and test events, and, where there are several, "
        "the backbones that all tasks share (±: standard errors of these parts). Better: tasks with a positive gain; "
        "sure: those whose own 90 % interval lies above zero; significant: those with p < 0.05 after Holm's correction over "
        "a network's cells. Fewer events: median over all tasks of how many times more events scratch needs to be as good; a "
        "task that lies beyond the sizes measured counts as more than the largest, or less than the smallest, of them, and so "
        "may the median.",
        pd.DataFrame(rows, columns=list(meanings)),
        (
            PRETRAINING,
            STRATEGY,
            SIZE,
            Column(_points("gain", merit), lambda row: _gain(row, merit, n="n_tasks"), "gain"),
            interval("gain", digits=merit.digits, sign=True),
            _error("± tasks", "gain_task_se", merit),
            _error("± backbones", "gain_backbone_se", merit),
            _of_tasks("better", "n_better"),
            _of_tasks("sure", "n_beyond_interval"),
            _of_tasks("significant", "n_significant"),
            Column("fewer events", _median_factor, "factor_median"),
        ),
        "No cell has both a scratch and a finetuned trial yet.",
        meanings=meanings,
    )


def _median_of(factors: pd.DataFrame) -> dict[str, float]:
    """The median of all factors: factor_median, infinite or 0 where all that is known of it is factor_bound, NaN elsewhere.

    A factor beyond the sizes measured is only known to be above, or below, that of the last size.
    """
    factor, size = factors["factor"].astype(float), factors["size"].astype(float)
    least = float(factor.mask(factor == math.inf, factors["largest"] / size).median())
    most = float(factor.mask(factor == 0.0, factors["smallest"] / size).median())
    if least == most or math.isnan(least):
        return {"factor_median": least, "factor_bound": math.nan}
    above = math.isinf(most)
    return {"factor_median": math.inf if above else 0.0, "factor_bound": least if above else most}


def _median_factor(row: Row) -> str:
    if not row["n_factors"]:
        return ""
    median, bound = row["factor_median"], wording.significant(row["factor_bound"], 2)
    words = "more than " if math.isinf(median) else "less than " if median == 0.0 else ""
    figure = f"{words}{bound}" if words else wording.significant(median, 2)
    return f"{figure} ({row['n_factors']} of {row['n_tasks']} tasks)"


def _of_tasks(heading: str, name: str) -> Column:
    return Column(heading, lambda row: f"{row[name]} of {row['n_tasks']}", name)


def _mean(row: Row, metric: Metric) -> str:
    return wording.mean(row, metric.name, digits=metric.digits)


def _gain(row: Row, merit: Metric, n: str = "n") -> str:
    return wording.mean(row, "gain", n=n, digits=merit.digits, sign=True)


_PARTS = (
    "It holds seeds, backbones and the test sample; ±: the standard error of each part, that of backbones among the seeds' where "
    "each seed has its own."
)


def _errors(name: str, merit: Metric) -> tuple[Column, ...]:
    """The parts of an uncertainty."""
    parts = {"± seeds": "seed_se", "± backbones": "backbone_se", "± test sample": "test_se"}
    return tuple(_error(heading, f"{name}_{part}", merit) for heading, part in parts.items())


def _error(heading: str, name: str, merit: Metric) -> Column:
    return Column(
        heading, lambda row: format_uncertainty(row[name], merit.digits) if wording.known(row[name]) else "", name
    )


def _points(heading: str, merit: Metric) -> str:
    return f"{heading}, points" if merit.unit else heading


_COUNTS = {False: "", True: " [background events that pass, of how many]"}


def _with_passing(entries: pd.Series, results: Results) -> pd.Series:
    """A row of Table 1's layout, with what passes after each rejection from scratch; gains are differences."""
    told = entries.copy()
    for size in entries.index.drop(["task", "quantity"]):
        cell = {
            "task": entries["task"],
            "pretraining": "none",
            "strategy": "scratch",
            "size": int(size.replace(",", "")),
        }
        counts = results.passing_of(cell, results.merit)
        if counts and entries["quantity"].startswith("baseline "):
            told[size] = f"{entries[size]} [{counts}]"
    return told


_PASSING = (
    "background events that pass of how many, fewest to most over seeds; empty: no rejection, or no scores were kept"
)


def _heading(metric: Metric) -> str:
    return f"{metric.title}, {metric.unit}".removesuffix(", ")


def _measured(metric: Metric) -> Column:
    def text(row: Row) -> str:
        return _mean(row, metric) if row["n"] and wording.known(row[metric.name]) else ""

    return Column(_heading(metric), text, metric.name)
