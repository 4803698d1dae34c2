"""Which of the trials that wait make a good pack for one worker. Arithmetic on expected seconds; it hands nothing out."""

import math
from collections.abc import Collection, Sequence

from breakeven.estimate.pace import Pace
from breakeven.study.plan import Trial

PACK_TRIALS = 64
"""Most trials in a pack: one after another those of a third of a second still fill PACK_SECONDS; side by side a GPU's steps
hardly take longer, and more would only wait."""
STACKED_EVENTS = 2**21
"""Most training events of such a pack in all: each trial may have a copy of its own to turn, and an epoch lasts seconds."""
PACK_SECONDS = 20.0
"""Time that a pack should last: long against the 50 ms that Tune takes for each, short against what is left to do."""
_SHORTEST_PACK_SECONDS = 1.0
"""Below this a pack is not made shorter to spread the last trials: Tune's own time would be felt."""


def choose(
    waiting: Sequence[Trial],
    pace: Pace,
    *,
    workers: int = 1,
    alone: Collection[str] = (),
    room: float = math.inf,
    stacked: bool = False,
) -> dict[str, Trial]:
    """A pack of those that wait, by hash: the first that fits, and what goes well with it; empty where nothing fits.

    Its trials share a task, so that a worker reads two datasets, a network, and sizes within a factor of two; only a
    pack too short to be worth its handling takes others too. It lasts about PACK_SECONDS, and less when little is left,
    so that all workers end at about the same time.

    Args:
        waiting: in the order in which they are wanted.
        pace: how long a trial is expected to take.
        workers: how many share what waits.
        alone: hashes of trials that go without others.
        room: device-seconds that the pack may take.
        stacked: a GPU trains them side by side. Then trials of all tasks go together, as many as there are and have room:
            a step of all of them takes hardly longer than that of one.
    """
    if room < math.inf:
        waiting = [one for one in waiting if pace.device_seconds(one) <= room]
    if not waiting:
        return {}
    first = waiting[0]
    pack = {first.hash: first}
    if first.hash in alone:
        return pack
    if stacked and not first.cell.of_trees:
        return _side_by_side([one for one in waiting if one.hash not in alone], pace, workers, room)
    longest = _pack_seconds(waiting, pace, workers)
    lasts, spends = pace.seconds(first), pace.device_seconds(first)
    for mixed in (False, True):
        left = (
            None  # the last of a cell that does not go with these: thousands of its seeds may follow, and are left too
        )
        for other in waiting:
            if len(pack) == PACK_TRIALS:
                return pack
            if mixed and lasts >= _SHORTEST_PACK_SECONDS:
                break
            if left is not None and other.cell is left.cell and other.phase == left.phase:
                continue
            if other.hash in pack or other.hash in alone:
                continue
            if not (_of_one_device(first, other) if mixed else _alike(first, other)):
                left = other
                continue
            seconds, device_seconds = pace.seconds(other), pace.device_seconds(other)
            if lasts + seconds <= longest and spends + device_seconds <= room:
                pack[other.hash] = other
                lasts, spends = lasts + seconds, spends + device_seconds
            else:
                left = other
    return pack


def _side_by_side(waiting: Sequence[Trial], pace: Pace, workers: int, room: float) -> dict[str, Trial]:
    """The first and what can be stacked on it: one worker's part of that, as long as it is small enough."""
    first = waiting[0]
    alike = [one for one in waiting if _stackable(first, one)]
    events = spends = 0.0
    pack: dict[str, Trial] = {}
    for one in alike[: min(PACK_TRIALS, math.ceil(len(alike) / workers))]:
        events, spends = events + 2 * one.cell.size, spends + pace.device_seconds(one)
        if pack and (events > STACKED_EVENTS or spends > room):
            break
        pack[one.hash] = one
    return pack


def _stackable(one: Trial, other: Trial) -> bool:
    """Of one network and way of training, with epochs of about the same length."""
    same = one.cell.network == other.cell.network and _way(one) == _way(other)
    return same and one.cell.size <= 2 * other.cell.size <= 4 * one.cell.size


def _way(trial: Trial) -> str:
    """Frozen backbones see each event once, trees are no networks; all others are trained in the same steps."""
    return trial.cell.strategy if trial.cell.strategy == "frozen" or trial.cell.of_trees else "trained"


def _alike(one: Trial, other: Trial) -> bool:
    """Of one task and network, with sizes within a factor of two: trials that were lost come in any order of sizes."""
    same = one.cell.task == other.cell.task and one.cell.network == other.cell.network and _of_one_device(one, other)
    return same and one.cell.size <= 2 * other.cell.size <= 4 * one.cell.size


def _of_one_device(one: Trial, other: Trial) -> bool:
    """Trees are trained on a CPU wherever networks are."""
    return one.cell.of_trees == other.cell.of_trees


def _pack_seconds(waiting: Sequence[Trial], pace: Pace, workers: int) -> float:
    """How long the next pack should last: half of each worker's part of what is waiting, within bounds."""
    enough = 2 * workers * PACK_SECONDS
    left = 0.0
    for one in waiting:
        left += pace.seconds(one)
        if left >= enough:
            return PACK_SECONDS
    return max(left / (2 * workers), _SHORTEST_PACK_SECONDS)
