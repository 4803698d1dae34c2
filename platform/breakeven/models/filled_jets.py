"""Batches of jets filled up to sizes that are known before, made on the device: nothing waits for the host.

So that a training step can be captured as a CUDA graph. What fills up belongs to no jet, and a jet that fills up to no event.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from breakeven.models.ragged import children, parents_of

_ALL = 2**62


@dataclass(frozen=True)
class Room:
    """Most jets, constituents and pairs of constituents of a batch, and most constituents of a jet."""

    jets: int
    constituents: int
    pairs: int
    longest: int


@dataclass(frozen=True)
class JetEvents:
    """All events of a dataset, of which the leading jets count, and of these the hardest constituents.

    jets: [n_jets, n_columns].  offsets: [n_events + 1].  constituents: [n, n_columns].  constituent_offsets: [n_jets + 1].
    most: jets of an event that count.  most_constituents: of a jet; None: all.
    """

    jets: Tensor
    offsets: Tensor
    constituents: Tensor
    constituent_offsets: Tensor
    most: int
    most_constituents: int | None = None

    def sizes(self, index: Tensor) -> Tensor:
        """Jets, constituents and pairs of the events `index` [n], [n, 3] int64."""
        jets, bounds = children(self.offsets, index, self.most)
        inside = self.constituent_offsets.diff().clamp(max=self.most_constituents or _ALL).index_select(0, jets)
        of_jets = torch.stack([torch.ones_like(inside), inside, inside * (inside + 1) // 2], dim=1)
        until = functional.pad(of_jets.cumsum(0), (0, 0, 1, 0))
        return until.index_select(0, bounds[1:]) - until.index_select(0, bounds[:-1])

    @property
    def longest(self) -> int:
        """Most constituents of a jet."""
        return max(1, min(int(self.constituent_offsets.diff().max()), self.most_constituents or _ALL))

    def fill(self, index: Tensor, count: Tensor, room: Room) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The events `index` [n] int64, of which the first `count` [] are real, as the networks on jets take them.

        Jets and constituents are one more than there is room for, zeros where they fill up; offsets end with the real ones. What
        lies beyond the room is cut off, so it must be right.
        """
        real = torch.arange(len(index), device=index.device) < count
        jets, offsets, is_jet = _inside(self.offsets, index, real, room.jets + 1, self.most)
        inside, inside_offsets, is_one = _inside(
            self.constituent_offsets, jets, is_jet, room.constituents + 1, self.most_constituents
        )
        filled_jets = torch.where(is_jet[:, None], self.jets.index_select(0, jets), 0.0)
        filled = torch.where(is_one[:, None], self.constituents.index_select(0, inside), 0.0)
        return filled_jets, offsets, filled, inside_offsets


def _inside(
    offsets: Tensor, parents: Tensor, real: Tensor, room: int, most: int | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """ragged.children of the `real` [n] bool of the parents, filled up: rows [room], 0 beyond; offsets [n + 1]; what is a row."""
    first = offsets.index_select(0, parents)
    counts = (offsets.index_select(0, parents + 1) - first) * real
    bounds = functional.pad((counts if most is None else counts.clamp(max=most)).cumsum(0), (1, 0))
    parent = parents_of(bounds, room)
    rows = functional.pad(first - bounds[:-1], (0, 1)).index_select(0, parent) + torch.arange(
        room, device=parents.device
    )
    there = parent < len(parents)
    return torch.where(there, rows, 0), bounds, there
