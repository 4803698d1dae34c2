"""Index arithmetic on things inside parents, flat with offsets: constituents in jets, jets in events."""

import torch
from torch import Tensor


def children(offsets: Tensor, parents: Tensor, most: int | None = None) -> tuple[Tensor, Tensor]:
    """The things inside some parents, or the first `most` of each.

    offsets: [n_parents + 1] int64.  parents: [n] int64, in the order that is wanted.
    Returns their rows [n_things] int64 and the offsets [n + 1] of those rows.
    """
    first = offsets.index_select(0, parents)
    counts = offsets.index_select(0, parents + 1) - first
    if most is not None:
        counts = counts.clamp(max=most)
    bounds = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    total = int(bounds[-1])
    shift = torch.repeat_interleave(first - bounds[:-1], counts, output_size=total)
    return shift + torch.arange(total, device=offsets.device), bounds


def parents_of(offsets: Tensor, n: int | None = None) -> Tensor:
    """The number of each thing's parent [n_things] int64; offsets: [n_parents + 1] int64 from 0.

    n: number of things, where those beyond the last parent's count too: theirs is n_parents. Then the host is not waited for.
    """
    if n is not None:
        rows = torch.arange(n, device=offsets.device)
        return torch.searchsorted(offsets[1:].contiguous(), rows, right=True)
    parents = torch.arange(len(offsets) - 1, device=offsets.device)
    return torch.repeat_interleave(parents, offsets.diff(), output_size=int(offsets[-1]))


def sums(values: Tensor, offsets: Tensor) -> Tensor:
    """The sum of each parent's things [n_parents, width]; values: [n_things, width], offsets: [n_parents + 1] int64 from 0.

    Things beyond the last parent's are in no sum.
    """
    return values.new_zeros(len(offsets), values.shape[1]).index_add(0, parents_of(offsets, len(values)), values)[:-1]
