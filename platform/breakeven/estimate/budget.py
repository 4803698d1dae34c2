"""A budget of device time: what a run may spend, and which trials tell most for it.

Arithmetic on seconds; it stops nothing by itself.
"""

import re
from dataclasses import dataclass

from breakeven.duration import duration
from breakeven.study.plan import Trial

__all__ = ["Budget", "OverBudget", "budget_of"]

_AS_WRITTEN = str.maketrans("", "", " ,")
"""What `budget_of` does not take of a duration."""
_UNITS = {"h": 3600.0, "m": 60.0, "min": 60.0, "s": 1.0}


class OverBudget(ValueError):
    """A budget that cannot be read, or that a stage does not fit into; the message says what would."""


@dataclass
class Budget:
    """Device-seconds that one run may spend on work: what the ledger charges, not what a device waits."""

    seconds: float
    spent: float = 0.0

    @property
    def left(self) -> float:
        """Device-seconds not spent yet; below zero where something took longer than expected."""
        return self.seconds - self.spent

    def charge(self, seconds: float) -> None:
        """Count device-seconds that were spent."""
        self.spent += seconds

    def check(self, what: str, expected_hours: float) -> None:
        """Refuse a piece of work that cannot be divided and does not fit into what is left.

        Args:
            what: the work, in words.
            expected_hours: device-hours that it is expected to take.

        Raises:
            OverBudget: the message says what is left and what would do.
        """
        if expected_hours * 3600 > self.left:
            raise OverBudget(
                f"--budget: {what} takes about {duration(expected_hours * 3600)} and {duration(max(self.left, 0.0))} of "
                f"{duration(self.seconds)} are left; it was not started and nothing finished is lost: go on with "
                f"--budget {duration(2 * expected_hours * 3600).translate(_AS_WRITTEN)} or more"
            )


def budget_of(text: str) -> Budget:
    """A budget such as "20h", "90m" or "45s" in device time. Raises OverBudget on anything else."""
    written = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(h|m|min|s)\s*", text)
    if not written or float(written[1]) == 0.0:
        raise OverBudget(f"--budget is {text!r}: write a time of one device above zero, such as 20h, 90m or 45s")
    return Budget(float(written[1]) * _UNITS[written[2]])


def rank(trial: Trial, seconds: float) -> tuple[int, float]:
    """Place of a trial where not all can be had: the lowest first. seconds: what it is expected to take.

    First every cell twice, as one seed has no uncertainty, the cheap ones first, with the searches that they wait for.
    Then what lowers the variance of a cell's mean most for its time: the n-th seed lowers it by 1/(n - 1) - 1/n of the
    variance of one.
    """
    if trial.phase == "search" or trial.seed <= 2:
        return 0, seconds
    return 1, seconds * (trial.seed - 1) * trial.seed
