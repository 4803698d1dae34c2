"""K small trainings in one worker: one after the other against stacked, and what each would pay to start alone."""

import resource
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from rich.table import Table
from torch import Tensor

from breakeven.benchmarks.timing import Timing, interleaved
from breakeven.models import build
from breakeven.training.batches import EventTensors, Sample, epoch_order
from breakeven.training.member import Failed, Member
from breakeven.training.pack import Form, train_pack
from breakeven.training.recipe import Recipe

FORMS: tuple[Form, ...] = ("sequential", "stacked")
TRAINING_EVENTS, VALIDATION_EVENTS = 256, 128
RECIPE = Recipe(epochs=1, batch_size=64, patience=None)


@dataclass(frozen=True)
class MeasuredPack:
    """size: members.  timing: of one epoch of all of them, start and validation included."""

    form: Form
    size: int
    timing: Timing


def measure(events: EventTensors, target: Tensor, sizes: Sequence[int], rounds: int) -> list[MeasuredPack]:
    """Time packs of all sizes in both forms, interleaved, on one thread; target: [n_events] int64 class numbers."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    signal = (target == 0).float()
    try:
        timings = interleaved(
            {(form, size): partial(_train, events, signal, size, form) for size in sizes for form in FORMS},
            rounds,
            events.device,
        )
    finally:
        torch.set_num_threads(before)
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
    found = Table(
        "form", title=f"K trainings of {TRAINING_EVENTS} events, batch {RECIPE.batch_size}", title_justify="left"
    )
    for heading in ("K", "ms a training", "trained events/s"):
        found.add_column(heading, justify="right")
    for m in measured:
        seconds = _seconds(m, device)
        found.add_row(
            m.form, str(m.size), f"{1e3 * seconds / m.size:,.1f}", f"{m.size * TRAINING_EVENTS / seconds:,.0f}"
        )
    return found


def _seconds(measured: MeasuredPack, device: str) -> float:
    return measured.timing.median_cpu if device == "cpu" else measured.timing.median_wall


def _train(events: EventTensors, signal: Tensor, size: int, form: Form) -> None:
    members = [_member(events, signal, seed) for seed in range(size)]
    for outcome in train_pack(members, events, form):
        if isinstance(outcome, Failed):
            raise outcome.error


def _member(events: EventTensors, signal: Tensor, seed: int) -> Member:
    order = epoch_order(events.n_events, seed, epoch=0).to(events.device)
    train, validation = order[:TRAINING_EVENTS], order[-VALIDATION_EVENTS:]
    model = build(1).to(events.device)
    return Member(
        model, Sample(train, signal[train]), Sample(validation, signal[validation]), replace(RECIPE, seed=seed)
    )
