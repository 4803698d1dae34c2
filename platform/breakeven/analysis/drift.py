"""What becomes of a score that a backbone was pretrained to give, as of each jet, when all weights learn another task.

From what trials kept of the layer inside (training/probe.py). Never averages a score and one that is turned round: from
scratch nobody says which of its signs means the label, and the one with the larger AUC is taken, trial by trial.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from breakeven.analysis import frame as ledger_frame
from breakeven.analysis.columns import columns
from breakeven.analysis.cost.convergence import accuracy_curves
from breakeven.analysis.statistics import estimate
from breakeven.metric import OF_THINGS

__all__ = ["drift", "emergence"]

AUC, REJECTION = OF_THINGS["probe_auc"], OF_THINGS["probe_rejection_90"]
DRIFT_COLUMNS = columns("""
    task pretraining strategy size
    auc auc_sd auc_low auc_high: AUC of the score inside against the true label of each thing of the test events, percent
    n: trials
    n_turned: trials whose score is turned round, so that its AUC and rejection are those of the other sign
    before: the same AUC on the frozen backbones of these trials, mean over the pairs, percent
    change change_sd change_low change_high: auc - before, mean over pairs of one seed, percentage points
    n_pairs: pairs
    rejection: background rejection of the score at 90 % efficiency, geometric mean over trials; empty where too little passes
""")


def drift(frame: pd.DataFrame) -> pd.DataFrame:
    """How well the score inside tells its own label after each way of training, one row for each cell that has one.

    frame: the ledger frame. Columns: DRIFT_COLUMNS; what a frozen backbone gives is what it gave before.
    """
    trials = _upright(frame)
    cell, pair = ledger_frame.CELL, ["task", "pretraining", "size", "seed"]
    frozen = trials[trials["strategy"] == "frozen"].drop_duplicates(pair).set_index(pair)["auc"]
    rows = []
    for key, group in trials.groupby(cell, sort=False):
        changes = (group.drop_duplicates(pair).set_index(pair)["auc"] - frozen).dropna()
        paired = estimate(() if key[2] == "frozen" else changes)
        rows.append(
            {
                **ledger_frame.named(key), **estimate(group["auc"]).figures("auc"), "n": len(group),
                "n_turned": int(group["turned"].sum()), "before": frozen.reindex(changes.index).mean() if paired.n else None,
                **paired.figures("change"), "n_pairs": paired.n,
                "rejection": math.exp(np.log(ledger_frame.measured(group, REJECTION)).mean()),
            }
        )  # fmt: skip
    table = pd.DataFrame(rows, columns=list(DRIFT_COLUMNS))
    return table.astype({"before": float})


def emergence(frame: pd.DataFrame) -> pd.DataFrame:
    """How the score comes about while training from scratch: its AUC on validation events, mean over seeds, after each epoch.

    frame: the ledger frame. Columns: those of `accuracy_curves`, and epoch, counted from 1.
    """
    trials = _upright(frame)
    scratch = trials[trials["strategy"] == "scratch"]
    column = AUC.column("validation")
    curves = [_turned(curve or (), column) if turned else curve
              for curve, turned in zip(scratch["curve"], scratch["turned"], strict=True)]  # fmt: skip
    kept = ledger_frame.measured(scratch, AUC, "validation")
    upright = scratch.assign(
        curve=pd.Series(curves, scratch.index, dtype=object),
        **{column: kept.where(~scratch["turned"].astype(bool), 1.0 - kept)},
    )
    table = accuracy_curves(upright, merit=AUC)
    return table.assign(epoch=table["events_seen"] / (2 * table["size"]))


def _turned(curve: Iterable[Mapping[str, Any]], column: str) -> list[dict[str, Any]]:
    """The epochs that have an AUC, with that of the other sign."""
    return [{**epoch, column: 1.0 - epoch[column]} for epoch in curve if epoch.get(column) is not None]


def _upright(frame: pd.DataFrame) -> pd.DataFrame:
    """The confirmed trials that have a score inside, with columns turned and auc (percent, of the better sign)."""
    trials = ledger_frame.confirmed(frame)
    trials = trials[ledger_frame.measured(trials, AUC).notna()]
    value = ledger_frame.measured(trials, AUC)
    turned = (trials["strategy"] == "scratch") & (value < 0.5)
    return trials.assign(turned=turned, auc=AUC.scale * value.where(~turned, 1.0 - value))
