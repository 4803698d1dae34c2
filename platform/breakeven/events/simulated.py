"""The source of simulated events: a process of the catalogue or a user's parton-level files, showered and reconstructed."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from breakeven.events.objects import OBJECTS, to_table
from breakeven.events.schema import EventSchema
from breakeven.events.source import Shard
from breakeven.fingerprint import file_hash
from breakeven.physics import generator, lhe
from breakeven.physics.processes import Process


@dataclass(frozen=True)
class Simulated:
    """A process through Pythia and the detector; mpi: with multiparton interactions. See source.Source."""

    process: Process
    mpi: bool = False

    @property
    def name(self) -> str:
        """Of the process."""
        return self.process.name

    @property
    def kind(self) -> str:
        """Where its hard events come from."""
        return self.process.source

    @property
    def schema(self) -> EventSchema:
        """That of whole events."""
        return OBJECTS

    def identity(self) -> Mapping[str, Any]:
        """Versions of the physics code and Pythia included."""
        process, made_by = self.process, generator.versions()
        return {
            "process": process.name,
            "source": process.source,
            "settings": [*process.settings, "mirror", *process.mirror_settings],
            "yukawa": list(process.yukawa or ()),
            "files": [file_hash(path) for path in generator.files_of(process)],
            "mpi": self.mpi,
            "physics": made_by["physics"],
            "pythia": made_by["pythia8mc"],
            **({"lhe": str(lhe.LHE_VERSION)} if process.source == "lhe" else {}),
        }

    def about(self) -> Mapping[str, Any]:
        """Settings and versions."""
        return {
            "note": "; ".join(filter(None, (self.process.notes, *map(_of_file, self._own_files)))),
            "settings": list(self.process.settings),
            "mpi": self.mpi,
            "versions": generator.versions(),
        }

    @property
    def _own_files(self) -> list[Path]:
        """A user's."""
        return generator.files_of(self.process) if self.kind == "lhe" else []

    def make(self, n_events: int, seed: int, shard: int) -> Shard:
        """Raises as generator.generate."""
        made = generator.generate(self.process, n_events, seed, mpi=self.mpi, shard=shard)
        table = to_table(made.objects, made.truth, made.hard_event)
        return Shard(table, made.cross_section_pb, made.cross_section_error_pb, made.n_tried)


def _of_file(path: Path) -> str:
    """What a user's file says of itself: name, content, generator and beams."""
    file = lhe.open_file(str(path))
    one, energy, other, other_energy = file.beams
    return (
        f"{path.name} (sha256 {file_hash(path)}), {file.generator or 'generator not named'}, beams {one} at {energy:g} GeV and "
        f"{other} at {other_energy:g} GeV"
    )
