"""Stacked networks against the same networks one by one: outputs, all gradients, and nothing leaks."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from breakeven.models import build
from breakeven.models.event_network import EventNetwork
from breakeven.models.stacked import StackedNetwork, StackedWeights, set_parameters, stack_batches

BATCHES = [
    [(3, 1, 5), (2, 2, 2)],
    [(1,), (60, 1, 7)],
    [(1, 1), (1,), (1, 1, 1)],  # no edges at all
    [(4, 2), (), (3,)],  # one network has nothing to do
    [(), ()],
    [tuple(range(1, 20))],
]


def random_events(counts: tuple[int, ...], seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    nodes = torch.rand(sum(counts), 7, generator=generator, dtype=torch.float64)
    nodes[:, 0] = 10.0 + 200.0 * nodes[:, 0].square()
    nodes[:, 1] = 5.0 * nodes[:, 1] - 2.5
    nodes[:, 2] = math.pi * (2.0 * nodes[:, 2] - 1.0)
    nodes[:, 3] = nodes[:, 0] * torch.cosh(nodes[:, 1])
    return nodes


def networks(n: int, **options: bool) -> list[EventNetwork]:
    separate = [build(5, seed=seed, **options).double() for seed in range(n)]
    for seed, model in enumerate(separate):
        counts = (3, 1, 8 + seed, 2)
        model.fit_scaling([(random_events(counts, seed=50 + seed), torch.tensor([0, *counts]).cumsum(0))])
        with torch.no_grad():  # so that no norm is the identity
            for name, parameter in model.named_parameters():
                if "norm" in name:
                    parameter += 0.2 * torch.sin(torch.arange(parameter.numel()) + seed)
    return separate


@pytest.mark.parametrize("counts", BATCHES, ids=str)
@pytest.mark.parametrize("options", [{}, {"shared_blocks": True}, {"log_momenta": False}], ids=str)
@pytest.mark.parametrize("spare", [0, 5])
def test_stacked_equals_one_by_one(counts: list[tuple[int, ...]], options: dict[str, bool], spare: int) -> None:
    models = networks(len(counts), **options)
    parts = [random_events(part, seed) for seed, part in enumerate(counts)]
    offsets = torch.tensor([0, *(n for part in counts for n in part)]).cumsum(0)
    stacked = StackedNetwork(models)
    separate = outputs(stacked, torch.cat(parts), offsets, [len(part) for part in counts], spare)
    sum(_loss(output) for output in separate).backward()
    for k, (model, nodes, part) in enumerate(zip(models, parts, counts, strict=True)):
        expected = model(nodes, torch.tensor([0, *part]).cumsum(0))
        torch.testing.assert_close(separate[k], expected, rtol=1e-12, atol=1e-12)
        gradients = torch.autograd.grad(_loss(expected), list(model.parameters()))
        wanted = torch.cat([gradient.reshape(-1) for gradient in gradients])
        scale = max(1.0, float(wanted.abs().max()))
        torch.testing.assert_close(stacked.stack.weights.grad[k], wanted, rtol=0, atol=1e-12 * scale)


def test_a_broken_network_and_a_broken_event_stay_alone() -> None:
    models = networks(3)
    with torch.no_grad():
        models[0].decoder.fourth.weight[0, 0] = math.nan
    nodes = torch.cat([random_events((4, 2), seed) for seed in range(3)])
    nodes[6, 2] = math.nan  # in the second network's events
    stacked = StackedNetwork(models)
    separate = outputs(stacked, nodes, torch.tensor([0, 4, 6, 10, 12, 16, 18]), [2, 2, 2])
    sum(_loss(output) for output in separate).backward()
    assert [bool(output.isfinite().all()) for output in separate] == [False, False, True]
    assert [bool(row.isfinite().all()) for row in stacked.stack.weights.grad] == [False, False, True]


def test_weights_come_back_as_they_went_in() -> None:
    models = networks(2)
    stacked, other = StackedWeights(models), build(5, seed=9).double()
    set_parameters(other, stacked.weights[1])
    assert all(torch.equal(a, b) for a, b in zip(other.parameters(), models[1].parameters(), strict=True))
    head = stacked.weights[1, stacked.columns("head.")]
    assert torch.equal(head, torch.cat([models[1].head.weight.reshape(-1), models[1].head.bias]))


def outputs(stacked: StackedNetwork, nodes: Tensor, offsets: Tensor, sizes: list[int], spare: int = 0) -> list[Tensor]:
    """Each network's outputs for its own events, which follow each other; blocks filled up by `spare` rows of each kind."""
    first = torch.tensor([0, *sizes]).cumsum(0)
    index = (first[:-1, None] + torch.arange(max(sizes) + spare)).clamp(max=max(0, len(offsets) - 2))
    objects = offsets.diff()
    most = [max(int(n[a:b].sum()) for a, b in pairwise(first.tolist())) for n in (objects, objects * (objects - 1))]
    if len(objects) == 0:
        nodes, offsets = torch.ones(1, 7, dtype=torch.float64), torch.tensor([0, 1])
    batch = stack_batches(nodes, offsets, index, torch.tensor(sizes), most[0] + spare, most[1] + spare)
    return [output[:size] for output, size in zip(stacked.outputs(batch), sizes, strict=True)]


def _loss(outputs: Tensor) -> Tensor:
    weights = torch.linspace(-1.0, 2.0, outputs.numel(), dtype=outputs.dtype).view_as(outputs)
    return (outputs * weights + outputs.square()).sum()
