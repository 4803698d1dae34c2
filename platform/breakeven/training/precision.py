"""The precision of the matrix products of a training step; weights, sums, normalisations and losses stay in float32.

"tf32": products of a GPU's tensor cores with 10 bits of mantissa; a CPU has none and multiplies in float32.
"bfloat16": operands of 7 bits of mantissa, through torch's autocast; on CPU the same path runs, slower than float32.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from breakeven.training.recipe import Precision


def forward_in(precision: Precision, device: torch.device) -> torch.autocast:
    """The context in which a training step's outputs are calculated."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


@contextmanager
def products_in(precision: Precision) -> Iterator[None]:
    """The context of a whole step, gradients included: whether products of float32 may be tf32 on a GPU."""
    backend = torch.backends.cuda.matmul
    before = backend.allow_tf32
    backend.allow_tf32 = precision == "tf32"
    try:
        yield
    finally:
        backend.allow_tf32 = before
