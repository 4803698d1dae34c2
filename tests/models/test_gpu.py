"""The GPU's kernels without a GPU: run in Triton's interpreter against plain torch in float64, and compiled for cards.

In float32 with exact products; in bfloat16, which conftest.py teaches the interpreter, against torch's autocast.
"""

import json
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import triton
import triton.language as tl
from torch import Tensor

from breakeven.models import build
from breakeven.models.event_network import EventNetwork
from breakeven.models.gpu import _refusal_of_card, refusal, serves
from breakeven.models.gpu.engine import Engine
from breakeven.models.gpu.kernels.mlp import add_product_with_ones
from breakeven.models.gpu.networks import Room
from breakeven.models.stacked import StackedNetwork
from breakeven.training.objectives import named_objective

SIZES = (3, 1, 20, 7, 2, 60, 5, 4)
"""Objects of the events here, by event number."""
OUTPUTS = {"binary": 1, "multiclass": 12, "multilabel": 41}
REGRESSIONS = 5


def random_events(sizes: Sequence[int], seed: int = 0) -> tuple[Tensor, Tensor]:
    """Events with that many objects, in float32 as datasets have them."""
    generator = torch.Generator().manual_seed(seed)
    nodes = torch.rand(sum(sizes), 7, generator=generator)
    nodes[:, 0] = 200.0 * nodes[:, 0].square()
    nodes[:, 1] = 5.0 * nodes[:, 1] - 2.5
    nodes[:, 2] = math.pi * (2.0 * nodes[:, 2] - 1.0)
    nodes[:, 3] = nodes[:, 0] * torch.cosh(nodes[:, 1])
    return nodes, torch.tensor([0, *sizes]).cumsum(0)


def network(n_outputs: int, seed: int = 0, **options: Any) -> EventNetwork:
    """A network none of whose parameters and statistics is trivial."""
    model = build(n_outputs, seed=seed, **options)
    model.fit_scaling([random_events((3, 1, 8 + seed, 2), seed=50 + seed)])
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name or "bias" in name:
                parameter += 0.2 * torch.sin(torch.arange(parameter.numel()) + seed)
    return model


def targets(objective: str, n: int, seed: int = 0) -> Tensor:
    """Targets of n events, prepared."""
    generator = torch.Generator().manual_seed(seed)
    if objective == "multiclass":
        return torch.randint(OUTPUTS[objective], (n,), generator=generator)
    if objective == "binary":
        return torch.randint(2, (n,), generator=generator).float()
    labels = torch.randint(2, (n, OUTPUTS[objective]), generator=generator).float()
    labels[:, :REGRESSIONS] = torch.randn(n, REGRESSIONS, generator=generator)
    return labels


def make_engine(
    models: Sequence[EventNetwork],
    objective: str,
    batches: Sequence[Sequence[int]],
    batch: int,
    precision: str = "float32",
) -> Engine:
    """An engine on the events of SIZES, ready for a step on the event numbers in `batches`."""
    nodes, offsets = random_events(SIZES)
    sizes = [torch.tensor([SIZES[event] for event in own], dtype=torch.int64) for own in batches]
    most_nodes = max(int(size.sum()) for size in sizes)
    most_edges = max(int((size * (size - 1)).sum()) for size in sizes)
    room = Room(len(models), batch, len(models) * most_nodes, len(models) * most_edges)
    engine = Engine(models, nodes, offsets, room, objective=objective, precision=precision)
    engine.index.fill_(10**9)  # slots without an event are not read
    for k, own in enumerate(batches):
        engine.index[k, : len(own)] = torch.tensor(own, dtype=torch.int64)
        engine.target[k, : len(own)] = targets(objective, len(own), seed=k)
        engine.count[k] = engine.divisor[k] = len(own)
    return engine


def in_float64(model: EventNetwork) -> EventNetwork:
    """The same network in float64: plain torch."""
    state = model.state_dict()
    exact = build(**model.config()).double()
    exact.load_state_dict(
        {name: value.double() if value.is_floating_point() else value for name, value in state.items()}
    )
    return exact


def events_of(index: Sequence[int]) -> tuple[Tensor, Tensor]:
    """The events `index` in float64."""
    nodes, offsets = random_events(SIZES)
    rows = [nodes[offsets[event] : offsets[event + 1]] for event in index]
    return torch.cat(rows).double(), torch.tensor([0, *(SIZES[event] for event in index)]).cumsum(0)


def expected_step(model: EventNetwork, objective: str, index: Sequence[int], k: int) -> tuple[float, Tensor]:
    """Mean loss and gradient, by autograd in float64."""
    exact, of_outputs = in_float64(model), named_objective(objective, OUTPUTS[objective])
    loss = of_outputs.loss_sum(exact(*events_of(index)), targets(objective, len(index), seed=k)) / len(index)
    gradients = torch.autograd.grad(loss, list(exact.parameters()))
    return float(loss.detach()), torch.cat([gradient.reshape(-1) for gradient in gradients])


def relative(values: Tensor, expected: Tensor) -> float:
    """The distance over the length of what is expected."""
    return float((values.double() - expected).norm() / expected.norm())


@pytest.mark.parametrize(
    ("objective", "batches", "options"),
    [
        ("multiclass", [(3, 1, 0)], {}),
        ("multilabel", [(3, 4)], {"log_momenta": False, "iterations": 2}),
        ("binary", [(4, 1, 6, 0), (7,)], {"shared_blocks": True, "iterations": 2}),
        pytest.param(
            "binary",
            [(5, 1), ()],
            {"iterations": 1},
            id="60 objects, and a network without events",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_loss_and_gradient_are_those_of_float64(
    objective: str, batches: list[tuple[int, ...]], options: dict[str, Any]
) -> None:
    models = [network(OUTPUTS[objective], seed=k, **options) for k in range(len(batches))]
    engine = make_engine(models, objective, batches, batch=4)
    engine.backward()
    for k, (model, index) in enumerate(zip(models, batches, strict=True)):
        if not index:
            assert engine.loss[k] == 0.0 and not engine.gradient[k].any()
            continue
        loss, gradient = expected_step(model, objective, index, k)
        assert float(engine.loss[k]) == pytest.approx(loss, rel=1e-5)
        assert relative(engine.gradient[k], gradient) < 1e-5
        at = 0
        for name, parameter in model.named_parameters():
            part = slice(at, at := at + parameter.numel())
            scale = max(float(gradient[part].norm()), 1e-4 * float(gradient.norm()))
            assert float((engine.gradient[k, part].double() - gradient[part]).norm()) < 1e-3 * scale, name


@pytest.mark.slow
def test_gradients_in_bfloat16_are_as_near_as_autocasts() -> None:
    """Over several networks: of one alone the ratio scatters by a fifth, as units at zero switch by the last digit."""
    batches = [(3, 0, 6), (7, 4, 1), (6, 3, 0)]
    models = [network(41, seed=k, iterations=2) for k in range(3)]
    engine = make_engine(models, "multilabel", batches, batch=3, precision="bfloat16")
    engine.backward()
    ours, autocasts = [], []
    for k, (model, index) in enumerate(zip(models, batches, strict=True)):
        _, gradient = expected_step(model, "multilabel", index, k)
        ours.append(relative(engine.gradient[k], gradient))
        nodes, offsets = events_of(index)
        with torch.autocast("cpu", torch.bfloat16):
            outputs = model(nodes.float(), offsets)
        loss = named_objective("multilabel", 41).loss_sum(outputs.float(), targets("multilabel", len(index), seed=k))
        parts = torch.autograd.grad(loss / len(index), list(model.parameters()))
        autocasts.append(relative(torch.cat([part.reshape(-1) for part in parts]), gradient))
    assert math.hypot(*ours) <= 1.2 * math.hypot(*autocasts)


def test_outputs_are_the_models() -> None:
    models = [network(12, seed=k, iterations=2) for k in range(2)]
    engine = make_engine(models, "multiclass", [(1, 0), (4, 3, 7)], batch=3)
    predicted = engine.predict()
    for k, index in enumerate([(1, 0), (4, 3, 7)]):
        exact = in_float64(models[k])(*events_of(index)).detach()
        assert relative(predicted[k, : len(index)], exact) < 1e-5


def test_adam_is_torchs_with_rates_and_steps_of_each_network() -> None:
    models = [network(12, seed=k) for k in range(3)]
    engine = make_engine(models, "multiclass", [(0,), (1,), (4,)], batch=1)
    engine.rates.copy_(torch.tensor([[1e-3, 1e-4], [2e-3, 2e-3], [1e-2, 0.0]]))
    optimisers = [
        torch.optim.Adam(
            [{"params": model.head.parameters(), "lr": head}, {"params": model.backbone_parameters(), "lr": rate}]
        )
        for model, (head, rate) in zip(models, engine.rates.tolist(), strict=True)
    ]
    generator = torch.Generator().manual_seed(3)
    for step in range(4):
        engine.divisor.copy_(torch.tensor([1, step % 2, 5]))  # the second takes every other step
        engine.gradient.copy_(1e-3 * torch.randn(engine.gradient.shape, generator=generator))
        before = [tensor[1].clone() for tensor in (engine.weights, engine.first, engine.second)]
        engine.update()
        after = [tensor[1] for tensor in (engine.weights, engine.first, engine.second)]
        assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True)) == (step % 2 == 0)
        for k, (model, optimiser) in enumerate(zip(models, optimisers, strict=True)):
            if engine.divisor[k]:
                parts = engine.gradient[k].split([parameter.numel() for parameter in model.parameters()])
                for parameter, part in zip(model.parameters(), parts, strict=True):
                    parameter.grad = part.view_as(parameter).clone()
                optimiser.step()
    assert engine.steps.tolist() == [4.0, 2.0, 4.0]
    torch.testing.assert_close(engine.weights, StackedNetwork(models).stack.weights.detach(), rtol=0, atol=3e-7)


def test_a_nan_stays_in_its_network() -> None:
    models = [network(1, seed=k, iterations=1) for k in range(3)]
    with torch.no_grad():
        models[1].decoder.third.weight[0, 0] = math.nan
    engine = make_engine(models, "binary", [(0, 1), (1, 4), (4, 0)], batch=2)
    engine.rates.fill_(1e-3)
    engine.backward()
    engine.update()
    assert engine.loss.isfinite().tolist() == [True, False, True]
    assert engine.weights.isfinite().all(1).tolist() == [True, False, True]


def test_a_batch_without_room_is_void_and_writes_nothing_beyond_its_buffers() -> None:
    models = [network(1, seed=k, iterations=1) for k in range(2)]
    engine = make_engine(models, "binary", [(0, 1), (4, 1)], batch=2)  # room for 2 x 4 nodes and 2 x 6 edges
    made_by = engine.launches[1].arguments
    buffers = [made_by[name] for name in ("receiver", "event_of", "edge_features")]
    for buffer in buffers:  # a page of its own behind each: the interpreter writes wherever it is told to
        grown = torch.full((len(buffer) + 4096, *buffer.shape[1:]), 77, dtype=buffer.dtype)
        buffer.set_(grown.untyped_storage(), 0, buffer.shape, buffer.stride())
    engine.index[1] = torch.tensor([4, 5])  # 60 objects
    engine.backward()
    assert engine.loss.isnan().tolist() == [False, True]
    for buffer in buffers:
        behind = torch.empty(0, dtype=buffer.dtype).set_(buffer.untyped_storage())[buffer.numel() :]
        assert bool((behind == 77).all())


def test_weights_lie_in_the_order_of_stacked_networks() -> None:
    models = [network(12, seed=k) for k in range(2)]
    engine = make_engine(models, "multiclass", [(0,), (1,)], batch=1)
    assert torch.equal(engine.weights, StackedNetwork(models).stack.weights.detach())
    engine.load(0, models[1])
    assert torch.equal(engine.weights[0], engine.weights[1])


def test_what_cannot_be_served_is_said() -> None:
    model = network(12, iterations=1)
    events, options = (*random_events(SIZES), Room(1, 2, 4, 20)), {"objective": "multiclass", "precision": "float32"}
    with pytest.raises(ValueError, match="choose another batch size"):
        Room(1, 2, 4, 2**31)
    with pytest.raises(ValueError, match="objective is 'xbb'"):
        Engine([model], *events, objective="xbb", precision="float32")
    with pytest.raises(ValueError, match="several configurations"):
        Engine([model, network(12, iterations=2)], *events, **options)
    with pytest.raises(ValueError, match="hidden width of 64, this model has 32"):
        Engine([network(12, hidden=32)], *events, **options)
    assert _refusal_of_card("A100", (8, 0), "bfloat16") is None
    assert "compute capability 9.0 or higher; A100 has 8.0" in str(_refusal_of_card("A100", (8, 0), "tf32"))
    assert "choose bfloat16 or tf32" in str(_refusal_of_card("H200", (9, 0), "float32"))
    assert not serves(model, "bfloat16")  # it lies on the CPU
    assert "float64" in str(refusal(network(12).double(), "bfloat16"))


SPILLED = {("8.0", "bfloat16"): 2500, ("9.0", "bfloat16"): 1500, ("9.0", "tf32"): 1800}
"""Bytes of spilled registers a thread of the worst kernel: those of Triton 3.6.0, some per cent up."""
SHARED = {"8.0": 163 * 1024, "9.0": 227 * 1024}
"""Shared memory that a program may have, in bytes."""


def compiled(capability: str, precision: str, cache: Path, *kernels: str) -> list[dict[str, Any]]:
    """What compile_kernels.py prints."""
    command = [sys.executable, str(Path(__file__).with_name("compile_kernels.py")), capability, precision, *kernels]
    environment = {**os.environ, "TRITON_CACHE_DIR": str(cache)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_what_is_compiled_ahead_is_what_a_launch_asks_for(tmp_path: Path) -> None:
    kernels = compiled("9.0", "bfloat16", tmp_path, "lay_out", "edge_sums")
    assert sorted(kernel["name"] for kernel in kernels) == [*3 * ["edge_sums"], "lay_out"]


KEYS = """
import sys
from importlib import import_module
from breakeven.models.gpu.launch import settle_key

names = [name.rsplit(".", 1) for name in sys.argv[1:]]
kernels = [getattr(import_module(module), name) for module, name in names]
for kernel in kernels:
    settle_key(kernel)
print(*sorted(f"{kernel.__name__}={kernel.cache_key}" for kernel in kernels))
"""
"""Kernels' keys in Triton's cache, settled in the order given. In a process of its own, as one keeps its keys."""


def test_a_kernel_has_the_same_key_whatever_was_launched_before() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    kernels = [
        f"breakeven.models.gpu.kernels.{name}"
        for name in ("encoder.encoder_forward", "edges.edges_forward", "dense.dense_backward", "head.head_backward")
    ]
    keys = {
        subprocess.run(
            [sys.executable, "-c", KEYS, *order], env=environment, capture_output=True, text=True, check=True
        ).stdout
        for order in (kernels, kernels[::-1])
    }
    assert len(keys) == 1 and "encoder_forward=" in keys.pop()


@pytest.mark.slow
@pytest.mark.parametrize(("capability", "precision"), SPILLED)
def test_kernels_fit_the_card(capability: str, precision: str, tmp_path: Path) -> None:
    kernels = compiled(capability, precision, tmp_path)
    assert {kernel["name"] for kernel in kernels} >= {"edges_forward", "edges_backward", "dense_backward", "adam"}
    for kernel in kernels:
        assert kernel["shared"] <= SHARED[capability], kernel
        assert kernel["stack"] <= SPILLED[capability, precision], kernel


@triton.jit
def _sums_as_product(values, sums, n):
    row = tl.arange(0, 16)
    rows = tl.load(values + row[:, None] * 64 + tl.arange(0, 64)[None, :], mask=row[:, None] < n, other=0.0)
    total = tl.zeros([16, 64], tl.float32)
    for vector in tl.static_range(2):
        total = add_product_with_ones(total, 3 * vector, rows * (vector + 1), row < n, tl.float32, "ieee")
    tl.store(sums + row[:, None] * 64 + tl.arange(0, 64)[None, :], total)


def test_sums_as_products_are_sums() -> None:
    """The form that bfloat16 takes, which cannot be interpreted itself."""
    values, sums = torch.randn(16, 64, generator=torch.Generator().manual_seed(0)), torch.zeros(16, 64)
    _sums_as_product[(1,)](values, sums, 11)
    torch.testing.assert_close(sums[0], values[:11].sum(0))
    torch.testing.assert_close(sums[3], 2.0 * values[:11].sum(0))
    assert int((sums != 0).any(1).sum()) == 2
