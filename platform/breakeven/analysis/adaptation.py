"""What a start gives a pretraining: one that begins with another's backbone against the same from scratch (domain adaptation).

From the pretrainings' own validation events. Two are the same where they learnt from the same things of the same events with
the same seed, by the same objective. Never looks at a trial.
"""

import math

import numpy as np
import pandas as pd

from breakeven.analysis import frame as ledger_frame
from breakeven.analysis.columns import columns
from breakeven.analysis.statistics import estimate
from breakeven.metric import METRICS, OF_THINGS

__all__ = ["adaptation"]

AUC, REJECTION = METRICS["auc"], OF_THINGS["rejection_80"]
ADAPTATION_COLUMNS = columns("""
    pretraining
    start: the pretraining whose backbone it starts from; empty: from scratch
    train_events: events or, where it learns jet by jet, jets that it learnt from, mean over seeds
    auc auc_sd auc_low auc_high: AUC on its own validation events, percent
    rejection: background rejection at 80 % efficiency on its own validation events, geometric mean over seeds
    n: backbones, each of a seed of its own
    factor factor_low factor_high: rejection over that of the same pretraining from scratch, geometric mean over pairs of one seed
    n_pairs: pairs
""")


def adaptation(frame: pd.DataFrame) -> pd.DataFrame:
    """The pretrainings that start from another, and those that they are held against.

    frame: the ledger frame. Columns: ADAPTATION_COLUMNS, one row for each pretraining, with fewer events first; none where no
    pretraining starts from another.
    """
    ledger_frame.check(frame)
    made = frame[(frame["level"] == "pretraining") & (frame["outcome"] == "finished")].drop_duplicates("record")
    begins = made["start"].fillna("") if "start" in made else pd.Series("", made.index)
    if not begins.any():
        return pd.DataFrame(columns=list(ADAPTATION_COLUMNS))
    names = dict(zip(made["backbone"], made["pretraining"], strict=True))
    made = made.assign(
        begins=begins.map(lambda backbone: names.get(backbone, "another study") if backbone else ""),
        rejected=np.log(ledger_frame.measured(made, REJECTION, "validation")),
        held=AUC.scale * ledger_frame.measured(made, AUC, "validation"),
    )
    same = ["network", "dataset", "train_events", "seed"]
    untold = made[made["begins"] == ""].drop_duplicates(same)
    paired = made[made["begins"] != ""].merge(
        untold[[*same, "pretraining", "rejected"]], on=same, suffixes=("", "_untold")
    )
    against = set(paired["pretraining_untold"])
    rows = []
    for (name, start), group in made.groupby(["pretraining", "begins"], sort=False):
        if not start and name not in against:
            continue
        mine = paired[paired["pretraining"] == name]
        reached, gained = estimate(group["rejected"]), estimate(mine["rejected"] - mine["rejected_untold"])
        factor = {key: math.exp(value) for key, value in gained.figures("factor").items() if key != "factor_sd"}
        rows.append(
            {
                "pretraining": name, "start": start, "train_events": group["train_events"].mean(),
                **estimate(group["held"]).figures("auc"), "rejection": math.exp(reached.mean), "n": len(group), **factor,
                "n_pairs": gained.n,
            }
        )  # fmt: skip
    table = pd.DataFrame(rows, columns=list(ADAPTATION_COLUMNS))
    return table.sort_values("train_events", kind="stable").reset_index(drop=True)
