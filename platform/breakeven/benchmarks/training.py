"""The training benchmark: engines, threads and loading, in one run.

Puts the parts together and prints their table; each part measures for itself.
"""

from typing import Any

import torch

from breakeven import provenance
from breakeven.benchmarks import card, engines, loading, report
from breakeven.benchmarks.timing import on_one_thread
from breakeven.terminal import console
from breakeven.training.batches import EventTensors


def measure(events: EventTensors, target: torch.Tensor, quick: bool, content: dict[str, Any]) -> dict[str, float]:
    """The figures of report.DEFINITIONS, on these events; `content` takes every timing.

    All engines at batch 1024 (or 256, 1024 and 4096), native again in many rounds on one and two threads.
    target: [n_events] int64 class numbers.  quick: few rounds.
    """
    device = str(events.device)
    content |= {
        "device": torch.cuda.get_device_name() if device != "cpu" else provenance.processor(),
        "events": events.n_events,
        "definitions": report.DEFINITIONS,
    }
    rounds, sizes = (3, (report.BATCH,)) if quick else (5, (256, report.BATCH, 4096))
    threads = [1] if quick or device != "cpu" else [1, 2]
    measured = engines.measure(events, target, sizes, threads, rounds)
    console.print(report.engine_table(measured, device))
    gather = loading.gather_seconds(events, report.BATCH, rounds=50)
    with on_one_thread():
        peaks = card.measure(events.device, ("float32",), copied=2**20, width=1024, rows=4096, rounds=20)
    figures = report.engine_figures(measured, gather, peaks, device)
    if device == "cpu":
        alone = engines.measure(events, target, [report.BATCH], [1, 2], rounds=20, engines=["native"])
        figures |= report.thread_figures(alone)
        measured += alone
    content["steps"] = report.rows(measured)
    return figures
