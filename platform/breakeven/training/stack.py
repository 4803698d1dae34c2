"""Trainings side by side: K networks of one shape, a step of all of them at once, each with its own recipe.

Every epoch is one of all members; one that ends or fails takes no more steps. What a member does is what loop.train does
with it alone, to floating point. Entered through pack.py.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from breakeven.models.stacked import set_parameters
from breakeven.training.batches import epoch_order
from breakeven.training.clock import Clock
from breakeven.training.engines import captured_heads, captured_networks
from breakeven.training.metrics import area_of_ranks
from breakeven.training.nonfinite import check_validation, mean_loss
from breakeven.training.objectives import quality
from breakeven.training.progress import Progress
from breakeven.training.recipe import Result
from breakeven.training.start import ready, start_weights
from breakeven.training.symmetry import with_turns
from breakeven.training.training import Failed, Training

OnDone = Callable[[int, Result | Failed], None]
"""Called with the number of a member and its outcome as soon as it has ended."""


def train_stacked(trainings: Sequence[Training], on_done: OnDone) -> list[Result | Failed]:
    """Train models of equal configurations, dtypes, objectives and precisions on the same events; see pack.train_pack.

    Either all of them or none have a frozen backbone, which then sees each event once.
    """
    return _Stack(trainings, on_done).train()


@dataclass
class _Run:
    """A training under way. number: its place in the pack.  truth: validation targets on CPU."""

    number: int
    training: Training
    truth: Tensor
    progress: Progress
    device_seconds: float

    @property
    def work(self) -> int:
        """What an epoch costs, in events without gradients: a step with them costs three times that."""
        return 3 * len(self.training.train_sample) + len(self.training.validation_sample)


class _Stack:
    def __init__(self, trainings: Sequence[Training], on_done: OnDone) -> None:
        self._trainings, self._on_done = trainings, on_done
        self._clock = Clock(trainings[0].events.device)
        self._outcomes: dict[int, Result | Failed] = {}
        self._before = 0.0

    def train(self) -> list[Result | Failed]:
        """Train all members; what each gave, in their order."""
        runs = self._start()
        if runs:
            self._train_all(runs)
        return [self._outcomes[number] for number in range(len(self._trainings))]

    def _start(self) -> list[_Run]:
        """The trainings that can begin; each pays for its own start."""
        runs = []
        for number, training in enumerate(self._trainings):
            try:
                training = ready(training)
                start_weights(training)
            except Exception as error:  # whatever it is, it is this one's
                self._end(number, Failed(error, self._lap()[1]))
                continue
            truth = training.validation_sample.target.cpu()
            runs.append(_Run(number, training, truth, Progress(training), self._lap()[1]))
        return runs

    def _train_all(self, runs: Sequence[_Run]) -> None:
        trainings = with_turns([run.training for run in runs])
        for run, training in zip(runs, trainings, strict=True):
            run.training = training
        frozen = trainings[0].strategy.name == "frozen"
        captured = captured_heads(trainings) if frozen else captured_networks(trainings)
        sizes = torch.tensor([len(one.train_sample) for one in trainings])
        begins = (sizes.cumsum(0) - sizes).tolist()
        orders = [
            torch.arange(begin, begin + len(one.train_sample)) for begin, one in zip(begins, trainings, strict=True)
        ]
        best: Tensor | None = None
        active, epoch = [True] * len(runs), 0
        while any(active):
            for place, run in enumerate(runs):
                if active[place]:
                    run.training.begin_epoch(epoch)
                    orders[place] = begins[place] + epoch_order(
                        len(run.training.train_sample), run.training.recipe.seed, epoch
                    )
            rates = torch.tensor([one.rates(epoch) for one in trainings], dtype=torch.float64)
            losses = captured.train(torch.cat(orders), rates, active)
            outputs = captured.predict(active)
            weights = captured.engine.weights.detach()
            wall, spent = self._lap()
            work = sum(run.work for run, goes_on in zip(runs, active, strict=True) if goes_on)
            ended: dict[int, Result | Failed | None] = {}
            for place, run in enumerate(runs):
                if active[place]:
                    run.device_seconds += spent * run.work / work
                    ended[place] = _end_epoch(run, losses[:, place], outputs[place], weights[place], wall)
            improved = [place for place in ended if runs[place].progress.is_best]
            best = weights.clone() if best is None else best
            best[improved] = weights[improved]
            for place, outcome in ended.items():
                if outcome is not None:
                    active[place] = False
                    if isinstance(outcome, Result):
                        set_parameters(runs[place].training.learns, best[place])
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


def _end_epoch(run: _Run, losses: Tensor, outputs: Tensor, weights: Tensor, wall: float) -> Result | Failed | None:
    """Add the epoch to the curve; what the training gave if that was the last. A loss that is not finite fails it."""
    training, progress = run.training, run.progress
    epoch, own = len(progress.curve), losses[: -(-len(training.train_sample) // training.recipe.batch_size)]
    try:
        values = quality(training.objective, outputs, run.truth, area_of_ranks)
        if not (bool(own.isfinite().all()) and math.isfinite(values["loss"])):
            set_parameters(training.learns, weights)  # they are looked at for what is to blame
        train_loss = mean_loss(training, own, epoch)
        check_validation(training, values["loss"], epoch)
        done = progress.add(train_loss, values, (wall, run.device_seconds))
        ends = training.on_epoch is not None and bool(training.on_epoch(done))
    except Exception as error:  # the others go on
        return Failed(error, run.device_seconds)
    return progress.result(ends) if ends or not progress.goes_on else None
