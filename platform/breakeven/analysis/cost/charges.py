"""Which device time counts as the price of a task, with and without a backbone: the hours that break-even divides.

Holds the ways to stop the clock (plateau, end, equal accuracy) and what may be charged on top (search, waste, generated
events). Never averages over tasks and never mixes kinds of device: it gives hours, and the caller decides.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from breakeven.analysis import frame as ledger_frame
from breakeven.analysis.cost.convergence import time_to_accuracy
from breakeven.ledger.charge import charges_of
from breakeven.metric import Metric

TIMES = {
    "plateau": "until the plateau",
    "total": "until the end",
    "equal_accuracy": "until both are equally accurate",
}
"""When the clock of a training stops.

total: after its last epoch, patience included: what a user pays.  plateau: after its last improving epoch, as arXiv
2412.10665 charges; after its last epoch where it reached no plateau.
equal_accuracy: at the end of the first epoch whose figure of merit on validation events is that which scratch and
finetuning of the same task, size and seed both reach: the worse of their two final ones. So finetuning may stop as soon as
it is as good as scratch ever got, and where it ends below, scratch may stop as soon as it is as good as that. Only pairs of
one seed count. Where accuracy is what is bought, this is what pretraining saves; the gain in accuracy then comes on top.
"""


@dataclass(frozen=True)
class Charge:
    """What is charged. time: one of TIMES.

    search: all search trials of a cell, finished and stopped, once for each task, from scratch as for finetuning: a new
    task needs its own.  wasted: failed records, interrupted and repeated tries; those of trainings are shared among a
    cell's seeds, those of a search and a pretraining count whole.  generation: the events that the pretraining read, as
    for a group that has none of them; whoever generates them for the tasks anyway leaves it out.
    """

    time: str = "plateau"
    search: bool = False
    wasted: bool = False
    generation: bool = False

    @property
    def text(self) -> str:
        """Such as `until the plateau, with search and waste`. Raises ValueError for an unknown time."""
        if self.time not in TIMES:
            raise ValueError(f"time={self.time!r}: choose {', '.join(map(repr, TIMES))}")
        extras = {"search": self.search, "waste": self.wasted, "generation": self.generation}
        *most, last = [name for name, on in extras.items() if on] or [""]
        return TIMES[self.time] + (f", with {' and '.join(filter(None, [', '.join(most), last]))}" if last else "")


UNTIL_PLATEAU = Charge()
"""The published way: until the plateau, nothing on top."""
HEADLINE = Charge("total")
"""What the answer charges: all that a training took until it stopped, as nobody knows its plateau before."""


def paired_seconds(
    scratch: pd.DataFrame, tuned: pd.DataFrame, time: str, merit: Metric
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both selections of confirming trials with a column `seconds`.

    For equal accuracy only the seeds that both have, with curves that show where they got to, are left.
    """
    arms = (scratch, tuned)
    if time != "equal_accuracy":
        timed = [rows.assign(seconds=ledger_frame.training_seconds(rows, time)) for rows in arms]
        return timed[0], timed[1]
    keys, column = ["task", "size", "seed"], merit.column("validation")
    needed = [*keys, "record", column, "curve"]
    pairs = scratch.drop_duplicates(keys)[needed].merge(tuned.drop_duplicates(keys)[needed], on=keys)
    reached = merit.sign * pairs[[f"{column}_x", f"{column}_y"]].astype(float)
    target = merit.sign * reached.min(axis=1, skipna=False)
    for side in ("x", "y"):
        curves = zip(pairs[f"curve_{side}"], target, strict=True)
        times = [time_to_accuracy(curve or (), goal, merit) for curve, goal in curves]
        pairs[side] = pd.Series(times, pairs.index, dtype=float)
    pairs = pairs.loc[np.isfinite(pairs["x"]) & np.isfinite(pairs["y"])]
    seconds = (pairs[[f"record_{side}", side]].set_axis(["record", "seconds"], axis=1) for side in ("x", "y"))
    paired = [rows.merge(of_arm, on="record") for rows, of_arm in zip(arms, seconds, strict=True)]
    return paired[0], paired[1]


def cell_extras(frame: pd.DataFrame, charge: Charge) -> pd.Series:
    """Hours that `charge` adds to one training of each cell, indexed by (task, pretraining, strategy, size).

    Empty where it adds nothing. A cell that nothing was confirmed in has no training to share its waste.
    """
    trials = ledger_frame.once(frame[frame["level"] == "trial"])
    spent = charges_of(trials)
    trials = trials.assign(searched=spent["searched"], wasted=spent["wasted"] if charge.wasted else 0.0)
    searched = trials[trials["phase"] == "search"].groupby(ledger_frame.CELL)[["searched", "wasted"]].sum().sum(axis=1)
    confirming = trials[trials["phase"] == "confirm"].groupby(ledger_frame.CELL)
    finished = ledger_frame.confirmed(frame).groupby(ledger_frame.CELL).size()
    shared = (confirming["wasted"].sum() / finished).dropna()
    return (searched.add(shared, fill_value=0.0) if charge.search else shared) / 3600


def devices_on_top(frame: pd.DataFrame, charge: Charge) -> dict[tuple[Any, ...], set[str]]:
    """The kinds of device of what `charge` adds, search and waste, by cell and by ("pretraining", its kind).

    Wasted seconds carry the device of their record. Where generated events were made, events_of tells.
    """
    rows = ledger_frame.once(frame[frame["level"].isin(["trial", "pretraining"])])
    spent = charges_of(rows)
    lost = (spent["wasted"] > 0.0) & (charge.search | (rows["phase"] != "search"))
    added = rows[((spent["searched"] > 0.0) & charge.search) | (lost & charge.wasted)]
    devices: dict[tuple[Any, ...], set[str]] = {}
    for row in added[added["device"].notna()].to_dict("records"):
        of_trial = row["level"] == "trial"
        key = tuple(row[name] for name in ledger_frame.CELL) if of_trial else ("pretraining", row["pretraining"])
        devices.setdefault(key, set()).add(row["device"])
    return devices


def pretraining_seconds(frame: pd.DataFrame, pretrainings: pd.DataFrame, charge: Charge) -> float:
    """Device-seconds that one pretraining of this kind is charged: the mean over `pretrainings`, with its extras, and those
    that it started from.

    Its clock stops at its plateau unless the time is "total", and at its end where it reached none. Raises UnknownEvents
    where generated events are to be charged and the ledger has not the records of those that the pretraining read.
    """
    until = "total" if charge.time == "total" else "plateau"
    seconds = float(ledger_frame.training_seconds(pretrainings, until).mean())
    if charge.wasted:
        # All that was lost on this kind of pretraining, shared by those of it that finished.
        kind = ledger_frame.once(
            frame[(frame["level"] == "pretraining") & frame["pretraining"].isin(pretrainings["pretraining"])]
        )
        seconds += float(charges_of(kind)["wasted"].sum()) / len(pretrainings)
    before = starts_of(frame, pretrainings)
    seconds += pretraining_seconds(frame, before, replace(charge, generation=False)) if len(before) else 0.0
    return seconds + (events_of(frame, pretrainings)["device_seconds"].sum() if charge.generation else 0.0)


def starts_of(frame: pd.DataFrame, pretrainings: pd.DataFrame) -> pd.DataFrame:
    """The finished pretrainings whose backbones these started from; no row where they started from scratch."""
    finished = frame[(frame["level"] == "pretraining") & (frame["outcome"] == "finished")].drop_duplicates("record")
    return finished[finished["backbone"].isin(set(pretrainings["start"].dropna()) - {""})]


def with_starts(frame: pd.DataFrame, pretrainings: pd.DataFrame) -> pd.DataFrame:
    """These pretrainings and all that they started from, each once."""
    before = starts_of(frame, pretrainings)
    more = [with_starts(frame, before)] if len(before) else []
    return pd.concat([pretrainings, *more]).drop_duplicates("record")


class UnknownEvents(ValueError):
    """The ledger does not tell what generating the events of a pretraining has cost."""


def events_of(frame: pd.DataFrame, pretrainings: pd.DataFrame) -> pd.DataFrame:
    """The generation records of all events that these pretrainings, and those that they started from, read.

    Raises UnknownEvents where one is missing.
    """
    generated = frame[(frame["level"] == "generation") & (frame["outcome"] == "finished")].drop_duplicates("record")
    read = {
        name for joined in with_starts(frame, pretrainings)["dataset"].dropna() for name in str(joined).split("+")
    } - {""}
    if not read or read - set(generated["dataset"]):
        raise UnknownEvents("the ledger has no record of generating the events that the pretraining read")
    return generated[generated["dataset"].isin(read)]
