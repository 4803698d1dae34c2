import dataclasses
import math

import pytest

from breakeven.benchmarks import simulation
from breakeven.estimate import scale
from breakeven.estimate.cards import UnknownCard, card
from breakeven.terminal import console

PERFECT = scale.Cluster(
    bandwidth=math.inf, node_bandwidth=math.inf, latency=0.0, node_latency=0.0, checkpoint=0.0, gpu_hours_per_fault=math.inf
)  # fmt: skip


class Linear:
    """A card whose pace does not depend on the batch."""

    def events_per_second(self, precision, batch, members=1):
        return 1000.0


def parts(cluster, gpus, rates=None, batch=1000):
    return scale.pretraining(
        rates or Linear(), cluster, gpus, precision="tf32", batch=batch, events=1e6, gradient_bytes=1.5e6
    )


@pytest.mark.parametrize("gpus", [1, 7, 512])
def test_with_nothing_to_wait_for_n_gpus_are_n_times_as_fast(gpus):
    perfect = parts(PERFECT, gpus)
    assert perfect.seconds == pytest.approx(1000.0 / gpus) and perfect.efficiency == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("changes", "bound"),
    [
        ({"latency": 1.0}, "exchange"),
        ({"node_bandwidth": 1e6}, "exchange"),
        ({"checkpoint": 100.0}, "checkpoints"),
        ({"gpu_hours_per_fault": 1.0}, "faults"),
    ],
)
def test_what_is_slow_is_named_and_has_a_remedy(changes, bound):
    slow = parts(dataclasses.replace(PERFECT, **changes), 16)
    assert slow.bottleneck == bound and scale.REMEDY[bound] and slow.efficiency < 0.9


def test_a_share_below_the_smallest_measured_batch_takes_as_long_as_that():
    h200 = card("h200")
    seconds = [parts(PERFECT, gpus, h200, batch=1024).seconds for gpus in (16, 32)]  # 64 and 32 events each
    assert seconds[0] == pytest.approx(seconds[1])
    assert parts(PERFECT, 32, h200, batch=1024).bottleneck == "floor"


def test_a_sum_over_gpus_takes_the_better_of_ring_and_tree():
    cluster = dataclasses.replace(PERFECT, node_gpus=1, bandwidth=1e9, latency=1e-5)
    assert scale.all_reduce(1e9, 1, cluster) == 0.0
    assert scale.all_reduce(1e9, 64, cluster) == pytest.approx(2 * 63 / 64 + 2 * 63e-5)  # ring: bandwidth alone
    assert scale.all_reduce(8.0, 64, cluster) == pytest.approx(2 * 6 * 1e-5, rel=1e-2)  # tree: latency alone


def test_trials_are_bound_by_gpus_then_by_the_driver():
    cluster = scale.Cluster(driver=3e-3)
    assert scale.trials_per_minute(cluster, 8, 100.0) == (800.0, "GPUs")
    assert scale.trials_per_minute(cluster, 1000, 100.0) == (pytest.approx(20_000.0), "driver")


def test_the_tables_tell_efficiency_bounds_and_where_the_times_come_from():
    with console.capture() as capture:
        simulation.simulate("h200")
    told = capture.get()
    assert "NVIDIA H200" in told and "512" in told and "floor: lifted by" in told and "driver: lifted by" in told
    with pytest.raises(UnknownCard, match="--on mine"):
        simulation.simulate("mine")
