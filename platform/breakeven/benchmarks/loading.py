"""What the events cost before the network sees them: the share of a step that makes the batch. Trains nothing."""

from breakeven.benchmarks.timing import interleaved, on_one_thread
from breakeven.training.batches import EventTensors, epoch_order


def gather_seconds(events: EventTensors, batch: int, rounds: int) -> float:
    """CPU seconds (on a GPU: wall seconds) of making one batch of randomly chosen events on one thread, the median."""
    index = epoch_order(events.n_events, seed=0, epoch=0)[:batch].to(events.device)
    with on_one_thread():
        timing = interleaved({"gather": lambda: events.gather(index)}, rounds, events.device)["gather"]
    return timing.median_cpu if events.device.type == "cpu" else timing.median_wall
