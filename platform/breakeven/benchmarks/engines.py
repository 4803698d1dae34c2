"""One training step (batch, forward, backward, Adam) in each engine, on the same events from the same weights.

native: this package's.  dgl_built: DGL, graphs built for each batch.  dgl_cached: DGL, graphs built once and batched.
pyg_idiom: see pyg_idiom.py, graphs built once and collated. Never trains a result.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from breakeven.benchmarks import pyg_idiom, work
from breakeven.benchmarks.timing import Timing, interleaved
from breakeven.models import build, graph_network_dgl
from breakeven.models.event_network import EventNetwork
from breakeven.models.graph_network_dgl import GraphNetworkDGL
from breakeven.models.weights import load_weights
from breakeven.training.batches import EventTensors, epoch_order
from breakeven.training.optimiser import make_optimiser
from breakeven.training.recipe import Recipe, Strategy

ENGINES = ("native", "dgl_built", "dgl_cached", "pyg_idiom")

Outputs = Callable[[Tensor], Tensor]
"""From event numbers [n] int64 to outputs [n, n_outputs], making the batch included."""


class EnginesDisagree(RuntimeError):
    """An engine computes another function than the native one, so that its time says nothing."""


@dataclass(frozen=True)
class Case:
    """What was timed."""

    engine: str
    batch: int
    threads: int


@dataclass(frozen=True)
class Measured:
    """A case, the timing of one step, and its floating-point operations in the split form (work.model_flop)."""

    case: Case
    timing: Timing
    flop: int


def measure(
    events: EventTensors,
    target: Tensor,
    batch_sizes: Iterable[int],
    threads: Sequence[int],
    rounds: int,
    engines: Sequence[str] = ENGINES,
) -> list[Measured]:
    """Time one step of every engine for all batch sizes and numbers of threads, interleaved for each batch size.

    target: [n_events] int64 class numbers.  threads: of torch; the same step on all of them, within one round.
    Where the events lie on a GPU, DGL is left out: its last wheels that import beside this torch are for CPU.
    Raises EnginesDisagree before anything is timed, ValueError where there are fewer events than a batch needs.
    """
    if events.device.type == "cuda":
        engines = [engine for engine in engines if not engine.startswith("dgl")]
    before, measured = torch.get_num_threads(), []
    try:
        torch.set_num_threads(threads[0])
        for batch in batch_sizes:
            if batch > events.n_events:
                raise ValueError(f"a batch of {batch:,} events needs as many, there are {events.n_events:,}")
            index = epoch_order(events.n_events, seed=0, epoch=0)[:batch].to(events.device)
            models = {engine: _model(engine, events, target) for engine in engines}
            outputs = {engine: outputs_of(engine, model, events, index) for engine, model in models.items()}
            check_agreement(outputs, index[:64])
            steps = {engine: _step(models[engine], outputs[engine], index, target[index]) for engine in engines}
            timings = interleaved(
                {Case(engine, batch, n): _on(n, step) for n in threads for engine, step in steps.items()},
                rounds,
                events.device,
            )
            flop = work.model_flop(models[engines[0]], events.gather(index)[1])
            measured += [Measured(case, timing, flop) for case, timing in timings.items()]
    finally:
        torch.set_num_threads(before)
    return measured


def outputs_of(engine: str, model: EventNetwork, events: EventTensors, index: Tensor) -> Outputs:
    """How `engine` gets from event numbers to outputs; the events `index` [n] are cached where the engine caches."""
    if engine == "native":
        return lambda rows: model(*events.gather(rows))
    if engine == "dgl_built":
        return _dgl_built(model, events)
    graphs = (graph_network_dgl if engine == "dgl_cached" else pyg_idiom).event_graphs(*events.gather(index))
    cache = dict(zip(index.tolist(), graphs, strict=True))
    batched = _dgl_outputs if engine == "dgl_cached" else _pyg_outputs
    return lambda rows: batched(model, [cache[row] for row in rows.tolist()])


def check_agreement(outputs: dict[str, Outputs], index: Tensor) -> None:
    """Raise EnginesDisagree where an engine's outputs for `index` [n] are not the first engine's."""
    with torch.no_grad():
        (first, expected), *others = [(engine, function(index)) for engine, function in outputs.items()]
    for engine, found in others:
        difference = float((found - expected).norm() / expected.norm())
        if not difference < 1e-4:
            raise EnginesDisagree(f"{engine} differs from {first} by {difference:.2g} of the outputs' size")


def _model(engine: str, events: EventTensors, target: Tensor) -> EventNetwork:
    """The network with weights and scaling that depend on the events alone, not on the engine."""
    n_outputs = int(target.max()) + 1
    native = build(n_outputs, seed=0)
    native.measure_scaling(events.nodes.cpu(), events.offsets.cpu())
    if engine == "native":
        return native.to(events.device)
    model = build(n_outputs, "dgl") if engine.startswith("dgl") else pyg_idiom.GraphNetworkPyG(n_outputs)
    load_weights(model, native.state_dict(), source="the native engine")
    return model.to(events.device)


def _step(model: EventNetwork, outputs: Outputs, index: Tensor, target: Tensor) -> Callable[[], None]:
    adam = make_optimiser(model, Recipe(learning_rate=1e-4), Strategy())

    def step() -> None:
        adam.zero_grad(set_to_none=True)
        functional.cross_entropy(outputs(index), target).backward()
        adam.step()

    return step


def _on(threads: int, step: Callable[[], None]) -> Callable[[], None]:
    def run() -> None:
        torch.set_num_threads(threads)
        step()

    return run


def _dgl_built(model: EventNetwork, events: EventTensors) -> Outputs:
    return lambda rows: _dgl_outputs(model, graph_network_dgl.event_graphs(*events.gather(rows)))


def _dgl_outputs(model: EventNetwork, graphs: list[Any]) -> Tensor:
    assert isinstance(model, GraphNetworkDGL)
    return model.forward_graph(graph_network_dgl.batch(graphs))


def _pyg_outputs(model: EventNetwork, graphs: list[Any]) -> Tensor:
    assert isinstance(model, pyg_idiom.GraphNetworkPyG)
    return model.forward_batch(pyg_idiom.collate(graphs))
