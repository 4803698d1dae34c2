"""JSON read into little memory: thousands of records have the same names and words, and hold each of them once.

Half of a trial's record is such strings. Reads what the json module reads, to equal values.
"""

import json
import sys
from typing import Any


def loads(text: str | bytes) -> Any:
    """What `json.loads` gives; equal strings, in this and all other texts read so, are one object."""
    return json.loads(text, object_pairs_hook=_shared)


def _shared(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return {sys.intern(key): sys.intern(value) if type(value) is str else value for key, value in pairs}
