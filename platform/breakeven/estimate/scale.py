"""What many GPUs would do: a pretraining spread over N of them, and trials on G, from measured times, and what bounds each.

Arithmetic alone: it measures nothing and starts nothing. `studies/throughput.py --simulate CARD` prints it.
"""

import math
from dataclasses import dataclass, fields
from typing import Protocol


class Rates(Protocol):
    """What a card was measured to do; estimate/cards.Card is one."""

    def events_per_second(self, precision: str, batch: float, members: float = 1) -> float:
        """Trained events per second of `members` networks with batches of `batch` each."""


@dataclass(frozen=True)
class Cluster:
    """What a step and a trial meet beside the card. Times in seconds, bandwidths in bytes per second."""

    node_gpus: int = 8
    """GPUs of a node; one in each of two nodes already pays for the network."""
    bandwidth: float = 25e9
    """Between nodes, for each GPU and direction: 25e9 is one 200 Gbit/s adapter for each."""
    node_bandwidth: float = 300e9
    """Between GPUs of a node, for each and direction."""
    latency: float = 10e-6
    """Of one exchange between two nodes, with its launch."""
    node_latency: float = 4e-6
    """Of one exchange within a node."""
    checkpoint: float = 2.0
    """One checkpoint, during which training waits: as Ray Train was seen to take one up."""
    interval: float = 300.0
    """Between two checkpoints."""
    gpu_hours_per_fault: float = 50_000.0
    """Mean time of one GPU, with its share of a node, between faults that end a worker."""
    restart: float = 40.0
    """From a fault to the next step."""
    storage: float = 5e9
    """What shared storage gives all nodes together."""
    driver: float = 3.1e-3
    """CPU seconds of the driver for each trial, one after the other: `studies/throughput.py --scheduler`."""
    files: float = 2_000.0
    """Files that shared storage makes a second."""
    files_per_trial: float = 2.0
    """Its claim and its scores; records go into one file for each pack."""


@dataclass(frozen=True)
class Parts:
    """Where the time of an epoch of a pretraining goes, in seconds by the clock; the bound of the card alone is `step`.

    floor: of `step`, what a batch as small as this one's share takes longer than its part of one GPU's.  exchange: of gradients.
    """

    step: float
    floor: float
    exchange: float
    checkpoints: float
    faults: float

    @property
    def seconds(self) -> float:
        """All of it."""
        return math.fsum(getattr(self, part.name) for part in fields(self))

    @property
    def efficiency(self) -> float:
        """The part of the time in which every GPU does what one alone would do in it."""
        return self.step / self.seconds

    @property
    def bottleneck(self) -> str:
        """What costs most beside the step itself."""
        return max((part.name for part in fields(self) if part.name != "step"), key=lambda name: getattr(self, name))


REMEDY = {
    "floor": "a larger global batch, if its plateau is as good, or several backbones at a time on fewer GPUs each",
    "exchange": "fewer, larger steps (a larger global batch), or gradients in bfloat16",
    "checkpoints": "a longer interval between checkpoints, or checkpoints written while training goes on",
    "faults": "a shorter interval between checkpoints",
    "GPUs": "more GPUs",
    "driver": "several drivers on one ledger: two of them share a study without repeating a trial",
    "storage": "packs that claim and publish their trials together: one file a pack in place of one a trial",
}
"""What lifts each bound."""


def pretraining(
    card: Rates, cluster: Cluster, gpus: int, *, precision: str, batch: int, events: float, gradient_bytes: float
) -> Parts:
    """An epoch of a pretraining with a constant global batch on `gpus` GPUs, the sums of gradients not hidden behind anything.

    batch: events of a step over all GPUs.  events: training events.  gradient_bytes: of all weights.
    """
    steps = math.ceil(events / batch)
    share = batch / gpus
    step = share / card.events_per_second(precision, batch)
    floor = max(0.0, share / card.events_per_second(precision, share) - step)
    exchange = all_reduce(gradient_bytes, gpus, cluster)
    quiet = steps * (step + floor + exchange)
    checkpoints = quiet / cluster.interval * cluster.checkpoint
    # Young, CACM 17 (1974) 530: half an interval is lost with each fault.
    n_faults = (quiet + checkpoints) * gpus / (3600.0 * cluster.gpu_hours_per_fault)
    return Parts(
        steps * step, steps * floor, steps * exchange, checkpoints, n_faults * (cluster.interval / 2 + cluster.restart)
    )


def all_reduce(n_bytes: float, gpus: int, cluster: Cluster) -> float:
    """Seconds of one sum over all GPUs: within nodes, then between them, each by the better of ring and tree.

    Thakur, Rabenseifner, Gropp, Int. J. High Perform. Comput. Appl. 19 (2005) 49.
    """
    inside = min(gpus, cluster.node_gpus)
    between = math.ceil(gpus / cluster.node_gpus)
    within = _all_reduce(n_bytes, inside, cluster.node_bandwidth, cluster.node_latency)
    # Each GPU of a node has an adapter and brings its part of the gradient.
    return within + _all_reduce(n_bytes / inside, between, cluster.bandwidth, cluster.latency)


def _all_reduce(n_bytes: float, n: int, bandwidth: float, latency: float) -> float:
    if n == 1:
        return 0.0
    ring = 2 * (n - 1) * latency + 2 * (n - 1) / n * n_bytes / bandwidth
    tree = 2 * math.ceil(math.log2(n)) * (latency + n_bytes / bandwidth)
    return min(ring, tree)


def loading(cluster: Cluster, gpus: int, data_bytes: float) -> float:
    """Seconds until every node has read all training events once from shared storage; its GPUs read them from its memory."""
    return math.ceil(gpus / cluster.node_gpus) * data_bytes / cluster.storage


def trials_per_minute(cluster: Cluster, gpus: int, gpu_trials_per_minute: float) -> tuple[float, str]:
    """Trials per minute of `gpus` GPUs that would each do so many alone, and what bounds them: "GPUs", "driver" or "storage"."""
    bounds = {
        "GPUs": gpus * gpu_trials_per_minute,
        "driver": 60.0 / cluster.driver,
        "storage": 60.0 * cluster.files / cluster.files_per_trial,
    }
    bound = min(bounds, key=lambda name: bounds[name])
    return bounds[bound], bound
