"""How much memory a training on many events takes, run as a script by test_memory.py so that the process is its own.

Prints the growth of the largest resident set, from a training on few events (imports, the network, the activations of
one batch) to one on many, and the flat size of the many. Both in bytes.
"""

import resource
import sys
from pathlib import Path

import numpy as np
import torch

from breakeven.models import build
from breakeven.training.batches import EventTensors, Sample
from breakeven.training.loop import train
from breakeven.training.recipe import Recipe
from breakeven.training.training import Training


def run(folder: Path, n: int) -> None:
    """Train an epoch on the first `n` of the mapped events, validate on a tenth as many."""
    parts = [np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("nodes", "offsets")]
    index = torch.arange(n)
    target = (index % 2).float()
    recipe = Recipe(epochs=1, batch_size=1024, patience=None)
    validation = Sample(index[: n // 10], target[: n // 10])
    train(
        Training(
            build(1, hidden=8, iterations=1),
            EventTensors.from_arrays(*parts),
            Sample(index, target),
            validation,
            recipe,
        )
    )


def peak() -> int:
    """The largest resident set so far, bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    folder, few, many = Path(sys.argv[1]), 10_000, int(sys.argv[2])
    torch.set_num_threads(1)
    run(folder, few)
    before = peak()
    run(folder, many)
    print(peak() - before, sum((folder / f"{name}.npy").stat().st_size for name in ("nodes", "offsets")))
