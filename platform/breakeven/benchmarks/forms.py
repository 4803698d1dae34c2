"""One training step (batch, forward, loss, backward, Adam) in each form that a GPU can run it in, from the same weights.

eager: the network as it stands, launched kernel by kernel.  captured: the plain formulas on padded batches, one CUDA graph.
triton: our own kernels, one CUDA graph.  geometric: PyTorch Geometric's MetaLayer, its batches collated beforehand.
It times nothing, and trains no result.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from breakeven.models import build
from breakeven.models.event_network import EventNetwork
from breakeven.training.batches import EventTensors
from breakeven.training.captured import captured
from breakeven.training.engine import Engine
from breakeven.training.objectives import Objective, named_objective
from breakeven.training.optimiser import make_optimiser
from breakeven.training.plain_engine import whole_networks
from breakeven.training.precision import forward_in, products_in
from breakeven.training.recipe import Precision, Recipe, Strategy

if TYPE_CHECKING:
    from breakeven.models.gpu.engine import Engine as Kernels

Form = Literal["eager", "captured", "triton", "geometric"]
FORMS: tuple[Form, ...] = ("eager", "captured", "triton", "geometric")
ENGINES: tuple[Form, ...] = ("captured", "triton")
"""The forms that train several networks side by side."""

_RATE = 1e-4


class NotServed(RuntimeError):
    """A form does not run here: what is missing, or what it does not serve."""


@dataclass(frozen=True)
class Case:
    """A step. batch: events of each member.  members: networks that take it side by side."""

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


@dataclass(frozen=True)
class Problem:
    """What all forms are given. index: [members, batch] int64, event numbers.  target: [n_events], prepared."""

    models: Sequence[EventNetwork]
    objective: Objective
    events: EventTensors
    index: Tensor
    target: Tensor


def problem_of(case: Case, events: EventTensors, target: Tensor) -> Problem:
    """Networks with weights and scaling of their seeds, and events chosen at random, repeats allowed.

    target: [n_events] int64 class numbers.  A network alone learns the class, as in pretraining; the members of a pack
    learn class 0 against all others, as in a task.
    """
    alone = case.members == 1
    n_outputs = int(target.max()) + 1 if alone else 1
    objective = named_objective("multiclass" if alone else "binary", n_outputs)
    models = [model_of(events, n_outputs, seed) for seed in range(case.members)]
    prepared = objective.prepare(target if alone else (target == 0).long())
    return Problem(models, objective, events, index_of(case, events), prepared)


def index_of(case: Case, events: EventTensors) -> Tensor:
    """The event numbers of a step [members, batch] int64, a function of its sizes alone."""
    generator = torch.Generator().manual_seed(case.batch)
    return torch.randint(events.n_events, (case.members, case.batch), generator=generator).to(events.device)


def model_of(events: EventTensors, n_outputs: int, seed: int = 0) -> EventNetwork:
    """A network whose weights and scaling depend on events and seed alone."""
    model = build(n_outputs, seed=seed)
    offsets = events.offsets[: min(events.n_events, 4000) + 1].cpu()
    model.measure_scaling(events.nodes[: int(offsets[-1])].cpu(), offsets)
    return model.to(events.device)


def step_of(case: Case, events: EventTensors, target: Tensor) -> Callable[[], object]:
    """A function that takes one step, of the same events each time. Raises NotServed where the form cannot run here."""
    problem = problem_of(case, events, target)
    if case.form in ENGINES:
        engine = _engine(case, problem)

        return captured([engine.backward, engine.update], events.device)
    outputs = _outputs(case, problem)
    adam = make_optimiser(problem.models[0], Recipe(learning_rate=_RATE), Strategy())

    def step() -> None:
        adam.zero_grad(set_to_none=True)
        _differentiate(case, problem, outputs)
        adam.step()

    return step


def gradient_of(case: Case, events: EventTensors, target: Tensor) -> Tensor:
    """The gradient of the first member's mean loss [n_parameters], before any step; raises as step_of does."""
    problem = problem_of(case, events, target)
    if case.form in ENGINES:
        engine = _engine(case, problem)
        engine.backward()
        return engine.gradient[0, : sum(parameter.numel() for parameter in problem.models[0].parameters())]
    _differentiate(case, problem, _outputs(case, problem))
    return _flat_gradient(problem.models[0])


def exact_gradient_of(case: Case, events: EventTensors, target: Tensor) -> Tensor:
    """The same in float64, by the network as it stands, whatever the case's form and precision."""
    problem = problem_of(case, events, target)
    model = problem.models[0].double()
    nodes, offsets = events.gather(problem.index[0])
    outputs = model(nodes.double(), offsets)
    (problem.objective.loss_sum(outputs, problem.target[problem.index[0]]) / case.batch).backward()
    return _flat_gradient(model)


def _flat_gradient(model: EventNetwork) -> Tensor:
    """Zeros where a weight had no part in the outputs: the last block's edges, where events have one object each."""
    return torch.cat(
        [(torch.zeros_like(p) if p.grad is None else p.grad).reshape(-1) for p in model.parameters()]
    ).detach()


def _differentiate(case: Case, problem: Problem, outputs: Callable[[], Tensor]) -> None:
    """Add up the gradients of one step."""
    with products_in(case.precision):
        with forward_in(case.precision, problem.index.device):
            found = outputs()
        (problem.objective.loss_sum(found.float(), problem.target[problem.index[0]]) / case.batch).backward()


def _outputs(case: Case, problem: Problem) -> Callable[[], Tensor]:
    """The outputs of a step's events, in a form without an engine."""
    if case.members > 1:
        raise NotServed(f"{case.form} has no packs; take members=1")
    model, events, index = problem.models[0], problem.events, problem.index[0]
    if case.form == "eager":
        return lambda: model(*events.gather(index))
    try:
        from breakeven.benchmarks import geometric
    except ImportError as error:
        raise NotServed(f"PyTorch Geometric is not there ({error}); pip install 'breakeven[pyg]'") from error
    return partial(geometric.GeometricNetwork(model), geometric.collate(*events.gather(index)))


def _engine(case: Case, problem: Problem) -> Engine:
    """The engine of a case, its batch laid out."""
    events = problem.events
    objects = events.offsets.diff()[problem.index]
    nodes, edges = objects.sum(1), (objects * (objects - 1)).sum(1)
    room = int(nodes.max()), int(edges.max())
    engine: Engine
    if case.form == "triton":
        engine = kernels_of(case, problem, *room)
    else:
        engine = whole_networks(
            problem.models, events, problem.objective, problem.target, case.batch, *room, case.precision
        )
    engine.index.copy_(problem.index)
    engine.target.copy_(problem.target[problem.index])
    engine.count.fill_(case.batch)
    engine.divisor.fill_(case.batch)
    engine.rates.fill_(_RATE)
    return engine


def kernels_of(case: Case, problem: Problem, most_nodes: int, most_edges: int) -> "Kernels":
    """The engine of our own kernels; raises NotServed with the reason where there is none."""
    if problem.index.device.type != "cuda":
        raise NotServed("triton: the events lie on no CUDA card")
    from breakeven.models import gpu

    if reason := gpu.refusal(problem.models[0], case.precision):
        raise NotServed(f"triton: {reason}")
    from breakeven.models.gpu.engine import Engine as Kernels

    return Kernels(
        problem.models, problem.events.nodes, problem.events.offsets, objective=problem.objective.name,
        batch=case.batch, most_nodes=most_nodes, most_edges=most_edges, precision=case.precision,
    )  # fmt: skip
