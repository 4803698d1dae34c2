"""Batches by index arithmetic: events as two flat tensors on a device, samples as lists of event numbers.

No event is ever touched one by one, and nothing is copied but the batch itself.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from breakeven.feature import OBJECT, Levels
from breakeven.fingerprint import fingerprint
from breakeven.training.loading import load_or_keep

if TYPE_CHECKING:
    from breakeven.events.arrays import EventArrays


@dataclass(frozen=True)
class EventTensors:
    """All events of a dataset on one device.

    nodes: [n_objects, n_features] float32, features as in events/arrays.py.  offsets: [n_events + 1] int64; the objects
    of event k are nodes[offsets[k]:offsets[k + 1]].  inner: the same two for what is inside the objects, as the
    constituents of jets: [n_constituents, n_features] and [n_jets + 1].  levels: the features of each.
    truth: [n_objects] uint8 on CPU, the label of each object where the schema has such labels; else empty.
    onto: the device that batches are sent to where all of it has no room there, and lies in the host's memory; else None.
    """

    nodes: Tensor
    offsets: Tensor
    inner: tuple[tuple[Tensor, Tensor], ...] = ()
    levels: Levels = (OBJECT,)
    truth: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.uint8))
    onto: torch.device | None = None

    @classmethod
    def from_arrays(
        cls,
        nodes: np.ndarray,
        offsets: np.ndarray,
        device: torch.device | str = "cpu",
        free_bytes: int | None = None,
    ) -> "EventTensors":
        """Whole events from numpy arrays, memory-mapped ones too; on CPU without a copy. free_bytes: see load_or_keep."""
        (loaded_nodes, loaded_offsets), onto = load_or_keep([nodes, offsets], device, free_bytes)
        return cls(loaded_nodes, loaded_offsets, onto=onto)

    @classmethod
    def of(cls, arrays: "EventArrays", device: torch.device | str = "cpu", beside: int = 0) -> "EventTensors":
        """Events of any schema; on CPU without a copy. beside: bytes of targets that will lie on the device with them."""
        flat = [arrays.nodes, arrays.offsets, *(part for level in arrays.inner for part in level)]
        (nodes, offsets, *inner), onto = load_or_keep(flat, device, beside=beside)
        levels = tuple(level.features for level in arrays.schema.levels)
        truth = arrays.truth if arrays.schema.labels_of_things else np.zeros(0, np.uint8)
        inside = tuple(zip(inner[::2], inner[1::2], strict=True))
        return cls(nodes, offsets, inside, levels, torch.from_numpy(truth), onto)

    @property
    def n_events(self) -> int:
        """Number of events."""
        return len(self.offsets) - 1

    @property
    def device(self) -> torch.device:
        """Where batches of them are, and the models that see them."""
        return self.onto or self.home

    @property
    def home(self) -> torch.device:
        """Where the events lie, and the samples of them."""
        return self.nodes.device

    def gather(self, index: Tensor) -> tuple[Tensor, ...]:
        """The events `index` [n] int64 in that order, as a Backbone takes them, on `device`.

        nodes [n_objects, n_features] and offsets [n + 1] from 0; the same two for each inner level follow.
        """
        return tuple(part.to(self.device) for part in self.gather_at_home(index.to(self.home)))

    def sizes(self, index: Tensor) -> Tensor:
        """Things of each level of the events `index` [n], which is at home, [n, n_levels] int64."""
        first, end, sizes = index, index + 1, []
        for _, bounds in ((self.nodes, self.offsets), *self.inner):
            first, end = bounds[first], bounds[end]
            sizes.append(end - first)
        return torch.stack(sizes, dim=1)

    def gather_at_home(self, index: Tensor) -> tuple[Tensor, ...]:
        """As `gather`, from home to home."""
        batch: list[Tensor] = []
        for values, bounds in ((self.nodes, self.offsets), *self.inner):
            first = bounds.index_select(0, index)
            counts = bounds.index_select(0, index + 1) - first
            offsets = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
            total = int(offsets[-1])
            shift = torch.repeat_interleave(first - offsets[:-1], counts, output_size=total)
            index = shift + torch.arange(total, device=self.home)
            batch += [values.index_select(0, index), offsets]
        return tuple(batch)


@dataclass(frozen=True)
class Sample:
    """Events to train or evaluate on, with what is to be predicted.

    index: [n] int64, rows of an EventTensors, on any device.
    target: class numbers [n], zeros and ones [n], or labels [n, n_labels], as the objective wants them.
    events: hash of the events in their order, where it is known: what is kept of them goes by it.
    """

    index: Tensor
    target: Tensor
    events: str = ""

    def __post_init__(self) -> None:
        if len(self.index) != len(self.target):
            raise ValueError(f"a sample has {len(self.index)} events but {len(self.target)} targets")

    def __len__(self) -> int:
        return len(self.index)


def epoch_order(n: int, seed: int, epoch: int) -> Tensor:
    """The order in which an epoch sees its events, a permutation [n] int64: a function of its arguments alone.

    So is all that layers draw by themselves, as dropout does, see Training.begin_epoch: (seed, epoch) is the whole random state
    of a training after its initialisation.
    """
    generator = torch.Generator().manual_seed(int(fingerprint(["epoch order", seed, epoch], length=15), 16))
    return torch.randperm(n, generator=generator)


def share(n: int, rank: int, world: int) -> slice:
    """The contiguous part of `n` rows that worker `rank` of `world` takes; parts differ by one row at most."""
    return slice(n * rank // world, n * (rank + 1) // world)
