"""What in a study's folder does not fit the ledger: names and ratios that were changed by hand, or records that are gone.

Of a study that was killed only what it wrote before is known, so its trials are not counted. It writes nothing.
"""

import json
import math
from pathlib import Path

from breakeven.ledger.ledger import Ledger
from breakeven.study.folder import StudyFolder
from breakeven.study.spec import InvalidStudy
from breakeven.views.progress import Progress

_WAY_OUT = "start the study again: it is written anew, and what the ledger has is not trained again"


def find_misfits(folder: StudyFolder, ledger: Ledger) -> list[str]:
    """One line for each file that does not fit, with what does not; raises InvalidStudy where its specification is damaged."""
    study, unknown = folder.study, 0
    try:
        progress = Progress(study)
    except InvalidStudy as error:  # a task of a plug-in that is not used now
        return [f"{folder.places.folder / 'study.json'}: {error}"]
    for name in folder.members:
        if (record := ledger.get(name)) is None:
            unknown += 1
        else:
            progress.add(record)
    return describe_misfits(folder, ledger, progress, unknown)


def describe_misfits(folder: StudyFolder, ledger: Ledger, progress: Progress, unknown: int) -> list[str]:
    """As `find_misfits`, of records that are counted already. unknown: members of the study that the ledger does not have."""
    told = []
    missing = _numbers(folder.places.folder / "missing.json")
    if missing is not None and not ledger.problems:  # those tell of records that are there and cannot be read
        lacking = sum(
            max(n - missing.get(cell, 0), 0)
            for (cell, phase), n in progress.waiting().items()
            if phase == "confirm" or cell not in missing
        )
        absent = 0 if missing else unknown  # where trials are missing, they are among its names
        said = [f"{absent} of its names are not in the ledger"] if absent else []
        if lacking > absent:
            said += [f"{lacking - absent:g} trials that the study has done are not among its names"]
        if said:
            told.append(f"{folder.places.folder / 'records.json'}: {' and '.join(said)}; {_WAY_OUT}")
    chosen = folder.places.folder / "chosen.json"
    strange = [
        f"{ratio:g} of {cell}"
        for cell, ratio in (_numbers(chosen) or {}).items()
        if (known := progress.ratios.get(cell)) and not any(math.isclose(ratio, one, rel_tol=1e-9) for one in known)
    ]
    if strange:
        more = f" (and {len(strange) - 1} more)" if len(strange) > 1 else ""
        told.append(
            f"{chosen}: none of the reported trials has the ratio {strange[0]}{more}: they are left out; {_WAY_OUT}"
        )
    return told


def _numbers(path: Path) -> dict[str, float] | None:
    """Numbers by name; None where there are none, or they are damaged, which the report tells."""
    try:
        return {name: float(number) for name, number in json.loads(path.read_text()).items()}
    except (OSError, ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        return None
