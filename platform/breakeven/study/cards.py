"""How fast GPUs that are not here train, as measured elsewhere: one file of measurements for each card, in cards/.

Each is what `studies/throughput.py --gpu --json cards/NAME.json` wrote on that card. A card without a file has no figures,
and none is ever made up. It measures nothing.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from typing import Any

from breakeven.study.spec import Study

SCHEMA = 1
"""Of the files; benchmarks/gpu.py writes it."""

FORMS = ("triton", "captured", "eager")
"""What may train on such a card; PyTorch Geometric, which is measured beside them, never does."""

STEP_NOISE = 0.5
"""Relative error of a training's speed from the time of its steps alone: starts, validation and pauses are not in it."""


class UnknownCard(ValueError):
    """A card that was never measured; names those that were."""


@dataclass(frozen=True)
class Card:
    """Measurements of one card. content: the file as it was written."""

    name: str
    content: Mapping[str, Any]

    @cached_property
    def precisions(self) -> tuple[str, ...]:
        """Precisions of matrix products that it was measured in."""
        return tuple(dict.fromkeys(step["precision"] for step in self.content["steps"] if step["form"] in FORMS))

    @property
    def provenance(self) -> str:
        """Which card, when, with what and by which command, for people."""
        versions = ", ".join(f"{name} {version}" for name, version in self.content["versions"].items())
        return (
            f"measured on {self.content['card']} on {self.content['measured']} at {self.content['git_commit']} "
            f"({versions}) by {self.content['command']}"
        )

    def events_per_second(self, precision: str, batch: int, members: int = 1) -> float:
        """Events a second of the quickest form in which `members` networks, each with batches of `batch`, can train.

        Between measured batches powers are interpolated; below the smallest a step takes as long as there, above the
        largest an event does. members: one of `packs`.  Raises ValueError where nothing was measured.
        """
        found = []
        for form in FORMS:
            rates = {
                step["batch"]: step["events_per_second"]
                for step in self.content["steps"]
                if (step["form"], step["precision"], step["members"]) == (form, precision, members)
            }
            if rates:
                found.append(_between(rates, batch))
        if not found:
            raise ValueError(
                f"{self.name}: no step of {members} networks was measured in {precision}; "
                f"there is {', '.join(self.precisions)}"
            )
        return max(found)

    def pack(self, precision: str, most: int) -> int:
        """The largest measured pack of at most `most` members, at least 1."""
        steps = (step for step in self.content["steps"] if step["precision"] == precision and step["form"] in FORMS)
        return max((step["members"] for step in steps if step["members"] <= most), default=1)

    @property
    def edges_per_event(self) -> float:
        """Mean number of directed edges of the events that it was measured with."""
        edges = [step["edges_per_event"] for step in self.content["steps"]]
        return sum(edges) / len(edges)
