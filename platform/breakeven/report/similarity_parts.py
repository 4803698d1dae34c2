"""How alike the networks are: Table 3 of the paper, layer by layer, and its plot."""

from dataclasses import replace

import pandas as pd

from breakeven.analysis import frame as ledger_frame
from breakeven.analysis.ensembles import COLUMNS, FINAL, MOST_NETWORKS
from breakeven.report import wording
from breakeven.report.accuracy_plots import by_task, lines, numbers
from breakeven.report.plot import Panel, Plot
from breakeven.report.results import Results
from breakeven.report.table import (
    NOTE,
    PRETRAINING,
    SIZE,
    STRATEGY,
    TASK,
    Column,
    Table,
    count,
    interval,
    published,
    written,
)

_EMPTY = (
    "No trial has kept what its layers say of test events: those of the largest size do, unless "
    "finetuning.represented-events is 0, or they were trained before that was kept."
)
_WHAT = (
    "Centred kernel alignment with networks trained from scratch, on the same test events; RBF kernel of half the median "
    "distance, which reproduces the paper's Table 2. Mean ± standard deviation over n pairs of different networks (seeds); the "
    "paper's formula has each network against itself in both. 90 %: interval of the mean for networks like these."
)


def similarity_tables(results: Results) -> list[Table]:
    """Table 3, and every layer."""
    rows = results.similarity
    about = (TASK, PRETRAINING, replace(STRATEGY, heading="trained"), SIZE)
    figures = (
        Column("CKA with scratch", lambda row: wording.mean(row, "cka", digits=2), "cka"),
        interval(digits=2),
        written("unbiased", "unbiased", digits=2),
    )
    return [
        Table(
            "similarity",
            "Similarity of what was learnt: the paper's Table 3",
            f"{_WHAT} Last hidden layer, which the head sees. Unbiased: the same by the estimator that is 0 for networks that "
            "share nothing; the other is above 0 for few events. With itself: the mean of scratch against scratch with each "
            "network's 1.0 against itself counted, as the paper's formula reads. Published: arXiv 2412.10665, Table 3. Its text "
            "says after the decoder stage, its caption before the decoder: the number stands here, beside the decoder's; the row "
            f"of the last block, in the next table, is the other reading. At most {MOST_NETWORKS} networks a treatment.",
            rows[rows["layer"] == FINAL].drop(columns=["layer", "depth"]),
            (
                *about,
                *figures,
                written("with itself", "with_itself", digits=2),
                published("published", 2),
                count("events", "n_events"),
                NOTE,
            ),
            _EMPTY,
            meanings=COLUMNS,
        ),
        Table(
            "similarity_layers",
            "Similarity layer by layer",
            f"{_WHAT} Encoder: mean over the event's encoded objects; block k: the event's global feature after that "
            "message-passing iteration; decoder: what the head sees.",
            rows.drop(columns=["published", "published_uncertainty", "with_itself"]),
            (*about, Column("layer", lambda row: row["layer"], "depth"), *figures, NOTE),
            _EMPTY,
            meanings=COLUMNS,
        ),
    ]


def similarity_plot(results: Results) -> Plot:
    """CKA against depth, a variant for each estimator."""
    known = results.similarity[results.similarity["cka"].notna()]
    return Plot(
        "similarity",
        "How alike the layers are to those of networks from scratch",
        "Centred kernel alignment with networks from scratch on the same test events, at the largest size; from scratch: "
        "different seeds against each other. Layer 0: the encoder; then the message-passing blocks; last: the decoder, which "
        "the head sees. Error bars: standard deviation over pairs of networks, none for one pair.",
        {
            words: tuple(_panel(task, rows, column) for task, rows in by_task(known))
            for words, column in (("as the paper's", "cka"), ("unbiased", "unbiased"))
            if len(known)
        },
        "estimator",
    )


def _panel(task: str, rows: pd.DataFrame, column: str) -> Panel:
    rows = rows[rows["size"] == rows["size"].max()]
    spread = rows.assign(low=rows[column] - rows[f"{column}_sd"], high=rows[column] + rows[f"{column}_sd"])
    series = lines(spread, column, lambda row: f"{row['layer']}: {wording.mean(row, column, digits=2)}", "depth")
    depths = numbers(sorted(set(rows["depth"])))
    return Panel(ledger_frame.title(task), "layer (0: encoder, last: decoder)", "CKA with scratch", tuple(series), x_log=False,
                 x_ticks=depths)  # fmt: skip
