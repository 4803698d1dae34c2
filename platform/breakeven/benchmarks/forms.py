"""One training step (batch, forward, loss, backward, Adam) in each form that a GPU can run it in, from the same weights.

eager: the network as it stands, launched kernel by kernel.  captured: the plain formulas on padded batches, one CUDA graph.
triton: our own kernels, one CUDA graph.  geometric: PyTorch Geometric's MetaLayer, its batches collated beforehand.
It times nothing, and trains no result.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from breakeven.models import build
from breakeven.models.event_network import EventNetwork
from breakeven.training.batches import EventTensors
from breakeven.training.engine import Engine
from breakeven.training.objectives import Objective, named_objective
from breakeven.training.optimiser import make_optimiser
from breakeven.training.precision import forward_in, products_in
from breakeven.training.recipe import Precision, Recipe, Strategy

Form = Literal["eager", "captured", "triton", "geometric"]
FORMS: tuple[Form, ...] = ("eager", "captured", "triton", "geometric")

TOLERANCE: dict[Precision, float] = {"float32": 1e-4, "tf32": 1e-2, "bfloat16": 5e-2}
"""Most that a form's outputs may differ from the eager float32 ones, of their size."""
_RATE = 1e-4
_CHECKED = 64


class FormDisagrees(RuntimeError):
    """A form computes another function than the network, so that its time says nothing."""


class NotServed(RuntimeError):
    """A form does not run here: what is missing, or what it does not serve."""


@dataclass(frozen=True)
class Case:
    """A step to be timed. batch: events of each member.  members: networks that take the step side by side."""

    form: Form
    precision: Precision
    batch: int
    members: int = 1

    def __str__(self) -> str:
        return f"{self.form} {self.precision} {self.members} x {self.batch}"

    @property
    def events(self) -> int:
        """Events of one step, over all members."""
        return self.batch * self.members


def step_of(case: Case, events: EventTensors, target: Tensor) -> Callable[[], object]:
    """A function that takes one step; the events of every call are the same ones, chosen at random, repeats allowed.

    target: [n_events] int64 class numbers.  A network alone learns the class, as in pretraining; the members of a pack
    learn class 0 against all others, as in a task.
    Raises NotServed where the form cannot run here, FormDisagrees where its outputs are not the network's.
    """
    name: Literal["multiclass", "binary"] = "multiclass" if case.members == 1 else "binary"
    n_outputs = int(target.max()) + 1 if name == "multiclass" else 1
    objective = named_objective(name, n_outputs)
    target = objective.prepare(target if name == "multiclass" else (target == 0).long())
    models = [model_of(events, n_outputs, seed) for seed in range(case.members)]
    if case.form in ("captured", "triton"):
        return _engine_step(case, models, objective, events, target)
    if case.members > 1:
        raise NotServed(f"{case.form} has no packs; take members=1")
    outputs = _eager(case, models[0], events) if case.form == "eager" else _geometric(case, models[0], events)
    with torch.no_grad(), products_in(case.precision), forward_in(case.precision, events.device):
        _check(case, outputs(), models[0], events)
    return _autograd_step(case, models[0], objective, outputs, target[index_of(case, events)])


def index_of(case: Case, events: EventTensors) -> Tensor:
    """The event numbers of a step, those of its first member first: [members * batch] int64."""
    generator = torch.Generator().manual_seed(case.batch)
    return torch.randint(events.n_events, (case.events,), generator=generator).to(events.device)


def model_of(events: EventTensors, n_outputs: int, seed: int = 0) -> EventNetwork:
    """The network with weights and scaling that depend on events and seed alone, not on the form."""
    model = build(n_outputs, seed=seed)
    few = min(events.n_events, 4000)
    offsets = events.offsets[: few + 1].cpu()
    model.measure_scaling(events.nodes[: int(offsets[-1])].cpu(), offsets)
    return model.to(events.device)


def _eager(case: Case, model: EventNetwork, events: EventTensors) -> Callable[[], Tensor]:
    index = index_of(case, events)
    return lambda: model(*events.gather(index))


def _geometric(case: Case, model: EventNetwork, events: EventTensors) -> Callable[[], Tensor]:
    try:
        from breakeven.benchmarks import geometric
    except ImportError as error:
        raise NotServed(f"PyTorch Geometric is not there ({error}); pip install 'breakeven[pyg]'") from error
    network = geometric.GeometricNetwork(model)
    batch = geometric.collate(*events.gather(index_of(case, events)))
    return lambda: network(batch)


def _autograd_step(
    case: Case, model: EventNetwork, objective: Objective, outputs: Callable[[], Tensor], target: Tensor
) -> Callable[[], object]:
    adam = make_optimiser(model, Recipe(learning_rate=_RATE), Strategy())

    def step() -> None:
        adam.zero_grad(set_to_none=True)
        with products_in(case.precision):
            with forward_in(case.precision, target.device):
                found = outputs()
            (objective.loss_sum(found.float(), target) / case.events).backward()
        adam.step()

    return step


def _engine_step(
    case: Case, models: Sequence[EventNetwork], objective: Objective, events: EventTensors, target: Tensor
) -> Callable[[], object]:
    index = index_of(case, events).view(case.members, case.batch)
    counts = (events.offsets[1:] - events.offsets[:-1])[index]
    sizes = int(counts.sum(1).max()), int((counts * (counts - 1)).sum(1).max())
    engine = _engine(case, models, objective, events, target, *sizes)
    engine.index.copy_(index)
    engine.target.copy_(target[index])
    engine.count.fill_(case.batch)
    engine.divisor.fill_(case.batch)
    engine.rates.fill_(_RATE)
    _check(case, engine.predict()[0], models[0], events)

    def step() -> None:
        engine.backward()
        engine.update()

    return _captured(step) if events.device.type == "cuda" else step


def _engine(
    case: Case,
    models: Sequence[EventNetwork],
    objective: Objective,
    events: EventTensors,
    target: Tensor,
    nodes: int,
    edges: int,
) -> Engine:
    from breakeven.training.plain_engine import whole_networks

    if case.form == "captured":
        return whole_networks(models, events, objective, target, case.batch, nodes, edges, case.precision)
    from breakeven.models import gpu

    if reason := gpu.refuses(models[0], events.nodes, case.precision):
        raise NotServed(f"triton: {reason}")
    return gpu.Engine(
        models, events.nodes, events.offsets, objective=objective.name, batch=case.batch, most_nodes=nodes,
        most_edges=edges, precision=case.precision,
    )  # fmt: skip


def _captured(step: Callable[[], object]) -> Callable[[], object]:
    """The step as one CUDA graph; it is taken three times before, which compiles kernels and makes memory."""
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def _check(case: Case, found: Tensor, model: EventNetwork, events: EventTensors) -> None:
    """Hold a form's outputs [at least n, n_outputs] for the first n of a step's events to the network's own in float32."""
    rows = index_of(case, events)[: min(_CHECKED, case.batch)]
    with torch.no_grad():
        expected = model(*events.gather(rows))
    difference = float((found[: len(rows)].float() - expected).norm() / expected.norm())
    if not difference < TOLERANCE[case.precision]:
        raise FormDisagrees(
            f"{case.form} in {case.precision} differs from the network by {difference:.2g} of its outputs' size, more than "
            f"{TOLERANCE[case.precision]:.2g}, so that its time would say nothing"
        )
