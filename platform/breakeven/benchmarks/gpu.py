"""The benchmark of a GPU: ceilings of the card, a training step in every form, packs, whole trainings, loading, in one run.

Each part is printed and kept as soon as it is measured, and one that fails does not take the others with it. What comes
out is what plans for that card stand on (estimate/cards.py). On CPU the same parts run, in plain torch, for tests.
"""

import datetime
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from itertools import product
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from breakeven import provenance
from breakeven.benchmarks import card, forms, loading, packs, work
from breakeven.benchmarks.forms import Case, Form
from breakeven.benchmarks.gpu_rows import DEFINITIONS, Step, Training, ceilings_table, steps_table, trainings_table
from breakeven.benchmarks.timing import interleaved
from breakeven.estimate.cards import SCHEMA
from breakeven.terminal import console, show, show_error
from breakeven.training.batches import EventTensors
from breakeven.training.energy import energy_meter
from breakeven.training.recipe import Precision, Recipe

if TYPE_CHECKING:
    from breakeven.models.gpu.launch import Launch

TOLERANCE: dict[Precision, float] = {"float32": 1e-3, "tf32": 0.05, "bfloat16": 0.2}
"""Most that the gradient of a form may differ from the exact one, of its length."""


class FormDisagrees(RuntimeError):
    """A form computes another function than the network, so that its time says nothing."""


@dataclass(frozen=True)
class Sizes:
    """What is measured, and for how long.

    batches: of one network.  large: more of them, for captured and triton alone.  energy: batches of which energy is
    measured, for `energy_seconds`.  packs, pack_batch: members, and events of each in a step.
    training_events, epochs: of each whole training.  rounds: of each timing.  burst: seconds of steps in a round.
    copied, width, rows: see card.measure.
    """

    forms: tuple[Form, ...] = forms.FORMS
    precisions: tuple[Precision, ...] = ("float32", "tf32", "bfloat16")
    batches: tuple[int, ...] = (64, 1024, 4096, 16384)
    large: tuple[int, ...] = (65536,)
    energy: tuple[int, ...] = (1024, 16384)
    energy_seconds: float = 0.5
    agreement: int = 1024
    packs: tuple[int, ...] = (1, 16, 64)
    pack_batch: int = 64
    training_events: int = 1000
    epochs: int = 10
    rounds: int = 4
    burst: float = 0.08
    copied: int = 2**29
    width: int = 8192
    rows: int = 2**21


def sizes_for(device: torch.device) -> Sizes:
    """All of it on a GPU; on CPU what it can do in seconds, to see that it works."""
    if device.type == "cuda":
        return Sizes()
    return Sizes(
        forms=("eager", "captured", "geometric"), precisions=("float32",), batches=(16,), large=(32,), energy=(), agreement=32,
        packs=(1, 2), pack_batch=8, training_events=32, epochs=1, rounds=1, burst=0.0, copied=2**16, width=64, rows=256,
    )  # fmt: skip


class Benchmark:
    """One run. `content` takes all that is measured, for JSON; `keep` is called after each part, to write it."""

    def __init__(
        self, events: EventTensors, target: Tensor, sizes: Sizes, content: dict[str, Any], keep: Callable[[], None]
    ) -> None:
        self.events, self.target, self.sizes, self.content, self.keep = events, target, sizes, content, keep
        self.device = events.device
        self.ceilings: card.Ceilings | None = None
        self.steps: list[Step] = []
        self.trainings: list[Training] = []
        self._agree: set[tuple[Form, Precision]] = set()
        self._begun = time.perf_counter()
        content |= {
            "schema": SCHEMA,
            **about(self.device),
            "definitions": DEFINITIONS,
            "agreement": [],
            "left_out": [],
            "failed": [],
        }
        content["iterations"] = forms.model_of(events, 1).iterations

    def run(self) -> dict[str, float]:
        """Measure all parts; the figures for MLflow."""
        sizes = self.sizes
        self._part("ceilings", self._measure_ceilings)
        if "triton" in sizes.forms:
            self._part("compiling the kernels", self._compile_kernels)
        for form, precision in product(sizes.forms, sizes.precisions):
            self._part(f"agreement of {form} in {precision}", self._measure_agreement, form, precision)
        engines = [form for form in sizes.forms if form in forms.ENGINES]
        packs = [(sizes.pack_batch, members, engines) for members in sizes.packs if members > 1]
        alone = [*((batch, 1, sizes.forms) for batch in sizes.batches), *((batch, 1, engines) for batch in sizes.large)]
        for (batch, members, chosen), precision in product([*alone, *packs], sizes.precisions):
            self._measure_steps([Case(form, precision, batch, members) for form in chosen])
        show(steps_table(self.steps))
        for precision, members in product(sizes.precisions, sizes.packs):
            self._part(f"{members} trainings in {precision}", self._measure_training, precision, members)
        self._part("loading", self._measure_loading)
        return self._figures()

    def _part(self, name: str, measure: Callable[..., object], *arguments: object) -> None:
        """Measure a part and keep it; where it fails, or is not to be had here, that is told and kept, and the rest goes on."""
        try:
            measure(*arguments)
        except forms.NotServed as error:
            console.print(f"  left out: {error}", markup=False)
            self.content["left_out"].append({"part": name, "reason": str(error)})
        except Exception as error:  # whatever it is: what other parts measure is worth having
            show_error(error)
            self.content["failed"].append({"part": name, "error": f"{type(error).__name__}: {error}"[:1000]})
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        self.content["seconds"] = time.perf_counter() - self._begun
        self.content["steps"] = [asdict(step) for step in self.steps]
        self.content["trainings"] = [asdict(training) for training in self.trainings]
        self.keep()

    def _measure_ceilings(self) -> None:
        sizes = self.sizes
        self.ceilings = card.measure(
            self.device, sizes.precisions, copied=sizes.copied, width=sizes.width, rows=sizes.rows
        )
        self.content["ceilings"] = asdict(self.ceilings)
        show(ceilings_table(self.ceilings, self.content["card"]))

    def _compile_kernels(self) -> None:
        """All kernels of all precisions, in parallel, so that none is compiled while something is timed."""
        begun = time.perf_counter()
        launches: list[Launch] = []
        for precision in self.sizes.precisions:
            for members in {1, max(self.sizes.packs, default=1)}:
                case = Case("triton", precision, self.sizes.pack_batch, members)
                with suppress(forms.NotServed):  # that is told where its gradient is measured
                    launches += forms.kernels_for(forms.trainings_of(case, self.events, self.target), 1, 0).launches
        if not launches:
            return
        from triton.runtime import driver  # only now is it known that Triton is there

        from breakeven.models.gpu.launch import compile_all

        kernels = compile_all(launches, driver.active.get_current_target())
        self.content["compiled"] = {"kernels": kernels, "seconds": time.perf_counter() - begun}
        console.print(f"  {kernels} kernels compiled in {time.perf_counter() - begun:.0f} s")

    def _measure_agreement(self, form: Form, precision: Precision) -> None:
        """How far a form's gradient is from the exact one; one that is not the network's is not timed at all."""
        case = Case(form, precision, min(self.sizes.agreement, self.events.n_events))
        exact = forms.exact_gradient_of(case, self.events, self.target)
        gradient = forms.gradient_of(case, self.events, self.target).double()
        difference = float((gradient - exact).norm() / exact.norm())
        self.content["agreement"].append({**asdict(case), "gradient_difference": difference})
        console.print(f"  {case}: the gradient differs from float64's by {difference:.2g} of its length")
        if not difference < TOLERANCE[precision]:
            raise FormDisagrees(
                f"{case}: its gradient differs from the network's by {difference:.2g} of its length, more than "
                f"{TOLERANCE[precision]:g}, so that its time would say nothing"
            )
        self._agree.add((form, precision))

    def _measure_steps(self, cases: Sequence[Case]) -> None:
        """Make the step of each case whose form agrees, then time all that were made against each other."""
        made: dict[Case, tuple[Callable[[], object], int | None]] = {}
        for case in cases:
            if (case.form, case.precision) not in self._agree:
                continue
            self._part(str(case), lambda case=case: made.update({case: self._prepared(case)}))
        if made:
            self._part(f"timing of {', '.join(map(str, made))}", self._time, made)

    def _prepared(self, case: Case) -> tuple[Callable[[], object], int | None]:
        """The step of a case, taken once, and the memory that it needs on a GPU."""
        cuda = self.device.type == "cuda"
        before = torch.cuda.memory_allocated() if cuda else 0
        if cuda:
            torch.cuda.reset_peak_memory_stats()
        step = forms.step_of(case, self.events, self.target)
        step()
        return step, torch.cuda.max_memory_allocated() - before if cuda else None

    def _time(self, made: dict[Case, tuple[Callable[[], object], int | None]]) -> None:
        lengths = {case: self._burst_length(step) for case, (step, _) in made.items()}
        works = {case: _repeated(step, lengths[case]) for case, (step, _) in made.items()}
        timings = interleaved(works, self.sizes.rounds, self.device)
        measured = []
        for case, (step, peak_bytes) in made.items():
            row = self._row(case, timings[case].median_wall / lengths[case])
            joules = self._joules(step, row) if case.batch in self.sizes.energy and case.members == 1 else None
            measured.append(replace(row, joules_per_million_events=joules, peak_bytes=peak_bytes))
        self.steps += measured
        show(steps_table(measured))

    def _burst_length(self, step: Callable[[], object]) -> int:
        """How many steps fill a burst, at least 2."""
        seconds = interleaved({"step": step}, 2, self.device)["step"].best_wall
        return max(2, min(200, round(self.sizes.burst / seconds)))

    def _row(self, case: Case, seconds: float) -> Step:
        """A step with what follows from its time and its events."""
        n_outputs = int(self.target.max()) + 1 if case.members == 1 else 1
        model = forms.model_of(self.events, n_outputs)
        _, offsets = self.events.gather(forms.index_of(case, self.events).flatten())
        counts = offsets.diff().double()
        flop, moved = work.model_flop(model, offsets), work.state_bytes(model, offsets, _element_size(case))
        ceilings = self.ceilings
        return Step(
            form=case.form,
            precision=case.precision,
            batch=case.batch,
            members=case.members,
            seconds=seconds,
            events_per_second=case.events / seconds,
            edges_per_event=float((counts * (counts - 1)).mean()),
            flop_per_event=flop / case.events,
            share_of_products=flop / seconds / ceilings.wide[case.precision] if ceilings else None,
            share_of_copy=moved / seconds / ceilings.copy if ceilings else None,
        )

    def _joules(self, step: Callable[[], object], row: Step) -> float | None:
        meter = energy_meter(str(self.device))
        if meter is None:
            return None
        n_steps = max(1, round(self.sizes.energy_seconds / row.seconds))
        _repeated(step, n_steps)()
        torch.cuda.synchronize(self.device)
        return meter() / (n_steps * row.batch * row.members) * 1e6

    def _measure_training(self, precision: Precision, members: int) -> None:
        sizes, signal = self.sizes, (self.target == 0).float()
        n_training = min(sizes.training_events, self.events.n_events * 2 // 3)
        recipe = Recipe(batch_size=sizes.pack_batch, epochs=sizes.epochs, patience=None, precision=precision)
        pack = packs.trainings_of(self.events, signal, recipe, members, n_training)
        seconds = interleaved({"pack": partial(packs.train_all, pack)}, 1, self.device)["pack"].median_wall
        seen = members * sizes.epochs * n_training
        row = Training(precision, members, sizes.pack_batch, sizes.epochs, n_training, seconds, seen / seconds)
        self.trainings.append(row)
        show(trainings_table([row]))

    def _measure_loading(self) -> None:
        batch = min(1024, self.events.n_events)
        seconds = loading.gather_seconds(self.events, batch, rounds=20)
        self.content["loading"] = {"batch": batch, "gather_seconds": seconds}
        console.print(f"  a batch of {batch:,} is gathered in {1e3 * seconds:.3g} ms")

    def _figures(self) -> dict[str, float]:
        figures = {
            f"events_per_second_{step.form}_{step.precision}_{step.members}x{step.batch}": step.events_per_second
            for step in self.steps
        }
        for training in self.trainings:
            name = f"trained_events_per_second_{training.precision}_{training.members}x{training.batch}"
            figures[name] = training.events_per_second
        loaded = self.content.get("loading")
        for step in self.steps:
            if loaded and (step.form, step.precision, step.batch) == ("eager", "float32", loaded["batch"]):
                figures["loading_share"] = loaded["gather_seconds"] / step.seconds
        return figures


def about(device: torch.device) -> dict[str, Any]:
    """Which device this is, and what measured it: card, versions, date, command, commit."""
    cuda = device.type == "cuda"
    versions = {"python": provenance.versions()["python"], "torch": torch.__version__}
    for package in ("triton", "torch-geometric"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "absent"
    if cuda:
        versions |= {"cuda": str(torch.version.cuda)}
    return {
        "card": torch.cuda.get_device_name(device) if cuda else provenance.processor(),
        "versions": versions,
        "measured": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "command": "python studies/throughput.py --gpu",
    }


def _element_size(case: Case) -> int:
    return 2 if case.precision == "bfloat16" else 4


def _repeated(step: Callable[[], object], times: int) -> Callable[[], None]:
    def run() -> None:
        for _ in range(times):
            step()

    return run
