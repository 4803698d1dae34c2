"""What a study classifies: a signal against a background, each one process or several, and the tasks that have names."""

import difflib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from breakeven import plugins
from breakeven.names import InvalidName, check_name


class InvalidStudy(ValueError):
    """The specification cannot be run; the message names the field, the value and the way out."""


def check_part_name(field_name: str, name: str) -> None:
    """Raise InvalidStudy unless a name of the user's will do as one, see names.check_name."""
    try:
        check_name(field_name, name)
    except InvalidName as error:
        raise InvalidStudy(str(error)) from error


@cache
def _in_order(of_class: str) -> str:
    """The processes of a class in one order, numbers in their names by size: QCD_470_600 before QCD_1000."""
    return "+".join(sorted(of_class.split("+"), key=lambda name: (re.sub(r"\d+", lambda n: n[0].zfill(9), name), name)))


@dataclass(frozen=True)
class Task:
    """Signal against background. Raises InvalidStudy where a name will not do, or a process stands in it twice."""

    name: str
    """Short name, used in cells and on the command line."""
    title: str
    """Name in the published tables."""
    signal: str
    """Process of the signal class; several, whose events are taken together, with "+" between them."""
    background: str
    """That of the background class, likewise. The processes of a class are kept in one order, whichever they are given in."""

    def __post_init__(self) -> None:
        for side in ("signal", "background"):
            object.__setattr__(self, side, _in_order(getattr(self, side)))
        for name in (*self.name.split("+"), *self.processes):
            check_part_name(f"a name in the task {self.name!r}", name)
        if len(set(self.processes)) < len(self.processes):
            raise InvalidStudy(
                f"the task {self.name!r} is {self.signal} against {self.background}, with a process twice: a task is written "
                "SIGNAL_vs_BACKGROUND with different processes, several of a class as A+B_vs_C+D"
            )

    @property
    def classes(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The processes of the signal class, and those of the background class."""
        return tuple(self.signal.split("+")), tuple(self.background.split("+"))

    @property
    def processes(self) -> tuple[str, ...]:
        """All of its processes, those of the signal class first."""
        return sum(self.classes, ())


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task("ttH_CP", "ttH CP even vs odd", "ttH_yy_odd", "ttH_yy_even"),
        Task("FCNC_vs_tHq", "FCNC vs tHq", "FCNC", "tHq"),
        Task("ttW_vs_ttt", "ttW vs ttt", "ttt", "ttW"),
        Task("stop_vs_ttH", "stop vs ttH", "stop_pair", "ttH"),
        Task("WH_vs_ZH", "WH vs ZH", "WH", "ZH"),
    )
}
"""The five tasks of arXiv 2412.10665, section III.1."""
JET_TASKS: dict[str, Task] = {
    "HH4b_vs_QCD": Task(
        "HH4b_vs_QCD", "X to HH to 4b vs QCD", "HH4b_600+HH4b_1000+HH4b_2000+HH4b_3000",
        "QCD_300_470+QCD_470_600+QCD_600_800+QCD_800_1000+QCD_1000",
    ),
}  # fmt: skip
"""That of arXiv 2401.13536, with the four masses that are nearly all of its signal."""


def known_tasks() -> dict[str, Task]:
    """The tasks that have names: the five, that of jets, and those of plug-ins. Raises BadPlugin where one cannot be used."""
    known = TASKS | JET_TASKS
    for name, new in plugins.brought("TASKS").items():
        at = f"{plugins.where('TASKS', name)}: TASKS[{name!r}] is {new!r}"
        if not isinstance(new, Task) or new.name != name:
            raise plugins.BadPlugin(f"{at}; give a Task of that name")
        signal, separator, background = name.partition("_vs_")
        if separator and (_in_order(signal), _in_order(background)) != (new.signal, new.background):
            raise plugins.BadPlugin(
                f"{at}, and its name says {signal} against {background}; choose a name without '_vs_'"
            )
        if taken := known.get(name) or _same(known, new.signal, new.background):
            raise plugins.BadPlugin(f"{at}, which is there already, as {taken}; leave it out")
        known[name] = new
    return known


def _same(tasks: Mapping[str, Task], signal: str, background: str) -> Task | None:
    """The task that has these classes, whatever the order of the processes in them."""
    wanted = _in_order(signal), _in_order(background)
    return next((one for one in tasks.values() if (_in_order(one.signal), _in_order(one.background)) == wanted), None)


def task(name: str) -> Task:
    """The task with this name: one of `known_tasks`, or any "SIGNAL_vs_BACKGROUND" of processes, several with "+" between.

    The same classes make one task, in whatever order their processes are given: where they are those of a known one it is
    that one, with that one's name. Raises InvalidStudy, with the nearest known names, on anything else.
    """
    if name in (tasks := known_tasks()):
        return tasks[name]
    signal, separator, background = name.partition("_vs_")
    if not (separator and signal and background):
        check_part_name("finetuning.tasks", name.replace("+", ""))
        raise InvalidStudy(
            f"finetuning.tasks: {name!r} is not known; the nearest known: {nearest(name, tasks)}; "
            "a task of your own is written SIGNAL_vs_BACKGROUND with different processes, several of a class as A+B_vs_C+D"
        )
    signal, background = _in_order(signal), _in_order(background)
    try:
        return _same(tasks, signal, background) or Task(
            f"{signal}_vs_{background}", f"{signal} vs {background}", signal, background
        )
    except InvalidStudy as error:
        raise InvalidStudy(f"finetuning.tasks: {error}") from error


def task_name(record: Mapping[Any, Any]) -> str:
    """What a record's task is called now, by its classes: a record may have been made under another name of it."""
    known = _same(known_tasks(), record.get("signal", ""), record.get("background", ""))
    return known.name if known else record["task"]


def nearest(value: str, known: Collection[str]) -> str:
    """The known names most like `value`, whatever their case; all of them where none is alike."""
    folded = {name.casefold(): name for name in sorted(known)}
    near = difflib.get_close_matches(value.casefold(), folded, n=3, cutoff=0.4)
    return ", ".join(folded[name] for name in near) or ", ".join(sorted(known))
