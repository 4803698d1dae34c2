"""The figure of merit averaged over the tasks of a study, arm by arm: what the answer's first sentence says.

Only tasks that every arm has at a size count there, so that no arm wins by the easier tasks. Its uncertainty is that of
the seeds for exactly these tasks; how tasks differ is told by the gains.
"""

import pandas as pd

from breakeven.analysis import frame as ledger_frame
from breakeven.analysis.columns import columns
from breakeven.analysis.statistics import estimate
from breakeven.metric import MERIT, Metric

__all__ = ["overall"]

ARMS = ("scratch", "trees", "finetune")


def overall_columns(merit: Metric = MERIT) -> dict[str, str]:
    """The columns of `overall`."""
    return columns(f"""
        pretraining strategy size
        {merit.name} {merit.name}_sd {merit.name}_low {merit.name}_high: test {merit.title}, mean over tasks, {merit.measure}
        validation: the same on validation events, or AUC where it is not measured on them, by which a backbone is chosen
        n: seeds that have every task
        n_tasks
    """)


def overall(frame: pd.DataFrame, *, merit: Metric = MERIT) -> pd.DataFrame:
    """Means over tasks from scratch, of trees and finetuned, one row for each arm and size.

    Args:
        frame: the ledger frame.
        merit: the figure of merit.

    Returns:
        Columns as in `overall_columns`, the interval Student's t over seeds. A seed's value is its mean over the tasks; where
        seeds have not all the same tasks the mean is that of the tasks' means, n is 0 and there is no spread. Means of what
        scatters by factors are geometric.
    """
    trials = ledger_frame.confirmed(frame)
    trials = trials[trials["strategy"].isin(ARMS)]
    chooses = ledger_frame.choosing(trials, merit)
    trials = trials.assign(
        test=merit.averaged(merit.scale * ledger_frame.measured(trials, merit)),
        held=chooses.averaged(chooses.scale * ledger_frame.measured(trials, chooses, "validation")),
    )
    trials = trials[trials["test"].notna()]
    rows = []
    for size, at_size in trials.groupby("size"):
        arms = ledger_frame.treatments(at_size)
        tasks = _shared([at_size.loc[_of(at_size, arm), "task"] for arm in arms])
        for pretraining, strategy in arms if tasks else []:
            some = at_size[_of(at_size, (pretraining, strategy)) & at_size["task"].isin(tasks)]
            by_seed = some.pivot_table(index="seed", columns="task", values="test", aggfunc="mean")
            seeds = estimate(by_seed.dropna().mean(axis=1))
            of_tasks = some.groupby("task")[["test", "held"]].mean().mean()
            if merit.by_factors:
                seeds = seeds.exponential()
            rows.append(
                {
                    "pretraining": pretraining, "strategy": strategy, "size": size, **seeds.figures(merit.name),
                    merit.name: merit.of_averaged(of_tasks["test"]), "validation": chooses.of_averaged(of_tasks["held"]),
                    "n": seeds.n, "n_tasks": len(tasks),
                }
            )  # fmt: skip
    return pd.DataFrame(rows, columns=list(overall_columns(merit)))


def _of(rows: pd.DataFrame, arm: tuple[str, str]) -> pd.Series:
    return (rows["pretraining"] == arm[0]) & (rows["strategy"] == arm[1])


def _shared(tasks: list[pd.Series]) -> set[str]:
    """The tasks that all arms have."""
    return set.intersection(*(set(some) for some in tasks)) if tasks else set()
