"""The throughput study: how fast does the graph network train, against DGL and PyTorch Geometric's idiom?

Times training steps on real events, all engines from the same weights and interleaved in one run: batch sizes, threads,
the share of loading, and the ratio to the measured matrix peak.
Prints a table, writes JSON with every timing and the definition of every figure, and logs the figures to MLflow.

    python studies/throughput.py                                     everything (five minutes, ten on a busy machine)
    python studies/throughput.py --quick --json PATH                 batch 1024 alone (under a minute)
    python studies/throughput.py --gpu --json PATH                   a GPU: every form of a step, packs, ceilings, energy
    python studies/throughput.py --jets                              the Particle Transformer, against weaver-core's; generation
    python studies/throughput.py --scheduler --trials N              what a trial costs Ray's driver, nothing trained
    python studies/throughput.py --simulate CARD                     what 1 to 512 of a measured card would do, and what bounds it

Where --sample brings its events, --gpu needs no Ray, MLflow, Arrow or Pythia. What it writes is what --plan --on CARD reads,
once it lies in platform/breakeven/estimate/cards/.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch: its idle threads spin, and the kernel has its own

import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro

from breakeven import atomic, provenance
from breakeven.benchmarks.tracked import log
from breakeven.places import Places, default_runs_dir
from breakeven.terminal import console

NAME = "throughput"


@dataclass(frozen=True)
class Throughput:
    """What to measure, and where results go."""

    quick: bool = False
    """Few rounds, and batch 1024 alone."""
    gpu: bool = False
    """Measure a GPU in their place: eager, captured, Triton, PyTorch Geometric, packs, whole trainings (four minutes)."""
    sample: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """Events in one .npz: read where it exists, else written for a machine that has no datasets."""
    jets: bool = False
    """Measure in their place the Particle Transformer, flat against padded, and generation (four minutes; --quick: one)."""
    scheduler: bool = False
    """Measure in their place what the bookkeeping of a trial costs."""
    trials: int = 5000
    """Trials of the study that --scheduler measures."""
    simulate: Annotated[str, tyro.conf.arg(metavar="CARD")] = ""
    """Predict, from what was measured of a card, pretraining and finetuning on up to 1,000 of it; measure nothing."""
    show: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """Print the tables of a JSON that --gpu wrote, as the README has them, and measure nothing."""
    json: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """Write the JSON here too; it always goes to the runs folder."""
    runs_dir: Annotated[Path, tyro.conf.arg(metavar="DIR")] = field(default_factory=default_runs_dir)
    """Where the events come from, or go to, and the results."""
    device: str = ""
    """Where to train: "cpu" or "cuda"; empty: on a GPU where there is one."""


def main(asked: Throughput) -> None:
    """Measure, print, write, log; status 1 where a part of the GPU's benchmark failed."""
    if asked.show:
        from breakeven.benchmarks.gpu_rows import markdown

        return print(markdown(json.loads(asked.show.read_text())))
    if asked.simulate:
        from breakeven.benchmarks.simulation import simulate

        return simulate(asked.simulate)
    places = Places(asked.runs_dir, NAME)
    content: dict[str, Any] = {
        "load_at_start": os.getloadavg()[0],
        "git_commit": provenance.git_commit(),
        "host": provenance.host(),
    }
    name = "scheduler" if asked.scheduler else "gpu" if asked.gpu else "jets" if asked.jets else NAME
    written = places.folder / f"{name}.json"

    def keep() -> None:
        for path in {written, asked.json or written}:
            atomic.write_json(path, content)

    if asked.scheduler:
        figures = measure_scheduler(asked, content)
    elif asked.jets:
        from breakeven.benchmarks import jet_generation, jets

        figures = jets.measure(places.datasets, asked.quick, content) | jet_generation.measure(asked.quick, content)
    else:
        figures = measure_events(asked, places, content, keep)
    for name, value in figures.items():
        console.print(f"  {name} = {value:.4g}")
    content |= figures
    content.setdefault("versions", provenance.versions())
    keep()
    log(places, NAME, written, figures)
    if content.get("failed"):
        sys.exit(1)


def measure_scheduler(asked: Throughput, content: dict[str, Any]) -> dict[str, float]:
    """A study of trials that only keep their books, on Ray, in a folder that is removed."""
    from breakeven.benchmarks import scheduler
    from breakeven.distributed.session import session

    with tempfile.TemporaryDirectory(prefix="scheduler-") as folder, session() as resources:
        figures = scheduler.measure(asked.trials, resources, Path(folder))
    console.print(scheduler.table(figures))
    content |= {"device": provenance.processor(), "definitions": scheduler.DEFINITIONS}
    return figures


def measure_events(
    asked: Throughput, places: Places, content: dict[str, Any], keep: Callable[[], None]
) -> dict[str, float]:
    """Training steps on real events; for a GPU every form of them (on CPU the plain ones, at sizes that end)."""
    from breakeven.benchmarks import carried

    events, target = carried.events_of(asked.sample, places.datasets, asked.device)
    if asked.gpu:
        from breakeven.benchmarks import gpu

        return gpu.Benchmark(events, target, gpu.sizes_for(events.device), content, keep).run()
    from breakeven.benchmarks import training

    return training.measure(events, target, asked.quick, content)


if __name__ == "__main__":
    main(tyro.cli(Throughput, description=__doc__, config=(tyro.conf.FlagCreatePairsOff,)))
