"""The sources that there are, by name: the catalogues of whole events and of jets, a user's files, and what plug-ins bring.

It imports no generator before a source is asked for.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from breakeven import plugins
from breakeven.events.source import Source
from breakeven.feature import OBJECT, Feature, Levels
from breakeven.names import InvalidName, check_name
from breakeven.physics import processes
from breakeven.physics.jets import processes as jets

if TYPE_CHECKING:
    from breakeven.events.schema import EventSchema, Level


BUILT_IN: tuple[str, ...] = (*processes.CATALOGUE, *jets.CATALOGUE)
"""Names of the processes that come with the package."""


def known_names() -> tuple[str, ...]:
    """Names of all processes that need no files of the user."""
    return (*BUILT_IN, *_of_plugins())


def source(
    name: str, *, lhe: str = "", jetclass: str = "", mpi: bool = False, settings: tuple[str, ...] = ()
) -> Source:
    """The source of the process `name`: the user's file where `lhe` or `jetclass` names one, a plug-in's, or that of a catalogue.

    mpi, settings: multiparton interactions, and more settings of Pythia, where events are simulated here. Raises UnknownProcess,
    ValueError, BadPlugin.
    """
    if jetclass:
        from breakeven.events.jetclass import JetClassFile

        return JetClassFile(name, Path(jetclass))
    if not lhe and (own := _of_plugins().get(name)) is not None:
        return own
    if not lhe and name in jets.CATALOGUE:
        from breakeven.events.simulated_jets import SimulatedJets

        return SimulatedJets(jets.CATALOGUE[name], mpi)
    from breakeven.events.simulated import Simulated

    if lhe:
        return Simulated(processes.from_lhe(name, [lhe], settings=settings), mpi)
    return Simulated(processes.process(name).with_settings(settings), mpi)


def known_schemas() -> "tuple[EventSchema, ...]":
    """Those of whole events, of jets, and of the sources of plug-ins. Raises BadPlugin where two are called by one version."""
    known = {str(schema.version): schema for schema in own_schemas()}
    for name, one in _of_plugins().items():
        if known.setdefault(str(one.schema.version), one.schema) != one.schema:
            raise plugins.BadPlugin(
                f"{plugins.where('SOURCES', name)}: the schema of SOURCES[{name!r}] has the version {one.schema.version!r} of "
                "another schema, for which its files would be taken; give it a version of its own, and make each schema once"
            )
    return tuple(known.values())


def own_schemas() -> "tuple[EventSchema, ...]":
    """Those of whole events and of jets."""
    from breakeven.events.jets import JETS
    from breakeven.events.objects import OBJECTS

    return OBJECTS, JETS


def levels_of(features: Levels) -> "tuple[Level, ...]":
    """The levels of the known schema whose features have these names and units; raises ValueError where there is none."""

    def said(level: Sequence[Feature]) -> list[tuple[str, str]]:
        return [(feature.name, feature.unit) for feature in level]

    wanted = [said(level) for level in features]
    for schema in known_schemas():
        if [said(level.features) for level in schema.levels] == wanted:
            return schema.levels
    names = " / ".join(", ".join(name for name, _ in level) for level in wanted)
    raise ValueError(f"no known events have the features {names}; name the plug-in of their source with --plugin")


def has_whole_events(name: str) -> bool:
    """Whether the events of a process are one list of objects, which our own network and trees take."""
    if (own := _of_plugins().get(name)) is not None:
        return [tuple(level.features) for level in own.schema.levels] == [OBJECT]
    return name not in jets.CATALOGUE


def has_single_jets(name: str) -> bool:
    """Whether each event of a process is one jet."""
    return name in jets.CATALOGUE and jets.CATALOGUE[name].single


def _of_plugins() -> dict[str, Source]:
    brought: dict[str, Source] = plugins.brought("SOURCES")
    for name, one in brought.items():
        at = f"{plugins.where('SOURCES', name)}: SOURCES[{name!r}]"
        if name in BUILT_IN or one.name != name or "_vs_" in name:
            raise plugins.BadPlugin(
                f"{at} is of a source that calls itself {one.name!r}: use one name, not taken and without '_vs_'"
            )
        try:
            check_name(at, name)
        except InvalidName as error:
            raise plugins.BadPlugin(str(error)) from error
    return brought
