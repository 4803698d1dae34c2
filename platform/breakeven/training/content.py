"""What a model at rest is: the hash of its arguments and its weights, read without torch.

So that a driver that has its backbones already need not wait for torch. It never changes a file.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, deserialize

from breakeven.feature import OBJECT, Feature, Levels

__all__ = ["CorruptCheckpoint", "content_hash"]


class CorruptCheckpoint(ValueError):
    """A checkpoint file that cannot be read; the message names it and the way out."""

    @classmethod
    def of(cls, file: Path, error: SafetensorError) -> "CorruptCheckpoint":
        """For a file of numbers that is not whole."""
        return cls(f"{file} is no whole safetensors file ({error}); {_way_out(file)}")


def content_hash(folder: Path) -> str:
    """Identity of a model: 16 hex digits over its arguments and its weights to the last bit.

    Args:
        folder: of the model, as `checkpoint.write_model` wrote it.

    Returns:
        The hash.

    Raises:
        FileNotFoundError: a file of it is missing.
        CorruptCheckpoint: a file of it is damaged, or holds other weights than were written.
    """
    digest = hashlib.sha256(json.dumps(model_arguments(folder), sort_keys=True).encode())
    file = folder / "weights.safetensors"
    try:
        tensors = dict(deserialize(read_content(file)))
    except SafetensorError as error:
        raise CorruptCheckpoint.of(file, error) from error
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} torch.{_TORCH_NAMES[tensor['dtype']]} {tensor['shape']}".encode())
        digest.update(tensor["data"])
    found = digest.hexdigest()[:16]
    if (written := read_json(folder / "model.json").get("hash", found)) != found:
        raise CorruptCheckpoint(
            f"{file}: the weights hash to {found}, and were written as {written}: the file was changed since; {_way_out(file)}"
        )
    return found


def _way_out(file: Path) -> str:
    return f"delete {file.parent} and make it again, as the study that made it does when it runs again"


def model_arguments(folder: Path) -> dict[str, Any]:
    """What the network of the model in `folder` was made with; raises as `content_hash`."""
    try:
        return dict(read_json(folder / "model.json")["model"])
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptCheckpoint(f"{folder / 'model.json'} does not describe a model ({error!r})") from error


def model_levels(folder: Path) -> Levels:
    """The features of the events that the model in `folder` takes; raises as `content_hash`."""
    described = read_json(folder / "model.json")
    if "levels" not in described:
        return (OBJECT,)
    return [[Feature(**plain) for plain in level] for level in described["levels"]]


def read_json(file: Path) -> Any:
    """What a JSON file of a model or training holds; raises as `content_hash`."""
    try:
        return json.loads(read_content(file))
    except ValueError as error:
        raise CorruptCheckpoint(f"{file} is no whole JSON file ({error}); {_way_out(file)}") from error


def read_content(file: Path) -> bytes:
    """The bytes of a file of a model or training. Raises FileNotFoundError, which says what to give."""
    try:
        return file.read_bytes()
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{file} is missing; give the folder of a finished model or training; of a backbone, {_way_out(file)}"
        ) from error


_TORCH_NAMES = {
    "BOOL": "bool", "U8": "uint8", "U16": "uint16", "U32": "uint32", "U64": "uint64", "I8": "int8", "I16": "int16",
    "I32": "int32", "I64": "int64", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "F16": "float16",
    "BF16": "bfloat16", "F32": "float32", "F64": "float64", "C64": "complex64",
}  # fmt: skip
"""What torch calls the types of a safetensors file: part of the hash."""
