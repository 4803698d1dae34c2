"""The source of simulated jet events: a process of the jets' catalogue through Pythia, candidates and clustering."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from breakeven.events.jets import JETS, to_table
from breakeven.events.schema import EventSchema
from breakeven.events.source import Shard
from breakeven.physics.jets import generator
from breakeven.physics.jets.processes import JetProcess


@dataclass(frozen=True)
class SimulatedJets:
    """A process with large-radius jets; mpi: with multiparton interactions. See source.Source."""

    process: JetProcess
    mpi: bool = False

    kind = "pythia"

    @property
    def name(self) -> str:
        """Of the process."""
        return self.process.name

    @property
    def schema(self) -> EventSchema:
        """That of jet events."""
        return JETS

    def identity(self) -> Mapping[str, Any]:
        """Versions of the physics code and Pythia included."""
        process, made_by = self.process, generator.versions()
        return {
            "process": process.name,
            "source": self.kind,
            "settings": [*process.settings, "mirror", *process.mirror_settings],
            "single": process.single,
            "holds": process.holds,
            "mpi": self.mpi,
            "jets": made_by["jets"],
            "pythia": made_by["pythia8mc"],
        }

    def about(self) -> Mapping[str, Any]:
        """Settings and versions."""
        return {
            "note": self.process.notes,
            "settings": list(self.process.settings),
            "mpi": self.mpi,
            "versions": generator.versions(),
        }

    def make(self, n_events: int, seed: int, shard: int) -> Shard:
        """Raises as generator.generate."""
        made = generator.generate(self.process, n_events, seed, mpi=self.mpi, shard=shard)
        return Shard(to_table(made), made.cross_section_pb, made.cross_section_error_pb, made.n_tried)
