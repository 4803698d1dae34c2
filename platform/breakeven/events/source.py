"""Sources: where the events of a process come from.

Holds the protocol and the names that are known: the catalogue's processes, a user's files, and what plug-ins bring. It
imports no generator before events are made.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from breakeven import plugins
from breakeven.physics import processes

if TYPE_CHECKING:
    import pyarrow as pa

    from breakeven.events.schema import EventSchema


@dataclass(frozen=True)
class Shard:
    """Events that a source made.

    table: with the source's schema.  cross_section_pb and its error as far as this shard knows them; n_tried: events
    tried for those that it holds.
    """

    table: "pa.Table"
    cross_section_pb: float
    cross_section_error_pb: float
    n_tried: int


class Source(Protocol):
    """Makes the events of one process, shard by shard; a hashable value that any worker can be sent.

    name: of the process.  kind: how its events come about, one word.  schema: of its events.
    """

    @property
    def name(self) -> str: ...

    @property
    def kind(self) -> str: ...

    @property
    def schema(self) -> "EventSchema": ...

    def identity(self) -> Mapping[str, Any]:
        """Plain values that decide, with seed and shard, which events it makes; files by their content."""

    def about(self) -> Mapping[str, Any]:
        """Plain values that a reader of the manifest wants: note, settings, versions of libraries."""

    def make(self, n_events: int, seed: int, shard: int) -> Shard:
        """Exactly `n_events` events, a function of the arguments alone: shards are made anywhere, in any order."""


def known_names() -> tuple[str, ...]:
    """Names of all processes that need no files of the user."""
    return (*processes.CATALOGUE, *_of_plugins())


def source(name: str, *, lhe: str = "", mpi: bool = False) -> Source:
    """The source of the process `name`: the user's file where `lhe` names one, a plug-in's, or the catalogue's.

    mpi: multiparton interactions, where events are simulated here. Raises UnknownProcess, ValueError, BadPlugin.
    """
    if not lhe and (own := _of_plugins().get(name)) is not None:
        return own
    from breakeven.events.simulated import Simulated

    return Simulated(processes.from_lhe(name, [lhe]) if lhe else processes.process(name), mpi)


def schemas_of_plugins() -> "list[EventSchema]":
    """Those that the sources of plug-ins use."""
    return [one.schema for one in _of_plugins().values()]


def _of_plugins() -> dict[str, Source]:
    found: dict[str, Source] = plugins.brought("SOURCES")
    for name, one in found.items():
        if name in processes.CATALOGUE or one.name != name:
            raise plugins.BadPlugin(
                f"SOURCES has {name!r}, of a source that calls itself {one.name!r}: use one name, not taken"
            )
    return found
