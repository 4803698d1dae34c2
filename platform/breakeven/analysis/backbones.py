"""Which backbone is worth most: chosen on validation events, reported on test events.

Over the finetuned cells that all backbones have, so that none wins by the easier tasks. Knows no weights.
"""

from __future__ import annotations

import math

import pandas as pd

from breakeven.analysis import frame as ledger_frame
from breakeven.analysis.statistics import estimate

COLUMNS = ["pretraining", "record", "backbone", "n_tasks", "n_cells", "validation_gain", "validation_gain_low",
           "validation_gain_high", "gain", "gain_low", "gain_high"]  # fmt: skip


def ranking(frame: pd.DataFrame) -> pd.DataFrame:
    """The backbones of a study, the best first; one row each, none where nothing was finetuned.

    validation_gain: accuracy on validation events minus that of scratch with the same seed and size, percentage points,
    mean over tasks, and in each over the sizes that every backbone has; the order is by this.  gain: the same on test
    events, which chose nothing. Intervals: 90 % Student's t over the same means of the n_tasks tasks; NaN for one task.
    """
    confirmed = ledger_frame.confirmed(frame)
    tuned, scratch = (confirmed[confirmed["strategy"] == name] for name in ("finetune", "scratch"))
    both = tuned.merge(scratch, on=["task", "size", "seed"], suffixes=("", "_scratch"))
    cells = pd.DataFrame(
        {
            "task": both["task"], "size": both["size"], "pretraining": both["pretraining"],
            "validation_gain": 100 * (both["validation_accuracy"] - both["validation_accuracy_scratch"]),
            "gain": 100 * (both["test_accuracy"] - both["test_accuracy_scratch"]),
        }
    ).groupby(["pretraining", "task", "size"], as_index=False).mean()  # fmt: skip
    shared = cells.groupby(["task", "size"])["pretraining"].transform("nunique") == cells["pretraining"].nunique()
    done = frame[(frame["level"] == "pretraining") & (frame["outcome"] == "finished")]
    made = done.drop_duplicates("pretraining", keep="last").set_index("pretraining")
    rows = []
    for pretraining, here in cells[shared].groupby("pretraining"):
        if pretraining not in made.index:
            continue
        row = {"pretraining": pretraining, **made.loc[pretraining, ["record", "backbone"]].to_dict(),
               "n_tasks": here["task"].nunique(), "n_cells": len(here)}  # fmt: skip
        for name in ("validation_gain", "gain"):
            of_tasks = estimate(here.groupby("task")[name].mean())
            row |= {name: of_tasks.mean, f"{name}_low": of_tasks.low, f"{name}_high": of_tasks.high}
        rows.append(row)
    found = pd.DataFrame(rows, columns=COLUMNS)
    return found[found["validation_gain"] > -math.inf].sort_values(
        "validation_gain", ascending=False, ignore_index=True
    )
