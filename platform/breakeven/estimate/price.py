"""What a study will take, with its uncertainty, and afterwards by how much that was wrong.

Pure functions of a specification and of speeds; it never measures and never runs anything.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from breakeven.estimate.speeds import MACHINE_NOISE, Speed, Speeds
from breakeven.ledger.charge import charge_of
from breakeven.ledger.ledger import now
from breakeven.study import plan
from breakeven.study.plan import Cell, Phase
from breakeven.study.spec import Pretraining, Study

STEPS = 600.0
"""Gradient steps to the plateau where no trial has shown it: at batch 32 a network takes 200 to 2,000."""
STAGES = ("generation", "pretraining", "finetuning", "search", "all trainings")
"""What is expected and taken together; trials are of finetuning or of its search."""


@dataclass(frozen=True)
class Range:
    """An expected number with a low and a high one between which the truth is likely."""

    expected: float
    low: float
    high: float

    def __add__(self, other: "Range") -> "Range":
        """The sum: errors of speeds are alike in all parts, so the ends are added too."""
        return Range(self.expected + other.expected, self.low + other.low, self.high + other.high)

    def __mul__(self, factor: float) -> "Range":
        return Range(self.expected * factor, self.low * factor, self.high * factor)


NOTHING = Range(0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Price:
    """What a study will take. Hours are device-hours of one core or one GPU that is used; waiting is not in them."""

    cells: int
    trials: int
    search_trials: int
    processes: int
    events: int
    generation: Range
    """Core-hours."""
    pretraining: Range
    """Device-hours, all backbones."""
    finetuning: Range
    """Device-hours of the reported trials."""
    search: Range
    """Device-hours of the search trials."""
    speeds: Speeds
    each: Mapping[str, Range]
    """Device-hours of one piece of work of each kind, see `_piece`."""

    def __add__(self, other: "Price") -> "Price":
        """Of two networks in one study: the events are the same."""
        return replace(
            self,
            cells=self.cells + other.cells,
            trials=self.trials + other.trials,
            search_trials=self.search_trials + other.search_trials,
            pretraining=self.pretraining + other.pretraining,
            finetuning=self.finetuning + other.finetuning,
            search=self.search + other.search,
            each={**self.each, **other.each},
        )

    @property
    def device_hours(self) -> Range:
        """Pretraining, reported trials and search."""
        return self.pretraining + self.finetuning + self.search


def price(
    study: Study, pretraining_default: tuple[str, ...], speeds: Speeds, train_fraction: float, network: str = ""
) -> Price:
    """Cells, trials and hours of a study of one network that has nothing yet. network: its name where it is one of several.

    Evaluation costs a third of training per event.
    """
    names = plan.processes(study, pretraining_default)
    events = sum(study.generation.events(name) for name in names)
    trials: dict[Phase, int] = {"search": 0, "confirm": 0}
    hours: dict[Phase, Range] = {"search": NOTHING, "confirm": NOTHING}
    each = {
        _piece({"level": "generation", "process": name}): generation_hours(
            {name: study.generation.events(name)}, speeds
        )
        for name in names
    }
    cells = plan.cells(study)
    for cell in cells:
        for phase, number in plan.trials_of(study, cell).items():
            of_one = trial_hours(study, cell, phase, speeds)
            trials[phase] += number
            hours[phase] += of_one * number
            about = {"level": "trial", "strategy": cell.strategy, "size": cell.size, "phase": phase, "network": network}
            each[_piece(about)] = of_one
    pretrainings = []
    for name, settings in study.pretrainings_by_name().items():
        of_one = pretraining_hours(study, settings, pretraining_default, speeds, train_fraction)
        pretrainings.append(of_one * settings.seeds)
        each[_piece({"level": "pretraining", "pretraining": name, "network": network})] = of_one
    return Price(
        cells=len(cells),
        trials=trials["confirm"],
        search_trials=trials["search"],
        processes=len(names),
        events=events,
        generation=generation_hours({name: study.generation.events(name) for name in names}, speeds),
        pretraining=sum(pretrainings, NOTHING),
        finetuning=hours["confirm"],
        search=hours["search"],
        speeds=speeds,
        each=each,
    )


def _piece(record: Mapping[str, Any]) -> str:
    """What the pieces of work that take as long as that of a record have in common, by the names of the study."""
    if record["level"] == "generation":
        return f"generation/{record['process']}"
    network = "" if record.get("strategy") == "trees" else record["network"]
    if record["level"] == "pretraining":
        return f"pretraining/{network}/{record['pretraining']}"
    return f"{record['phase']}/{network}/{record['strategy']}/{record['size']}"


def generation_hours(events: Mapping[str, int], speeds: Speeds) -> Range:
    """Core-hours for so many events of each process; one that was never generated here may be much slower than others."""
    total = NOTHING
    for name, number in events.items():
        known = speeds.processes.get(name)
        total += _time(number, Speed(known, MACHINE_NOISE) if known else speeds.generated)
    return total


def pretraining_hours(
    study: Study, settings: Pretraining, default: tuple[str, ...], speeds: Speeds, train_fraction: float
) -> Range:
    """Device-hours of one pretraining of a study: with a plateau rule from as soon as that lets it, to all its epochs."""
    events = 0.0
    for name in plan.pretraining_processes(settings, default):
        there = study.generation.events(name) * train_fraction
        events += min(there, settings.events_per_process or there)
    most = _time(settings.epochs * events, speeds.pretrained)
    if not settings.patience:
        return most
    least = min(settings.patience + 1, settings.epochs) / settings.epochs
    return Range(most.expected * (1 + least) / 2, most.low * least, most.high)


def trial_hours(study: Study, cell: Cell, phase: Phase, speeds: Speeds) -> Range:
    """Device-hours of one trial: as its like took before, else by its event passes.

    How early a trial stops is not known before: its epochs are those of its patience and, in steps, what trials of its
    strategy took before, from a third to three times as many.
    """
    if alike := speeds.trials.get((cell.strategy, cell.size, phase)):
        average, spread, number = alike
        error = max(MACHINE_NOISE, 2 * spread / average / number**0.5)
        return Range(average, average / (1 + error), average * (1 + error)) * (1 / 3600)
    limit, patience = plan.epochs(study.finetuning, cell.size), plan.patience(study.finetuning, cell.size)
    typical = speeds.steps.get(cell.strategy, STEPS) / plan.steps_each(study.finetuning, cell.size)
    low, expected, high = (
        _time(plan.event_passes(study, cell, phase, min(1.0, (patience + factor * typical) / limit)), speeds.trained)
        for factor in (1 / 3, 1, 3)
    )
    return Range(expected.expected, low.low, high.high)


def to_keep(price: Price) -> dict[str, Any]:
    """What is kept of a price beside a study, in plain values, to be held against what comes from now on."""
    return {"each": {name: vars(one) for name, one in price.each.items()}, "origin": price.speeds.origin, "made": now()}


def outcome(kept: Mapping[str, Any], records: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Expected against taken, in device-hours: one row a stage and one for all trainings, of the work since the price was made.

    records: of the study, by its names. Those of before are what the price was told from, and say nothing of it; nor do failed
    and interrupted tries.
    Rows: stage, expected, low, high, taken, off (taken / expected - 1), within (whether low <= taken <= high). Stages without
    such work are left out.
    """
    expected: dict[str, Range] = {}
    taken: dict[str, float] = {}
    for record in records:
        piece = kept["each"].get(_piece(record))
        if piece is None or record["started"] < kept["made"] or record["outcome"] == "failed":
            continue
        charge = charge_of(record)
        stage = record["level"]
        if stage == "trial":
            stage = "search" if record["phase"] == "search" else "finetuning"
        for name in (stage, *(["all trainings"] if stage != "generation" else [])):
            expected[name] = expected.get(name, NOTHING) + Range(**piece)
            taken[name] = taken.get(name, 0.0) + charge.worked / 3600
    return [
        {"stage": stage, **vars(of_stage), "taken": taken[stage], "off": taken[stage] / of_stage.expected - 1,
         "within": of_stage.low <= taken[stage] <= of_stage.high}
        for stage in STAGES if (of_stage := expected.get(stage, NOTHING)).expected > 0
    ]  # fmt: skip


def _time(work: float, speed: Speed) -> Range:
    expected = work / speed.value / 3600
    return Range(expected, expected / (1 + speed.uncertainty), expected * (1 + speed.uncertainty))
