"""Trainings side by side: K networks of one shape, a step of all of them at once, each with its own recipe.

Every epoch is one of all members; one that ends or fails takes no more steps. What a member does is what loop.train does
with it alone, to floating point. Entered through pack.py.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor, nn

from breakeven.models.event_network import EventNetwork
from breakeven.models.stacked import set_parameters
from breakeven.training import optimiser as optimisers
from breakeven.training.batches import EventTensors, Sample, epoch_order
from breakeven.training.captured import Captured
from breakeven.training.clock import Clock
from breakeven.training.engines import captured_heads, captured_networks
from breakeven.training.member import Failed, Member
from breakeven.training.metrics import area_of_ranks
from breakeven.training.nonfinite import not_finite
from breakeven.training.objectives import Objective, named_objective, quality
from breakeven.training.progress import Progress
from breakeven.training.recipe import Result
from breakeven.training.start import check_device, ready_sample, start_weights

OnDone = Callable[[int, Result | Failed], None]
"""Called with the number of a member and its outcome as soon as it has ended."""


def train_stacked(members: Sequence[Member], events: EventTensors, on_done: OnDone) -> list[Result | Failed]:
    """Train members whose models have equal configurations, dtypes, objectives and precisions; see pack.train_pack.

    Either all of them or none have a frozen backbone, which then sees each event once.
    """
    return _Stack(members, events, on_done).train()


@dataclass
class _Run:
    """A member under way. number: its place in the pack.

    training, validation: as it was asked for, targets prepared.  truth: validation targets on CPU.
    """

    number: int
    member: Member
    objective: Objective
    training: Sample
    validation: Sample
    truth: Tensor
    progress: Progress = field(default_factory=Progress)
    device_seconds: float = 0.0

    @property
    def work(self) -> int:
        """What an epoch costs, in events without gradients: a step with them costs three times that."""
        return 3 * len(self.training) + len(self.validation)

    @property
    def trained(self) -> nn.Module:
        """The part of the member's model that learns."""
        model = self.member.model
        return model.head if self.member.strategy.name == "frozen" else model


class _Stack:
    def __init__(self, members: Sequence[Member], events: EventTensors, on_done: OnDone) -> None:
        self._members, self._events, self._on_done = members, events, on_done
        self._clock = Clock(events.device)
        self._outcomes: dict[int, Result | Failed] = {}
        self._before = 0.0

    def train(self) -> list[Result | Failed]:
        """Train all members; what each gave, in their order."""
        runs = self._start()
        if runs:
            self._train_all(runs)
        return [self._outcomes[number] for number in range(len(self._members))]

    def _start(self) -> list[_Run]:
        """The members that can be trained; each pays for its own start."""
        runs = []
        for number, member in enumerate(self._members):
            try:
                run = _begin(number, member, self._events)
            except Exception as error:  # whatever it is, it is this member's
                self._end(number, Failed(error, self._lap()[1]))
                continue
            run.device_seconds = self._lap()[1]
            runs.append(run)
        return runs

    def _train_all(self, runs: Sequence[_Run]) -> None:
        captured = _captured(runs, self._events)
        begins = torch.tensor([len(run.training) for run in runs]).cumsum(0).tolist()
        orders = [torch.arange(end - len(run.training), end) for run, end in zip(runs, begins, strict=True)]
        best: Tensor | None = None
        active, epoch = [True] * len(runs), 0
        while any(active):
            for place, run in enumerate(runs):
                if active[place]:
                    own = epoch_order(len(run.training), run.member.recipe.seed, epoch)
                    orders[place] = own + (begins[place] - len(run.training))
            losses = captured.train(torch.cat(orders), _rates(runs, epoch), active)
            outputs = captured.predict(active)
            weights = captured.engine.weights.detach()
            wall, spent = self._lap()
            work = sum(run.work for run, goes_on in zip(runs, active, strict=True) if goes_on)
            ended: dict[int, Result | Failed | None] = {}
            for place, run in enumerate(runs):
                if active[place]:
                    run.device_seconds += spent * run.work / work
                    ended[place] = _end_epoch(run, losses[:, place], outputs[place], weights[place], self._events, wall)
            improved = [place for place in ended if runs[place].progress.is_best]
            best = weights.clone() if best is None else best
            best[improved] = weights[improved]
            for place, outcome in ended.items():
                if outcome is not None:
                    active[place] = False
                    if isinstance(outcome, Result):
                        set_parameters(runs[place].trained, best[place])
                    self._end(runs[place].number, outcome)
            epoch += 1

    def _end(self, number: int, outcome: Result | Failed) -> None:
        self._outcomes[number] = outcome
        self._on_done(number, outcome)
        self._lap()  # what is done with an outcome is not the training's time

    def _lap(self) -> tuple[float, float]:
        """Wall seconds since the start, device seconds since the last call."""
        wall, now = self._clock.read()
        before, self._before = self._before, now
        return wall, now - before


def _begin(number: int, member: Member, events: EventTensors) -> _Run:
    objective = named_objective(member.recipe.objective, member.model.n_outputs)
    training = ready_sample(member.training, events, objective, "training")
    validation = ready_sample(member.validation, events, objective, "validation")
    check_device(member.model, events)
    start_weights(member.model, events, training, member.recipe, member.strategy, member.backbone)
    return _Run(number, member, objective, training, validation, validation.target.cpu())


def _captured(runs: Sequence[_Run], events: EventTensors) -> Captured:
    models = [cast(EventNetwork, run.member.model) for run in runs]  # see pack: no other is stacked
    recipe = runs[0].member.recipe
    training, validation = [run.training for run in runs], [run.validation for run in runs]
    batch_sizes = [run.member.recipe.batch_size for run in runs]
    if runs[0].member.strategy.name == "frozen":
        return captured_heads(models, events, training, validation, batch_sizes, runs[0].objective, recipe)
    return captured_networks(models, events, training, validation, batch_sizes, runs[0].objective, recipe)


def _rates(runs: Sequence[_Run], epoch: int) -> Tensor:
    """The learning rates of head and backbone of every member, [K, 2] float64; as optimiser.set_rates has them."""
    rates = torch.tensor([run.member.recipe.rate(epoch) for run in runs], dtype=torch.float64)
    ratios = [optimisers.backbone_ratio(run.member.recipe, run.member.strategy) for run in runs]
    return torch.stack([rates, rates * torch.tensor(ratios, dtype=torch.float64)], dim=1)


def _end_epoch(
    run: _Run, losses: Tensor, outputs: Tensor, weights: Tensor, events: EventTensors, wall: float
) -> Result | Failed | None:
    """Add the epoch to the member's curve; what it gave if that was the last. A loss that is not finite fails it."""
    recipe, progress = run.member.recipe, run.progress
    try:
        train_loss = _mean_loss(run, losses, weights, events)
        found = quality(run.objective, outputs, run.truth, area_of_ranks)
        if not math.isfinite(found["loss"]):
            set_parameters(run.trained, weights)
            epoch = len(progress.curve)
            raise not_finite(found["loss"], events, run.validation.index, run.member.model, recipe, epoch)
        done = progress.add(recipe, len(run.training), train_loss, found, (wall, run.device_seconds))
        asked = run.member.on_epoch is not None and bool(run.member.on_epoch(done))
    except Exception as error:  # the others go on
        return Failed(error, run.device_seconds)
    return progress.result(recipe, asked) if asked or not progress.goes_on(recipe) else None


def _mean_loss(run: _Run, losses: Tensor, weights: Tensor, events: EventTensors) -> float:
    """Mean over the events of an epoch. Raises NonFinite as loop.train does."""
    recipe, epoch = run.member.recipe, len(run.progress.curve)
    own = losses[: -(-len(run.training) // recipe.batch_size)]
    bad = (~torch.isfinite(own)).nonzero()
    if len(bad):
        number = int(bad[0])
        set_parameters(run.trained, weights)
        order = epoch_order(len(run.training), recipe.seed, epoch).to(events.device)
        index = run.training.index[order.split(recipe.batch_size)[number]]
        raise not_finite(own[number].item(), events, index, run.member.model, recipe, epoch, number)
    return float(own.sum()) / len(run.training)
