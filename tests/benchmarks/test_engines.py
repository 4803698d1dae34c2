"""The benchmark's engines compute one function, and its figures follow from its timings."""

import math
from collections.abc import Callable

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from breakeven.benchmarks import engines, loading, report, work
from breakeven.benchmarks.card import Ceilings
from breakeven.benchmarks.engines import Case, EnginesDisagree, Measured
from breakeven.benchmarks.timing import Timing, interleaved
from breakeven.models import build
from breakeven.training.batches import EventTensors

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")


def events_of(counts: tuple[int, ...], seed: int = 0) -> EventTensors:
    generator = torch.Generator().manual_seed(seed)
    nodes = torch.rand(sum(counts), 7, generator=generator)
    nodes[:, 0] = 10.0 + 200.0 * nodes[:, 0]
    nodes[:, 2] = math.pi * (2.0 * nodes[:, 2] - 1.0)
    nodes[:, 3] = nodes[:, 0] * 1.5
    return EventTensors(nodes, torch.tensor([0, *counts]).cumsum(0))


@pytest.mark.parametrize("counts", [(1,), (1, 1), (60, 1, 7), (3, 5, 2, 9)], ids=str)
def test_pytorch_geometric_from_a_list_of_graphs_is_the_same_network(counts: tuple[int, ...]) -> None:
    from breakeven.benchmarks import geometric  # inside the filter of its warnings

    events = events_of(counts)
    native = build(4).double()
    nodes = events.nodes.double()
    native.fit_scaling([(nodes, events.offsets)])
    batched = geometric.batch(geometric.event_graphs(nodes, events.offsets))
    outputs = geometric.GeometricNetwork(native)(batched), native(nodes, events.offsets)
    torch.testing.assert_close(*outputs, rtol=1e-12, atol=1e-12)
    gradients = [
        torch.autograd.grad(out.square().sum(), list(native.parameters()), allow_unused=True) for out in outputs
    ]
    for gradient, wanted in zip(*gradients, strict=True):
        torch.testing.assert_close(gradient, wanted, rtol=1e-9, atol=1e-9)


def test_all_engines_are_timed_on_all_threads_and_leave_torch_as_it_was() -> None:
    events, target = events_of((2, 3, 1, 4, 6, 1)), torch.tensor([0, 1, 2, 0, 1, 2])
    threads = torch.get_num_threads()
    measured = engines.measure(events, target, [2, 6], [1, 2], rounds=2)
    assert torch.get_num_threads() == threads
    assert {m.case for m in measured} == {
        Case(engine, batch, n) for engine in engines.ENGINES for batch in (2, 6) for n in (1, 2)
    }
    assert all(len(m.timing.wall) == 2 and min(m.timing.wall) > 0.0 and m.flop > 0 for m in measured)
    assert 0.0 <= loading.gather_seconds(events, 6, rounds=3) < min(m.timing.median_cpu for m in measured)
    with pytest.raises(ValueError, match="a batch of 7 events needs as many, there are 6"):
        engines.measure(events, target, [7], [1], rounds=1)


def test_an_engine_that_computes_something_else_is_not_timed() -> None:
    events, index = events_of((2, 3)), torch.tensor([0, 1])
    models = {"native": build(2, seed=0), "another": build(2, seed=1)}
    outputs = {name: engines.outputs_of("native", model, events, index) for name, model in models.items()}
    with pytest.raises(EnginesDisagree, match="another differs from native by"):
        engines.check_agreement(outputs, index)


@pytest.mark.parametrize("shared_blocks", [False, True])
def test_counted_operations_are_those_that_run(shared_blocks: bool) -> None:
    """Against torch's own counter, on the plain form; only the inputs' gradients, which nobody needs, are not run."""
    events = events_of((3, 1, 7, 12))
    model = build(5, shared_blocks=shared_blocks).double()
    with FlopCounterMode(display=False) as forward, torch.no_grad():
        model(events.nodes.double(), events.offsets)
    assert work.model_flop(model, events.offsets) == 3 * forward.get_total_flops()
    with FlopCounterMode(display=False) as step:
        model(events.nodes.double(), events.offsets).sum().backward()
    assert (
        0.95 * work.model_flop(model, events.offsets) < step.get_total_flops() <= work.model_flop(model, events.offsets)
    )


def test_works_take_turns() -> None:
    done: list[str] = []
    works: dict[str, Callable[[], None]] = {name: lambda name=name: done.append(name) for name in "AB"}
    timings = interleaved(works, 2)
    assert done == ["A", "B"] * 3  # the first turn is not timed
    assert [len(timing.wall) for timing in timings.values()] == [2, 2]
    with pytest.raises(ValueError, match="0 rounds"):
        interleaved(works, 0)


def test_figures_follow_from_timings() -> None:
    def timed(engine: str, threads: int, cpu: float, wall: float, main: float = 0.0) -> Measured:
        timing = Timing((9.0 * wall, wall, 5.0 * wall), (cpu, 7.0 * cpu, 0.5 * cpu), (main, main, main))
        return Measured(Case(engine, 1024, threads), timing, flop=10**9)

    measured = [timed("native", 1, 0.2, 0.3), timed("dgl_built", 1, 0.8, 9.0), timed("dgl_cached", 1, 0.6, 9.0)]
    figures = report.engine_figures(
        measured, 0.002, Ceilings(0.0, wide={"float32": 5e10}, narrow={"float32": 2e10}), "cpu"
    )
    assert figures["native_over_dgl_built"] == pytest.approx(4.0)
    assert figures["native_over_dgl_cached"] == pytest.approx(3.0)
    assert figures["loading_share"] == pytest.approx(0.01)
    assert figures["events_per_second"] == pytest.approx(5120)
    assert figures["fraction_of_matmul_peak"] == pytest.approx(0.25)
    assert figures["fraction_of_wide_matmul_peak"] == pytest.approx(0.1)
    assert figures.keys() <= report.DEFINITIONS.keys()
    two = report.thread_figures([*measured, timed("native", 2, 0.22, 0.15, main=0.12)])
    assert two["two_threads_over_one"] == pytest.approx(2.0)
    assert two["two_threads_over_one_if_idle"] == pytest.approx(0.2 / 0.12)
    assert report.engine_table(measured, "cpu").row_count == 3
    assert [row["batch"] for row in report.rows(measured)] == [1024] * 3
