"""How trainings ended: at their plateau, at the cap of their epochs, or at chance.

A gain over a baseline that was stopped by its cap measures the cap, and so does a break-even: where too many were, the
report withholds both. Never decides what is too many for a reader: `MOST_CAPPED` is the one number, and it is said.
"""

import numpy as np
import pandas as pd

from breakeven.analysis import frame as ledger_frame
from breakeven.analysis.columns import columns
from breakeven.metric import MERIT, METRICS, Metric

__all__ = ["endings"]

MOST_CAPPED = 0.05
"""Share of trainings at their cap above which no gain and no break-even is worded."""
CHANCE_ERRORS = 2.0
"""Standard errors of the test sample above a coin's figure up to which a training ended at chance, see `judge_of_chance`."""
PRETRAINING = "pretraining"
"""Called as a strategy in the rows of backbones."""

ENDING_COLUMNS = columns("""
    pretraining
    strategy: scratch | trees | finetune | frozen, pretraining for the backbones themselves
    size
    n: reported trainings whose record says how they ended
    n_capped: those that all their epochs had passed before they reached a plateau
    n_at_chance: those whose test figure of merit (accuracy where a coin's merit is not known) is not two standard errors of the \
test sample above a coin's; none of pretrainings
    capped: share at the cap
    at_chance: share at chance
""")


def endings(frame: pd.DataFrame, *, merit: Metric = MERIT) -> pd.DataFrame:
    """How the reported trainings and the pretrainings ended, by treatment and size, and over all sizes (`size` is <NA>).

    Args:
        frame: the ledger frame; records that do not say how they ended (column `stopped`) count nowhere.
        merit: the figure of merit.

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
            rows.append(
                {
                    "pretraining": pretraining,
                    "strategy": strategy,
                    "size": size,
                    **_counts(some, _at_chance(some, merit)),
                }
            )
    made = _told(frame[(frame["level"] == "pretraining") & (frame["outcome"] == "finished")].drop_duplicates("record"))
    for name, some in made.groupby("pretraining", sort=False):
        rows.append({"pretraining": str(name), "strategy": PRETRAINING, "size": None, **_counts(some, 0)})
    return pd.DataFrame(rows, columns=list(ENDING_COLUMNS)).astype({"size": "Int64"})


def judge_of_chance(merit: Metric) -> Metric:
    """What tells whether a training ended at chance: the figure of merit where a coin's is known, else accuracy."""
    return merit if merit.chance is not None else METRICS["accuracy"]


def of_trainings(table: pd.DataFrame) -> dict[str, int]:
    """n, n_capped and n_at_chance of all trainings in `endings`, the pretrainings apart."""
    return _sums(table[(table["strategy"] != PRETRAINING) & table["size"].notna()])


def of_pretrainings(table: pd.DataFrame) -> dict[str, int]:
    """n, n_capped and n_at_chance of all pretrainings in `endings`."""
    return _sums(table[table["strategy"] == PRETRAINING])


def too_many_capped(counts: dict[str, int]) -> bool:
    """Whether more than MOST_CAPPED of so many ended at their cap."""
    return counts["n_capped"] > MOST_CAPPED * counts["n"]


def _told(rows: pd.DataFrame) -> pd.DataFrame:
    """Those whose record says how they ended."""
    if "stopped" not in rows.columns:
        return rows.iloc[:0].assign(stopped="")
    return rows[rows["stopped"].fillna("") != ""]


def _at_chance(rows: pd.DataFrame, merit: Metric) -> int:
    """How many of these trainings a coin would match, the error of their test events allowed for where it is known.

    A coin's accuracy is binomial; its AUC has the variance of Mann and Whitney's rank sum, of as many events of each class.
    """
    judge, n = judge_of_chance(merit), rows["test_events"].to_numpy(dtype=float)
    chance = float(judge.chance or 0.0)
    variance = (n + 1.0) / (3.0 * n**2) if judge == METRICS["auc"] else chance * (1.0 - chance) / n
    error = np.nan_to_num(np.sqrt(variance))
    return int((ledger_frame.measured(rows, judge).to_numpy() <= chance + CHANCE_ERRORS * error).sum())


def _counts(rows: pd.DataFrame, n_at_chance: int) -> dict[str, float]:
    n, n_capped = len(rows), int((rows["stopped"] == "epochs").sum())
    return {
        "n": n, "n_capped": n_capped, "n_at_chance": n_at_chance, "capped": n_capped / n, "at_chance": n_at_chance / n,
    }  # fmt: skip


def _sums(rows: pd.DataFrame) -> dict[str, int]:
    return {name: int(rows[name].sum()) for name in ("n", "n_capped", "n_at_chance")}
