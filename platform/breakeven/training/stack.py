"""Trainings side by side: K networks of one shape, a step of all of them at once, each with its own recipe.

Every epoch is one of all members; one that ends or fails leaves the stack. What a member does is what loop.train does
with it alone, to floating point. Entered through pack.py.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from breakeven.models.stacked import StackedBatch, StackedNetwork, stack_batches
from breakeven.models.weights import load_weights
from breakeven.training import optimiser as optimisers
from breakeven.training.batches import EventTensors, Sample, epoch_order
from breakeven.training.clock import Clock
from breakeven.training.member import Failed, Member
from breakeven.training.nonfinite import not_finite
from breakeven.training.objectives import Objective, named_objective, quality
from breakeven.training.precision import forward_in
from breakeven.training.progress import Progress
from breakeven.training.recipe import Result
from breakeven.training.start import check_device, ready_sample, start_weights

_BETAS, _EPSILON = (0.9, 0.999), 1e-8
"""torch.optim.Adam's own, which make_optimiser leaves as they are."""


def train_stacked(members: Sequence[Member], events: EventTensors) -> list[Result | Failed]:
    """Train members whose models have equal configurations, dtypes and precisions; see pack.train_pack."""
    clock = Clock(events.device)
    outcomes: dict[int, Result | Failed] = {}
    runs: list[_Run] = []
    before = 0.0
    for number, member in enumerate(members):
        started = _start(number, member, events)
        now = clock.read()[1]
        if isinstance(started, _Run):
            started.device_seconds = now - before
            runs.append(started)
        else:
            outcomes[number] = Failed(started, now - before)
        before = now
    if runs:
        _train_all(runs, events, clock, before, outcomes)
    return [outcomes[number] for number in range(len(members))]


@dataclass
class _Run:
    """A member under way. number: its place in the pack."""

    number: int
    member: Member
    objective: Objective
    training: Sample
    validation: Sample
    progress: Progress = field(default_factory=Progress)
    device_seconds: float = 0.0

    @property
    def work(self) -> int:
        """What an epoch costs, in events without gradients: a step with them costs three times that."""
        return 3 * len(self.training) + len(self.validation)


def _start(number: int, member: Member, events: EventTensors) -> "_Run | Exception":
    try:
        objective = named_objective(member.recipe.objective, member.model.n_outputs)
        training = ready_sample(member.training, events, objective, "training")
        validation = ready_sample(member.validation, events, objective, "validation")
        check_device(member.model, events)
        start_weights(member.model, events, training, member.recipe, member.strategy, member.backbone)
    except Exception as error:  # whatever it is, it is this member's
        return error
    return _Run(number, member, objective, training, validation)


def _train_all(
    runs: list[_Run], events: EventTensors, clock: Clock, before: float, outcomes: dict[int, Result | Failed]
) -> None:
    stack = StackedNetwork([run.member.model for run in runs])
    adam = _StackedAdam(stack.weights)
    while runs:
        losses = _train_epoch(runs, stack, adam, events)
        for place, run in enumerate(runs):
            stack.copy_to(run.member.model, place)
        validation_outputs = _evaluate(runs, stack, events)
        wall, now = clock.read()
        work = sum(run.work for run in runs)
        for run, of_batches, outputs in zip(runs, losses, validation_outputs, strict=True):
            run.device_seconds += (now - before) * run.work / work
            try:
                result = _end_epoch(run, of_batches, outputs, events, wall)
            except Exception as error:  # the others go on
                outcomes[run.number] = Failed(error, run.device_seconds)
                continue
            if result is not None:
                outcomes[run.number] = result
        before = now
        stay = [place for place, run in enumerate(runs) if run.number not in outcomes]
        if len(stay) < len(runs):
            runs = [runs[place] for place in stay]
            if runs:
                stack = StackedNetwork([run.member.model for run in runs])
                adam.keep(stay)


def _train_epoch(
    runs: Sequence[_Run], stack: StackedNetwork, adam: "_StackedAdam", events: EventTensors
) -> list[list[float]]:
    """One pass of every member over its own training sample; the loss sum of each of its batches."""
    epoch, device = len(runs[0].progress.curve), events.device
    batches = [
        epoch_order(len(run.training), run.member.recipe.seed, epoch).to(device).split(run.member.recipe.batch_size)
        for run in runs
    ]
    n_batches = torch.tensor([len(of_run) for of_run in batches], device=device)
    rates = _rates(runs, stack, epoch)
    losses: list[list[Tensor]] = [[] for _ in runs]
    for step in range(max(len(of_run) for of_run in batches)):
        rows = [of_run[step] if step < len(of_run) else of_run[0][:0] for of_run in batches]
        batch = _gather(events, [run.training.index[own] for run, own in zip(runs, rows, strict=True)])
        with forward_in(runs[0].member.recipe.precision, device):
            outputs = stack.outputs(batch)
        total = stack.weights.new_zeros(())
        for run, own, output, kept in zip(runs, rows, outputs, losses, strict=True):
            if len(own):
                loss = run.objective.loss_sum(output.to(stack.weights.dtype), run.training.target[own])
                total = total + loss / len(own)
                kept.append(loss.detach())
        adam.step(stack.weights, torch.autograd.grad(total, stack.weights)[0], rates, n_batches > step)
    return [torch.stack(kept).double().tolist() for kept in losses]


@torch.no_grad()
def _evaluate(runs: Sequence[_Run], stack: StackedNetwork, events: EventTensors) -> list[Tensor]:
    """The outputs [n, n_outputs] of every member on its own validation sample."""
    parts = [run.validation.index.split(run.member.recipe.evaluation_batch_size) for run in runs]
    found: list[list[Tensor]] = [[] for _ in runs]
    for step in range(max(len(of_run) for of_run in parts)):
        own = [of_run[step] if step < len(of_run) else of_run[0][:0] for of_run in parts]
        for kept, output in zip(found, stack.outputs(_gather(events, own)), strict=True):
            kept.append(output)
    return [torch.cat(kept) for kept in found]


def _end_epoch(run: _Run, losses: list[float], outputs: Tensor, events: EventTensors, wall: float) -> Result | None:
    """Add the epoch to the member's curve; its result if that was the last. Raises NonFinite as loop.train does."""
    member, recipe, progress = run.member, run.member.recipe, run.progress
    epoch = len(progress.curve)
    for number, loss in enumerate(losses):
        if not math.isfinite(loss):
            order = epoch_order(len(run.training), recipe.seed, epoch).to(events.device)
            index = run.training.index[order.split(recipe.batch_size)[number]]
            raise not_finite(loss, events, index, member.model, recipe, epoch, number)
    found = quality(run.objective, outputs, run.validation.target)
    if not math.isfinite(found["loss"]):
        raise not_finite(found["loss"], events, run.validation.index, member.model, recipe, epoch)
    n_events, train_loss = len(run.training), sum(losses) / len(run.training)
    done = progress.add(member.model, recipe, n_events, train_loss, found, (wall, run.device_seconds))
    asked = member.on_epoch is not None and bool(member.on_epoch(done))
    if not asked and progress.goes_on(recipe):
        return None
    load_weights(member.model, progress.best_weights, source="the best epoch")
    return progress.result(recipe, asked)


def _gather(events: EventTensors, indices: Sequence[Tensor]) -> StackedBatch:
    nodes, offsets = events.gather(torch.cat(list(indices)))
    return stack_batches(nodes, offsets, [len(index) for index in indices])


def _rates(runs: Sequence[_Run], stack: StackedNetwork, epoch: int) -> Tensor:
    """The learning rate of every parameter of every member in this epoch, [K, n_parameters]; as set_rates has it."""
    rates = [run.member.recipe.rate(epoch) for run in runs]
    ratios = [optimisers.backbone_ratio(run.member.recipe, run.member.strategy) for run in runs]
    head, ratio = torch.tensor([rates, ratios], dtype=torch.float64).to(stack.weights)[:, :, None]
    return torch.where(stack.head_columns(), head, head * ratio)


class _StackedAdam:
    """torch.optim.Adam with its default betas and epsilon, for rows of weights that each have their own rates and steps."""

    def __init__(self, weights: Tensor) -> None:
        self._first, self._second = torch.zeros_like(weights), torch.zeros_like(weights)
        self._steps = torch.zeros(len(weights), 1, dtype=torch.float64, device=weights.device)

    def keep(self, rows: list[int]) -> None:
        """Forget all rows but these."""
        self._first, self._second, self._steps = self._first[rows], self._second[rows], self._steps[rows]

    @torch.no_grad()
    def step(self, weights: Tensor, gradient: Tensor, rates: Tensor, taking_part: Tensor) -> None:
        """One step of the rows that are `taking_part` [K] bool; the others stay as they are."""
        part, dtype = taking_part[:, None].double(), weights.dtype
        self._steps += part
        self._first.lerp_(gradient, (part * (1.0 - _BETAS[0])).to(dtype))
        self._second.lerp_(gradient.square(), (part * (1.0 - _BETAS[1])).to(dtype))
        unbiased = (1.0 - _BETAS[1] ** self._steps).sqrt().to(dtype)
        size = (part / (1.0 - _BETAS[0] ** self._steps)).to(dtype)
        weights.sub_(rates * size * self._first / (self._second.sqrt() / unbiased + _EPSILON))
