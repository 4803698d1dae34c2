"""K small trainings in one worker: one after the other against stacked, and what each would pay to start alone."""

import resource
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from rich.table import Table
from torch import Tensor

from breakeven.benchmarks.timing import Timing, interleaved, on_one_thread
from breakeven.models import build
from breakeven.training.batches import EventTensors, Sample, epoch_order
from breakeven.training.pack import Form, train_pack
from breakeven.training.recipe import Recipe
from breakeven.training.training import Failed, Training

FORMS: tuple[Form, ...] = ("sequential", "stacked")
TRAINING_EVENTS = 256
RECIPE = Recipe(epochs=1, batch_size=64, patience=None)


@dataclass(frozen=True)
class MeasuredPack:
    """size: members.  timing: of one epoch of all of them, start and validation included."""

    form: Form
    size: int
    timing: Timing


def measure(events: EventTensors, target: Tensor, sizes: Sequence[int], rounds: int) -> list[MeasuredPack]:
    """Time packs of all sizes in both forms, interleaved, on one thread; target: [n_events] int64 class numbers."""
    signal = (target == 0).float()
    works = {
        (form, size): partial(train_all, trainings_of(events, signal, RECIPE, size, TRAINING_EVENTS), form)
        for size in sizes
        for form in FORMS
    }
    with on_one_thread():
        timings = interleaved(works, rounds, events.device)
    return [MeasuredPack(form, size, timing) for (form, size), timing in timings.items()]


def start_seconds() -> float:
    """CPU seconds that a process needs before it can train: Python and imports."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", "import breakeven.training.pack"], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def figures(measured: Sequence[MeasuredPack], device: str) -> dict[str, float]:
    """pack_K_stacked_over_sequential: how many times as fast K trainings are when they are stacked."""
    seconds = {(m.form, m.size): _seconds(m, device) for m in measured}
    return {
        f"pack_{size}_stacked_over_sequential": seconds["sequential", size] / seconds["stacked", size]
        for form, size in seconds
        if form == "stacked"
    }


def table(measured: Sequence[MeasuredPack], device: str) -> Table:
    """One row for each form and size."""
    title = f"K trainings of {TRAINING_EVENTS} events, batch {RECIPE.batch_size}"
    shown = Table("form", title=title, title_justify="left")
    for heading in ("K", "ms per training", "trained events/s"):
        shown.add_column(heading, justify="right")
    for m in measured:
        seconds = _seconds(m, device)
        rate = m.size * TRAINING_EVENTS / seconds
        shown.add_row(m.form, str(m.size), f"{1e3 * seconds / m.size:,.1f}", f"{rate:,.0f}")
    return shown


def _seconds(measured: MeasuredPack, device: str) -> float:
    return measured.timing.median_cpu if device == "cpu" else measured.timing.median_wall


def trainings_of(events: EventTensors, signal: Tensor, recipe: Recipe, size: int, n_training: int) -> list[Training]:
    """Trainings of several seeds, each on `n_training` events of its own and half as many to validate on.

    signal: [n_events] float32, 1 for signal and 0 for background.
    """
    trainings = []
    for seed in range(size):
        order = epoch_order(events.n_events, seed, epoch=0).to(events.device)
        training, validation = (
            Sample(part, signal[part]) for part in (order[:n_training], order[-(n_training // 2) :])
        )
        model = build(1).to(events.device)
        trainings.append(Training(model, events, training, validation, replace(recipe, seed=seed)))
    return trainings


def train_all(trainings: Sequence[Training], form: Form | None = None) -> None:
    """Train a pack. Raises what one of it raised."""
    for outcome in train_pack(trainings, form):
        if isinstance(outcome, Failed):
            raise outcome.error
