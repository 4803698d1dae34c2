"""A source: what makes the events of a process. The protocol, and what it gives; catalogue.py knows those that there are."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import pyarrow as pa

    from breakeven.events.schema import EventSchema


@dataclass(frozen=True)
class Shard:
    """Events that a source made.

    table: with the source's schema.  cross_section_pb and its error as far as this shard knows them, None where nothing does;
    n_tried: events tried for those that it holds.
    """

    table: "pa.Table"
    cross_section_pb: float | None
    cross_section_error_pb: float | None
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
