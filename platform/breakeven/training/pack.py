"""A pack: several trainings of one worker on the same events, with one import, one start and one copy of the events.

Each member has its own model, samples, recipe and strategy, and gets its own curve, device time, early stop and failure,
as if it were trained alone. The members that can be are stacked (stack.py), so that small batches are not bound by a GPU's
launches.
"""

from collections.abc import Sequence

from breakeven.models.graph_network import GraphNetwork
from breakeven.training.clock import Clock
from breakeven.training.loop import train
from breakeven.training.recipe import Result
from breakeven.training.stack import OnDone, train_stacked
from breakeven.training.training import Failed, Training


def train_pack(trainings: Sequence[Training], on_done: OnDone = lambda number, outcome: None) -> list[Result | Failed]:
    """Do all trainings, in place; what each gave, in their order. An exception of one is its own outcome alone.

    Those whose events are others, or whose networks have another shape, engine, objective or precision, are stacks of their
    own, and so are those with a frozen backbone, which sees each event once.
    on_done: called with a training's number and outcome as soon as it has ended, while others of its stack go on.
    Device seconds add up to the pack's: the time of a stacked epoch is shared by the events seen, those with gradients
    counting three times. Wall seconds count from the start of the pack where stacked.
    """
    outcomes: dict[int, Result | Failed] = {}
    for group in _groups(trainings):
        if len(group) > 1:
            ended = train_stacked([trainings[number] for number in group], _renumbered(on_done, group))
            outcomes.update(zip(group, ended, strict=True))
        else:
            outcomes[group[0]] = _train_alone(trainings[group[0]])
            on_done(group[0], outcomes[group[0]])
    return [outcomes[number] for number in range(len(trainings))]


def _renumbered(on_done: OnDone, group: Sequence[int]) -> OnDone:
    return lambda place, outcome: on_done(group[place], outcome)


def _train_alone(training: Training) -> Result | Failed:
    clock = Clock(training.events.device)
    try:
        return train(training)
    except Exception as error:  # whatever it is, it is this training's
        return Failed(error, clock.read()[1])


def _groups(trainings: Sequence[Training]) -> list[list[int]]:
    """Numbers of those that are to be stacked and can be, and each of the others alone."""
    groups: dict[object, list[int]] = {}
    for number, one in enumerate(trainings):
        model, recipe = one.model, one.recipe
        headed = recipe.head_epochs and one.strategy.name == "finetune"  # two trainings, one after the other
        stacks = isinstance(model, GraphNetwork) and not headed
        shape = (id(one.events), *model.config().items(), model.head.weight.dtype, recipe.objective, recipe.precision,
                 one.strategy.name == "frozen")  # fmt: skip
        groups.setdefault(shape if stacks else number, []).append(number)
    return list(groups.values())
