"""Which events a trial kept its scores of: their name in the ledger, and the hard events behind them.

Two trials whose events have one name were evaluated on the same ones. Read by what writes scores and by what compares them.
"""

from collections.abc import Sequence

import numpy as np

from breakeven.events.sampling import Split, assign_splits, capped
from breakeven.events.store import Dataset, hard_events
from breakeven.fingerprint import fingerprint


def name_of(hashes: Sequence[str], n_events: Sequence[tuple[int, int]]) -> str:
    """Name of the first events of two test samples.

    hashes: of the datasets of signal and background.  n_events: of each, how many were evaluated and how many scores of them
    were kept.
    """
    return fingerprint([*hashes, [list(counts) for counts in n_events]])


def copies(datasets: Sequence[Dataset], most: int, n_kept: Sequence[int], name: str) -> list[np.ndarray]:
    """The hard event of each event whose score was kept, of signal and of background, [n_kept] each.

    datasets: of signal and background.  most: test events of each, at most.  n_kept: scores of each.  name: as the trials say.
    Raises CorruptDataset where a shard is gone or damaged, and ValueError where these are other events.
    """
    found, n_events = [], []
    for dataset, n in zip(datasets, n_kept, strict=True):
        of_event = hard_events(dataset)
        rows = capped(assign_splits(dataset.process, of_event), Split.TEST, most, dataset.process)
        found.append(of_event[rows[:n]])
        n_events.append((len(rows), n))
    if name_of([dataset.hash for dataset in datasets], n_events) != name:
        raise ValueError(f"{name}: not the first {n_kept} test events of {[dataset.process for dataset in datasets]}")
    return found
