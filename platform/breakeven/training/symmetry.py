"""Training events as they might as well have come: turned about the beam, and mirrored along it and across it.

No process here prefers a direction but the beam's, nor one end of it: beams are unpolarised and alike, the detector is
round, and at tree level without a mixture of CP states no triple product of momenta has a sign. So each epoch may show a
network each of its events from another side. Labels and energies stay, and validation and test events are never turned.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from breakeven.feature import OBJECT
from breakeven.fingerprint import fingerprint
from breakeven.models.graph import ETA, PHI
from breakeven.training.training import Training


@dataclass(frozen=True)
class Turns:
    """A training's own copy of its training events, turned in place.

    nodes: [n_objects, n_features] of the copy, a view of the events that the training sees.  angles: (eta, phi)
    [n_objects, 2] as they were.  event_of_node: [n_objects] int64.  first: number of its first event.  rows: [n_events]
    int64, numbers of the events that were copied.  seed: of the training.
    """

    nodes: Tensor
    angles: Tensor
    event_of_node: Tensor
    first: int
    rows: Tensor
    seed: int

    def turn(self, epoch: int) -> None:
        """Show every event from another side: a function of seed and epoch alone, on all workers alike."""
        generator = torch.Generator().manual_seed(int(fingerprint(["symmetry", self.seed, epoch], length=15), 16))
        drawn = torch.rand(3, len(self.rows), generator=generator).to(self.nodes)
        turned, *mirrored = drawn.index_select(1, self.event_of_node)
        along, across = (torch.where(one < 0.5, -1.0, 1.0) for one in mirrored)
        eta, phi = self.angles.unbind(1)
        self.nodes[:, ETA] = eta * along
        self.nodes[:, PHI] = torch.remainder(phi * across + 2.0 * math.pi * turned + math.pi, 2.0 * math.pi) - math.pi

    def origin(self, event: int) -> int:
        """The number of the event that one of them was copied from, or its own."""
        return event if event < self.first else int(self.rows[event - self.first])


def with_turns(trainings: Sequence[Training]) -> list[Training]:
    """The same trainings on one copy of their events, in which those whose recipe asks for it have events of their own to turn.

    All see the same events before.  A frozen backbone sees each event once, and events whose objects have no angles
    (another schema) have no sides that are known here: these stay as they are.
    """
    turning = [
        one.recipe.symmetries and one.strategy.name != "frozen" and one.events.levels == (OBJECT,) for one in trainings
    ]
    if not any(turning):
        return list(trainings)
    events = trainings[0].events
    copies = [
        events.gather_at_home(one.train_sample.index) for one, asked in zip(trainings, turning, strict=True) if asked
    ]
    nodes = torch.cat([events.nodes, *(copied for copied, _ in copies)])
    offsets, begins, ends = [events.offsets], [], len(events.nodes)
    for copied, own in copies:
        offsets.append(own[1:] + ends)
        begins.append((sum(map(len, offsets[:-1])) - 1, ends))
        ends += len(copied)
    extended = replace(events, nodes=nodes, offsets=torch.cat(offsets))
    of_copy = iter(zip(copies, begins, strict=True))
    made = []
    for one, asked in zip(trainings, turning, strict=True):
        if not asked:
            made.append(replace(one, events=extended))
            continue
        (copied, own), (first_event, first_node) = next(of_copy)
        n = len(one.train_sample)
        place = torch.arange(first_event, first_event + n, device=events.home)
        view = extended.nodes[first_node : first_node + len(copied)]
        event_of_node = torch.repeat_interleave(torch.arange(n, device=events.home), own.diff())
        angles = copied[:, ETA : PHI + 1].clone()
        turns = Turns(view, angles, event_of_node, first_event, one.train_sample.index, one.recipe.seed)
        made.append(replace(one, events=extended, train_sample=replace(one.train_sample, index=place), turns=turns))
    return made
