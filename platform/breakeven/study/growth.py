"""Whether a study that runs again under its name is the same one, grown, or another one.

Compares specifications field by field; it touches nothing.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from breakeven.study.spec import InvalidStudy, Network, Pretraining, Study, part_from_json, study_from_json, task

_MORE_OF = frozenset(
    {"finetuning.tasks", "finetuning.strategies", "finetuning.baselines", "finetuning.sizes", "pretraining.objectives"}
)
"""Lists that may gain entries: the old trials are all part of the new study."""
_NAMED: dict[str, type[Network] | type[Pretraining]] = {"networks": Network, "pretrainings": Pretraining}
"""Fields that hold several by name, and may gain some."""
_HIGHER = frozenset({"finetuning.seeds", "search.trials"})
"""Numbers that may rise, for the same reason."""
RUNNING = frozenset({"finetuning.trial_seconds", "finetuning.gpu_share", "finetuning.represented_events",
                   "finetuning.scored_events", "finetuning.merit", "pretraining.workers",
                   "pretraining.checkpoint_seconds", "search.pruning", "generation.reuse"})  # fmt: skip
"""Fields that decide how trials run and not what they give."""


@dataclass(frozen=True)
class Change:
    """A field with another value than before."""

    field: str
    before: Any
    now: Any
    grows: bool
    """Whether all trials of before are still part of the study."""

    def __str__(self) -> str:
        return f"{self.field} {self.before} -> {self.now}"


def changes(before: Mapping[str, Any], study: Study) -> list[Change]:
    """What differs from the specification that the study's folder holds, as JSON has it; a field it lacks has its default."""
    old, new = _flat(_as_now(before)), _flat(asdict(_settled(study)))
    differences = []
    for name in dict.fromkeys([*new, *old]):
        was, now = (_plain(name, values.get(name)) for values in (old, new))
        if was != now and name in new:  # a field that is gone says nothing any more
            differences.append(Change(name, was, now, _grows(name, was, now)))
    return differences


def _settled(study: Study) -> Study:
    """With its networks as their identities say them: an option that is given at its default is none."""
    each = {name: network.settled() for name, network in study.networks.items()}
    return replace(study, network=study.network.settled(), networks=each)


def _grows(name: str, was: Any, now: Any) -> bool:
    if name in _MORE_OF:
        return set(was) <= set(now)
    if name in _NAMED:
        return bool(was) and was.items() <= now.items()
    if name in _HIGHER:
        return bool(was <= now)
    return name in RUNNING


def _as_now(before: Mapping[str, Any]) -> Mapping[str, Any]:
    """A specification with the fields that came later, at the values that they had before they were there."""
    try:
        return asdict(_settled(study_from_json(dict(before))))
    except (TypeError, KeyError, AttributeError):  # of another version
        return {
            name: {**part, **before.get(name, {})} if isinstance(part, Mapping) else before.get(name, part)
            for name, part in asdict(Study()).items()
        }


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a specification by their dotted name; what a field holds, or a name stands for, is not taken apart."""
    fields: dict[str, Any] = {}
    for name, part in values.items():
        fields |= (
            {f"{name}.{field}": value for field, value in part.items()}
            if isinstance(part, Mapping) and name not in _NAMED
            else {name: part}
        )
    return fields


def _plain(name: str, value: Any) -> Any:
    if name == "finetuning.tasks" and value is not None:
        return list(dict.fromkeys(map(_task_name, value)))
    if name in _NAMED and value is not None:  # by a version with fewer fields: those have their defaults
        running = {"workers": 0, "checkpoint_seconds": 0}  # as in RUNNING
        return {one: {**asdict(part_from_json(_NAMED[name], fields)), **running} for one, fields in value.items()}
    return list(value) if isinstance(value, tuple) else value


def _task_name(name: str) -> str:
    """As `task` calls it, or as it is given: that of a plug-in that is not used now is a task like any other."""
    try:
        return task(name).name
    except InvalidStudy:
        return name
