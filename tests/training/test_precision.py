"""Rounded products on CPU stand for a GPU's: their rounding is what the formats say, and a training survives it."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from training.rounded import Rounded, to_bfloat16, to_tf32

from breakeven.models import build
from breakeven.training.batches import Sample
from breakeven.training.loop import train
from breakeven.training.precision import products_in
from breakeven.training.recipe import Recipe
from breakeven.training.training import Training


@pytest.mark.parametrize("round_operand, bits", [(to_tf32, 10), (to_bfloat16, 7)])
def test_rounding_keeps_so_many_bits(round_operand: Callable, bits: int) -> None:
    kept, half = 1.0 + 2.0**-bits, 1.0 + 2.0 ** -(bits + 2)
    given = torch.tensor([kept, half, -kept, 0.0, 3.0, 1e-20, 1e30])
    rounded = round_operand(given)
    assert rounded[:5].tolist() == [kept, 1.0, -kept, 0.0, 3.0]
    torch.testing.assert_close(rounded, given, rtol=2.0 ** -(bits + 1), atol=0.0)


@pytest.mark.parametrize("round_operand, low, high", [(to_tf32, 1e-5, 1e-3), (to_bfloat16, 1e-4, 1e-2)])
def test_products_differ_by_as_much_forward_and_backward(round_operand: Callable, low: float, high: float) -> None:
    generator = torch.Generator().manual_seed(1)
    left, right = torch.rand(50, 64, generator=generator), torch.rand(64, 64, generator=generator, requires_grad=True)
    exact = left @ right
    (expected,) = torch.autograd.grad(exact.square().sum(), right)
    with Rounded(round_operand):
        product = left @ right
        (gradient,) = torch.autograd.grad(product.square().sum(), right)
    for got, wanted in ((product.detach(), exact.detach()), (gradient, expected)):
        assert low < float((got - wanted).norm() / wanted.norm()) < high


@pytest.mark.parametrize("round_operand, close", [(to_tf32, 0.01), (to_bfloat16, 0.05)])
def test_a_captured_training_in_rounded_products_stays_close(
    make_events: Callable, round_operand: Callable, close: float
) -> None:
    events, kind = make_events(100)
    index, target = torch.arange(100), kind.float()
    data = events, Sample(index[:70], target[:70]), Sample(index[70:], target[70:])
    recipe = Recipe(epochs=2, batch_size=16, learning_rate=3e-4, patience=None)
    exact = train(Training(build(1, iterations=2), *data, recipe), form="captured")
    with Rounded(round_operand):
        rounded = train(Training(build(1, iterations=2), *data, recipe), form="captured")
    for epoch, wanted in zip(rounded.curve, exact.curve, strict=True):
        assert epoch.train_loss != wanted.train_loss
        assert epoch.train_loss == pytest.approx(wanted.train_loss, rel=close)


def test_tf32_is_allowed_inside_alone(make_events: Callable) -> None:
    backend = torch.backends.cuda.matmul
    assert not backend.allow_tf32
    with products_in("tf32"):
        assert backend.allow_tf32
        with products_in("float32"):
            assert not backend.allow_tf32
        assert backend.allow_tf32
    assert not backend.allow_tf32
    assert replace(Recipe(), precision="tf32").precision == "tf32"
