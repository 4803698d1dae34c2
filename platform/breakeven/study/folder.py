"""What a study's own folder holds: its specification, and which records of the shared ledger are its.

The two are JSON files beside the report. It never looks into the ledger.
"""

import json
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from breakeven import atomic
from breakeven.places import Places
from breakeven.study.check import check_values
from breakeven.study.spec import InvalidStudy, Study, study_from_json

KEEP_SECONDS = 5.0
"""Least time between two writes of a study's members while it runs."""


@dataclass(frozen=True)
class StudyFolder:
    """A study that began."""

    places: Places
    spec: dict[str, Any]
    """Its specification as JSON has it, by whichever version of this program."""
    members: tuple[str, ...]
    """Hashes of its records as far as they are known: events, backbones, trials; none before its first trial."""

    @property
    def study(self) -> Study:
        """Its specification. Raises InvalidStudy where another version of this program wrote it, or it is damaged."""
        path = self.places.folder.resolve() / "study.json"
        try:
            study = study_from_json(self.spec)
            check_values(study)
        except (TypeError, KeyError, AttributeError, ValueError) as error:
            raise InvalidStudy(
                f"{path}: not a specification of this version ({error}); use the version that wrote it, or start the study again"
            ) from error
        if study.name != path.parent.name:
            raise InvalidStudy(
                f"{path}: name is {study.name!r}, not that of its folder; call the folder {study.name} again"
            )
        return study


def read_folder(name: str, runs_dir: Path) -> StudyFolder:
    """The study with this name below `runs_dir`, or whose folder is the path `name`.

    Raises FileNotFoundError, naming those that there are, where there is none, and InvalidStudy where its files are not
    what was written to them.
    """
    places = Places(runs_dir.resolve(), name)
    if Path(name).name != name or name in (".", ".."):
        folder = Path(name).resolve()
        places = Places(folder.parent, folder.name)
    spec = places.folder / "study.json"
    if not spec.is_file():
        others = ", ".join(study_names(places.root)) or "none"
        raise FileNotFoundError(f"{places.folder}: no study that ran; those here: {others}")
    members = _members_file(places)
    known = _read(members, list, lambda names: all(isinstance(name, str) for name in names)) if members.exists() else ()
    return StudyFolder(places, _read(spec, dict), tuple(known))


def folder_with_trials(name: str, runs_dir: Path) -> StudyFolder:
    """As `read_folder`, of a study that has come to its trials; raises FileNotFoundError where it has not."""
    folder = read_folder(name, runs_dir)
    if not folder.members:
        raise FileNotFoundError(
            f"{folder.places.folder}: this study has not come to its trials yet; see breakeven status {name}"
        )
    return folder


def read_command(places: Places) -> str:
    """The command that began the study, or goes on with it; empty where it cannot be read."""
    try:
        return (places.folder / "command.txt").read_text().strip()
    except (OSError, ValueError):
        return ""


def study_names(runs_dir: Path) -> list[str]:
    """Names of all studies that began below `runs_dir`, sorted."""
    return sorted(path.parent.name for path in runs_dir.glob("*/study.json"))


class Members:
    """Writes which records are a study's, while it runs, so that others can tell how far it is."""

    def __init__(self, places: Places) -> None:
        self._path = _members_file(places)
        self._written, self._count = -KEEP_SECONDS, -1

    def keep(self, members: Collection[str]) -> None:
        """Write them, unless there are no more than before or a write was a moment ago. Raises OSError on a full disk."""
        if len(members) != self._count and time.monotonic() - self._written >= KEEP_SECONDS:
            self.write(members)

    def write(self, members: Collection[str]) -> None:
        """Write them now. Raises OSError on a full disk."""
        atomic.write_json(self._path, list(members))
        self._written, self._count = time.monotonic(), len(members)


def _members_file(places: Places) -> Path:
    return places.folder / "records.json"


def _read(path: Path, kind: type, fits: Callable[[Any], bool] = lambda content: True) -> Any:
    try:
        content = json.loads(path.read_text())
        if isinstance(content, kind) and fits(content):
            return content
        reason = f"it holds no {kind.__name__}" if not isinstance(content, kind) else "it holds what are no names"
    except ValueError as error:
        reason = str(error)
    raise InvalidStudy(
        f"{path}: not what was written to it ({reason}); start the study again: what it finished is kept"
    )
