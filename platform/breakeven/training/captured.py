"""An epoch of K trainings side by side, each step of all of them one CUDA graph: the host only replays it.

The order of an epoch and the tables of its batches lie on the device before it begins, a counter there says which batch is
next, and losses stay there until the epoch is over. On CPU the same step runs as it is written, so that tests hold it.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from breakeven.training.batches import Sample, share
from breakeven.training.engine import Engine
from breakeven.training.feeds import Batches, Feed, OnDevice, Ring, Streamed, joined
from breakeven.training.training import Training
from breakeven.training.workers import ALONE, Workers

STEPS_BETWEEN_PAUSES = 256


class Captured:
    """Trainings side by side in one engine.

    make_engine: (batch, the most of each size in the batch of any member) -> an engine that has room for them, with fresh
    moments; asked again where a later epoch has a larger batch.
    trainings: samples where the events lie, targets prepared; their index are the engine's event numbers.
    sizes: from event numbers [n], where the events lie, to what each takes, [n, n_sizes] int64.
    ring: what the engine's event numbers are of, where the events do not lie on the device; see feeds.py.
    moments: Adam's first, second and steps, to go on from; see Engine.
    """

    def __init__(
        self,
        make_engine: Callable[..., Engine],
        trainings: Sequence[Training],
        sizes: Callable[[Tensor], Tensor],
        *,
        ring: Ring | None = None,
        workers: Workers = ALONE,
        moments: Sequence[Tensor] | None = None,
    ) -> None:
        self._make_engine, self._workers, self._ring = make_engine, workers, ring
        self._device = trainings[0].events.device
        self._engine: Engine | None = None
        self._room: tuple[int, ...] = ()
        self._replay_training: Callable[[], None] = _nothing
        self._replay_prediction: Callable[[], None] = _nothing
        self._moments, n = moments, len(trainings)
        margin = max(1, max(one.recipe.batch_size for one in trainings) // workers.world)
        # Later epochs have other batches: the relative scatter of their sizes falls with the root of their events.
        self._margin = 1.0 + 1.0 / math.sqrt(margin)
        samples = (
            [one.train_sample for one in trainings],
            [_own_part(one.validation_sample, workers) for one in trainings],
        )
        self._n_validation = [len(sample) for sample in samples[1]]
        batches = Batches.cut(
            [len(sample) for sample in samples[0]], [one.recipe.batch_size for one in trainings], workers
        )
        self.batch = int(batches.count.max())
        if ring is not None:
            ring.cut(joined(samples[0], "target"), n * self.batch)
        evaluated = Batches.cut(self._n_validation, [max(1, self.batch)] * n)
        self._n_steps, self._n_evaluated = ((table.whole > 0).sum(0).tolist() for table in (batches, evaluated))
        self._training, self._validation = (
            self._feed(own, table) for own, table in zip(samples, (batches, evaluated), strict=True)
        )
        # Of each event of the list, on the device: an epoch's order alone is sent there.
        self._sizes, self._sizes_validated = (
            torch.cat([made(joined(own, "index")) for made in self._measures(sizes)], 1).int().to(self._device)
            for own in samples
        )
        self._place = torch.arange(self.batch, device=self._device)
        self._active = torch.zeros(n, dtype=torch.int32, device=self._device)
        self._step = torch.zeros(1, dtype=torch.int64, device=self._device)
        self._losses = torch.zeros(batches.whole.shape, dtype=torch.float64, device=self._device)
        shape = sum(self._n_validation) + 1, trainings[0].model.n_outputs
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
        self._make_room(self._training.begin(order))
        self.engine.rates.copy_(rates)
        self._begin(active)
        self._step.fill_(done)
        n_steps, number = _longest(self._n_steps, active), done

        def step() -> None:
            nonlocal number
            self._replay_training()
            number += 1
            if between is not None and number % STEPS_BETWEEN_PAUSES == 0 and number < n_steps:
                between(number, self._summed_losses)

        self._training.run(done, n_steps, step)
        return self._summed_losses()

    def _summed_losses(self) -> Tensor:
        return self._workers.add_up(self._losses * self._training.batches.whole * self._active).cpu()

    def predict(self, active: Sequence[bool]) -> list[Tensor]:
        """The outputs [n, n_outputs] float64 of each member for its validation events, on CPU."""
        self._begin(active)
        self._validation.run(0, _longest(self._n_evaluated, active), self._replay_prediction)
        parts = self._outputs[:-1].split(self._n_validation)
        if self._workers.world > 1:
            parts = tuple(self._workers.gather(part) for part in parts)
        return list(torch.cat(parts).cpu().split([len(part) for part in parts]))

    def close(self) -> None:
        """Let go of the graphs: what NCCL holds for them would keep its group from ending."""
        self._replay_training = self._replay_prediction = _nothing

    def _feed(self, samples: Sequence[Sample], batches: Batches) -> Feed:
        if self._ring is None:
            return OnDevice(samples, batches, self._device)
        return Streamed(samples, batches, self._ring, self.batch)

    def _measures(self, sizes: Callable[[Tensor], Tensor]) -> list[Callable[[Tensor], Tensor]]:
        """The engine's sizes, and with a ring its own behind them."""
        return [sizes] if self._ring is None else [sizes, self._ring.source.sizes]

    def _begin(self, active: Sequence[bool]) -> None:
        self._active.copy_(torch.tensor(active))
        self._step.zero_()

    def _make_room(self, order: Tensor) -> None:
        """An engine that has room for the largest batch of this order: the only wait for the device before an epoch's end.

        All workers have the same room, as they make engines, and capture what they exchange, together.
        """
        largest = self._training.batches.largest(self._sizes[order])
        if self._engine is None:
            largest = largest.maximum(self._validation.batches.largest(self._sizes_validated))
        largest = self._workers.gather(largest[None]).amax(0)
        wanted = largest.tolist()
        had = self._room or (0,) * len(wanted)
        if self._engine is not None and all(most <= room for most, room in zip(wanted, had, strict=True)):
            return
        self._room = tuple(max(room, math.ceil(self._margin * most)) for room, most in zip(had, wanted, strict=True))
        before, self._engine = self._engine, None
        self.close()  # their memory is free before the next is taken
        n_own = len(self._room)
        if self._ring is not None:
            n_own -= 1 + len(self._ring.source.inner)
            self._ring.make_room([len(self._active) * most for most in self._room[n_own:]])
        engine = self._make_engine(self.batch, *self._room[:n_own])
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
        parts = [self._calculate, self._exchange, self._learn]
        if self._workers.in_graphs:
            self._replay_training = captured(parts, self._device)
            return
        calculate, exchange, learn = (
            captured([part], self._device) if part != self._exchange else part for part in parts
        )

        def step() -> None:
            calculate()
            exchange()
            learn()

        self._replay_training = step

    def _calculate(self) -> None:
        engine = self.engine
        number, places = self._lay_out(self._training)
        for filled, values in zip((engine.index, engine.target), self._training.events(number, places), strict=True):
            filled.copy_(values)
        engine.backward()
        self._losses.index_copy_(0, number, engine.loss[None].to(self._losses.dtype))

    def _exchange(self) -> None:
        self._workers.add_up(self.engine.gradient)

    def _learn(self) -> None:
        self.engine.update()
        self._step.add_(1)

    def _predict_batch(self) -> None:
        engine, n = self.engine, sum(self._n_validation)
        number, places = self._lay_out(self._validation)
        engine.index.copy_(self._validation.events(number, places)[0])
        outputs = engine.predict()
        real = self._place < engine.count[:, None]
        # What lies beyond a member's events goes to a row that nobody reads.
        rows = torch.where(real, places, n).flatten()
        self._outputs.index_copy_(0, rows, outputs.flatten(0, 1).to(self._outputs.dtype))
        self._step.add_(1)

    def _lay_out(self, feed: Feed) -> tuple[Tensor, Tensor]:
        """Tell the engine how many events the next batches have; their number [1], and places in the list [K, batch]."""
        # A capture's own runs go beyond the last.
        number = self._step.clamp(max=len(feed.batches.first) - 1)
        first, count, whole = (
            table.index_select(0, number)[0] for table in (feed.batches.first, feed.batches.count, feed.batches.whole)
        )
        self.engine.count.copy_(count * self._active)
        self.engine.divisor.copy_(whole * self._active)
        return number, first[:, None] + self._place


def _own_part(sample: Sample, workers: Workers) -> Sample:
    own = share(len(sample), workers.rank, workers.world)
    return Sample(sample.index[own], sample.target[own])


def _longest(n_steps: Sequence[int], active: Sequence[bool]) -> int:
    return max((n for n, goes_on in zip(n_steps, active, strict=True) if goes_on), default=0)


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
