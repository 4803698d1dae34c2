"""A plug-in as a user writes one: events of jets with constituents, two levels deep, and a network for them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from breakeven.events.schema import EventSchema, Level
from breakeven.events.source import Shard
from breakeven.feature import Feature, Levels
from breakeven.models.backbone import Backbone
from breakeven.study.spec import Task

JET = (Feature("pt", "GeV", low=0.0), Feature("eta", low=-5, high=5), Feature("charge", "e", "int8", -100, 100))
CONSTITUENT = (Feature("pt", "GeV", low=0.0), Feature("d_r", low=0.0, high=0.4))
JETS = EventSchema("toy jets 1", (Level("jet", JET), Level("constituent", CONSTITUENT, prefix="constituent_")))


@dataclass(frozen=True)
class ToyJets:
    """Events of 1 to 4 jets with 1 to 6 constituents each, whose distance from the axis is `spread` on average."""

    name: str
    spread: float

    kind = "toy"
    schema = JETS

    def identity(self) -> Mapping[str, Any]:
        """All that decides the events."""
        return {"process": self.name, "spread": self.spread}

    def about(self) -> Mapping[str, Any]:
        """For the manifest."""
        return {"note": "made of random numbers"}

    def make(self, n_events: int, seed: int, shard: int) -> Shard:
        """A function of the arguments."""
        random = np.random.default_rng(seed)
        jets = random.integers(1, 5, n_events)
        inside = random.integers(1, 7, jets.sum())
        columns = {
            "hard_event": shard * n_events + np.arange(n_events),
            "pt": random.uniform(20, 200, len(inside)).astype(np.float32),
            "eta": random.uniform(-2, 2, len(inside)).astype(np.float32),
            "charge": random.integers(-2, 3, len(inside)).astype(np.int8),
            "constituent_pt": random.uniform(1, 20, inside.sum()).astype(np.float32),
            "constituent_d_r": random.uniform(0, 2 * self.spread, inside.sum()).astype(np.float32),
        }
        return Shard(JETS.table([jets, inside], columns), 1.0, 0.1, n_events)


class JetSets(Backbone):
    """Sums over constituents, then over jets, with a layer before each."""

    def __init__(self, levels: Levels, n_outputs: int, width: int) -> None:
        super().__init__()
        self.n_outputs, self.width = n_outputs, width
        jet, constituent = map(len, levels)
        self.constituents, self.jets = nn.Linear(constituent, width), nn.Linear(jet + width, width)
        self.head = nn.Linear(width, n_outputs)
        for name, size in (("jet", jet), ("constituent", constituent)):
            self.register_buffer(f"{name}_mean", torch.zeros(size))
            self.register_buffer(f"{name}_std", torch.ones(size))

    def represent(self, *batch: Tensor) -> Tensor:
        """What the head sees."""
        return self.layers(*batch)["jets"]

    def layers(self, jets: Tensor, offsets: Tensor, inside: Tensor, inner_offsets: Tensor) -> dict[str, Tensor]:
        """Of constituents and of jets."""
        of_constituents = torch.relu(self.constituents((inside - self.constituent_mean) / self.constituent_std))
        of_jets = _sums(of_constituents, inner_offsets)
        jets = torch.cat([(jets - self.jet_mean) / self.jet_std, of_jets], dim=1)
        return {"constituents": _sums(of_jets, offsets), "jets": _sums(torch.relu(self.jets(jets)), offsets)}

    def fit_scaling(self, batches: Iterable[tuple[Tensor, ...]]) -> None:
        """Of both levels."""
        jets, _, inside, _ = next(iter(batches))
        for name, values in (("jet", jets), ("constituent", inside)):
            getattr(self, f"{name}_mean").copy_(values.mean(0))
            getattr(self, f"{name}_std").copy_(values.std(0))

    def config(self) -> dict[str, Any]:
        """The arguments again."""
        return {"n_outputs": self.n_outputs, "width": self.width}


def _sums(values: Tensor, offsets: Tensor) -> Tensor:
    parent = torch.repeat_interleave(torch.arange(len(offsets) - 1), offsets.diff())
    return values.new_zeros(len(offsets) - 1, values.shape[1]).index_add(0, parent, values)


def jet_sets(levels: Levels, n_outputs: int, *, seed: int, width: float = 8) -> JetSets:
    """The builder."""
    network = JetSets(levels, n_outputs, int(width))
    network.draw_weights(seed)
    return network


SOURCES = {one.name: one for one in (ToyJets("wide", 0.15), ToyJets("narrow", 0.05))}
NETWORKS = {"jet_sets": jet_sets}
TASKS = {"width": Task("width", "wide against narrow jets", "wide", "narrow")}
