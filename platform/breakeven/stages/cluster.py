"""The cluster that the stages share, started by the first one that has anything to do: a finished study needs none.

Holds when Ray is started and what is reserved on it; it never says what runs there.
"""

from contextlib import ExitStack
from functools import cached_property
from typing import TYPE_CHECKING

from breakeven.ledger.lease import Leases
from breakeven.ledger.reservation import Reservation
from breakeven.terminal import console

if TYPE_CHECKING:
    from breakeven.distributed.session import Resources


class Cluster(ExitStack):
    """A context that leaves Ray as it found it, where it was started at all.

    leases: of this driver; they say which study it runs, and where reservations are written to.
    """

    def __init__(self, leases: Leases) -> None:
        super().__init__()
        self._leases = leases

    @cached_property
    def resources(self) -> "Resources":
        """What the cluster offers; the first look starts it, or connects to it.

        Raises ConnectionError (ray's) where `RAY_ADDRESS` names a cluster that does not answer, StageFailed where its nodes do
        not share the folder of the ledger.
        """
        from breakeven.distributed.session import session
        from breakeven.distributed.storage import check_shared

        offered = self.enter_context(session())
        console.print(
            f"  Ray: {offered.cpus} cores, {offered.gpus} GPUs, {offered.nodes} node(s)"
            + (f", dashboard {offered.dashboard}" if offered.dashboard else "")
        )
        if offered.nodes > 1:
            check_shared(self._leases.folder)
        return offered

    @property
    def started(self) -> bool:
        """Whether anything has asked for it."""
        return "resources" in self.__dict__

    def reserved(self, stage: str, work: str, devices: float, device: str) -> Reservation:
        """A reservation of this driver for a stage; `work` tells its reservations apart."""
        mine = self._leases
        return Reservation(mine.folder, f"{mine.owner}-{work}", mine.study, stage, device, devices)
