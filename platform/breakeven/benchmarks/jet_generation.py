"""How fast events of jets are generated, beside Pythia alone on as many collisions: what detector, jets and truth cost on top.

Both on one core, in turn. Writes nothing to disk.
"""

import statistics
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from rich.table import Table

from breakeven.benchmarks.timing import interleaved
from breakeven.events.catalogue import source
from breakeven.physics.jets.generator import BATCH
from breakeven.physics.jets.processes import CATALOGUE
from breakeven.physics.pythia import start
from breakeven.terminal import console

PROCESSES = ("HH4b_1000", "QCD_600_800")
EVENTS = 500
"""Of a shard as a study makes it."""

DEFINITIONS = {
    "tried_per_core_second_P": "generation, collisions tried per second of CPU of one shard of process P, from Pythia's start to "
    "the table; multiparton interactions off",
    "generation_over_pythia_P": "its CPU time over that of Pythia alone, for as many collisions of the same process: the median "
    "of interleaved rounds",
}


def measure(quick: bool, content: dict[str, Any]) -> dict[str, float]:
    """The figures of DEFINITIONS; `content` takes them and every timing. quick: half the events, one round."""
    events, rounds = (EVENTS // 2, 1) if quick else (EVENTS, 3)
    figures: dict[str, float] = {}
    content["definitions"] = {**content.get("definitions", {}), **DEFINITIONS}
    content["generation"] = []
    for name in PROCESSES:
        tried = source(name).make(events, 1, 0).n_tried
        timings = interleaved(
            {"whole": partial(source(name).make, events, 1, 0), "pythia": _pythia(name, tried)}, rounds
        )
        content["generation"] += [
            {"work": work, "process": name, "events": events, "tried": tried, "cpu_seconds": timing.cpu}
            for work, timing in timings.items()
        ]
        figures |= figures_of(name, tried, timings["whole"].cpu, timings["pythia"].cpu)
    console.print(table(figures))
    return figures


def figures_of(process: str, tried: int, whole: Sequence[float], pythia: Sequence[float]) -> dict[str, float]:
    """By their names in DEFINITIONS, of the CPU-seconds of each round."""
    return {
        f"tried_per_core_second_{process}": tried / statistics.median(whole),
        f"generation_over_pythia_{process}": statistics.median(a / b for a, b in zip(whole, pythia, strict=True)),
    }


def table(figures: dict[str, float]) -> Table:
    """The figures, a process in each row."""
    shown = Table("process", "tried per core-second", "time over Pythia's", title="Generation of jets, one core")
    for name in PROCESSES:
        rate, ratio = figures[f"tried_per_core_second_{name}"], figures[f"generation_over_pythia_{name}"]
        shown.add_row(name, f"{rate:,.0f}", f"{ratio:.2f}")
    return shown


def _pythia(process: str, collisions: int) -> Callable[[], None]:
    """So many collisions of a process and nothing else, in batches as the generator takes them."""

    def run() -> None:
        pythia = start((*CATALOGUE[process].settings, "PartonLevel:MPI=off"), seed=1)
        for done in range(0, collisions, BATCH):
            pythia.nextBatch(min(BATCH, collisions - done))

    return run
