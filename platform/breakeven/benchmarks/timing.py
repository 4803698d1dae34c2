"""Timing of several pieces of work against each other, A B C A B C ..., so that a busy machine slows all alike.

Holds clocks and medians. It never knows what it times.
"""

import statistics
import time
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch

Name = TypeVar("Name", bound=Hashable)


@dataclass(frozen=True)
class Timing:
    """Seconds of each round of one piece of work.

    wall: on the wall.  cpu: of CPU, over all threads of this process.  main: of CPU, of the calling thread alone.
    """

    wall: tuple[float, ...]
    cpu: tuple[float, ...]
    main: tuple[float, ...]

    @property
    def median_wall(self) -> float:
        """Median wall seconds."""
        return statistics.median(self.wall)

    @property
    def median_cpu(self) -> float:
        """Median CPU seconds: for work on one thread the time on an idle machine, whoever else is at work."""
        return statistics.median(self.cpu)

    @property
    def best_wall(self) -> float:
        """Wall seconds of the least disturbed round: the only fair time for work on several threads."""
        return min(self.wall)

    @property
    def median_busiest(self) -> float:
        """Median CPU seconds of the busier one of two threads: what they need at least, each on a core of its own."""
        return statistics.median(max(main, cpu - main) for main, cpu in zip(self.main, self.cpu, strict=True))


def interleaved(
    works: Mapping[Name, Callable[[], object]], rounds: int, device: torch.device | str = "cpu"
) -> dict[Name, Timing]:
    """Do all `works` in turn, `rounds` times after one untimed time each; their timings by name.

    Raises ValueError on less than one round.
    """
    if rounds < 1:
        raise ValueError(f"{rounds} rounds give no time; ask for at least 1")
    spent: dict[Name, list[tuple[float, float, float]]] = {name: [] for name in works}
    for number in range(rounds + 1):
        for name, work in works.items():
            before = _now(device)
            work()
            after = _now(device)
            if number:  # the first fills caches, loads kernels and makes memory
                spent[name].append((after[0] - before[0], after[1] - before[1], after[2] - before[2]))
    return {name: Timing(*zip(*rows, strict=True)) for name, rows in spent.items()}


def _now(device: torch.device | str) -> tuple[float, float, float]:
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter(), time.process_time(), time.thread_time()


@contextmanager
def on_one_thread() -> Iterator[None]:
    """Have torch calculate on one thread inside."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
