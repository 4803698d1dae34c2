"""Backbones themselves: what one is better for that starts from another, and what becomes of the score that it gives."""

import pandas as pd

from breakeven.analysis import frame as ledger_frame
from breakeven.analysis.adaptation import ADAPTATION_COLUMNS
from breakeven.analysis.drift import AUC, DRIFT_COLUMNS
from breakeven.report import wording
from breakeven.report.accuracy_plots import by_task, numbers
from breakeven.report.plot import Panel, Plot, Series
from breakeven.report.results import Results
from breakeven.report.table import (
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
    written,
)


def drift_tables(results: Results) -> list[Table]:
    """What a start gave the pretrainings; the AUC of the score inside, before and after."""
    return [
        Table(
            "adaptation",
            "Pretrainings that start from another",
            "Domain adaptation: on their own validation events, pretrainings that began with another's backbone, beside the same "
            "from scratch, by the number of events or jets that they learnt from. AUC in percent, mean ± standard deviation over "
            "n backbones; rejection: 1 / background efficiency at 80 % efficiency, geometric mean; factor: that over the same "
            "from scratch, geometric mean over pairs of one seed, with its 90 % Student's t interval of the logarithm.",
            results.adaptation,
            (
                PRETRAINING,
                plain("starts from", "start"),
                count("learnt from", "train_events"),
                Column("AUC", lambda row: wording.mean(row, "auc", digits=2), "auc"),
                written("rejection at 80 %", "rejection", wording.significant),
                written("factor", "factor", wording.significant),
                Column("90 %", _factor_between, "factor_low"),
                count("pairs", "n_pairs", zero=""),
            ),
            links=False,
            meanings=ADAPTATION_COLUMNS,
        ),
        Table(
            "drift",
            "Drift of the score inside",
            "What the network itself says of each thing of a test event, as the scalar of each jet, against its true label (for "
            "jets: a Higgs boson to two bottom quarks inside), which no trial is told: AUC in percent, mean ± standard deviation "
            "over n trials. Before: the same on the frozen backbones that these trials began with. Change: after - before, mean "
            "over pairs of one seed with its 90 % Student's t interval. From scratch either sign of the score may stand for the "
            "label: the one with the larger AUC is taken, turned says of how many trials it is the other one.",
            results.drift,
            (
                TASK,
                PRETRAINING,
                STRATEGY,
                SIZE,
                written("before", "before", digits=2),
                Column("AUC", lambda row: wording.mean(row, "auc", digits=2), "auc"),
                Column("change", lambda row: _change(row), "change"),
                interval("change", digits=2, sign=True),
                written("rejection at 90 %", "rejection", wording.significant),
                count("turned", "n_turned", zero=""),
            ),
            meanings=DRIFT_COLUMNS,
        ),
    ]


def emergence_plot(results: Results) -> Plot:
    """The AUC of the score from scratch against the epoch, a line for each size."""
    return Plot(
        "emergence",
        "How the score inside emerges from scratch",
        "AUC against the true label of what the network says of each thing of a validation event (as of each jet) while all "
        "weights are trained from scratch on events alone, mean over seeds, band: 90 % Student's t interval, none for n=1; from "
        "a seed's end on it counts with the weights that it kept. Of each trial the sign with the larger AUC on test events.",
        {"": panels} if (panels := tuple(_panel(task, rows) for task, rows in by_task(results.emergence))) else {},
    )


def _panel(task: str, rows: pd.DataFrame) -> Panel:
    lines = []
    for number, (size, line) in enumerate(rows.groupby("size")):
        records = line.to_dict("records")
        texts = tuple(f"epoch {row['epoch']:.0f}: {row[AUC.name]:.2f} % (n={row['n']})" for row in records)
        x, y, low, high = (numbers(line[name]) for name in ("epoch", AUC.name, "low", "high"))
        label = f"{size:,} events per class"
        lines.append(Series(label, str(number), "scratch", x, y, low, high, "curve", texts=texts))
    return Panel(
        ledger_frame.title(task),
        "epoch",
        "AUC against the true label (%)",
        tuple(lines),
        references=((50.0, "a coin"),),
    )


def _factor_between(row: Row) -> str:
    low, high = (wording.significant(row[f"factor_{end}"]) for end in ("low", "high"))
    return f"{low} to {high}" if low and high else ""


def _change(row: Row) -> str:
    return wording.mean(row, "change", n="n_pairs", digits=2, sign=True) if row["n_pairs"] else ""
