"""One training step (batch, forward, loss, backward, Adam) in each form that a GPU can run it in, from the same weights.

eager: the network as it stands, launched kernel by kernel.  captured: the plain formulas on padded batches, one CUDA graph.
triton: our own kernels, one CUDA graph.  geometric: PyTorch Geometric's MetaLayer, its batches collated beforehand.
It times nothing, and trains no result.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal, cast

import torch
from torch import Tensor, nn

from breakeven.models import build, gpu
from breakeven.models.event_network import EventNetwork
from breakeven.training.batches import EventTensors, Sample
from breakeven.training.captured import captured
from breakeven.training.engine import Engine
from breakeven.training.engines import kernels_of
from breakeven.training.objectives import named_objective
from breakeven.training.optimiser import make_optimiser
from breakeven.training.plain_engine import whole_networks
from breakeven.training.precision import forward_in, products_in
from breakeven.training.recipe import Precision, Recipe
from breakeven.training.training import Training

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


def trainings_of(case: Case, events: EventTensors, target: Tensor) -> list[Training]:
    """One for each member, on the events of its step, with weights and scaling of its seed.

    target: [n_events] int64 class numbers.  A network alone learns the class, as in pretraining; the members of a pack
    learn class 0 against all others, as in a task.
    """
    alone = case.members == 1
    n_outputs = int(target.max()) + 1 if alone else 1
    recipe = Recipe(
        "multiclass" if alone else "binary", batch_size=case.batch, learning_rate=_RATE, precision=case.precision
    )
    prepared = named_objective(recipe.objective, n_outputs).prepare(target if alone else (target == 0).long())
    samples = [Sample(index, prepared[index]) for index in index_of(case, events)]
    return [
        Training(model_of(events, n_outputs, seed), events, sample, sample, recipe)
        for seed, sample in enumerate(samples)
    ]


def index_of(case: Case, events: EventTensors) -> Tensor:
    """The event numbers of a step [members, batch] int64, a function of its sizes alone."""
    generator = torch.Generator().manual_seed(case.batch)
    return torch.randint(events.n_events, (case.members, case.batch), generator=generator).to(events.device)


def model_of(events: EventTensors, n_outputs: int, seed: int = 0) -> EventNetwork:
    """A network whose weights and scaling depend on events and seed alone."""
    model = build(n_outputs, seed=seed)
    offsets = events.offsets[: min(events.n_events, 4000) + 1].cpu()
    model.fit_scaling([(events.nodes[: int(offsets[-1])].cpu(), offsets)])
    return model.to(events.device)


def step_of(case: Case, events: EventTensors, target: Tensor) -> Callable[[], object]:
    """A function that takes one step, of the same events each time. Raises NotServed where the form cannot run here."""
    trainings = trainings_of(case, events, target)
    if case.form in ENGINES:
        engine = _engine(case, trainings)
        return captured([engine.backward, engine.update], events.device)
    return eager_step(trainings[0], _outputs(case, trainings[0]))


def eager_step(training: Training, outputs: Callable[[], Tensor]) -> Callable[[], None]:
    """A function that takes one step of Adam on the training sample, whose outputs are given, launch by launch."""
    adam = make_optimiser(training.model, training.recipe, training.strategy)

    def step() -> None:
        adam.zero_grad(set_to_none=True)
        _differentiate(training, outputs)
        adam.step()

    return step


def gradient_of(case: Case, events: EventTensors, target: Tensor) -> Tensor:
    """The gradient of the first member's mean loss [n_parameters], before any step; raises as step_of does."""
    trainings = trainings_of(case, events, target)
    if case.form in ENGINES:
        engine = _engine(case, trainings)
        engine.backward()
        return engine.gradient[0, : sum(parameter.numel() for parameter in trainings[0].model.parameters())]
    _differentiate(trainings[0], _outputs(case, trainings[0]))
    return _flat_gradient(trainings[0].model)


def exact_gradient_of(case: Case, events: EventTensors, target: Tensor) -> Tensor:
    """The same in float64, by the network as it stands, whatever the case's form and precision."""
    training = trainings_of(case, events, target)[0]
    model, sample = training.model.double(), training.train_sample
    nodes, offsets = events.gather(sample.index)
    (training.objective.loss_sum(model(nodes.double(), offsets), sample.target) / case.batch).backward()
    return _flat_gradient(model)


def _flat_gradient(model: nn.Module) -> Tensor:
    """Zeros where a weight had no part in the outputs: the last block's edges, where events have one object each."""
    return torch.cat(
        [(torch.zeros_like(p) if p.grad is None else p.grad).reshape(-1) for p in model.parameters()]
    ).detach()


def _differentiate(training: Training, outputs: Callable[[], Tensor]) -> None:
    """Add up the gradients of one step."""
    precision, sample = training.recipe.precision, training.train_sample
    with products_in(precision):
        with forward_in(precision, training.events.device):
            values = outputs()
        (training.objective.loss_sum(values.float(), sample.target) / len(sample)).backward()


def _outputs(case: Case, training: Training) -> Callable[[], Tensor]:
    """The outputs of a step's events, in a form without an engine."""
    if case.members > 1:
        raise NotServed(f"{case.form} has no packs; take members=1")
    model, events, index = training.model, training.events, training.train_sample.index
    if case.form == "eager":
        return lambda: model(*events.gather(index))
    try:
        from breakeven.benchmarks import geometric
    except ImportError as error:
        raise NotServed(f"PyTorch Geometric is not there ({error}); pip install 'breakeven[pyg]'") from error
    return partial(geometric.GeometricNetwork(cast(EventNetwork, model)), geometric.collate(*events.gather(index)))


def _engine(case: Case, trainings: Sequence[Training]) -> Engine:
    """The engine of a case, its batch laid out."""
    index = torch.stack([training.train_sample.index for training in trainings])
    objects = trainings[0].events.offsets.diff()[index]
    nodes, edges = int(objects.sum(1).max()), int((objects * (objects - 1)).sum(1).max())
    engine: Engine
    if case.form == "triton":
        engine = kernels_for(trainings, nodes, edges)
    else:
        engine = whole_networks(trainings, case.batch, nodes, edges)
    engine.index.copy_(index)
    engine.target.copy_(torch.stack([training.train_sample.target for training in trainings]))
    engine.count.fill_(case.batch)
    engine.divisor.fill_(case.batch)
    engine.rates.fill_(_RATE)
    return engine


def kernels_for(trainings: Sequence[Training], most_nodes: int, most_edges: int) -> "Kernels":
    """The engine of our own kernels; raises NotServed with the reason where there is none."""
    model, recipe = cast(EventNetwork, trainings[0].model), trainings[0].recipe
    if trainings[0].events.device.type != "cuda":
        raise NotServed("triton: the events lie on no CUDA card")
    if reason := gpu.refusal(model, recipe.precision):
        raise NotServed(f"triton: {reason}")
    return kernels_of(trainings, recipe.batch_size, most_nodes, most_edges)
