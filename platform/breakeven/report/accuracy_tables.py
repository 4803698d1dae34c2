"""Tables of what pretraining does: Table 1 of the paper, gains, rejection, data efficiency, laws, ratios."""

import math
from typing import Any

import pandas as pd

from breakeven.analysis import (
    accuracy,
    data_efficiency,
    learning_rate,
    over_tasks,
    passing,
    published_rejections,
    rejection,
)
from breakeven.analysis import frame as ledger_frame
from breakeven.analysis.columns import columns
from breakeven.analysis.exposure import EXPOSURE_COLUMNS
from breakeven.analysis.laws import forecast, scaling_law
from breakeven.analysis.statistics import format_uncertainty
from breakeven.metric import Metric, shown
from breakeven.report import wording
from breakeven.report.results import Results
from breakeven.report.table import (
    CELL,
    FAMILY,
    NOTE,
    PRETRAINING,
    SIZE,
    STRATEGY,
    TASK,
    Column,
    N,
    Row,
    Table,
    count,
    in_words,
    interval,
    plain,
    published,
    written,
)


def accuracy_tables(results: Results) -> list[Table]:
    """In the order in which they are read."""
    merit, cells = results.merit, results.cells.drop(columns="cell")
    factors = [results.factors, results.factors_over_frozen]
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
            "classes (seen), one (half-seen) or none (unseen).",
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
        Table(
            "rejection",
            "Background rejection and significance improvement",
            "Background rejection is 1 / (background efficiency) at that signal efficiency; significance improvement is the "
            "largest signal efficiency / √(background efficiency). Mean ± standard deviation over n seeds, on test events, of "
            "rejections the geometric mean. Passing: background events that pass, of how many, fewest to most over seeds. "
            "Counted: blank, each background event the same, as in the published studies; by cross section, each by what it "
            "stands for, with the effective number (Σw)²/Σw² of those that pass, fewest over seeds, and an interval (Fay and "
            "Feuer's, with the seeds' scatter) that is of so many; signal events count the same. At least: of a seed none "
            "pass. Over scratch: geometric mean of the ratio to scratch with the same seed, 90 % interval of the logarithms. "
            "Of the significance improvement, a maximum over thresholds, the test sample's own error is not known.",
            results.working_points,
            (
                *CELL,
                plain("quantity"),
                plain("counted", "weighting"),
                in_words("value", "value"),
                plain("passing"),
                written("effective", "effective"),
                Column("value, 90 %", _rejection_interval, "low"),
                written("over scratch", "improvement", digits=2),
                interval("improvement", "over scratch, 90 %", digits=2),
                NOTE,
            ),
            "No trial recorded a working point.",
            meanings=rejection.WORKING_POINT_COLUMNS,
        ),
        Table(
            "data_efficiency",
            "How many times fewer events",
            f"The size at which the reference reaches the treatment's test {merit.title}, over the treatment's size: 3 means "
            "that the reference needs three times the events, below 1 that the treatment is the worse choice. Reference: "
            "training from scratch, and for finetuning a frozen backbone too. Interpolated between measured sizes"
            + (", by logarithms" if merit.by_factors else "")
            + ", never extrapolated; 90 % interval by resampling the means of both, n seeds each, with the error that the shared "
            "test sample leaves in their difference.",
            pd.concat([one for one in factors if len(one)] or factors[:1], ignore_index=True),
            (
                *CELL,
                Column(
                    "reference", lambda row: wording.STRATEGIES.get(row["reference"]) or row["reference"], "reference"
                ),
                in_words("factor", "factor"),
                Column("reference matches at", _matched_size, "matched_size"),
                N,
                plain("n reference", "n_reference"),
                NOTE,
            ),
            "No treatment can be compared yet.",
            meanings=data_efficiency.factor_columns(merit),
        ),
    ]


def rejection_tables(results: Results) -> list[Table]:
    """What each process of the signal is worth, and what was published."""
    return [
        Table(
            "published_rejections",
            "Published rejections and data efficiencies beside ours",
            f"arXiv 2401.13536: {published_rejections.SETTING}. Ours: at the largest size, our own simulation without pile-up; "
            "geometric mean ± standard deviation over n seeds, each background event alike. Data efficiency: how many times "
            "fewer events finetuning needs; the sources do not say against which reference.",
            results.published_rejections,
            (
                TASK,
                plain("representation"),
                PRETRAINING,
                STRATEGY,
                plain("quantity"),
                Column("published, second-hand", _published_value, "published_value"),
                plain("ours", "text"),
                plain("background passing", "passing"),
                SIZE,
            ),
            meanings=published_rejections.BESIDE_COLUMNS,
        ),
        Table(
            "by_process",
            f"{results.rejection.heading} of each process of the signal",
            "At the largest size: 1 / (efficiency for all of the background, each event alike) where the threshold keeps that "
            "share of this process; geometric mean ± standard deviation over n seeds, 90 % interval of their mean and of the "
            "test sample (Poisson). At least: of a seed no background event passes.",
            results.by_process,
            (
                *CELL,
                plain("signal", "process"),
                in_words("rejection", "rejection"),
                Column("90 %", _rejection_interval, "low"),
                plain("background passing", "passing"),
            ),
            meanings=passing.PROCESS_COLUMNS,
        ),
    ]


def _published_value(row: Row) -> str:
    value = wording.significant(row["published_value"])
    return f"{value} ± {row['published_uncertainty']:g}" if wording.known(row["published_uncertainty"]) else value


def law_tables(results: Results) -> list[Table]:
    """Scaling laws and what follows from them."""
    merit = results.merit
    return [
        Table(
            "scaling_laws",
            "Scaling laws",
            f"Test error ({merit.error_measure}) = a + b n^-c, n training events per class; robust fit of the logarithms from "
            "several starts, 90 % intervals from resampled means. A law needs five sizes, an error that falls, and an exponent "
            "that the data fix: otherwise it is refused, and the reason is given. Misfit: p-value of the residuals.",
            results.laws,
            (
                *FAMILY,
                Column("law", lambda row: "refused" if row["refusal"] else row["text"]),
                *map(_parameter, "abc"),
                plain("n per size", "n"),
                written("misfit p", "misfit", wording.p_value),
                plain("reason or note", "note"),
            ),
            meanings=scaling_law.LAW_COLUMNS,
        ),
        Table(
            "accuracy_forecast",
            "Forecast of the next decade of data",
            f"Test {merit.title}{merit.in_percent} at ten times the largest size measured, from the law; 90 % interval of the "
            "law, and of the mean of n new seeds. No forecast where the law is refused.",
            results.accuracy_forecast,
            (*FAMILY, SIZE, in_words(merit.title, merit.name), _prediction("90 %, new seeds", merit), N, NOTE),
            meanings=forecast.forecast_columns(merit),
        ),
        Table(
            "catch_up",
            "Where training from scratch catches up",
            f"Events per class from which on scratch is within {'0.1 percentage points' if merit.unit else 'an error of 0.001'} "
            "of the treatment, from both laws, with a 90 % interval. More than a decade beyond the largest size measured no law "
            "is trusted.",
            results.catch_up,
            (*FAMILY, in_words("catches up", "events"), count("largest measured", "largest"), NOTE),
            meanings=forecast.CATCH_UP_COLUMNS,
        ),
        Table(
            "back_test",
            "Back-test: the largest size, predicted from the others",
            f"Test {merit.title}{merit.in_percent} at the largest size: measured (mean of n seeds), and predicted by a law that "
            "was fitted without it, with its 90 % prediction interval. Needs six sizes.",
            results.back_test,
            (
                *FAMILY,
                SIZE,
                written("predicted", "predicted", digits=merit.digits),
                _prediction("90 %", merit),
                written("measured", "measured", digits=merit.digits),
                in_words("off by", "error"),
                N,
                NOTE,
            ),
            meanings=forecast.back_test_columns(merit),
        ),
    ]


def ratio_tables(results: Results) -> list[Table]:
    """Learning-rate ratios: those used, the fitted optima by cell, and pooled."""
    merit, cells = results.merit, results.cells
    used = cells.dropna(subset=["ratio"]).pivot(index=ledger_frame.FAMILY, columns="size", values="ratio")
    used = results.ordered(used.rename(columns="{:,}".format).rename_axis(columns=None).reset_index())
    fitted = (
        in_words("best ratio", "ratio"),
        Column("loss lost by the published", _loss_lost, "loss_excess"),
        written(
            f"{'points' if merit.unit else merit.title} lost by the published",
            f"{merit.name}_lost",
            digits=2,
            sign=True,
        ),
        count("trials", "n_trials"),
        count("ratios", "n_ratios"),
        count("stopped", "n_stopped", zero=""),
        count("failed", "n_failed", zero=""),
        NOTE,
    )
    return [
        Table(
            "ratios_used",
            "Ratios used",
            "Learning-rate ratio of the reported trials, by events per class: finetuned, backbone rate over head rate; from "
            "scratch, rate over the published one. Searched ones were chosen in each cell on validation events and search "
            "seeds that are never reported." + (" The paper uses 0.1, and 1 from scratch." if results.in_paper else ""),
            used,
            (
                *FAMILY,
                *(written(size, size, wording.significant, 2) for size in used.columns.drop(ledger_frame.FAMILY)),
            ),
            "No trial yet.",
            meanings=columns("task pretraining strategy"),
        ),
        Table(
            "ratio_optima",
            "Best ratio of each cell, and what the published one loses",
            "Optimum of a quadratic in log10(ratio) through the validation losses of the search trials, with Fieller's 90 % "
            "interval. Lost by the published: how much higher the validation loss is at the published ratio "
            f"(90 %), and {merit.points} of validation {merit.title}.",
            results.optima,
            (*CELL, *fitted),
            "No ratio was searched.",
            meanings=learning_rate.optimum_columns(merit),
        ),
        Table(
            "ratio_optima_pooled",
            "Best ratio over all tasks and sizes",
            "As above, with all cells of a pretraining in one fit, each at a level of its own: where one cell alone has too few "
            "search trials to tell.",
            results.pooled_optima,
            (PRETRAINING, STRATEGY, *fitted),
            "No ratio was searched.",
            meanings=learning_rate.optimum_columns(merit),
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


def _rejection_interval(row: Row) -> str:
    """`13.7 to 16.9`, `above 124` where nothing is known of the upper end."""
    if not (wording.known(row["low"]) and wording.known(row["high"])):
        return ""
    low, high = wording.significant(row["low"]), wording.significant(row["high"])
    return f"{low} to {high}" if high else f"above {low}"


def _heading(metric: Metric) -> str:
    return f"{metric.title}, {metric.unit}".removesuffix(", ")


def _measured(metric: Metric) -> Column:
    def text(row: Row) -> str:
        return _mean(row, metric) if row["n"] and wording.known(row[metric.name]) else ""

    return Column(_heading(metric), text, metric.name)


def _matched_size(row: Row) -> str:
    if row["matched_size"] == 0.0:
        return f"below {row['smallest']:,.0f}"
    return f"above {row['largest']:,.0f}" if row["matched_size"] == math.inf else wording.rounded(row["matched_size"])


def _parameter(name: str) -> Column:
    def text(row: Row) -> str:
        if not wording.known(row[name]):
            return ""
        low, high = wording.significant(row[f"{name}_low"]), wording.significant(row[f"{name}_high"])
        return wording.significant(row[name]) + (f" ({low} to {high})" if low else " (no uncertainty)")

    return Column(f"{name} (90 %)", text, name)


def _prediction(heading: str, merit: Metric) -> Column:
    return interval("prediction", heading, merit.digits)


def _loss_lost(row: Row) -> str:
    ends = wording.between(row["loss_excess_low"], row["loss_excess_high"], 4)
    return wording.number(row["loss_excess"], 4) + (f" ({ends})" if ends else "")
