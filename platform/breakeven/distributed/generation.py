"""Generation as Ray tasks: one task per shard, any worker, any order, the same events.

Holds the distribution and nothing of physics. It makes what it is told is missing: an interrupted generation goes on
and re-does at most one shard per worker.
"""

import itertools
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ray

from breakeven.errors import StageFailed
from breakeven.events import store
from breakeven.events.arrays import open_arrays

_IN_FLIGHT_A_CPU = 3


class GenerationFailed(StageFailed):
    """A shard could not be made; the message names the process and carries the reason."""


def generate(
    missing: Mapping[store.Recipe, Sequence[int]],
    root: Path,
    on_shard: Callable[[str, int, float], None] = lambda process, events, seconds: None,
) -> None:
    """Make these shards on the cluster.

    missing: numbers of the shards of each recipe.  root: folder on storage that all nodes share.
    on_shard: called in the driver with process, number of events and CPU seconds whenever a shard is written.
    Raises GenerationFailed with the worker's error when a process cannot be generated.
    """
    jobs = [[(recipe, shard) for shard in shards] for recipe, shards in missing.items()]
    # One shard of each process in turn: every process is complete at about the same time, and errors show early.
    queue = [job for turn in itertools.zip_longest(*jobs) for job in turn if job is not None]
    _run(queue, root, on_shard)


def prepare_arrays(datasets: Iterable[store.Dataset]) -> None:
    """Build the flat arrays of datasets, each once, before many workers want them at the same time."""
    try:
        ray.get([_prepare.remote(dataset) for dataset in datasets])
    except ray.exceptions.RayTaskError as error:
        raise (error.cause if isinstance(error.cause, Exception) else error) from None


def _run(queue: Sequence[tuple[store.Recipe, int]], root: Path, on_shard: Callable[[str, int, float], None]) -> None:
    at_once = _IN_FLIGHT_A_CPU * max(1, int(ray.cluster_resources().get("CPU", 1)))
    waiting = list(reversed(queue))
    running: dict[ray.ObjectRef[Any], store.Recipe] = {}
    while waiting or running:
        while waiting and len(running) < at_once:
            recipe, shard = waiting.pop()
            running[_make_shard.remote(recipe, str(root), shard)] = recipe
        ready, _ = ray.wait(list(running), num_returns=1)
        for reference in ready:
            recipe = running.pop(reference)
            try:
                seconds = ray.get(reference)
            except ray.exceptions.RayTaskError as error:
                for other in running:
                    ray.cancel(other)
                cause = error.cause if isinstance(error.cause, Exception) else error
                raise GenerationFailed(f"process {recipe.source.name}: {cause}") from cause
            on_shard(recipe.source.name, recipe.shard_events, seconds)


@ray.remote(num_cpus=1, max_retries=5)
def _make_shard(recipe: store.Recipe, root: str, shard: int) -> float:
    start = time.process_time()
    store.make_shard(recipe, Path(root), shard)
    return time.process_time() - start


@ray.remote(num_cpus=1, max_retries=3)
def _prepare(dataset: store.Dataset) -> None:
    open_arrays(dataset)
