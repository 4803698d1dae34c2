"""Values handed to the rows of groups, and rows summed by group: each is the other's gradient, the same bits every time.

index_select and index_add say the same, but on a GPU index_add adds in any order. Here the rows of a group lie side by
side, so that each sum is one loop in one order; nothing waits for the host.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Segments:
    """To which group each row of K blocks belongs.

    group: [K * m] int64, group of each of a block's m rows, counted over all blocks: block k has the groups k * n to
    (k + 1) * n - 1.
    offsets: [K, n + 1] int64; the rows of a block's group g are offsets[g] to offsets[g + 1] of it, in `order`. Rows that
    lie beyond its last offset are added to no group, and their gradient reaches none.
    order: [K * m] int64, rows of all blocks in the order in which groups lie together; None: as they are. It must be its
    own inverse.
    """

    group: Tensor
    offsets: Tensor
    order: Tensor | None = None

    def spread(self, values: Tensor) -> Tensor:
        """To each row the value of its group: [K, n, hidden] -> [K, m, hidden]."""
        spread: Tensor = _Spread.apply(values, self.group, self.offsets, self.order)  # type: ignore[no-untyped-call]
        return spread

    def sum(self, rows: Tensor) -> Tensor:
        """The sum of each group's rows: [K, m, hidden] -> [K, n, hidden], at least in float32."""
        summed: Tensor = _Sum.apply(rows, self.group, self.offsets, self.order)  # type: ignore[no-untyped-call]
        return summed


class _Spread(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, group: Tensor, offsets: Tensor, order: Tensor | None) -> Tensor:
        ctx.save_for_backward(offsets, order)
        return _select(values, group)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        offsets, order = ctx.saved_tensors
        return _sum(gradients[0], offsets, order).to(gradients[0].dtype), None, None, None


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, group: Tensor, offsets: Tensor, order: Tensor | None) -> Tensor:
        ctx.save_for_backward(group)
        ctx.dtype = rows.dtype
        return _sum(rows, offsets, order)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (group,) = ctx.saved_tensors
        return _select(gradients[0], group).to(ctx.dtype), None, None, None


def _select(values: Tensor, index: Tensor) -> Tensor:
    """Rows `index` [K * m] of all blocks of `values` [K, n, hidden] -> [K, m, hidden]."""
    return values.flatten(0, 1).index_select(0, index).view(len(values), -1, values.shape[2])


def _sum(rows: Tensor, offsets: Tensor, order: Tensor | None) -> Tensor:
    if order is not None:
        rows = _select(rows, order)
    if rows.dtype is torch.bfloat16:
        rows = rows.float()  # a running sum in bfloat16 would stand still after some hundred rows
    # unsafe: the check of the offsets would make a GPU wait.
    return torch.segment_reduce(rows.contiguous(), "sum", offsets=offsets, axis=1, unsafe=True)
