"""One training step (batch, forward, backward, Adam) in each engine, on the same events from the same weights.

native: this package's.  dgl_built: DGL, graphs built for each batch.  dgl_cached: DGL, graphs built once and batched.
pyg: PyTorch Geometric's MetaLayer, graphs built once and batched. Never trains a result.
"""

import importlib.util
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from breakeven.benchmarks import forms, work
from breakeven.benchmarks.timing import Timing, interleaved, on_one_thread
from breakeven.models import build, graph_network_dgl
from breakeven.models.event_network import EventNetwork
from breakeven.models.graph_network_dgl import GraphNetworkDGL
from breakeven.models.weights import load_weights
from breakeven.training.batches import EventTensors, Sample, epoch_order
from breakeven.training.recipe import Recipe
from breakeven.training.training import Training

ENGINES = ("native", "dgl_built", "dgl_cached", "pyg")

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
    Where the events lie on a GPU, DGL is left out: its last wheels that import beside this torch are for CPU; and PyTorch
    Geometric where it is not installed.
    Raises EnginesDisagree before anything is timed, ValueError where there are fewer events than a batch needs.
    """
    if events.device.type == "cuda":
        engines = [engine for engine in engines if not engine.startswith("dgl")]
    if importlib.util.find_spec("torch_geometric") is None:
        engines = [engine for engine in engines if engine != "pyg"]
    measured: list[Measured] = []
    with on_one_thread():
        for batch in batch_sizes:
            if batch > events.n_events:
                raise ValueError(f"a batch of {batch:,} events needs as many, there are {events.n_events:,}")
            index = epoch_order(events.n_events, seed=0, epoch=0)[:batch].to(events.device)
            models = {engine: _model(engine, events, target) for engine in engines}
            outputs = {engine: outputs_of(engine, model, events, index) for engine, model in models.items()}
            check_agreement(outputs, index[:64])
            sample = Sample(index, target[index])
            recipe = Recipe("multiclass", batch_size=batch)
            steps = {
                engine: forms.eager_step(
                    Training(model, events, sample, sample, recipe), partial(outputs[engine], index)
                )
                for engine, model in models.items()
            }
            timings = interleaved(
                {Case(engine, batch, n): _on(n, step) for n in threads for engine, step in steps.items()},
                rounds,
                events.device,
            )
            flop = work.model_flop(models[engines[0]], events.gather(index)[1])
            measured += [Measured(case, timing, flop) for case, timing in timings.items()]
    return measured


def outputs_of(engine: str, model: EventNetwork, events: EventTensors, index: Tensor) -> Outputs:
    """How `engine` gets from event numbers to outputs; the events `index` [n] are cached where the engine caches."""
    if engine == "native":
        return lambda rows: model(*events.gather(rows))
    if engine == "dgl_built":
        built = _dgl_outputs(model)
        return lambda rows: built(graph_network_dgl.event_graphs(*events.gather(rows)))
    if engine == "dgl_cached":
        graphs, outputs = graph_network_dgl.event_graphs(*events.gather(index)), _dgl_outputs(model)
    else:
        from breakeven.benchmarks import geometric

        graphs, network = geometric.event_graphs(*events.gather(index)), geometric.GeometricNetwork(model)
        outputs = lambda chosen: network(geometric.batch(chosen))  # noqa: E731
    cache = dict(zip(index.tolist(), graphs, strict=True))
    return lambda rows: outputs([cache[row] for row in rows.tolist()])


def check_agreement(outputs: dict[str, Outputs], index: Tensor) -> None:
    """Raise EnginesDisagree where an engine's outputs for `index` [n] are not the first engine's."""
    with torch.no_grad():
        (first, expected), *others = [(engine, function(index)) for engine, function in outputs.items()]
    for engine, values in others:
        difference = float((values - expected).norm() / expected.norm())
        if not difference < 1e-4:
            raise EnginesDisagree(f"{engine} differs from {first} by {difference:.2g} of the outputs' size")


def _model(engine: str, events: EventTensors, target: Tensor) -> EventNetwork:
    """The network with weights and scaling that depend on the events alone, not on the engine."""
    n_outputs = int(target.max()) + 1
    native = forms.model_of(events, n_outputs)
    if not engine.startswith("dgl"):
        return native
    model = build(n_outputs, "dgl")
    load_weights(model, native.state_dict(), source="the native engine")
    return model.to(events.device)


def _on(threads: int, step: Callable[[], None]) -> Callable[[], None]:
    def run() -> None:
        torch.set_num_threads(threads)
        step()

    return run


def _dgl_outputs(model: EventNetwork) -> Callable[[list[Any]], Tensor]:
    assert isinstance(model, GraphNetworkDGL)
    return lambda graphs: model.forward_graph(graph_network_dgl.batch(graphs))
