"""How many edges the events at rest have, from the sizes in their flat arrays: what a step on them costs goes with it.

Reads one small file per dataset, and neither Arrow nor Pythia, so that plans can ask. It never opens a shard.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np


def edges_per_event(datasets: Path, processes: Iterable[str]) -> float | None:
    """Mean number of directed edges of the events of these processes that lie in `datasets`; None where none do."""
    events = edges = 0
    for process in processes:
        for path in sorted((datasets / process).glob("*/arrays-*/offsets.npy")):
            objects = np.diff(np.load(path, mmap_mode="r"))
            events += len(objects)
            edges += int((objects * (objects - 1)).sum())
    return edges / events if events else None
