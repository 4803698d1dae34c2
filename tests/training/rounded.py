"""What a GPU's tensor cores do to operands, on CPU: matrix products of numbers rounded to tf32 or bfloat16, added in float32.

Forward and backward alike, in whatever torch code runs inside; our own compiled kernel does not pass here. Run as a script it
trains the same tasks in each precision from the same seeds and prints their final accuracies.

    PYTHONPATH=platform python tests/training/rounded.py --seeds 5 --events 600 --epochs 30
"""

import argparse
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_PRODUCTS = {
    torch.ops.aten.mm.default: (0, 1),
    torch.ops.aten.bmm.default: (0, 1),
    torch.ops.aten.addmm.default: (1, 2),
    torch.ops.aten.baddbmm.default: (1, 2),
}
"""Matrix products, and which of their arguments are multiplied."""


def to_tf32(values: Tensor) -> Tensor:
    """float32 rounded to 10 bits of mantissa, halves away from zero, as cvt.rna.tf32.f32 does."""
    return ((values.view(torch.int32) + 0x1000) & ~0x1FFF).view(torch.float32)


def to_bfloat16(values: Tensor) -> Tensor:
    """float32 rounded to 7 bits of mantissa, halves to even."""
    return values.bfloat16().float()


class Rounded(TorchDispatchMode):
    """All float32 matrix products inside have operands that went through `round_operand`."""

    def __init__(self, round_operand: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self._round = round_operand

    def __torch_dispatch__(
        self, function: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Round the operands of a product; leave all else as it is."""
        rounded = [
            self._round(value.contiguous()) if place in _PRODUCTS.get(function, ()) and value.dtype is torch.float32
            else value
            for place, value in enumerate(args)
        ]  # fmt: skip
        return function(*rounded, **(kwargs or {}))


def main() -> None:
    """Final validation accuracy in each precision, mean and scatter over seeds."""
    from contextlib import nullcontext

    from conftest import synthetic_events  # the folder of a script is on its path

    from breakeven.models import build
    from breakeven.training.batches import Sample
    from breakeven.training.pack import train_pack
    from breakeven.training.recipe import Recipe
    from breakeven.training.training import Failed, Training

    parser = argparse.ArgumentParser(description=__doc__)
    for name, value in (("seeds", 5), ("events", 600), ("epochs", 30)):
        parser.add_argument(f"--{name}", type=int, default=value)
    asked = parser.parse_args()
    events, kind = synthetic_events(asked.events + 1000)
    target = kind.float()
    for name, around in (("float32", nullcontext()), ("tf32", Rounded(to_tf32)), ("bfloat16", Rounded(to_bfloat16))):
        members = []
        for seed in range(asked.seeds):
            order = torch.randperm(len(kind), generator=torch.Generator().manual_seed(seed))
            rows = order[: asked.events], order[asked.events :]
            recipe = Recipe(epochs=asked.epochs, batch_size=32, learning_rate=3e-4, seed=seed)
            members.append(Training(build(1), events, *(Sample(part, target[part]) for part in rows), recipe))
        accuracies = []
        with around:
            for outcome in train_pack(members):
                if isinstance(outcome, Failed):
                    raise outcome.error
                accuracies.append(outcome.best.validation_accuracy)
        print(f"{name:9} {100 * statistics.mean(accuracies):.2f} +- {100 * statistics.stdev(accuracies):.2f} %")


if __name__ == "__main__":
    main()
