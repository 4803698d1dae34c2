"""How trainings ended: at their plateau, at the cap of their epochs, or without having learnt anything.

A gain over a baseline that was stopped by its cap measures the cap, and so does a break-even: where too many were, the
report withholds both. Never decides what is too many for a reader: `MOST_CAPPED` is the one number, and it is said.
"""

import math

import pandas as pd

from breakeven.analysis import frame as ledger_frame
from breakeven.analysis.columns import columns

__all__ = ["endings"]

MOST_CAPPED = 0.05
"""Share of trainings at their cap above which no gain and no break-even is worded."""
UNTRAINED_LOSS = 0.99 * math.log(2.0)
"""Validation loss of a binary task, in nats, above which a training has not left its start: a coin has ln 2."""
PRETRAINING = "pretraining"
"""Called as a strategy in the rows of backbones."""

ENDING_COLUMNS = columns("""
    pretraining
    strategy: scratch | trees | finetune | frozen, pretraining for the backbones themselves
    size
    n: reported trainings whose record says how they ended
    n_capped: those that all their epochs had passed before they reached a plateau
    n_untrained: those whose validation loss stayed above 0.99 ln 2, as good as a coin; not counted for pretrainings
    capped: share at the cap
    untrained: share that learnt nothing
""")


def endings(frame: pd.DataFrame) -> pd.DataFrame:
    """How the reported trainings and the pretrainings ended, by treatment and size, and over all sizes (`size` is <NA>).

    Args:
        frame: the ledger frame; records that do not say how they ended (column `stopped`) count nowhere.

    Returns:
        Columns as in ENDING_COLUMNS; pretrainings have no size. Trees are capped where all their rounds were made.

    Raises:
        ValueError: a column of the ledger is missing.
    """
    trained = _told(ledger_frame.confirmed(frame))
    rows = []
    for pretraining, strategy in ledger_frame.treatments(trained):
        of_arm = trained[(trained["pretraining"] == pretraining) & (trained["strategy"] == strategy)]
        sizes = sorted(set(of_arm["size"]))
        for size in [*sizes, None] if len(sizes) > 1 else sizes:
            some = of_arm if size is None else of_arm[of_arm["size"] == size]
            untrained = int((some["validation_loss"].astype(float) > UNTRAINED_LOSS).sum())
            rows.append({"pretraining": pretraining, "strategy": strategy, "size": size, **_counts(some, untrained)})
    made = _told(frame[(frame["level"] == "pretraining") & (frame["outcome"] == "finished")].drop_duplicates("record"))
    for name, some in made.groupby("pretraining", sort=False):
        rows.append({"pretraining": str(name), "strategy": PRETRAINING, "size": None, **_counts(some, 0)})
    return pd.DataFrame(rows, columns=list(ENDING_COLUMNS)).astype({"size": "Int64"})


def of_trainings(table: pd.DataFrame) -> dict[str, int]:
    """n, n_capped and n_untrained of all trainings in `endings`, the pretrainings apart."""
    return _sums(table[(table["strategy"] != PRETRAINING) & table["size"].notna()])


def of_pretrainings(table: pd.DataFrame) -> dict[str, int]:
    """n, n_capped and n_untrained of all pretrainings in `endings`."""
    return _sums(table[table["strategy"] == PRETRAINING])


def too_many_capped(counts: dict[str, int]) -> bool:
    """Whether more than MOST_CAPPED of so many ended at their cap."""
    return counts["n_capped"] > MOST_CAPPED * counts["n"]


def _told(rows: pd.DataFrame) -> pd.DataFrame:
    """Those whose record says how they ended."""
    if "stopped" not in rows.columns:
        return rows.iloc[:0].assign(stopped="")
    return rows[rows["stopped"].fillna("") != ""]


def _counts(rows: pd.DataFrame, n_untrained: int) -> dict[str, float]:
    n, n_capped = len(rows), int((rows["stopped"] == "epochs").sum())
    return {
        "n": n, "n_capped": n_capped, "n_untrained": n_untrained, "capped": n_capped / n, "untrained": n_untrained / n,
    }  # fmt: skip


def _sums(rows: pd.DataFrame) -> dict[str, int]:
    return {name: int(rows[name].sum()) for name in ("n", "n_capped", "n_untrained")}
