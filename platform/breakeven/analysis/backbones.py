"""Which backbone is worth most: chosen on validation events, reported on test events.

Over the finetuned cells that all backbones have, so that none wins by the easier tasks. Knows no weights.
"""

import pandas as pd

from breakeven.analysis import frame as ledger_frame
from breakeven.analysis.statistics import estimate
from breakeven.metric import MERIT, Metric

COLUMNS = ["pretraining", "record", "backbone", "n_tasks", "n_cells", "chosen_by", "validation_gain", "validation_gain_low",
           "validation_gain_high", "gain", "gain_low", "gain_high"]  # fmt: skip


def ranking(frame: pd.DataFrame, *, merit: Metric = MERIT) -> pd.DataFrame:
    """The backbones of a study, the best first.

    One row each, none where nothing was finetuned. chosen_by: name of the metric that validation events choose by: the
    figure of merit, or AUC where that is not measured on them.  validation_gain: that metric less that of scratch with the
    same seed and size, mean over tasks, and in each over the sizes that every backbone has; the order is by this.  gain: the
    same of the figure of merit on test events, which chose nothing. Intervals: 90 % Student's t over the same means of the
    n_tasks tasks; NaN for one task.
    """
    confirmed = ledger_frame.confirmed(frame)
    chooses = ledger_frame.choosing(confirmed, merit)
    splits = {"validation_gain": (chooses, "validation"), "gain": (merit, "test")}
    confirmed = confirmed.assign(**{name: ledger_frame.measured(confirmed, *what) for name, what in splits.items()})
    tuned, scratch = (confirmed[confirmed["strategy"] == name] for name in ("finetune", "scratch"))
    both = tuned.merge(scratch, on=["task", "size", "seed"], suffixes=("", "_scratch"))
    for name, (metric, _) in splits.items():
        both[name] = metric.sign * metric.scale * (both[name] - both[f"{name}_scratch"])
    cells = both.groupby(["pretraining", "task", "size"], as_index=False)[list(splits)].mean()
    shared = cells.groupby(["task", "size"])["pretraining"].transform("nunique") == cells["pretraining"].nunique()
    finished = frame[(frame["level"] == "pretraining") & (frame["outcome"] == "finished")]
    best = finished.sort_values("validation_loss").drop_duplicates("pretraining")  # of several seeds, by validation too
    backbones = best.set_index("pretraining")[["record", "backbone"]]
    rows = []
    for pretraining, of_backbone in cells[shared & cells["pretraining"].isin(backbones.index)].groupby("pretraining"):
        of_tasks = of_backbone.groupby("task")[list(splits)].mean()
        rows.append(
            {
                "pretraining": pretraining, "record": backbones.at[pretraining, "record"],
                "backbone": backbones.at[pretraining, "backbone"], "n_tasks": len(of_tasks), "n_cells": len(of_backbone),
                "chosen_by": chooses.name,
                **estimate(of_tasks["validation_gain"]).figures("validation_gain"),
                **estimate(of_tasks["gain"]).figures("gain"),
            }
        )  # fmt: skip
    return (
        pd.DataFrame(rows, columns=COLUMNS)
        .dropna(subset="validation_gain")
        .sort_values("validation_gain", ascending=False, ignore_index=True)
    )
