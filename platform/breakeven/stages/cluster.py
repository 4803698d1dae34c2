"""The cluster that the stages share, started by the first one that has anything to do: a finished study needs none.

Holds when Ray is started and what is reserved on it; it never says what runs there.
"""

from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from breakeven.ledger.reservation import Reservation
from breakeven.terminal import console

if TYPE_CHECKING:
    from breakeven.distributed.session import Resources


class Cluster(ExitStack):
    """A context that leaves Ray as it found it, where it was started at all.

    ledger: folder that reservations are written to.  study: its name.  owner: unique name of this driver.
    """

    def __init__(self, ledger: Path, study: str, owner: str) -> None:
        super().__init__()
        self._ledger, self._study, self._owner = ledger, study, owner

    @cached_property
    def resources(self) -> "Resources":
        """What the cluster offers; the first look starts it, or connects to it.

        Raises ConnectionError (ray's) where `RAY_ADDRESS` names a cluster that does not answer.
        """
        from breakeven.distributed.session import session

        found = self.enter_context(session())
        console.print(
            f"  Ray: {found.cpus} cores, {found.gpus} GPUs, {found.nodes} node(s)"
            + (f", dashboard {found.dashboard}" if found.dashboard else "")
        )
        return found

    def reserved(self, stage: str, work: str, devices: float, device: str) -> Reservation:
        """A reservation of this driver for a stage; `work` tells its reservations apart."""
        return Reservation(self._ledger, f"{self._owner}-{work}", self._study, stage, device, devices)
