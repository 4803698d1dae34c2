"""The compiled backbone against the plain torch form, its edges (one node, no event, NaN) and its fallbacks."""

import logging
import math
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from breakeven.models import build, fused
from breakeven.models.event_network import EventNetwork
from breakeven.models.graph_network_dgl import GraphNetworkDGL

BATCHES = [(1,), (1, 1, 1), (60,), (7,), (3, 1, 60, 7, 2, 1), tuple(range(1, 14)) * 12, ()]

pytestmark = pytest.mark.skipif(
    not any(map(shutil.which, ("g++", "clang++", "c++"))), reason="no C++ compiler, so no kernel to test"
)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def forgotten_library() -> Iterator[None]:
    """As in a process that has not asked for the kernel yet."""
    fused.compiled.cache_clear()
    yield
    fused.compiled.cache_clear()


def random_events(counts: tuple[int, ...], seed: int = 0) -> tuple[Tensor, Tensor]:
    """(nodes [n, 7] float64, offsets [n_events + 1])."""
    generator = torch.Generator().manual_seed(seed)
    nodes = torch.rand(sum(counts), 7, generator=generator, dtype=torch.float64)
    nodes[:, 0] = 10.0 + 200.0 * nodes[:, 0].square()
    nodes[:, 1] = 5.0 * nodes[:, 1] - 2.5
    nodes[:, 2] = math.pi * (2.0 * nodes[:, 2] - 1.0)
    nodes[:, 3] = nodes[:, 0] * torch.cosh(nodes[:, 1])
    return nodes, torch.tensor([0, *counts]).cumsum(0)


def network(dtype: torch.dtype = torch.float32, **options: Any) -> EventNetwork:
    model = build(5, seed=3, **options)
    model.fit_scaling([random_events((3, 1, 20, 7, 2), seed=9)])
    with torch.no_grad():  # so that no norm is the identity and no gradient is zero by chance
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter += 0.2 * torch.sin(torch.arange(parameter.numel()))
    return model.to(dtype)


def plain(model: EventNetwork, nodes: Tensor, offsets: Tensor) -> Tensor:
    return model.decoder(model.pool(nodes, offsets))


def output_and_gradients(
    form: Callable[[EventNetwork, Tensor, Tensor], Tensor], model: EventNetwork, nodes: Tensor, offsets: Tensor
) -> tuple[Tensor, list[Tensor]]:
    output = form(model, nodes, offsets)
    weights = torch.linspace(-1.0, 2.0, output.numel(), dtype=output.dtype).view_as(output)
    parameters = model.backbone_parameters()
    gradients = torch.autograd.grad((output * weights).sum(), parameters, allow_unused=True)
    dense = [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, gradients, strict=True)]
    return output.detach(), dense


@pytest.mark.parametrize("options", [{}, {"shared_blocks": True}, {"iterations": 1}], ids=str)
@pytest.mark.parametrize("counts", BATCHES, ids=lambda counts: f"{len(counts)}_events")
@pytest.mark.parametrize("threads", [1, 2])
def test_the_formulas_are_those_of_plain_torch(counts: tuple[int, ...], threads: int, options: dict[str, Any]) -> None:
    torch.set_num_threads(threads)
    model = network(torch.float64, **options)
    nodes, offsets = random_events(counts)
    output, gradients = output_and_gradients(fused.represent, model, nodes, offsets)
    expected, expected_gradients = output_and_gradients(plain, model, nodes, offsets)
    assert output.shape == (len(counts), 64)
    torch.testing.assert_close(output, expected, rtol=1e-12, atol=1e-12)
    for gradient, wanted in zip(gradients, expected_gradients, strict=True):
        scale = max(1.0, float(wanted.abs().max()) if wanted.numel() else 0.0)
        torch.testing.assert_close(gradient, wanted, rtol=0, atol=1e-12 * scale)


@pytest.mark.parametrize("counts", [(5,), (1, 4, 9), (30, 2)], ids=str)
def test_float32_is_as_close_as_float32_can_be(counts: tuple[int, ...]) -> None:
    nodes, offsets = random_events(counts)
    exact, exact_gradients = output_and_gradients(plain, network(torch.float64), nodes.float().double(), offsets)
    output, gradients = output_and_gradients(fused.represent, network(), nodes.float(), offsets)
    assert float((output - exact).norm() / exact.norm()) < 2e-6
    total = torch.cat([gradient.flatten() for gradient in exact_gradients]).norm()
    for gradient, wanted in zip(gradients, exact_gradients, strict=True):
        assert float((gradient - wanted).norm()) < 1e-5 * float(wanted.norm()) + 1e-6 * float(total)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_same_number_of_threads_same_bits(threads: int) -> None:
    torch.set_num_threads(threads)
    model, (nodes, offsets) = network(), random_events(BATCHES[5])
    first, first_gradients = output_and_gradients(fused.represent, model, nodes, offsets)
    second, second_gradients = output_and_gradients(fused.represent, model, nodes, offsets)
    assert torch.equal(first, second)
    assert all(map(torch.equal, first_gradients, second_gradients))


def test_an_event_does_not_depend_on_its_batch() -> None:
    model, (nodes, offsets) = network(), random_events(BATCHES[5])
    with torch.no_grad():
        together = fused.represent(model, nodes, offsets)
        alone = torch.cat([fused.represent(model, nodes[a:b], torch.tensor([0, b - a])) for a, b in _pairs(offsets)])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)


def test_a_nan_stays_visible_and_in_its_event() -> None:
    model, (nodes, offsets) = network(), random_events((4, 6, 1))
    nodes[5, 0] = math.nan  # in the second event
    output, gradients = output_and_gradients(fused.represent, model, nodes, offsets)
    assert output.isnan().all(1).tolist() == [False, True, False]
    assert output[[0, 2]].isfinite().all()
    _, expected = output_and_gradients(plain, model, nodes.float(), offsets)
    assert gradients[0].isnan().any()
    assert all(
        torch.equal(gradient.isnan(), wanted.isnan()) for gradient, wanted in zip(gradients, expected, strict=True)
    )


def test_inference_gives_the_digits_of_training_and_keeps_no_graph() -> None:
    model, (nodes, offsets) = network(), random_events(BATCHES[5])
    trained = fused.represent(model, nodes, offsets)
    with torch.no_grad():
        inferred = fused.represent(model, nodes, offsets)
    assert torch.equal(trained, inferred)
    assert not inferred.requires_grad


def test_a_frozen_backbone_trains_its_head_alone() -> None:
    model, (nodes, offsets) = network(), random_events((4, 2))
    for parameter in model.backbone_parameters():
        parameter.requires_grad_(False)
    assert not model.represent(nodes, offsets).requires_grad
    model(nodes, offsets).sum().backward()
    assert model.head.weight.grad is not None
    assert all(parameter.grad is None for parameter in model.backbone_parameters())


def test_partly_frozen() -> None:
    model, (nodes, offsets) = network(torch.float64), random_events((4, 2))
    _, gradients = output_and_gradients(plain, model, nodes, offsets)
    model.encoder.requires_grad_(False)
    fused.represent(model, nodes, offsets).backward(torch.linspace(-1.0, 2.0, 2 * 64, dtype=torch.float64).view(2, 64))
    for parameter, wanted in zip(model.backbone_parameters(), gradients, strict=True):
        assert (parameter.grad is None) is not parameter.requires_grad
        if parameter.grad is not None:
            torch.testing.assert_close(parameter.grad, wanted, rtol=1e-10, atol=1e-12)


def test_training_goes_the_same_way() -> None:
    nodes, offsets = random_events(BATCHES[5])
    targets = torch.arange(len(offsets) - 1) % 5
    losses: dict[str, list[float]] = {}
    for name, form in {"plain": plain, "fused": fused.represent}.items():
        model = network(torch.float64)
        optimiser = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
        losses[name] = []
        for _ in range(5):
            loss = torch.nn.functional.cross_entropy(model.head(form(model, nodes, offsets)), targets)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses[name].append(loss.item())
    assert losses["fused"] == pytest.approx(losses["plain"], rel=1e-9)
    assert losses["fused"][-1] < losses["fused"][0]


def test_memory_is_used_again_but_never_under_a_living_graph() -> None:
    model, (nodes, offsets) = network(torch.float64), random_events((6, 3))
    output = fused.represent(model, nodes, offsets).sum()
    first = torch.autograd.grad(output, model.backbone_parameters(), retain_graph=True)
    other = fused.represent(model, nodes + 0.1, offsets).sum()  # would overwrite what `output` still needs
    again = torch.autograd.grad(output, model.backbone_parameters())
    assert all(map(torch.equal, first, again))
    torch.autograd.grad(other, model.backbone_parameters())
    assert len(fused._spare) == 1
    place = fused._spare[0].data_ptr()
    fused.represent(model, nodes, offsets).sum().backward()
    assert [buffer.data_ptr() for buffer in fused._spare] == [place]


def test_native_engine_takes_the_kernel_by_itself() -> None:
    nodes, offsets = random_events((4, 2))
    assert "_Backbone" in network().represent(nodes, offsets).grad_fn.name()


@pytest.mark.parametrize("case", ["float64", "narrow", "autocast", "inputs", "func"])
def test_what_the_kernel_does_not_cover_runs_in_plain_torch(case: str) -> None:
    nodes, offsets = random_events((4, 2))
    model = network(torch.float64 if case == "float64" else torch.float32, hidden=32 if case == "narrow" else 64)
    expected = plain(model, nodes, offsets)
    if case == "autocast":
        with torch.autocast("cpu", torch.bfloat16):
            output = model.represent(nodes, offsets)
        torch.testing.assert_close(output.float(), expected, rtol=0.1, atol=0.3)
        return
    if case == "inputs":
        model.represent(nodes.requires_grad_(), offsets).sum().backward()
        assert nodes.grad is not None
        return
    if case == "func":
        parameters = {name: parameter.detach()[None] for name, parameter in model.named_parameters()}
        stacked = torch.func.vmap(lambda p: torch.func.functional_call(model, p, (nodes, offsets)))(parameters)
        torch.testing.assert_close(stacked[0], model.head(expected))
        return
    output = model.represent(nodes, offsets)
    assert "_Backbone" not in output.grad_fn.name()
    assert torch.equal(output, expected)


@pytest.mark.usefixtures("forgotten_library")
def test_a_model_tells_what_computes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert build(1).kernel() == "fused"
    assert build(1, hidden=32).kernel() == build(1).double().kernel() == "torch"
    assert GraphNetworkDGL(1).kernel() == "dgl"
    fused.compiled.cache_clear()
    monkeypatch.setenv("BREAKEVEN_FUSED", "0")
    assert build(1).kernel() == "torch"


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"BREAKEVEN_FUSED": "0"}, "BREAKEVEN_FUSED=0"),
        ({"PATH": "", "CXX": ""}, "install g++"),
        ({"CXX": "false"}, "plain torch"),
        ({"XDG_CACHE_HOME": os.devnull}, "XDG_CACHE_HOME"),
    ],
    ids=["switched off", "no compiler", "broken compiler", "no cache"],
)
def test_without_a_kernel_one_message_and_plain_torch(
    variables: dict[str, str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    forgotten_library: None,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    model, (nodes, offsets) = network(), random_events((4, 2))
    with caplog.at_level(logging.INFO, logger="breakeven"):
        outputs = [model.represent(nodes, offsets) for _ in range(3)]
    assert [message in record.getMessage() for record in caplog.records] == [True]
    assert torch.equal(outputs[0], plain(model, nodes, offsets))
    with pytest.raises(RuntimeError, match="no fused kernel"):
        fused.represent(model, nodes, offsets)


def test_processes_that_build_at_once_leave_one_whole_library(tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        built = list(pool.map(lambda _: fused.build(torch.float32, tmp_path / "new"), range(2)))
    assert built[0] == built[1]
    assert list((tmp_path / "new").iterdir()) == [built[0]]
    before = built[0].stat().st_mtime_ns
    assert fused.build(torch.float32, tmp_path / "new").stat().st_mtime_ns == before
    assert fused.build(torch.float64, tmp_path / "new") != built[0]


@pytest.mark.parametrize(
    "offsets", [[0, 4], [1, 5], [0, 6, 5], [0, 7]], ids=["too few", "not from 0", "falling", "too many"]
)
def test_offsets_that_do_not_fit_are_refused(offsets: list[int]) -> None:
    nodes, _ = random_events((5,))
    with pytest.raises(ValueError, match="offsets must rise from 0 to 5"):
        fused.represent(network(), nodes, torch.tensor(offsets))


def test_nodes_of_the_wrong_width_are_refused() -> None:
    with pytest.raises(ValueError, match=r"nodes must be \[n_nodes, 7\]"):
        fused.represent(network(), torch.zeros(5, 1), torch.tensor([0, 5]))


def _pairs(offsets: Tensor) -> list[tuple[int, int]]:
    return list(zip(offsets.tolist()[:-1], offsets.tolist()[1:], strict=True))
