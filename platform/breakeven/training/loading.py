"""Arrays from disk or memory to a GPU, piece by piece through two pinned buffers: one is filled while the other is sent.

A map of a file is read once, in order, and never lies in memory as a whole. On CPU nothing is copied at all. Events that have
no room on the device stay on the host, and feeds.py sends those of some steps at a time.
"""

import warnings
from collections.abc import Sequence
from contextlib import nullcontext

import numpy as np
import torch
from torch import Tensor

from breakeven.terminal import bar, console

PIECE_BYTES = 64 << 20
"""Large against what a transfer costs to begin, small against a GPU's memory."""
_SPARE = 0.5
"""Part of the free memory that is left for networks, batches and orders of events."""


_SHOWN_BYTES = 1_000_000_000
"""From how many on progress is shown: one waits for them."""


class TooLarge(ValueError):
    """Arrays that do not fit on the device beside what training needs; the message says the sizes and the way out."""


def load_arrays(
    arrays: Sequence[np.ndarray],
    device: torch.device | str,
    piece_bytes: int = PIECE_BYTES,
    free_bytes: int | None = None,
    beside: int = 0,
) -> list[Tensor]:
    """The arrays as tensors on `device`.

    piece_bytes: sent at a time.  beside: bytes of what else will lie there, such as targets.
    free_bytes: of the device; None asks it.  Raises TooLarge where all that would take more than half of them.
    """
    device, sources = torch.device(device), _as_they_are(arrays)
    if free_bytes is None and device.type == "cpu":
        return sources
    total = sum(source.nbytes for source in sources)
    free = torch.cuda.mem_get_info(device)[0] if free_bytes is None else free_bytes
    if total + beside > (1.0 - _SPARE) * free:
        raise TooLarge(
            f"{(total + beside) / 1e9:.3g} GB are to lie on {device}, which has {free / 1e9:.3g} GB free, half of which "
            "training needs: take fewer events, or a device with more memory"
        )
    tensors = [torch.empty_like(source, device=device) for source in sources]
    buffers, sent = _Buffers(piece_bytes, device), 0
    with bar("loading", total // 10**6, "MB") if total >= _SHOWN_BYTES else nullcontext() as shown:
        for source, target in zip(sources, tensors, strict=True):
            rows = max(1, piece_bytes // max(1, source[:1].nbytes))
            for piece, place in zip(source.split(rows), target.split(rows), strict=True):
                buffers.send(piece, place)
                before, sent = sent, sent + piece.nbytes
                if shown is not None:
                    shown.advance(sent // 10**6 - before // 10**6)
    buffers.wait()
    return tensors


def load_or_keep(
    arrays: Sequence[np.ndarray], device: torch.device | str, free_bytes: int | None = None, beside: int = 0
) -> tuple[list[Tensor], torch.device | None]:
    """The arrays on `device`, and None; or, where they are too large, as they are on the host, and `device`."""
    try:
        return load_arrays(arrays, device, free_bytes=free_bytes, beside=beside), None
    except TooLarge as error:
        console.print(f"  events stay in the host's memory and are sent a window at a time: {error}", markup=False)
        return _as_they_are(arrays), torch.empty(0, device=device).device  # cuda:0, as tensors say, and not cuda


def _as_they_are(arrays: Sequence[np.ndarray]) -> list[Tensor]:
    with warnings.catch_warnings():
        # A read-only map makes a tensor that must not be written to; nothing here writes to it.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return [torch.from_numpy(array) for array in arrays]


class _Buffers:
    """Two buffers of `size` bytes, or more where one row is larger."""

    def __init__(self, size: int, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._buffers = [torch.empty(size, dtype=torch.uint8, pin_memory=self._cuda) for _ in range(2)]
        self._sent = [torch.cuda.Event() if self._cuda else None for _ in range(2)]
        self._next = 0

    def send(self, piece: Tensor, place: Tensor) -> None:
        """Copy `piece`, of host memory, to `place`; returns while it is on its way."""
        number, self._next = self._next, 1 - self._next
        event = self._sent[number]
        if event is not None:
            event.synchronize()  # what it sent last has arrived
        if self._buffers[number].nbytes < piece.nbytes:
            self._buffers[number] = torch.empty(piece.nbytes, dtype=torch.uint8, pin_memory=self._cuda)
        buffer = self._buffers[number][: piece.nbytes].view(piece.dtype).view(piece.shape)
        buffer.copy_(piece)
        place.copy_(buffer, non_blocking=True)
        if event is not None:
            event.record()

    def wait(self) -> None:
        """Return when all has arrived."""
        for event in self._sent:
            if event is not None:
                event.synchronize()
