"""Fingerprints: the hash of what defines a result, so that equal work is recognised and never done twice.

Holds one exact encoding of plain values to bytes, and its hash. It never guesses: a value without an exact encoding
(an object, a set, a NaN) is refused with the path to it.
"""

import dataclasses
import enum
import hashlib
import json
import math
from pathlib import Path
from typing import Any


class NotEncodable(TypeError):
    """A value has no exact encoding; the message names the path to it."""


def fingerprint(value: Any, length: int = 16) -> str:
    """Hash of `value`: the first `length` hex digits of the SHA-256 of its canonical encoding.

    Takes None, bool, int, float, str, enums, frozen dataclasses, lists, tuples, and dicts with string keys.
    Floats are encoded by their exact bits, so 0.1 and 0.1 + 1e-17 differ only where the numbers do.
    Raises NotEncodable on anything else.
    """
    encoded = json.dumps(encode(value), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(encoded.encode()).hexdigest()[:length]


def file_hash(path: Path) -> str:
    """Hash of the content of a file: the first 16 hex digits of its SHA-256. Raises OSError."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()[:16]


def encode(value: Any, path: str = "value") -> Any:
    """The canonical JSON-able form of `value`; raises NotEncodable with the path to what cannot be encoded."""
    if isinstance(value, enum.Enum):
        return encode(value.value, path)
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise NotEncodable(f"{path} is {value}: a fingerprint needs finite numbers")
        return {"float": value.hex()}
    if isinstance(value, list | tuple):
        return [encode(item, f"{path}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, dict):
        if bad := [key for key in value if not isinstance(key, str)]:
            raise NotEncodable(f"{path} has the key {bad[0]!r}: use string keys")
        return {key: encode(item, f"{path}.{key}") for key, item in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: encode(getattr(value, f.name), f"{path}.{f.name}") for f in dataclasses.fields(value)}
    if isinstance(value, Path):
        raise NotEncodable(f"{path} is the path {value}: hash the file's content, a path says nothing about it")
    raise NotEncodable(f"{path} is a {type(value).__name__}: use numbers, strings, lists, dicts or dataclasses")
