"""Which events a trial kept its scores of: their name in the ledger, the hard events behind them, their processes and weights.

Two trials whose events have one name were evaluated on the same ones. Read by what writes scores and by what compares them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from breakeven.events.sampling import Split, assign_splits, capped_of_class
from breakeven.events.store import Dataset, event_weights, hard_events
from breakeven.fingerprint import fingerprint


@dataclass(frozen=True)
class EvaluatedEvents:
    """The events of one class whose scores were kept, in their order.

    processes: of the class.  process: which of them each event is of [n].  hard_event: equal for copies of one [n].
    weight: the cross section in pb that each stands for; all 1 where that is not known of each event [n].
    """

    processes: tuple[str, ...]
    process: np.ndarray
    hard_event: np.ndarray
    weight: np.ndarray


def name_of(hashes: Sequence[str], n_events: Sequence[tuple[int, int]]) -> str:
    """Name of the events of two test samples whose scores were kept, those of `kept_rows`.

    hashes: of the datasets of signal and background, those of several processes joined by "+".  n_events: of each, how many
    were evaluated and how many scores of them were kept.
    """
    return fingerprint([*hashes, [list(counts) for counts in n_events]])


def kept_rows(n_events: int, most: int, n_processes: int) -> np.ndarray:
    """Which of the test events of a class keep their scores [at most `most`]: the first, where all are of one process, as those
    stand in no order; else evenly spread ones, as they stand by process, so that each has its share.
    """
    n = min(n_events, most)
    return np.arange(n) * n_events // n if n_processes > 1 and n else np.arange(n)


def behind(classes: Sequence[Sequence[Dataset]], most: int, n_kept: Sequence[int], name: str) -> list[EvaluatedEvents]:
    """What is known of the events whose scores were kept, of signal and of background.

    classes: datasets of signal and of background.  most: test events of each class, at most.  n_kept: scores of each.  name:
    as the trials say.  Raises CorruptDataset where a shard is gone or damaged, and ValueError where these are other events.
    """
    of_classes, n_events = [], []
    for datasets, n in zip(classes, n_kept, strict=True):
        of_each = [hard_events(dataset) for dataset in datasets]
        splits = [assign_splits(one.process, events) for one, events in zip(datasets, of_each, strict=True)]
        rows = capped_of_class(splits, Split.TEST, most, "+".join(one.process for one in datasets))
        # Numbers of two processes may be equal by chance.
        numbered = [np.unique(events[own], return_inverse=True)[1] for events, own in zip(of_each, rows, strict=True)]
        before = np.cumsum([0, *(len(one) for one in numbered)])
        columns = (
            np.repeat(np.arange(len(datasets)), list(map(len, rows))),
            np.concatenate([one + start for one, start in zip(numbered, before, strict=False)]),
            np.concatenate([event_weights(one)[own] for one, own in zip(datasets, rows, strict=True)]),
        )
        kept = kept_rows(len(columns[0]), n, len(datasets))
        of_classes.append(
            EvaluatedEvents(tuple(one.process for one in datasets), *(column[kept] for column in columns))
        )
        n_events.append((len(columns[0]), n))
    if name_of(["+".join(one.hash for one in datasets) for datasets in classes], n_events) != name:
        processes = [dataset.process for datasets in classes for dataset in datasets]
        raise ValueError(f"{name}: not {n_kept} of the test events of {', '.join(processes)}")
    return of_classes
