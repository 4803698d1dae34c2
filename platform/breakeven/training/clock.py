"""Wall and device seconds of a training: CPU time of the process on CPU, wall time where a GPU is held."""

import time
from dataclasses import dataclass

import torch

from breakeven.training.workers import ALONE, Workers


@dataclass
class Clock:
    """Starts when it is made.

    device: what is trained on.  workers: whose device seconds are added.  before: what it read before a resumption.
    """

    device: torch.device
    workers: Workers = ALONE
    before: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        self._wall, self._device = self._now()

    def read(self) -> tuple[float, float]:
        """Wall and device seconds since the start of the training, those before a resumption included."""
        wall, on_device = self._now()
        spent = torch.tensor([on_device - self._device], dtype=torch.float64, device=self.device)
        total = float(self.workers.add_up(spent))
        return self.before[0] + wall - self._wall, self.before[1] + total

    def _now(self) -> tuple[float, float]:
        if self.device.type == "cpu":
            return time.perf_counter(), time.process_time()
        torch.cuda.synchronize(self.device)
        return time.perf_counter(), time.perf_counter()
