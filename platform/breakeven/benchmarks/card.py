"""What a device can do at most, measured: memory copies and matrix products. No network runs here."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from breakeven.benchmarks.timing import interleaved
from breakeven.training.precision import products_in
from breakeven.training.recipe import Precision


@dataclass(frozen=True)
class Ceilings:
    """The most that a device gave.

    copy: bytes per second from memory to memory, those read and those written counted.  wide: floating-point operations per
    second of a large square matrix product, by precision.  narrow: of [rows, 64] x [64, 64], which this network is made of,
    with operands in memory.
    """

    copy: float
    wide: dict[str, float]
    narrow: dict[str, float]


def measure(
    device: torch.device, precisions: Sequence[Precision], *, copied: int, width: int, rows: int, rounds: int = 7
) -> Ceilings:
    """The best of `rounds` of each.

    copied: float32 numbers to copy, which should not fit into a cache.  width: of the square matrices.  rows: of the
    narrow product.
    """
    return Ceilings(
        copy=_copy(device, copied, rounds),
        wide={precision: _product(device, precision, width, width, rounds) for precision in precisions},
        narrow={precision: _product(device, precision, rows, 64, rounds) for precision in precisions},
    )


def _copy(device: torch.device, copied: int, rounds: int) -> float:
    source = torch.rand(copied, device=device)
    target = torch.empty_like(source)
    timing = interleaved({"copy": lambda: target.copy_(source)}, rounds, device)["copy"]
    return 2.0 * copied * source.element_size() / timing.best_wall


def _product(device: torch.device, precision: Precision, rows: int, width: int, rounds: int) -> float:
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    left, right = (torch.randn(n, width, device=device).to(dtype) for n in (rows, width))
    out = torch.empty_like(left)
    with products_in(precision):
        timing = interleaved({"product": lambda: torch.mm(left, right, out=out)}, rounds, device)["product"]
    return 2.0 * rows * width * width / timing.best_wall
