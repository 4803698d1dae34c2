"""Tables of scaling laws and what follows from them, and of learning-rate ratios."""

from breakeven.analysis import frame as ledger_frame
from breakeven.analysis import (
    learning_rate,
)
from breakeven.analysis.columns import columns
from breakeven.analysis.laws import forecast, scaling_law
from breakeven.metric import Metric
from breakeven.report import wording
from breakeven.report.results import Results
from breakeven.report.table import (
    CELL,
    FAMILY,
    NOTE,
    PRETRAINING,
    SIZE,
    STRATEGY,
    Column,
    N,
    Row,
    Table,
    count,
    in_words,
    interval,
    plain,
    written,
)


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
