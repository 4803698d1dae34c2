"""Tables of what a classifier is worth to an analysis: data efficiency, rejections, those of each process, published ones."""

import math

import pandas as pd

from breakeven.analysis import (
    data_efficiency,
    passing,
    published_rejections,
    rejection,
)
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
    N,
    Row,
    Table,
    in_words,
    interval,
    plain,
    written,
)


def worth_tables(results: Results) -> list[Table]:
    """How many times fewer events a treatment needs; rejections of every cell."""
    merit, factors = results.merit, [results.factors, results.factors_over_frozen]
    return [
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


def _rejection_interval(row: Row) -> str:
    """`13.7 to 16.9`, `above 124` where nothing is known of the upper end."""
    if not (wording.known(row["low"]) and wording.known(row["high"])):
        return ""
    low, high = wording.significant(row["low"]), wording.significant(row["high"])
    return f"{low} to {high}" if high else f"above {low}"


def _matched_size(row: Row) -> str:
    if row["matched_size"] == 0.0:
        return f"below {row['smallest']:,.0f}"
    return f"above {row['largest']:,.0f}" if row["matched_size"] == math.inf else wording.rounded(row["matched_size"])
