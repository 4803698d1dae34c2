"""How the events of each step come to the engine: from the device, or from the host's memory in windows sent ahead.

`OnDevice` is for events that lie on the device. `Streamed` gathers the events of some steps, in the order of the epoch, while
the steps before are taken, and sends them to one of two halves of a `Ring`, a small dataset of its own. The engine sees the
same events in the same order: results are the same to the last bit.
"""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from breakeven.models.ragged import children
from breakeven.training.batches import EventTensors, Sample
from breakeven.training.workers import ALONE, Workers

WINDOW_BYTES = 8 << 20
"""Sent at a time: large against what a window costs to begin, small against the first wait of an epoch."""


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


class Feed(Protocol):
    """The events of one list of batches: samples of all members, one after the other."""

    batches: Batches
    """On the device."""

    def begin(self, order: Tensor) -> Tensor:
        """An epoch begins. order: [n] int64 on CPU, places in the list. Returns it on the device."""

    def events(self, number: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """Event numbers for the engine [K, batch], and targets, of batch `number` [1], whose places in the list are [K, batch].

        To be captured: it runs on the device alone.
        """

    def run(self, first: int, n_steps: int, step: Callable[[], None]) -> None:
        """Take the steps of an epoch from number `first` to before `n_steps`."""


class OnDevice:
    """Events, samples and order lie on the device."""

    def __init__(self, samples: Sequence[Sample], batches: Batches, device: torch.device) -> None:
        self.batches = batches.to(device)
        self._index, self._target = (joined(samples, name).to(device) for name in ("index", "target"))
        self._order = torch.arange(len(self._index), device=device)

    def begin(self, order: Tensor) -> Tensor:
        """Bring the order to the device."""
        return self._order.copy_(_pinned(order, self._order.device), non_blocking=True)

    def events(self, number: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """As they lie there."""
        rows = self._order[places.clamp(max=len(self._order) - 1)]
        return self._index[rows], self._target[rows]

    def run(self, first: int, n_steps: int, step: Callable[[], None]) -> None:
        """Nothing comes between steps."""
        for _ in range(first, n_steps):
            step()


class Ring:
    """Two halves of a dataset on the device, each with the events of a window, and buffers on the host to fill them from.

    source: the events on the host.  steps: of a window.  most: events of one.  target: [n], of each event in the ring.
    events: the dataset that an engine sees; its tensors are others after `make_room`.
    Event k of half h has the number h * (most + 1) + k; things inside events likewise, with the room for them.
    """

    def __init__(self, source: EventTensors) -> None:
        self.source = source
        self._cuda = source.device.type == "cuda"
        self._side = torch.cuda.Stream(source.device) if self._cuda else None
        self._arrived, self._read = ([torch.cuda.Event() if self._cuda else None for _ in range(2)] for _ in range(2))

    def cut(self, target: Tensor, events_of_step: int) -> None:
        """Say how many steps make a window. target: [n], of the events.  events_of_step: at most."""
        tensors = (
            target,
            self.source.nodes,
            self.source.offsets,
            *(part for level in self.source.inner for part in level),
        )
        per_event = sum(tensor.nbytes for tensor in tensors[1:]) / self.source.n_events + target[:1].nbytes
        self.steps = max(1, int(WINDOW_BYTES / (per_event * max(1, events_of_step))))
        self.most, self._target = self.steps * events_of_step, target[:0]

    def make_room(self, things_of_step: Sequence[int]) -> None:
        """Take memory for windows of steps that have so many things of each level at most."""
        source = self.source
        room = [self.most, *(self.steps * most for most in things_of_step)]
        self._begin = [most + 1 for most in room]
        levels = ((source.nodes, source.offsets), *source.inner)
        like = [[self._target, *(bounds for _, bounds in levels)], [values for values, _ in levels]]
        # Of a parent's level: its target or things themselves, and where what is inside them begins.
        sizes = [[room[0], *room[:-1]], room[1:]]

        def made(halves: int, device: torch.device, pin: bool) -> tuple[list[Tensor], list[Tensor]]:
            offsets, values = (
                [
                    torch.zeros(halves * (n + 1), *tensor.shape[1:], dtype=tensor.dtype, device=device, pin_memory=pin)
                    for tensor, n in zip(tensors, rooms, strict=True)
                ]
                for tensors, rooms in zip(like, sizes, strict=True)
            )
            return offsets, values

        (self.target, offsets, *bounds), (nodes, *values) = made(2, source.device, False)
        inner = tuple(zip(values, bounds, strict=True))
        self.events = replace(source, nodes=nodes, offsets=offsets, inner=inner, onto=None)
        self._host = [made(1, torch.device("cpu"), self._cuda) for _ in range(2)]
        if self._side is not None:  # what is sent must not be overtaken by the zeros
            self._side.wait_stream(torch.cuda.current_stream(source.device))

    def fill(self, half: int, index: Tensor, target: Tensor) -> None:
        """Gather the events `index` [n] and send them to a half, once the steps that read it have ended.

        target: [n], theirs. Returns while they are on their way.
        """
        (of_events, *offsets), values = self._host[half]
        arrived, read = self._arrived[half], self._read[half]
        if arrived is not None:
            arrived.synchronize()  # the buffer's last contents
        parts = [(self.target, of_events, target, 0)]
        source, ring = self.source, self.events
        levels = zip(
            ((source.nodes, source.offsets), *source.inner), ((ring.nodes, ring.offsets), *ring.inner), strict=True
        )
        for depth, ((from_values, from_bounds), (to_values, to_bounds)) in enumerate(levels):
            rows, bounds = children(from_bounds, index)
            parts.append((to_bounds, offsets[depth], bounds + half * self._begin[depth + 1], depth))
            torch.index_select(from_values, 0, rows, out=values[depth][: len(rows)])
            parts.append((to_values, values[depth], values[depth][: len(rows)], depth + 1))
            index = rows
        with nullcontext() if self._side is None else torch.cuda.stream(self._side):
            if self._side is not None and read is not None:
                self._side.wait_event(read)
            for ring_part, buffer, part, level in parts:
                if part.data_ptr() != buffer.data_ptr():
                    buffer[: len(part)].copy_(part)
                begin = half * self._begin[level]
                ring_part[begin : begin + len(part)].copy_(buffer[: len(part)], non_blocking=True)
            if arrived is not None:
                arrived.record()

    def wait(self, half: int) -> None:
        """Let all that is launched from now on follow the arrival of what `fill` sent."""
        if (arrived := self._arrived[half]) is not None:
            torch.cuda.current_stream(self.source.device).wait_event(arrived)

    def release(self, half: int) -> None:
        """Let a half be filled anew when all that has been launched has ended."""
        if (read := self._read[half]) is not None:
            read.record(torch.cuda.current_stream(self.source.device))


class Streamed:
    """Events and samples lie in the host's memory; the events of `ring.steps` steps are sent at a time."""

    def __init__(self, samples: Sequence[Sample], batches: Batches, ring: Ring, batch: int) -> None:
        self.batches = batches.to(ring.source.device)
        self._ring, self._cut = ring, batches
        self._index, self._target = joined(samples, "index"), joined(samples, "target")
        self._order = torch.arange(len(self._index))
        # Where each batch begins in its half: the batches of a window one after the other.
        n_steps, n_members = batches.count.shape
        local = torch.zeros(n_steps, n_members, dtype=torch.int64)
        for window, begin in enumerate(range(0, n_steps, ring.steps)):
            counts = batches.count[begin : begin + ring.steps].long()
            before = counts.flatten().cumsum(0).view_as(counts) - counts
            local[begin : begin + ring.steps] = before + window % 2 * (ring.most + 1)
        self._local = local.to(ring.source.device)
        self._place = torch.arange(batch, device=ring.source.device)

    def begin(self, order: Tensor) -> Tensor:
        """Keep the order."""
        self._order = order
        device = self._local.device
        return _pinned(order, device).to(device, non_blocking=True)

    def events(self, number: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """Numbers in the ring."""
        first = self._local.index_select(0, number)[0]
        numbers = (first[:, None] + self._place).clamp_(max=len(self._ring.target) - 2)
        return numbers, self._ring.target[numbers]

    def run(self, first: int, n_steps: int, step: Callable[[], None]) -> None:
        """Steps window by window, the next two gathered meanwhile on another thread."""
        size = self._ring.steps
        windows = range(first // size, -(-n_steps // size))
        with ThreadPoolExecutor(1) as pool:
            coming = deque(pool.submit(self._fill, window, n_steps) for window in windows[:2])
            for window in windows:
                coming.popleft().result()
                self._ring.wait(window % 2)
                for _ in range(max(first, window * size), min((window + 1) * size, n_steps)):
                    step()
                self._ring.release(window % 2)
                if window + 2 in windows:
                    coming.append(pool.submit(self._fill, window + 2, n_steps))

    def _fill(self, window: int, n_steps: int) -> None:
        steps = slice(window * self._ring.steps, min((window + 1) * self._ring.steps, n_steps))
        first, count = self._cut.first[steps].flatten(), self._cut.count[steps].flatten().long()
        n = int(count.sum())
        shift = torch.repeat_interleave(first - (count.cumsum(0) - count), count, output_size=n)
        rows = self._order[shift + torch.arange(n)]
        self._ring.fill(window % 2, self._index[rows], self._target[rows])


def joined(samples: Sequence[Sample], name: str) -> Tensor:
    """One tensor of all samples, one after the other; of one sample its own, without a copy."""
    parts = [getattr(sample, name) for sample in samples]
    return torch.cat(parts) if len(parts) > 1 else parts[0]


def _pinned(values: Tensor, device: torch.device) -> Tensor:
    """The same on the host, from where it can be sent while the host goes on."""
    return values.pin_memory() if device.type == "cuda" else values
