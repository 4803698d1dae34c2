"""What a study calls the parts of the records that are its: the ledger is shared, and names are a study's own.

A record keeps the names that the study had for it that made it. Reading, task, network, pretraining and ratio are told from
what the record's identity says. It opens no file.
"""

from collections.abc import Mapping
from typing import Any

from breakeven.fingerprint import fingerprint
from breakeven.study.identity import pretraining_identity, said
from breakeven.study.plan import cell_name, pretraining_processes
from breakeven.study.spec import Study
from breakeven.study.task import task_name


class Names:
    """The names in one study. It is shown records in the order in which they are made: events, backbones, trials.

    default: processes of a pretraining that names none.
    """

    def __init__(self, study: Study, default: tuple[str, ...]) -> None:
        self._pretrainings, self._default = study.pretrainings_by_name(), default
        self._networks = {fingerprint(said(network)): name for name, network in study.networks_by_name().items()}
        self._study = study
        self._processes: dict[str, str] = {}
        """By the hash of their events."""
        self._backbones: dict[str, str] = {}
        """Names of pretrainings, by the hash of the backbone."""

    def of(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """What the study calls the parts of a record; those that are not of its making keep the name that they have."""
        if record["level"] == "generation":
            self._processes[record["dataset"]] = record["process"]
            return {}
        network = "" if record.get("strategy") == "trees" else self._network(record)
        if record["level"] == "pretraining":
            name = self._pretraining(record, network)
            self._backbones |= {record["backbone"]: name} if record.get("backbone") else {}
            return {"network": network, "pretraining": name}
        pretraining = record["pretraining"]
        if pretraining != "none":
            pretraining = self._backbones.get(record.get("backbone", ""), pretraining)
        names = {"task": task_name(record), "network": network, "pretraining": pretraining}
        cell = cell_name(**names, strategy=record["strategy"], size=int(record["size"]))
        return {**names, "cell": cell, "ratio": self._ratio(record)}

    def _ratio(self, record: Mapping[str, Any]) -> float | None:
        """The ratio of a trial; from scratch its rate to the published one of this study: another has it as another ratio."""
        rate = (record.get("identity") or {}).get("rate")
        if record["strategy"] != "scratch" or rate is None:
            return record.get("ratio")
        return float(f"{rate / self._study.finetuning.learning_rate:.12g}")

    def _network(self, record: Mapping[str, Any]) -> str:
        asked = (record.get("identity") or {}).get("network")
        known = self._networks.get(fingerprint(asked)) if asked else None
        return known if known is not None else record.get("network") or ""

    def _pretraining(self, record: Mapping[str, Any], network: str) -> str:
        """The pretraining of the study that would have the same record."""
        identity = record.get("identity") or {}
        given = identity.get("datasets", [])
        learnt = tuple(self._processes.get(dataset, "") for dataset in given)
        for name, settings in (
            (name, one) for name, several in self._pretrainings.items() for one in several.by_seed()
        ):
            start = identity.get("start", "")
            if learnt != pretraining_processes(settings, self._default):
                continue
            if self._backbones.get(start, start) != settings.start or network not in self._study.networks_by_name():
                continue
            asked = self._study.networks_by_name()[network]
            if (
                fingerprint(pretraining_identity(settings, asked, given, identity["versions"], start))
                == record["record"]
            ):
                return name
        return str(record["pretraining"])
