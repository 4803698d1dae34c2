"""What finished networks say of events, kept beside the ledger: of every layer to compare networks, of the last one to
compare results event by event.

One small file per trial and kind, in half precision; its record names the file's hash and the events. It never says what
a layer or a score is.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from breakeven import atomic

__all__ = ["Kind", "NoResponse", "Responses"]

_ENDING = ".safetensors"

Kind = Literal["representations", "scores"]
"""What is kept: all layers, or the score of each event. The folder below a ledger is called so."""


class NoResponse(ValueError):
    """What a trial's network said cannot be had; the message says why and what to do."""


class Responses:
    """One of the folders of a ledger that hold what networks say."""

    def __init__(self, ledger: Path, kind: Kind) -> None:
        self.folder = ledger / kind

    def write(self, record: str, arrays: Mapping[str, np.ndarray]) -> str:
        """Keep the arrays of a trial; what an earlier try of it has left is replaced.

        Args:
            record: its name in the ledger.
            arrays: [n_events, ...] each, in their order.

        Returns:
            Hash of the file, to read it by.

        Raises:
            ValueError: a value is not finite in half precision.
            OSError: the disk is full.
        """
        with np.errstate(over="ignore"):
            half = {f"{place} {name}": array.astype(np.float16) for place, (name, array) in enumerate(arrays.items())}
        for name, array in half.items():
            if not np.isfinite(array).all():
                raise ValueError(
                    f"{self.folder.name}: {name!r} of {record} holds values that are not finite in half precision"
                )
        content = save(half)
        with atomic.replacing(self._path(record)) as temporary:
            temporary.write_bytes(content)
        return _digest(content)

    def read(self, record: str, digest: str) -> dict[str, np.ndarray]:
        """The arrays of a trial in their order, in half precision.

        Args:
            record: its name in the ledger.
            digest: hash of the file, as `write` gave it.

        Returns:
            [n_events, ...] by name.

        Raises:
            NoResponse: they are missing, damaged, or another's.
        """
        path = self._path(record)
        way_out = f"remove the trial's record to train it again, or copy {self.folder.name}/ from where the study ran"
        try:
            content = path.read_bytes()
        except OSError as error:
            raise NoResponse(f"{path} cannot be read ({error.strerror}): {way_out}") from error
        if _digest(content) != digest:
            raise NoResponse(f"{path} is cut short, or was changed after its trial ended: {way_out}")
        try:
            arrays = load(content)
        except SafetensorError as error:
            raise NoResponse(f"{path} is no safetensors file ({error}): {way_out}") from error
        ordered = sorted(arrays, key=lambda name: int(name.split(" ", 1)[0]))
        return {name.split(" ", 1)[1]: arrays[name] for name in ordered}

    def present(self) -> set[str]:
        """The records that have a file here, by the folder's listing: whether a file can be read, only `read` tells."""
        return {path.stem for path in self.folder.glob(f"*{_ENDING}")}

    def _path(self, record: str) -> Path:
        return self.folder / f"{record}{_ENDING}"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
