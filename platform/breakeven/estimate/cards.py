"""How fast GPUs that are not here train, as measured elsewhere: one file of measurements for each card, in cards/.

Each is what `studies/throughput.py --gpu --json cards/NAME.json` wrote on that card. A card without a file has no figures,
and none is ever made up. It measures nothing.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from importlib.resources.abc import Traversable
from statistics import mean
from typing import Any

from breakeven.estimate.speeds import Speed, Speeds
from breakeven.study.spec import InvalidStudy, Study

SCHEMA = 1
"""Of the files; benchmarks/gpu.py writes it."""

FORMS = ("triton", "captured", "eager")
"""What may train on such a card; PyTorch Geometric, which is measured beside them, never does."""

PRECISIONS = ("float32", "tf32", "bfloat16")

STEP_NOISE = 0.5
"""Relative error of a training's speed from the time of its steps alone: starts, validation and pauses are not in it."""


class UnknownCard(InvalidStudy):
    """A card that was never measured; names those that were."""


@dataclass(frozen=True)
class Card:
    """Measurements of one card. content: the file as it was written."""

    name: str
    content: Mapping[str, Any]

    @cached_property
    def precisions(self) -> tuple[str, ...]:
        """Precisions of matrix products that it was measured in, the most exact first."""
        measured = {step["precision"] for step in self.content["steps"] if step["form"] in FORMS}
        return tuple(precision for precision in PRECISIONS if precision in measured)

    @property
    def provenance(self) -> str:
        """Which card, when, with what and by which command, for people."""
        versions = ", ".join(f"{name} {v}" for name, v in self.content["versions"].items() if v != "absent")
        return (
            f"measured on {self.content['card']} on {self.content['measured']} at {self.content['git_commit']} "
            f"({versions}) by {self.content['command']}"
        )

    def events_per_second(self, precision: str, batch: float, members: float = 1) -> float:
        """Events per second of `members` networks side by side, each with batches of `batch`, in the quickest measured form.

        Between measured batches, and between measured packs, a power law is assumed; below the smallest batch a step takes
        as long as there, above the largest, and in a pack larger than any, an event does.
        Raises ValueError on a precision that was not measured.
        """
        rates: dict[str, dict[int, dict[int, float]]] = {}
        for step in self.content["steps"]:
            if step["form"] in FORMS and step["precision"] == precision:
                of_members = rates.setdefault(step["form"], {}).setdefault(step["members"], {})
                of_members[step["batch"]] = step["events_per_second"]
        if not rates:
            raise ValueError(f"{self.name} was not measured in {precision}; choose {', '.join(self.precisions)}")
        packs = [{k: _at_batch(of_batch, batch) for k, of_batch in of_form.items()} for of_form in rates.values()]
        smaller = [rate for of_form in packs for k, rate in of_form.items() if k <= members]  # one after the other
        return max(*smaller, *(_between(of_form, members) for of_form in packs if min(of_form) <= members))

    def largest_pack(self, precision: str) -> int:
        """Members of the largest pack that was measured in `precision`."""
        return max(
            int(step["members"])
            for step in self.content["steps"]
            if step["form"] in FORMS and step["precision"] == precision
        )

    @cached_property
    def edges_per_event(self) -> float:
        """Mean number of directed edges of the events that it was measured with."""
        return float(mean(step["edges_per_event"] for step in self.content["steps"]))

    @cached_property
    def iterations(self) -> int:
        """Iterations of the network that it was measured with."""
        return int(self.content["iterations"])

    def speeds(
        self, study: Study, here: Speeds, *, precision: str, pack: float, batch: float, edges_per_event: float | None
    ) -> Speeds:
        """Speeds of a study of one network on this card, which need not be here, per device-second of one GPU.

        here: of this machine, which generates events; how early its trials stop is taken over too.  pack: trials that are
        trained side by side.  batch: of pretraining, that part of it which one of several GPUs has; what they tell each other
        is not charged, as it was not measured.  edges_per_event: of the study's events; None: as in the measurement.
        """
        work = (
            study.network.iterations
            / self.iterations
            * (edges_per_event or self.edges_per_event)
            / self.edges_per_event
        )
        members = min(pack, self.largest_pack(precision))
        return Speeds(
            trained=Speed(self.events_per_second(precision, study.finetuning.batch_size, members) / work, STEP_NOISE),
            pretrained=Speed(self.events_per_second(precision, max(1.0, batch)) / work, STEP_NOISE),
            generated=here.generated,
            origin=f"{self.name}, steps alone, in {precision}",
            trusted=True,
            processes=here.processes,
            steps=here.steps,
        )


def cards() -> tuple[str, ...]:
    """Names of all cards that were measured."""
    return tuple(sorted(path.name.removesuffix(".json") for path in _folder().iterdir() if path.name.endswith(".json")))


def card(name: str) -> Card:
    """The measurements of a card by its name, such as "h200". Raises UnknownCard."""
    if name not in cards():
        raise UnknownCard(
            f"--on {name}: this card was never measured; choose {', '.join(cards())}, or measure it: "
            f"python studies/throughput.py --gpu --json platform/breakeven/estimate/cards/{name}.json"
        )
    content = json.loads((_folder() / f"{name}.json").read_text())
    if content.get("schema") != SCHEMA:
        raise UnknownCard(
            f"cards/{name}.json has schema {content.get('schema')!r}, this version reads {SCHEMA}; measure the card again"
        )
    return Card(name, content)


def _folder() -> Traversable:
    return files(__package__) / "cards"


def _at_batch(rates: Mapping[int, float], batch: float) -> float:
    """Events per second at `batch`: below the smallest that was measured a step is bound by launches and takes as long."""
    smallest = min(rates)
    if batch < smallest:
        return rates[smallest] * batch / smallest
    return _between(rates, batch)


def _between(rates: Mapping[int, float], at: float) -> float:
    """The rate at `at` by a power law between its neighbours; the last one beyond either end."""
    below, above = (
        max((n for n in rates if n <= at), default=min(rates)),
        min((n for n in rates if n >= at), default=max(rates)),
    )
    if below == above:
        return rates[below]
    part = math.log(at / below) / math.log(above / below)
    return float(rates[below] ** (1.0 - part) * rates[above] ** part)
