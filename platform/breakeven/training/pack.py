"""A pack: several trainings of one worker on the same events, with one import, one start and one copy of the events.

Each member has its own model, samples, recipe and strategy, and gets its own curve, device time, early stop and failure,
as if it were trained alone. On CPU they train one after the other. On a GPU the members that can be are stacked
(stack.py), so that small batches are not bound by launches.
"""

from collections.abc import Sequence
from typing import Literal

from breakeven.models.graph_network import GraphNetwork
from breakeven.training.batches import EventTensors
from breakeven.training.clock import Clock
from breakeven.training.loop import train
from breakeven.training.member import Failed, Member
from breakeven.training.recipe import Result
from breakeven.training.stack import OnDone, train_stacked

Form = Literal["sequential", "stacked"]


def train_pack(
    members: Sequence[Member],
    events: EventTensors,
    form: Form | None = None,
    on_done: OnDone = lambda number, outcome: None,
) -> list[Result | Failed]:
    """Train all members, in place; what each gave, in their order. An exception of one is its own outcome alone.

    events: of all members, on one device with all models.
    form: None stacks on a GPU and trains one after the other on CPU. Members whose networks have another shape, engine,
    objective or precision are stacks of their own, and so are those with a frozen backbone, which sees each event once.
    on_done: called with a member's number and outcome as soon as it has ended, while others of its stack go on.
    Device seconds add up to the pack's: the time of a stacked epoch is shared by the events seen, those with gradients
    counting three times. Wall seconds count from the start of the pack where stacked.
    """
    if form is None:
        form = "sequential" if events.device.type == "cpu" else "stacked"
    outcomes: dict[int, Result | Failed] = {}
    for group in _groups(members) if form == "stacked" else [[number] for number in range(len(members))]:
        if len(group) > 1:
            found = train_stacked([members[number] for number in group], events, _renumbered(on_done, group))
            outcomes.update(zip(group, found, strict=True))
        else:
            outcomes[group[0]] = _train_alone(members[group[0]], events)
            on_done(group[0], outcomes[group[0]])
    return [outcomes[number] for number in range(len(members))]


def _renumbered(on_done: OnDone, group: Sequence[int]) -> OnDone:
    return lambda place, outcome: on_done(group[place], outcome)


def _train_alone(member: Member, events: EventTensors) -> Result | Failed:
    clock = Clock(events.device)
    try:
        return train(
            member.model,
            events,
            member.training,
            member.validation,
            member.recipe,
            strategy=member.strategy,
            backbone=member.backbone,
            on_epoch=member.on_epoch,
        )
    except Exception as error:  # whatever it is, it is this member's
        return Failed(error, clock.read()[1])


def _groups(members: Sequence[Member]) -> list[list[int]]:
    """Numbers of members that can be stacked, and each of the others alone."""
    groups: dict[object, list[int]] = {}
    for number, member in enumerate(members):
        model, recipe, strategy = member.model, member.recipe, member.strategy
        fits = isinstance(model, GraphNetwork)
        shape = (*model.config().items(), model.head.weight.dtype, recipe.objective, recipe.precision,
                 strategy.name == "frozen")  # fmt: skip
        groups.setdefault(shape if fits else number, []).append(number)
    return list(groups.values())
