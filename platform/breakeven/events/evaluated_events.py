"""Which events a trial kept its scores of: their name in the ledger, and the hard events behind them.

Two trials whose events have one name were evaluated on the same ones. Read by what writes scores and by what compares them.
"""

from collections.abc import Sequence

import numpy as np

from breakeven.events.sampling import Split, assign_splits, capped_of_class
from breakeven.events.store import Dataset, hard_events
from breakeven.fingerprint import fingerprint


def name_of(hashes: Sequence[str], n_events: Sequence[tuple[int, int]]) -> str:
    """Name of the first events of two test samples.

    hashes: of the datasets of signal and background, those of several processes joined by "+".  n_events: of each, how many
    were evaluated and how many scores of them were kept.
    """
    return fingerprint([*hashes, [list(counts) for counts in n_events]])


def copies(classes: Sequence[Sequence[Dataset]], most: int, n_kept: Sequence[int], name: str) -> list[np.ndarray]:
    """The hard event of each event whose score was kept, of signal and of background, [n_kept] each, equal for its copies.

    classes: datasets of signal and of background.  most: test events of each class, at most.  n_kept: scores of each.  name:
    as the trials say.  Raises CorruptDataset where a shard is gone or damaged, and ValueError where these are other events.
    """
    kept, n_events = [], []
    for datasets, n in zip(classes, n_kept, strict=True):
        of_each = [hard_events(dataset) for dataset in datasets]
        splits = [assign_splits(one.process, events) for one, events in zip(datasets, of_each, strict=True)]
        rows = capped_of_class(splits, Split.TEST, most, "+".join(one.process for one in datasets))
        # Numbers of two processes may be equal by chance.
        numbered = [np.unique(events[own], return_inverse=True)[1] for events, own in zip(of_each, rows, strict=True)]
        before = np.cumsum([0, *(len(one) for one in numbered)])
        kept.append(np.concatenate([one + start for one, start in zip(numbered, before, strict=False)])[:n])
        n_events.append((sum(map(len, rows)), n))
    if name_of(["+".join(one.hash for one in datasets) for datasets in classes], n_events) != name:
        processes = [dataset.process for datasets in classes for dataset in datasets]
        raise ValueError(f"{name}: not the first {n_kept} test events of {', '.join(processes)}")
    return kept
