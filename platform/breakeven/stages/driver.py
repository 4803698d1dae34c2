"""What a driver works with: one value that is handed from stage to stage in place of its parts."""

from collections.abc import Callable
from dataclasses import dataclass

from breakeven.estimate.budget import Budget
from breakeven.estimate.price import Range
from breakeven.estimate.speeds import Speeds, read_calibration, speeds
from breakeven.ledger.lease import Leases
from breakeven.ledger.ledger import Ledger
from breakeven.observer import Observers
from breakeven.places import Places
from breakeven.stages.cluster import Cluster
from breakeven.study.spec import Study


@dataclass(frozen=True)
class Driver:
    """One run of one study, by this process."""

    study: Study
    places: Places
    ledger: Ledger
    leases: Leases
    cluster: Cluster
    observers: Observers
    budget: Budget | None = None
    """Device time that this run may spend; None: as much as it takes."""

    def check_budget(self, what: str, expected: Callable[[Speeds], Range], network: str | None = None) -> None:
        """Raise OverBudget where work that cannot be divided is expected, in hours at these speeds, to take more than is left.

        network: whose speeds; None: any, as they do not matter.
        """
        if self.budget is not None:
            study = self.study.with_network(next(iter(self.study.networks_by_name())) if network is None else network)
            calibration = read_calibration(self.places.ledger, study)
            self.budget.check(what, expected(speeds(study, self.ledger.records(), calibration)).expected)

    def charge(self, device_seconds: float) -> None:
        """Count device-seconds that were spent against the budget."""
        if self.budget is not None:
            self.budget.charge(device_seconds)
