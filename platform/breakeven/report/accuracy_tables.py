"""Tables of what pretraining does to accuracy: Table 1 of the paper, gains, rejection, data efficiency, laws, ratios."""

from __future__ import annotations

import math

import pandas as pd

from breakeven.analysis import accuracy, data_efficiency, learning_rate, rejection
from breakeven.analysis.columns import columns
from breakeven.analysis.laws import forecast, scaling_law
from breakeven.analysis.statistics import estimate, format_uncertainty
from breakeven.metric import MERIT, Metric, shown
from breakeven.report import wording
from breakeven.report.results import Results
from breakeven.report.table import NOTE, PRETRAINING, SIZE, STRATEGY, Column, Row, Table, count, plain


def accuracy_tables(results: Results) -> list[Table]:
    """In the order in which they are read."""
    task = task_column(results)
    about = (task, PRETRAINING, STRATEGY, SIZE)
    return [
        _summary(results),
        _table_1(results),
        _cells(results, about),
        _gains(results, about),
        _rejection(results, about),
        _factors(results, about),
    ]


def law_tables(results: Results) -> list[Table]:
    """Scaling laws and what follows from them."""
    task = task_column(results)
    family = (task, PRETRAINING, STRATEGY)
    return [_laws(results, family), _forecast(results, family), _catch_up(results, family), _back_test(results, family)]


def ratio_tables(results: Results) -> list[Table]:
    """Learning-rate ratios: those used, the fitted optima by cell, and pooled."""
    return [_used_ratios(results), _optima(results), _pooled_optima(results)]


_N = count("n", "n")


def task_column(results: Results) -> Column:
    return Column("task", lambda row: results.title(row["task"]), "task")


def _summary(results: Results) -> Table:
    rows = []
    gains = results.gains[results.gains["n"] > 0]
    for (pretraining, strategy, size), here in gains.groupby(["pretraining", "strategy", "size"], sort=False):
        over_tasks = estimate(here["gain"])
        factors = results.factors.merge(here[["task", "pretraining", "strategy", "size"]]).dropna(subset=["factor"])
        rows.append(
            {
                "pretraining": pretraining, "strategy": strategy, "size": size, **over_tasks.figures("gain"),
                "n_tasks": len(here), "n_better": int((here["gain"] > 0).sum()),
                "n_beyond_interval": int((here["gain_low"] > 0).sum()),
                "n_significant": int(((here["gain"] > 0) & (here["p_holm"] < 0.05)).sum()),
                **_median_of(factors), "n_factors": len(factors),
            }
        )  # fmt: skip
    return Table(
        "summary",
        "What pretraining gains, over all tasks",
        "Gain in test accuracy over training from scratch, percentage points: mean ± standard deviation over tasks (n tasks), "
        "with the 90 % interval of that mean. Better: tasks with a positive gain; sure: those whose own 90 % interval lies "
        "above zero; significant: those with p < 0.05 after Holm's correction over all cells. Fewer events: median over "
        "all tasks of how many times more events scratch needs to be as accurate; a task that lies beyond the sizes measured "
        "counts as more than the largest, or less than the smallest, of them, and so may the median.",
        pd.DataFrame(rows, columns=list(_SUMMARY)),
        (
            PRETRAINING,
            STRATEGY,
            SIZE,
            Column("gain, points", lambda row: wording.mean(row, "gain", n="n_tasks", sign=True), "gain"),
            Column("90 %", lambda row: wording.between(row["gain_low"], row["gain_high"], sign=True)),
            Column("better", lambda row: f"{row['n_better']} of {row['n_tasks']}", "n_better"),
            Column("sure", lambda row: f"{row['n_beyond_interval']} of {row['n_tasks']}", "n_beyond_interval"),
            Column("significant", lambda row: f"{row['n_significant']} of {row['n_tasks']}", "n_significant"),
            Column("fewer events", _median_factor, "factor_median"),
        ),
        "No cell has both a scratch and a finetuned trial yet.",
        meanings=_SUMMARY,
    )


_SUMMARY = columns("""
    pretraining strategy size
    gain gain_sd gain_low gain_high: test accuracy minus that of scratch, mean over tasks, percentage points
    n_tasks
    n_better: tasks with a positive gain
    n_beyond_interval: tasks whose 90 % interval of the gain lies above zero
    n_significant: tasks with a gain of p < 0.05 after Holm's correction
    factor_median: median over tasks of how many times fewer events; inf: more than factor_bound, 0: less than it
    factor_bound: what is known of a median beyond the sizes measured
    n_factors: tasks with a factor, those beyond the sizes measured among them
""")


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


def _table_1(results: Results) -> Table:
    table = results.table_1.reset_index().rename(columns=lambda name: f"{name:,}" if isinstance(name, int) else name)
    sizes = [name for name in table.columns if name not in ("task", "quantity")]
    return Table(
        "table_1",
        "Accuracy and gains in the layout of the paper's Table 1",
        "Test accuracy in percent, and gains over it in percentage points, by training events per class: mean ± standard "
        "deviation over seeds (n). Gains are paired: the same seed and the same events from scratch. In square brackets: "
        "arXiv 2412.10665, Table 1, at the same size.",
        table,
        (task_column(results), plain("quantity", "quantity"), *(plain(size, size) for size in sizes)),
        meanings=columns("task\nquantity: what is measured"),
    )


def _published(row: Row, sign: bool = False) -> str:
    if not wording.known(row["published"]):
        return ""
    return f"{wording.number(row['published'], sign=sign)} ± {format_uncertainty(row['published_uncertainty'], 1)}"


def _cells(results: Results, about: tuple[Column, ...]) -> Table:
    cells = results.cells.drop(columns="cell")
    uncertain = [wording.NO_UNCERTAINTY if n == 1 else "" for n in cells["n"]]
    return Table(
        "accuracy",
        "Accuracy and AUC of every cell",
        "Test accuracy and area under the ROC curve, percent: mean ± standard deviation over n seeds, each with its own "
        "random subset and initialisation; 90 %: Student's t interval of the mean accuracy. Published: arXiv 2412.10665.",
        cells.assign(note=uncertain),
        (
            *about,
            Column("accuracy, %", lambda row: wording.mean(row, "accuracy") if row["n"] else row["status"], "accuracy"),
            Column("90 %", lambda row: wording.between(row["accuracy_low"], row["accuracy_high"])),
            *(_measured(metric) for metric in shown(MERIT) if not metric.merit),
            count("failed", "n_failed", zero=""),
            Column("published, %", _published, "published"),
            NOTE,
        ),
        meanings=accuracy.cell_columns() | columns("note"),
    )


def _measured(metric: Metric) -> Column:
    def text(row: Row) -> str:
        return wording.mean(row, metric.name) if row["n"] and wording.known(row[metric.name]) else ""

    return Column(f"{metric.title}, {metric.unit}", text, metric.name)


def _gains(results: Results, about: tuple[Column, ...]) -> Table:
    return Table(
        "gains",
        "Gain over training from scratch",
        "Percentage points of test accuracy: mean ± standard deviation of (treated - scratch) over n pairs with the same seed "
        "and the same events; 90 %: Student's t interval of the mean. p: two-sided paired t-test; Holm: corrected over all "
        "cells of this table; sign-flip: exact permutation test, which cannot be small with few seeds.",
        results.gains,
        (
            *about,
            Column(
                "gain, points", lambda row: wording.mean(row, "gain", sign=True) if row["n"] else row["status"], "gain"
            ),
            Column("90 %", lambda row: wording.between(row["gain_low"], row["gain_high"], sign=True)),
            Column("p", lambda row: wording.p_value(row["p_value"]), "p_value"),
            Column("p, Holm", lambda row: wording.p_value(row["p_holm"]), "p_holm"),
            Column("p, sign-flip", lambda row: wording.p_value(row["p_permutation"]), "p_permutation"),
            Column("published, points", lambda row: _published(row, sign=True), "published"),
            NOTE,
        ),
        meanings=accuracy.gain_columns(),
    )


def _rejection(results: Results, about: tuple[Column, ...]) -> Table:
    return Table(
        "rejection",
        "Background rejection and significance improvement",
        "Background rejection is 1 / (background efficiency) at that signal efficiency; significance improvement is the "
        "largest signal efficiency / √(background efficiency). Mean ± standard deviation over n seeds, on test events. "
        "Over scratch: geometric mean of the ratio to scratch with the same seed, 90 % Student's t interval of the logarithms.",
        results.working_points,
        (
            *about,
            plain("quantity", "quantity"),
            Column("value", lambda row: row["text"], "value"),
            Column("over scratch", lambda row: wording.number(row["improvement"], 2), "improvement"),
            Column("90 %", lambda row: wording.between(row["improvement_low"], row["improvement_high"], 2)),
            NOTE,
        ),
        "No trial recorded a working point.",
        meanings=rejection.WORKING_POINT_COLUMNS,
    )


def _factors(results: Results, about: tuple[Column, ...]) -> Table:
    return Table(
        "data_efficiency",
        "How many times fewer events",
        "The size at which training from scratch reaches the treatment's test accuracy, over the treatment's size: 3 means "
        "that scratch needs three times the events, below 1 that pretraining is the worse choice. Interpolated between "
        "measured sizes, never extrapolated; 90 % interval by resampling the means of both, n seeds each.",
        results.factors,
        (
            *about,
            Column("factor", lambda row: row["text"], "factor"),
            Column("matches scratch at", _matched_size, "matched_size"),
            _N,
            plain("n scratch", "n_scratch"),
            NOTE,
        ),
        "No treatment can be held against training from scratch yet.",
        meanings=data_efficiency.factor_columns(),
    )


def _matched_size(row: Row) -> str:
    if row["matched_size"] == 0.0:
        return f"below {row['smallest']:,.0f}"
    return f"above {row['largest']:,.0f}" if row["matched_size"] == math.inf else wording.rounded(row["matched_size"])


def _laws(results: Results, family: tuple[Column, ...]) -> Table:
    def with_interval(name: str) -> Column:
        return Column(f"{name} (90 %)", lambda row: _parameter(row, name), name)

    return Table(
        "scaling_laws",
        "Scaling laws",
        "Test error (fraction) = a + b n^-c, n training events per class; robust fit of the logarithms from several starts, "
        "90 % intervals from resampled means. A law needs five sizes, an error that falls, and an exponent that the data fix: "
        "otherwise it is refused, and the reason is given. Misfit: p-value of the residuals.",
        results.laws,
        (
            *family,
            Column("law", lambda row: "refused" if row["refusal"] else row["text"]),
            *(with_interval(name) for name in "abc"),
            plain("n per size", "n"),
            Column("misfit p", lambda row: wording.p_value(row["misfit"]), "misfit"),
            plain("reason or note", "note"),
        ),
        meanings=scaling_law.LAW_COLUMNS,
    )


def _parameter(row: Row, name: str) -> str:
    if not wording.known(row[name]):
        return ""
    low, high = wording.significant(row[f"{name}_low"]), wording.significant(row[f"{name}_high"])
    return wording.significant(row[name]) + (f" ({low} to {high})" if low else " (no uncertainty)")


def _forecast(results: Results, family: tuple[Column, ...]) -> Table:
    return Table(
        "accuracy_forecast",
        "Forecast of the next decade of data",
        "Test accuracy (percent) at ten times the largest size measured, from the law; 90 % interval of the law, and of the "
        "mean of n new seeds. No forecast where the law is refused.",
        results.accuracy_forecast,
        (
            *family,
            SIZE,
            Column("accuracy", lambda row: row["text"], "accuracy"),
            Column("90 %, new seeds", lambda row: wording.between(row["prediction_low"], row["prediction_high"])),
            _N,
            NOTE,
        ),
        meanings=forecast.forecast_columns(),
    )


def _catch_up(results: Results, family: tuple[Column, ...]) -> Table:
    return Table(
        "catch_up",
        "Where training from scratch catches up",
        "Events per class from which on scratch is within 0.1 percentage points of the treatment, from both laws, with a 90 % "
        "interval. More than a decade beyond the largest size measured no law is trusted.",
        results.catch_up,
        (
            *family,
            Column("catches up", lambda row: row["text"], "events"),
            count("largest measured", "largest"),
            NOTE,
        ),
        meanings=forecast.CATCH_UP_COLUMNS,
    )


def _back_test(results: Results, family: tuple[Column, ...]) -> Table:
    return Table(
        "back_test",
        "Back-test: the largest size, predicted from the others",
        "Test accuracy in percent at the largest size: measured (mean of n seeds), and predicted by a law that was fitted "
        "without it, with its 90 % prediction interval. Needs six sizes.",
        results.back_test,
        (
            *family,
            SIZE,
            Column("predicted", lambda row: wording.number(row["predicted"]), "predicted"),
            Column("90 %", lambda row: wording.between(row["prediction_low"], row["prediction_high"])),
            Column("measured", lambda row: wording.number(row["measured"]), "measured"),
            Column("off by", lambda row: row["text"], "error"),
            _N,
            NOTE,
        ),
        meanings=forecast.back_test_columns(),
    )


def _used_ratios(results: Results) -> Table:
    cells = results.cells
    tuned = cells[(cells["strategy"] == "finetune") & (cells["n"] > 0)]
    wide = tuned.pivot(index=["task", "pretraining"], columns="size", values="ratio").reset_index()
    sizes = [name for name in wide.columns if name not in ("task", "pretraining")]
    wide = wide.rename(columns={size: f"{size:,}" for size in sizes}).rename_axis(columns=None)

    def used(size: str) -> Column:
        return Column(size, lambda row: wording.significant(row[size], 2), size)

    return Table(
        "ratios_used",
        "Ratios used",
        "Backbone rate over head rate of the reported trials, by events per class: chosen in each cell on validation events "
        "and search seeds that are never reported. The paper uses 0.1 everywhere.",
        wide,
        (task_column(results), PRETRAINING, *(used(f"{size:,}") for size in sizes)),
        "No finetuned trial yet.",
        meanings=columns("task pretraining"),
    )


def _optima(results: Results) -> Table:
    return Table(
        "ratio_optima",
        "Best ratio of each cell, and what the published 0.1 loses",
        _RATIO_CAPTION,
        results.optima,
        (task_column(results), PRETRAINING, SIZE, *_RATIO_COLUMNS),
        "No ratio was searched.",
        meanings=learning_rate.optimum_columns(),
    )


def _pooled_optima(results: Results) -> Table:
    return Table(
        "ratio_optima_pooled",
        "Best ratio over all tasks and sizes",
        "As above, with all cells of a pretraining in one fit, each at a level of its own: where one cell alone has too few "
        "search trials to tell.",
        results.pooled_optima,
        (PRETRAINING, *_RATIO_COLUMNS),
        "No ratio was searched.",
        meanings=learning_rate.optimum_columns(),
    )


_RATIO_CAPTION = (
    "Optimum of a quadratic in log10(ratio) through the validation losses of the search trials, with Fieller's 90 % interval. "
    "Lost by 0.1: how much higher the validation loss is at the published ratio (90 %), and percentage points of validation "
    "accuracy."
)
_RATIO_COLUMNS = (
    Column("best ratio", lambda row: row["text"], "ratio"),
    Column("loss lost by 0.1", lambda row: _loss_lost(row), "loss_excess"),
    Column("points lost by 0.1", lambda row: wording.number(row["accuracy_lost"], 2, sign=True), "accuracy_lost"),
    count("trials", "n_trials"),
    count("ratios", "n_ratios"),
    count("stopped", "n_stopped", zero=""),
    count("failed", "n_failed", zero=""),
    NOTE,
)


def _loss_lost(row: Row) -> str:
    interval = wording.between(row["loss_excess_low"], row["loss_excess_high"], 4)
    return wording.number(row["loss_excess"], 4) + (f" ({interval})" if interval else "")
