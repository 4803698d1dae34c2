"""What finished networks say of the same events, layer by layer: kept beside the ledger, for comparing networks.

One small file per trial, in half precision; its record names the file's hash and the events. It never says what a layer is.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from breakeven import atomic

__all__ = ["NoRepresentation", "Representations"]


class NoRepresentation(ValueError):
    """A trial's representations cannot be had; the message says why and what to do."""


class Representations:
    """The folder `representations` of a ledger."""

    def __init__(self, ledger: Path) -> None:
        self.folder = ledger / "representations"

    def write(self, record: str, layers: Mapping[str, np.ndarray]) -> str:
        """Keep the layers of a trial; what an earlier try of it has left is replaced.

        Args:
            record: its name in the ledger.
            layers: [n_events, width] each, first to last.

        Returns:
            Hash of the file, to read it by.

        Raises:
            ValueError: a value is not finite in half precision.
            OSError: the disk is full.
        """
        with np.errstate(over="ignore"):
            half = {f"{place} {name}": layer.astype(np.float16) for place, (name, layer) in enumerate(layers.items())}
        for name, layer in half.items():
            if not np.isfinite(layer).all():
                raise ValueError(f"layer {name!r} of {record} holds values that are not finite in half precision")
        content = save(half)
        with atomic.replacing(self._path(record)) as temporary:
            temporary.write_bytes(content)
        return _digest(content)

    def read(self, record: str, digest: str) -> dict[str, np.ndarray]:
        """The layers of a trial in their order, float32.

        Args:
            record: its name in the ledger.
            digest: hash of the file, as `write` gave it.

        Returns:
            [n_events, width] by name, first layer to last.

        Raises:
            NoRepresentation: they are missing, damaged, or another's.
        """
        path = self._path(record)
        way_out = f"remove the trial's record to train it again, or copy {self.folder.name}/ from where the study ran"
        try:
            content = path.read_bytes()
        except OSError as error:
            raise NoRepresentation(f"{path} cannot be read ({error.strerror}): {way_out}") from error
        if _digest(content) != digest:
            raise NoRepresentation(f"{path} is cut short, or was changed after its trial ended: {way_out}")
        try:
            layers = load(content)
        except SafetensorError as error:
            raise NoRepresentation(f"{path} is no safetensors file ({error}): {way_out}") from error
        ordered = sorted(layers, key=lambda name: int(name.split(" ", 1)[0]))
        return {name.split(" ", 1)[1]: layers[name].astype(np.float32) for name in ordered}

    def _path(self, record: str) -> Path:
        return self.folder / f"{record}.safetensors"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
