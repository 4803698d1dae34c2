"""Splits and random subsets that never overlap the test events.

An event's split is a hash of its hard event, so it never depends on the dataset's size, and all copies of one hard
event (see physics/hard.py) fall on the same side. It never looks at features.
"""

from collections.abc import Sequence
from enum import IntEnum

import numpy as np

from breakeven.fingerprint import fingerprint

__all__ = ["Split", "TooFewEvents", "assign_splits", "capped", "effective_number", "subset"]

SPLITS_VERSION = 1
"""Part of every identity: raise it when an event may come into another split."""
SUBSETS_VERSION = 1
"""Part of every identity: raise it when the same seed and name draw other events."""
TEST_FRACTION = 0.25
VALIDATION_FRACTION = 0.15
TRAIN_FRACTION = 1.0 - TEST_FRACTION - VALIDATION_FRACTION
SHARED_SEED = 0
"""Of what is the same for every trial of a task: validation and test subsets, where capped, and training events if asked."""


class Split(IntEnum):
    """What an event may be used for; decided once and for ever."""

    TRAIN = 0
    VALIDATION = 1
    TEST = 2


class TooFewEvents(ValueError):
    """A sample asks for more events than the split of a dataset holds."""


def assign_splits(process: str, hard_event: np.ndarray) -> np.ndarray:
    """What each event may be used for: 25 % test, 15 % validation, 60 % training, by hard event.

    Args:
        process: name that salts the hash.
        hard_event: [n_events] int64, equal for copies of one hard event.

    Returns:
        A `Split` of each event, [n_events] int8.
    """
    salt = np.uint64(int(fingerprint(["split", process]), 16))
    uniform = _splitmix64(hard_event.astype(np.uint64) ^ salt) / 2.0**64
    return np.where(
        uniform < TEST_FRACTION,
        np.int8(Split.TEST),
        np.where(uniform < TEST_FRACTION + VALIDATION_FRACTION, np.int8(Split.VALIDATION), np.int8(Split.TRAIN)),
    ).astype(np.int8)


def effective_number(hard_event: np.ndarray, correlation: float = 1.0) -> float:
    """How many independent events a sample is worth: the variance of a mean is that of one event over this number.

    n / (1 + r (sum m^2 / n - 1)), for n events of hard events that stand in it m times, whose copies correlate by r. Copies
    differ in shower and detector: in a score of boosted trees r is 0.2 to 0.4, in whether it is right 0.1 to 0.25 (tHq, ttW,
    ttt). With r = 1 a copy adds nothing: Kish's n^2 / sum m^2.

    Args:
        hard_event: [n_events] int64, equal for copies of one hard event.
        correlation: r, from 0 to 1, of what is averaged.

    Returns:
        The number; 0 for no events.
    """
    n = len(hard_event)
    copies = np.unique(hard_event, return_counts=True)[1].astype(np.float64)
    return float(n / (1 + correlation * ((copies**2).sum() / n - 1))) if n else 0.0


def count_hard_events(process: str, hard_event: np.ndarray) -> dict[str, dict[str, float]]:
    """What stands behind the events of each split, by its name in small letters: `events`, distinct `hard_events`, and their
    `effective` number. Arguments as in `assign_splits`.
    """
    splits = assign_splits(process, hard_event)
    counts = {}
    for split in Split:
        here = hard_event[splits == split]
        counts[split.name.lower()] = {
            "events": len(here),
            "hard_events": len(np.unique(here)),
            "effective": round(effective_number(here), 1),
        }
    return counts


def subset(rows: np.ndarray, size: int, seed: int, name: str) -> np.ndarray:
    """A random subset, a function of (seed, name); larger sizes contain the smaller ones.

    Args:
        rows: row numbers to choose from.
        size: how many to take.
        seed: of the trial.
        name: of the process, for the seed and for errors.

    Returns:
        `size` of `rows`, in random order.

    Raises:
        TooFewEvents: there are fewer rows than `size`; the message names the process and the way out.
        ValueError: `size` is below 1.
    """
    if size < 1:
        raise ValueError(f"{name}: a sample of {size} events makes no sense; give a size of at least 1")
    if size > len(rows):
        raise TooFewEvents(
            f"{name}: {size:,} events asked for, {len(rows):,} there; generate more (--generation.events-per-process) "
            "or ask for a smaller size"
        )
    generator = np.random.default_rng(int(fingerprint([name, seed]), 16))
    return rows[generator.permutation(len(rows))[:size]]


def capped(splits: np.ndarray, split: Split, most: int, process: str) -> np.ndarray:
    """At most `most` rows of a split, the same for everyone.

    Args:
        splits: a `Split` of each event, [n_events].
        split: whose events.
        most: how many.
        process: salts the choice.

    Returns:
        Row numbers, ascending.
    """
    rows = np.flatnonzero(splits == split)
    return rows if len(rows) <= most else np.sort(subset(rows, most, SHARED_SEED, f"{process} {split.name}"))


def capped_of_class(splits: Sequence[np.ndarray], split: Split, most: int, name: str) -> list[np.ndarray]:
    """At most `most` rows of a split of several processes together, as rows of each; see `capped`. name: of the class."""
    return by_process(capped(np.concatenate(splits), split, most, name), list(map(len, splits)))


def by_process(rows: np.ndarray, n_events: Sequence[int]) -> list[np.ndarray]:
    """Rows [n] of the events of several processes, one process after the other, as rows of each in their order.

    n_events: of each process.
    """
    ends = np.cumsum([0, *n_events])
    process = np.searchsorted(ends, rows, side="right") - 1
    return [rows[process == place] - ends[place] for place in range(len(n_events))]


def _splitmix64(x: np.ndarray) -> np.ndarray:
    """Steele, Lea and Flood's SplitMix64 finaliser: a good 64-bit hash of an integer, [n] uint64."""
    with np.errstate(over="ignore"):
        x = x + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed: np.ndarray = x ^ (x >> np.uint64(31))
        return mixed
