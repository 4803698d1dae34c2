"""An epoch of K trainings side by side, each step of all of them one CUDA graph: the host only replays it.

The order of an epoch and the tables of its batches lie on the device before it begins, a counter there says which batch is
next, and losses stay there until the epoch is over. On CPU the same step runs as it is written, so that tests hold it.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from breakeven.training.batches import Sample, share
from breakeven.training.engine import Engine
from breakeven.training.training import Training
from breakeven.training.workers import ALONE, Workers

STEPS_BETWEEN_PAUSES = 256


@dataclass(frozen=True)
class Batches:
    """The batches of K samples that lie one after the other in one list, and this worker's share of them.

    first: [n_steps, K] int64, place in the list of the first event.  count: [n_steps, K] int32, events from there on.
    whole: [n_steps, K] int32, events of the batch over all workers; 0 once a sample is at its end.
    """

    first: Tensor
    count: Tensor
    whole: Tensor

    @classmethod
    def cut(cls, sizes: Sequence[int], batch_sizes: Sequence[int], workers: Workers = ALONE) -> "Batches":
        """Batches of `batch_sizes` events of samples of `sizes`; the last one of a sample may be smaller."""
        size, batch = torch.tensor(sizes), torch.tensor(batch_sizes)
        n_steps = -(-size // batch)
        before = torch.arange(max(1, int(n_steps.max())))[:, None] * batch
        whole = (size - before).clamp(min=0).minimum(batch)
        own, end = whole * workers.rank // workers.world, whole * (workers.rank + 1) // workers.world
        return cls(size.cumsum(0) - size + before + own, (end - own).int(), whole.int())

    def to(self, device: torch.device) -> "Batches":
        """The same on `device`."""
        return Batches(self.first.to(device), self.count.to(device), self.whole.to(device))

    def largest(self, sizes: Tensor) -> Tensor:
        """The most that a batch takes, [n_sizes]; sizes: [n, n_sizes] int64, of each event of the list."""
        place = torch.stack([self.first, self.first + self.count]).clamp(max=len(sizes))
        until = functional.pad(sizes.cumsum(0), (0, 0, 1, 0))
        return (until[place[1]] - until[place[0]]).flatten(0, 1).amax(0)


class Captured:
    """Trainings side by side in one engine.

    make_engine: (batch, the most of each size in the batch of any member) -> an engine that has room for them, with fresh
    moments; asked again where a later epoch has a larger batch.
    trainings: samples on the device, targets prepared; their index are the engine's event numbers.
    sizes: from event numbers [n] to what each takes, [n, n_sizes] int64.  moments: Adam's first, second and steps, to go on
    from; see Engine.
    """

    def __init__(
        self,
        make_engine: Callable[..., Engine],
        trainings: Sequence[Training],
        sizes: Callable[[Tensor], Tensor],
        *,
        workers: Workers = ALONE,
        moments: Sequence[Tensor] | None = None,
    ) -> None:
        self._make_engine, self._sizes, self._workers = make_engine, sizes, workers
        self._device = trainings[0].train_sample.index.device
        self._engine: Engine | None = None
        self._room: tuple[int, ...] = ()
        self._replay_training: Callable[[], None] = _nothing
        self._replay_prediction: Callable[[], None] = _nothing
        self._moments, n = moments, len(trainings)
        self._training = _Rows.of([one.train_sample for one in trainings])
        self._validation = _Rows.of([_own_part(one.validation_sample, workers) for one in trainings])
        batches = Batches.cut(self._training.sizes, [one.recipe.batch_size for one in trainings], workers)
        self.batch = int(batches.count.max())
        evaluated = Batches.cut(self._validation.sizes, [max(1, self.batch)] * n)
        self._n_steps, self._n_evaluated = ((table.whole > 0).sum(0).tolist() for table in (batches, evaluated))
        self._batches, self._evaluated = batches.to(self._device), evaluated.to(self._device)
        self._order = torch.zeros(len(self._training.index), dtype=torch.int64, device=self._device)
        self._place = torch.arange(self.batch, device=self._device)
        self._active = torch.zeros(n, dtype=torch.int32, device=self._device)
        self._step = torch.zeros(1, dtype=torch.int64, device=self._device)
        self._losses = torch.zeros(batches.whole.shape, dtype=torch.float64, device=self._device)
        shape = len(self._validation.index) + 1, trainings[0].model.n_outputs
        self._outputs = torch.zeros(shape, dtype=torch.float64, device=self._device)

    @property
    def engine(self) -> Engine:
        """The engine of the last epoch, where weights and moments lie."""
        if self._engine is None:
            raise ValueError("there are no weights before the first epoch; train one")
        return self._engine

    def train(
        self,
        order: Tensor,
        rates: Tensor,
        active: Sequence[bool],
        done: int = 0,
        between: Callable[[int, Callable[[], Tensor]], None] | None = None,
    ) -> Tensor:
        """One epoch of the `active` members; the sum of the losses of each of their batches, [n_steps, K] float64 on CPU.

        order: [n] int64 on CPU, places in the list of all members' training events: each member's own, shuffled.
        rates: [K, 2], of head and backbone.  A member that is not active keeps its weights to the last bit; its column, and
        what lies beyond its last batch, mean nothing.
        done: batches that were trained before, whose losses mean nothing either.  between: called now and then between batches,
        on all workers alike, with the number of those done and a function that gives the losses so far, a sum over workers.
        """
        self._order.copy_(_pinned(order, self._device), non_blocking=True)
        self._make_room()
        self.engine.rates.copy_(rates)
        self._begin(active)
        self._step.fill_(done)
        n_steps = _longest(self._n_steps, active)
        for number in range(done + 1, n_steps + 1):
            self._replay_training()
            if between is not None and number % STEPS_BETWEEN_PAUSES == 0 and number < n_steps:
                between(number, self._summed_losses)
        return self._summed_losses()

    def _summed_losses(self) -> Tensor:
        return self._workers.add_up(self._losses * self._batches.whole * self._active).cpu()

    def predict(self, active: Sequence[bool]) -> list[Tensor]:
        """The outputs [n, n_outputs] float64 of each member for its validation events, on CPU."""
        self._begin(active)
        for _ in range(_longest(self._n_evaluated, active)):
            self._replay_prediction()
        parts = self._outputs[:-1].split(self._validation.sizes)
        if self._workers.world > 1:
            parts = tuple(self._workers.gather(part) for part in parts)
        return list(torch.cat(parts).cpu().split([len(part) for part in parts]))

    def _begin(self, active: Sequence[bool]) -> None:
        self._active.copy_(torch.tensor(active))
        self._step.zero_()

    def _make_room(self) -> None:
        """An engine that has room for the largest batch of this epoch: the only wait for the device before its end."""
        largest = self._batches.largest(self._sizes(self._training.index[self._order]))
        if self._engine is None:
            largest = largest.maximum(self._evaluated.largest(self._sizes(self._validation.index)))
        wanted = largest.tolist()
        had = self._room or (0,) * len(wanted)
        if self._engine is not None and all(most <= room for most, room in zip(wanted, had, strict=True)):
            return
        # Later epochs have other batches: the relative scatter of their sizes falls with the root of their events.
        margin = 1.0 + 1.0 / math.sqrt(self.batch)
        self._room = tuple(max(room, math.ceil(margin * most)) for room, most in zip(had, wanted, strict=True))
        before, self._engine = self._engine, None
        self._replay_training = self._replay_prediction = _nothing  # their memory is free before the next is taken
        engine = self._make_engine(self.batch, *self._room)
        with torch.no_grad():
            if before is not None:
                engine.weights.copy_(before.weights)
                self._moments = (before.first, before.second, before.steps)
            if self._moments is not None:
                for old, new in zip(self._moments, (engine.first, engine.second, engine.steps), strict=True):
                    new.copy_(old)
        self._moments = None
        self._engine = engine
        self._capture()

    def _capture(self) -> None:
        """Steps as CUDA graphs. Captures run them a few times, so nobody is active meanwhile."""
        self._begin([False] * len(self._active))
        self._replay_prediction = captured([self._predict_batch], self._device)
        if self._workers.world == 1:
            self._replay_training = captured([self._calculate, self._learn], self._device)
            return
        calculate = captured([self._calculate], self._device)
        learn = captured([self._learn], self._device)

        def step() -> None:
            calculate()
            self._workers.add_up(self.engine.gradient)
            learn()

        self._replay_training = step

    def _calculate(self) -> None:
        engine = self.engine
        rows = self._order[self._lay_out(self._batches, len(self._order))]
        engine.index.copy_(self._training.index[rows])
        engine.target.copy_(self._training.target[rows])
        engine.backward()
        self._losses.index_copy_(0, self._batch_number(self._batches), engine.loss[None].to(self._losses.dtype))

    def _learn(self) -> None:
        self.engine.update()
        self._step.add_(1)

    def _predict_batch(self) -> None:
        engine, n = self.engine, len(self._validation.index)
        rows = self._lay_out(self._evaluated, n)
        engine.index.copy_(self._validation.index[rows])
        outputs = engine.predict()
        real = self._place < engine.count[:, None]
        # What lies beyond a member's events goes to a row that nobody reads.
        self._outputs.index_copy_(
            0, torch.where(real, rows, n).flatten(), outputs.flatten(0, 1).to(self._outputs.dtype)
        )
        self._step.add_(1)

    def _lay_out(self, batches: Batches, n: int) -> Tensor:
        """Tell the engine how many events the next batches have; their places in a list of n, [K, batch]."""
        number = self._batch_number(batches)
        first, count, whole = (
            table.index_select(0, number)[0] for table in (batches.first, batches.count, batches.whole)
        )
        self.engine.count.copy_(count * self._active)
        self.engine.divisor.copy_(whole * self._active)
        return (first[:, None] + self._place).clamp_(max=n - 1)

    def _batch_number(self, batches: Batches) -> Tensor:
        """Which of the batches is next, [1]; a capture's own runs go beyond the last."""
        return self._step.clamp(max=len(batches.first) - 1)


@dataclass(frozen=True)
class _Rows:
    """The samples of all members, one after the other."""

    index: Tensor
    target: Tensor
    sizes: list[int]

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> "_Rows":
        index, target = (torch.cat([getattr(sample, name) for sample in samples]) for name in ("index", "target"))
        return cls(index, target, [len(sample) for sample in samples])


def _own_part(sample: Sample, workers: Workers) -> Sample:
    own = share(len(sample), workers.rank, workers.world)
    return Sample(sample.index[own], sample.target[own])


def _longest(n_steps: Sequence[int], active: Sequence[bool]) -> int:
    return max((n for n, goes_on in zip(n_steps, active, strict=True) if goes_on), default=0)


def _pinned(values: Tensor, device: torch.device) -> Tensor:
    return values.pin_memory() if device.type == "cuda" else values


def _nothing() -> None:
    """A step before there is one."""


def captured(parts: Sequence[Callable[[], None]], device: torch.device) -> Callable[[], None]:
    """The parts, one after the other, as one CUDA graph; they run twice before this returns. On CPU as they are."""

    def run() -> None:
        for part in parts:
            part()

    if device.type != "cuda":
        return run
    # Libraries take memory and choose algorithms at their first calls, which a capture does not allow.
    stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        for _ in range(2):
            run()
    torch.cuda.current_stream(device).wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()

    def replay(held: object = run) -> None:
        """held: what the parts hold, whose memory the graph reads and writes, must live as long as the graph."""
        graph.replay()

    return replay
