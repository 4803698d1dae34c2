"""The fast event network against its DGL reference, and what any event network must hold."""

import builtins
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from breakeven.feature import MOMENTUM_FLOOR
from breakeven.models import UnknownEngine, build
from breakeven.models.event_network import EventNetwork
from breakeven.models.graph_network_dgl import GraphNetworkDGL, batch, event_graphs
from breakeven.models.layers import initialise
from breakeven.models.weights import WeightsDoNotFit, load_weights

BATCHES = [(1,), (1, 1, 1), (60,), (7,), (2, 1), (3, 1, 60, 7, 2, 1), tuple(range(1, 25)), ()]


def random_events(counts: tuple[int, ...], seed: int = 0) -> tuple[Tensor, Tensor]:
    """Events in the right ranges of all features; (nodes [n, 7] float64, offsets)."""
    generator = torch.Generator().manual_seed(seed)
    uniform = torch.rand(sum(counts), 7, generator=generator, dtype=torch.float64)
    pt, eta, phi = (
        10.0 + 200.0 * uniform[:, 0] ** 2,
        5.0 * uniform[:, 1] - 2.5,
        math.pi * (2.0 * uniform[:, 2] - 1.0),
    )
    b_tag, charge, kind = (
        (uniform[:, 4] * 2).floor(),
        (uniform[:, 5] * 3).floor() - 1.0,
        (uniform[:, 6] * 5).floor(),
    )
    nodes = torch.stack([pt, eta, phi, pt * torch.cosh(eta), b_tag, charge, kind], dim=1)
    return nodes, torch.tensor([0, *counts]).cumsum(0)


def pair_of_engines(**options: Any) -> tuple[EventNetwork, GraphNetworkDGL]:
    """Both engines in float64 with equal weights and measured scaling."""
    native = build(5, seed=1, **options).double()
    native.fit_scaling([random_events((3, 1, 20, 7, 2), seed=9)])
    reference = build(5, "dgl", seed=2, **options).double()
    assert isinstance(reference, GraphNetworkDGL)
    load_weights(reference, native.state_dict(), source="the native engine")
    return native, reference


def outputs_and_gradients(model: EventNetwork, nodes: Tensor, offsets: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    model.zero_grad(set_to_none=True)
    outputs = model(nodes, offsets)
    weights = torch.linspace(-1.0, 2.0, outputs.numel(), dtype=outputs.dtype).view_as(outputs)
    (outputs * weights + outputs.square()).sum().backward()
    zeros = {name: torch.zeros_like(parameter) for name, parameter in model.named_parameters()}
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return outputs.detach(), zeros | gradients


@pytest.mark.parametrize("counts", BATCHES, ids=str)
@pytest.mark.parametrize("shared_blocks", [False, True])
@pytest.mark.parametrize("log_momenta", [False, True])
def test_native_equals_dgl_in_outputs_and_all_gradients(
    counts: tuple[int, ...], shared_blocks: bool, log_momenta: bool
) -> None:
    native, reference = pair_of_engines(shared_blocks=shared_blocks, log_momenta=log_momenta)
    nodes, offsets = random_events(counts)
    outputs, gradients = outputs_and_gradients(native, nodes, offsets)
    expected, expected_gradients = outputs_and_gradients(reference, nodes, offsets)
    assert outputs.shape == (len(counts), 5)
    torch.testing.assert_close(outputs, expected, rtol=1e-12, atol=1e-12)
    assert gradients.keys() == expected_gradients.keys()
    for name, gradient in gradients.items():
        scale = max(1.0, float(expected_gradients[name].abs().max()))
        difference = float((gradient - expected_gradients[name]).abs().max())
        assert difference <= 1e-12 * scale, f"{name}: {difference}"
    if counts not in ((), (1,), (1, 1, 1)):
        silent = [name for name, gradient in gradients.items() if not bool(gradient.any())]
        assert not silent, f"no gradient reaches {silent}"


def test_cached_graphs_give_the_same_as_building_them() -> None:
    _, reference = pair_of_engines()
    nodes, offsets = random_events((3, 1, 9))
    cached = event_graphs(nodes, offsets)
    torch.testing.assert_close(reference.forward_graph(batch(cached)), reference(nodes, offsets), rtol=0, atol=0)
    twice = reference.forward_graph(batch([cached[2], cached[0]]))
    torch.testing.assert_close(twice, reference(nodes, offsets)[[2, 0]], rtol=1e-12, atol=1e-12)


def test_the_reference_loads_into_the_native_engine_too() -> None:
    native, reference = pair_of_engines()
    fresh = build(5, seed=77).double()
    load_weights(fresh, reference.state_dict(), source="the reference")
    nodes, offsets = random_events((4, 2))
    torch.testing.assert_close(fresh(nodes, offsets), native(nodes, offsets), rtol=0, atol=0)


def test_order_of_objects_does_not_matter_but_orientation_does() -> None:
    model, _ = pair_of_engines()
    nodes, offsets = random_events((6, 9))
    order = torch.tensor([4, 2, 0, 5, 3, 1, 14, 6, 13, 7, 12, 8, 11, 9, 10])
    torch.testing.assert_close(model(nodes[order], offsets), model(nodes, offsets), rtol=1e-11, atol=1e-11)
    turned = nodes.clone()
    turned[:, 2] = torch.remainder(nodes[:, 2] + 1.0 + math.pi, 2.0 * math.pi) - math.pi
    assert float((model(turned, offsets) - model(nodes, offsets)).detach().abs().max()) > 1e-5


def test_an_event_does_not_depend_on_its_batch() -> None:
    model, _ = pair_of_engines()
    nodes, offsets = random_events((3, 8, 1))
    alone = torch.cat([model(nodes[a:b], torch.tensor([0, b - a])) for a, b in ((0, 3), (3, 11), (11, 12))])
    torch.testing.assert_close(model(nodes, offsets), alone, rtol=1e-12, atol=1e-12)


def test_parameter_counts_are_the_documented_ones() -> None:
    def count(**options: Any) -> int:
        return sum(parameter.numel() for parameter in build(12, **options).parameters())

    assert count() == 372_172
    assert count(shared_blocks=True) == 135_244
    model = build(12)
    assert sum(parameter.numel() for parameter in model.backbone_parameters()) == 372_172 - 780


def test_seeds_fix_the_weights_in_both_engines_and_leave_the_global_state_alone() -> None:
    first, same, reference = build(2, seed=3), build(2, seed=3), build(2, "dgl", seed=3)
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, same.state_dict()[name])
        assert torch.equal(tensor, reference.state_dict()[name])
    assert not torch.equal(first.head.weight, build(2, seed=4).head.weight)
    state = torch.get_rng_state()
    initialise(first, 5)
    assert torch.equal(state, torch.get_rng_state())


def test_scaling_standardises_and_travels_with_the_weights() -> None:
    nodes, offsets = random_events(tuple(range(1, 12)), seed=3)
    nodes[0, 0] = nodes[0, 3] = 1e-4
    model = build(2).double()
    model.fit_scaling([(nodes, offsets)])
    scaled = model.scaling.nodes(nodes)
    torch.testing.assert_close(scaled.mean(0), torch.zeros(7, dtype=torch.float64), atol=1e-6, rtol=0)
    torch.testing.assert_close(scaled.std(0, correction=0), torch.ones(7, dtype=torch.float64), atol=1e-5, rtol=0)
    mean, std = model.scaling.node_mean[0], model.scaling.node_std[0]
    torch.testing.assert_close(scaled[0, 0], (math.log(MOMENTUM_FLOOR) - mean) / std)
    other = build(2, seed=8).double()
    load_weights(other, model.state_dict(), source="the first model")
    torch.testing.assert_close(other.scaling.nodes(nodes), scaled, rtol=0, atol=0)


def test_a_feature_that_never_varies_is_only_shifted() -> None:
    nodes, offsets = random_events((4, 4))
    nodes[:, 4] = 1.0
    model = build(1)
    model.fit_scaling([(nodes.float(), offsets)])
    assert float(model.scaling.node_std[4]) == 1.0
    assert float(model.scaling.global_std) == 1.0
    assert bool(torch.isfinite(model(nodes.float(), offsets)).all())


def test_scaling_refuses_nothing_and_the_not_finite() -> None:
    nodes, offsets = random_events((3,))
    with pytest.raises(ValueError, match="there are none"):
        build(1).fit_scaling([(nodes[:0], offsets[:1])])
    nodes[1, 1] = math.nan
    with pytest.raises(ValueError, match="not finite"):
        build(1).fit_scaling([(nodes, offsets)])


def test_misfitting_weights_are_listed_and_change_nothing() -> None:
    model = build(2, seed=1)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    weights = dict(build(3, seed=2, log_momenta=False).state_dict())
    del weights["encoder.nodes.first.bias"]
    weights["extra"] = torch.zeros(2)
    with pytest.raises(WeightsDoNotFit) as error:
        load_weights(model, weights, source="some file")
    for part in (
        "some file",
        "missing: encoder.nodes.first.bias [64]",
        "unexpected: extra [2]",
        "shape: head.weight is [3, 64], the model has [2, 64]",
        "flag: scaling.log_momenta is False",
    ):
        assert part in str(error.value)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_unknown_engine_and_sizes_are_refused() -> None:
    with pytest.raises(UnknownEngine, match="native, dgl"):
        build(2, "pyg")
    with pytest.raises(ValueError, match="n_outputs is 0"):
        build(0)


def test_a_missing_dgl_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    real_import = builtins.__import__

    def no_dgl(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "dgl":
            raise ImportError("No module named 'dgl'")
        return real_import(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", no_dgl)
    with pytest.raises(ImportError, match='choose engine="native"'):
        build(1, "dgl")
