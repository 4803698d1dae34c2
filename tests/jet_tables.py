"""Events of jets written down by hand, and datasets of them: what no generator makes, and a user may bring."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from breakeven.events import jets, store
from breakeven.events.simulated_jets import SimulatedJets
from breakeven.events.source import Shard
from breakeven.physics.jets.processes import CATALOGUE


def by_hand(jet_counts: list[int], inside: list[int], **changed: np.ndarray) -> pa.Table:
    """A table of events with these numbers of jets and constituents; the first jet of each event is bb."""
    n_jets, n_inside = sum(jet_counts), sum(inside)
    columns = {"hard_event": np.arange(len(jet_counts)), "weight": np.ones(len(jet_counts), np.float32)}
    columns |= {name: np.full(n_jets, 300, np.float32) for name in ("pt", "mass", "soft_drop_mass")}
    columns |= {name: np.zeros(n_jets, np.float32) for name in ("eta", "phi")}
    first = np.concatenate([[1] + [0] * (count - 1) for count in jet_counts if count] or [np.zeros(0)])
    columns |= {"bb": first.astype(np.int8), "n_b": np.zeros(n_jets, np.int8)}
    for feature in jets.CONSTITUENT:
        columns[f"constituent_{feature.name}"] = np.zeros(n_inside, feature.dtype)
    columns["constituent_pt"] = np.arange(n_inside, dtype=np.float32)
    return jets.JETS.table([np.array(jet_counts), np.array(inside)], columns | changed)


def given(root: Path, name: str, table: pa.Table) -> store.Dataset:
    """A dataset of one shard below `root`: these events under the name of a process of the catalogue."""

    class Given(SimulatedJets):
        def make(self, n_events: int, seed: int, shard: int) -> Shard:
            return Shard(table, 1.0, 0.1, n_events)

    recipe = store.Recipe(Given(CATALOGUE[name]), shard_events=table.num_rows)
    store.make_shard(recipe, root, 0)
    return store.complete(recipe, root, 1)
