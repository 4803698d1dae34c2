"""bfloat16 for the matrix products of a training step, through torch's autocast; weights stay in float32.

For GPUs with tensor cores, where it has not been measured yet; on CPU the same path runs, slower than float32.
"""

import torch

from breakeven.training.recipe import Precision


def forward_in(precision: Precision, device: torch.device) -> torch.autocast:
    """The context in which a training step's outputs are calculated."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")
