"""The door to data-parallel training: what several workers on one model have to exchange, and nothing else.

`ALONE` is one worker. `TorchWorkers` speaks through torch.distributed (gloo or NCCL), whoever started the group.
Each worker takes its contiguous share of every global batch, so results do not depend on the number of workers
beyond floating point.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
import torch.distributed as distributed
from torch import Tensor, nn


class Workers(Protocol):
    """All workers call the same methods in the same order, also those whose share of a batch is empty."""

    @property
    def rank(self) -> int:
        """Number of this worker, from 0."""

    @property
    def world(self) -> int:
        """Number of workers."""

    @property
    def in_graphs(self) -> bool:
        """Whether a CUDA graph can hold `add_up`."""

    def sum_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Replace each gradient by its sum over workers; a missing one counts as zero."""

    def add_up(self, values: Tensor) -> Tensor:
        """`values`, replaced by their sum over workers."""

    def gather(self, rows: Tensor) -> Tensor:
        """The rows of all workers in the order of their ranks; workers may hold different numbers of rows."""


class Alone:
    """One worker: nothing to exchange."""

    rank = 0
    world = 1
    in_graphs = True

    def sum_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """A missing gradient counts as zero here too: Adam skips a parameter without one, and its momentum would wait."""
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)

    def add_up(self, values: Tensor) -> Tensor:
        """They are the sum."""
        return values

    def gather(self, rows: Tensor) -> Tensor:
        """The rows themselves."""
        return rows


ALONE = Alone()


class TorchWorkers:
    """The default process group of torch.distributed, which must be initialised."""

    def __init__(self) -> None:
        self.rank = distributed.get_rank()
        self.world = distributed.get_world_size()
        self.in_graphs = "nccl" in distributed.get_backend()

    def sum_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """One all-reduce of one flat bucket: the whole model is 1.5 MB, so overlap with backward gains nothing."""
        bucket = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).reshape(-1) for p in parameters])
        distributed.all_reduce(bucket)
        for parameter, part in zip(parameters, bucket.split([p.numel() for p in parameters]), strict=True):
            parameter.grad = part.view_as(parameter)

    def add_up(self, values: Tensor) -> Tensor:
        """`values`, replaced by their sum over workers; a GPU's queue takes it, the host does not wait."""
        distributed.all_reduce(values)
        return values

    def gather(self, rows: Tensor) -> Tensor:
        """The rows of all workers in the order of their ranks."""
        counts = torch.zeros(self.world, dtype=torch.int64, device=rows.device)
        counts[self.rank] = len(rows)
        longest = int(self.add_up(counts).max())
        padded = rows.new_zeros(longest, *rows.shape[1:])
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in range(self.world)]
        distributed.all_gather(parts, padded)
        return torch.cat([part[:count] for part, count in zip(parts, counts.tolist(), strict=True)])
