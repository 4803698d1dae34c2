"""What frozen backbones say of events: computed once, by whichever worker needs it first, and kept beside the ledger for others.

One array per backbone and sample, named by the hash of all that decides it, mapped from disk and never changed. A file that is
damaged is made again. Unlike a record it says nothing that cannot be computed anew: the folder may be removed at any time.
"""

import hashlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np

from breakeven import atomic
from breakeven.ledger.lease import Leases

__all__ = ["Embeddings"]

_DIGEST_BYTES = hashlib.sha256().digest_size


class Embeddings:
    """The folder of a ledger that holds them.

    Consistency: a file is whole or not there, and its last bytes are the hash of those before. Of all processes on all machines
    one that lives computes an array, as long as none stands still for longer than a lease's patience; two that do write the same.
    """

    def __init__(self, ledger: Path) -> None:
        self.folder = ledger / "embeddings"

    def get(self, name: str, compute: Callable[[], np.ndarray]) -> np.ndarray:
        """The array of this name: read, or computed here, or waited for while another process computes it.

        Args:
            name: hash of all that decides its numbers.
            compute: called where no whole file is there and nobody else is at it; what it raises is passed on.

        Returns:
            The array, mapped read-only where it was read.

        Raises:
            OSError: no lease can be written. An array that the disk has no room for is given all the same.
        """
        if (kept := self._read(name)) is not None:
            return kept
        with Leases(self.folder) as leases:
            if leases.wait(name, lambda: self._read(name) is not None):
                computed = compute()
                with suppress(OSError):  # the trial goes on with what it has; the next one computes it again
                    self._write(name, computed)
                leases.release(name)
                return computed
        return self.get(name, compute)

    def _read(self, name: str) -> np.ndarray | None:
        """The array, or None where there is no file that is whole."""
        path = self._path(name)
        try:
            content = np.memmap(path, np.uint8, "r")
            if hashlib.sha256(content[:-_DIGEST_BYTES].data).digest() != content[-_DIGEST_BYTES:].tobytes():
                return None
            mapped: np.ndarray = np.load(path, mmap_mode="r")
        except (OSError, ValueError):  # not there, empty, or gone meanwhile
            return None
        return mapped

    def _write(self, name: str, array: np.ndarray) -> None:
        with atomic.replacing(self._path(name)) as temporary:
            with temporary.open("wb") as file:
                np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)
            with temporary.open("r+b") as file:
                digest = hashlib.file_digest(file, "sha256").digest()
                file.write(digest)

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.npy"
