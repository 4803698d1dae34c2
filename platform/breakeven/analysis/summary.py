"""What one line says of a cell, and of a whole study: means with uncertainties, how many trials, where the device time went.

Figures by name, as MLflow shows them; one that does not exist (the deviation of one seed) is absent. Never writes them.
"""

import math
from dataclasses import replace

import pandas as pd

from breakeven.analysis import event_scores
from breakeven.analysis import frame as ledger_frame
from breakeven.analysis.accuracy import mean_of
from breakeven.analysis.cost import breakeven
from breakeven.analysis.cost.accounts import NONE
from breakeven.analysis.cost.charges import HEADLINE
from breakeven.analysis.event_scores import SharedEvents
from breakeven.ledger.charge import charges_of, hours_unit
from breakeven.metric import METRICS
from breakeven.study.plan import backbone_name


def cell_figures(frame: pd.DataFrame, *, shared: SharedEvents = event_scores.NONE) -> dict[str, dict[str, float]]:
    """Figures of each cell, by its name.

    test/accuracy (0 to 1) and every other metric: mean over the confirm trials, `_sd` over seeds, `_low` and `_high` of the
    interval of the mean, see uncertainty.py.  shared: what the trials' scores tell of their test sample.
    n: confirm trials behind them.  n_searched, n_stopped, n_failed: trials of the search that came to their end, that were
    stopped early, and trials of either phase that failed.
    ratio: of the learning rates, from scratch that to the published rate.  Device time as in `hours`, by phase and in all.
    """
    trials, confirmed = ledger_frame.trials(frame), ledger_frame.confirmed(frame)
    figures = {}
    for name, rows in trials.groupby("cell", sort=False):
        done = confirmed[confirmed["cell"] == name]
        outcomes = rows.groupby(["phase", "outcome"]).size()
        figures[str(name)] = {
            **_measured(done, shared),
            **({"ratio": ratio} if math.isfinite(ratio := ledger_frame.ratio_of(done)) else {}),
            "n": float(len(done)), "n_searched": float(outcomes.get(("search", "finished"), 0)),
            "n_stopped": float(outcomes.get(("search", "stopped"), 0)),
            "n_failed": float((rows["outcome"] == "failed").sum()), **hours(rows, "phase"),
        }  # fmt: skip
    return figures


def study_figures(frame: pd.DataFrame, spent: pd.DataFrame = NONE) -> dict[str, float]:
    """Break-even by network and pretraining, the accounts, and the number of trials by phase.

    spent: accounts of the study, as accounts.py gives them: `accounts/cpu_hours/idle`, and by stage as
    `accounts/cpu_hours/finetuning/idle`. They hold what this study reserved; all else holds all of its records, also
    those that other studies paid for.

    break_even/tasks is charged as in the report's answer, until the end of each training, against scratch; it is that of
    multiclass pretraining, as in the paper, or of the first there is; infinite: it never pays.
    Device time as in `hours`, by stage (generation, pretraining, search, confirm) and in all.
    """
    figures: dict[str, float] = {}
    for network, part in ledger_frame.by_network(frame).items():
        for pretraining, rows in breakeven.study_break_even(part, HEADLINE).groupby("pretraining", sort=False):
            last = rows.iloc[-1]  # all sizes, or the only one
            if last["text"] != "no figure":
                tasks = math.inf if pd.isna(last["tasks"]) else float(last["tasks"])  # never
                figures[f"break_even/tasks_{backbone_name(network, str(pretraining))}"] = tasks
                if "break_even/tasks" not in figures or pretraining == "multiclass":
                    figures["break_even/tasks"] = tasks
    trials = ledger_frame.trials(frame)
    for phase, rows in trials.groupby("phase"):
        figures[f"trials/{phase}"] = float((rows["outcome"] == "finished").sum())
    figures |= {f"trials/{outcome}": float((trials["outcome"] == outcome).sum()) for outcome in ("failed", "stopped")}
    stages = frame["level"].where(frame["level"] != "trial", frame["phase"])
    figures |= hours(frame.assign(stage=stages), "stage")
    for row in spent.to_dict("records"):
        account = f"accounts/{row['unit']}" + ("" if row["stage"] == "all" else f"/{row['stage']}")
        figures |= {f"{account}/{name}": float(row[name]) for name in _ACCOUNTS}
    return figures


def hours(rows: pd.DataFrame, by: str) -> dict[str, float]:
    """Device-hours of these records, each once: `cpu_hours/useful`, `cpu_hours/search/wasted`, ... by the column `by`.

    useful: finished trainings, and search trials that were stopped, as they served the search.
    wasted: failed ones, and what interrupted and repeated tries of any of them have lost.
    """
    spent = charges_of(rows) / 3600
    units = rows["device"].fillna("cpu").map(hours_unit)
    charged = pd.DataFrame({"unit": units, "by": rows[by], "useful": spent["worked"], "wasted": spent["wasted"]})
    figures = {}
    for unit, of_unit in charged.groupby("unit"):
        for kind in ("useful", "wasted"):
            figures[f"{unit}/{kind}"] = math.fsum(of_unit[kind])
            figures |= {f"{unit}/{part}/{kind}": math.fsum(some[kind]) for part, some in of_unit.groupby("by")}
    return figures


_ACCOUNTS = ("reserved", "useful", "search", "wasted", "idle", "unaccounted")


def _measured(done: pd.DataFrame, shared: SharedEvents) -> dict[str, float]:
    """Every metric of test events, as it is recorded."""
    as_recorded = {name: replace(metric, unit="") for name, metric in METRICS.items()}
    means = {name: mean_of(done, metric, shared)[0] for name, metric in as_recorded.items()}
    figures = (mean.mean.figures(f"test/{name}") for name, mean in means.items())
    return {key: value for of_metric in figures for key, value in of_metric.items() if math.isfinite(value)}
