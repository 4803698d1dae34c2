"""The source of a user's jets: a ROOT file as JetClass has them, as events of one jet each."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from breakeven.events.jets import JETS, to_table
from breakeven.events.schema import EventSchema
from breakeven.events.source import Shard
from breakeven.fingerprint import file_hash
from breakeven.physics.jets import jetclass


@dataclass(frozen=True)
class JetClassFile:
    """The jets of a file, under the name of a process. See source.Source."""

    name: str
    path: Path

    kind = "jetclass"

    @property
    def schema(self) -> EventSchema:
        """That of jet events."""
        return JETS

    def identity(self) -> Mapping[str, Any]:
        """The file by its content, and the version of its reader."""
        return {
            "process": self.name,
            "source": self.kind,
            "file": file_hash(self.path),
            "jetclass": str(jetclass.JETCLASS_VERSION),
        }

    def about(self) -> Mapping[str, Any]:
        """The file, what of it is left out, and versions."""
        jets = jetclass.in_words(*jetclass.count(str(self.path)))
        note = f"{self.path.name} (sha256 {file_hash(self.path)}), {jets}"
        libraries = {name: version(name) for name in ("uproot", "numpy", "awkward")}
        return {"note": note, "versions": {**libraries, "jetclass": str(jetclass.JETCLASS_VERSION)}}

    def make(self, n_events: int, seed: int, shard: int) -> Shard:
        """The jets of the file from the shard * n_events-th on, in its order. Raises as jetclass.read."""
        made = jetclass.read(str(self.path), shard * n_events, n_events)
        return Shard(to_table(made), None, None, made.n_tried)
