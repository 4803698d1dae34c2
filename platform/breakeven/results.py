"""All that is known of one study, each part computed once, when it is first asked for: for publishing and for notebooks.

Read from the ledger and the study's own folder. It imports neither Ray nor torch nor MLflow, and writes nothing but how
alike the networks are, which is kept beside the report as it takes a while.
"""

import dataclasses
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from rich.markup import escape

from breakeven import atomic, provenance
from breakeven.analysis import ensembles
from breakeven.analysis import frame as ledger_frame
from breakeven.analysis.cost.accounts import accounts
from breakeven.analysis.event_scores import Read, SharedEvents, shared_events
from breakeven.analysis.passing import passing
from breakeven.estimate import price
from breakeven.events import evaluated_events, store
from breakeven.fingerprint import fingerprint
from breakeven.ledger.ledger import Ledger
from breakeven.ledger.reservation import reservations
from breakeven.ledger.responses import Responses
from breakeven.metric import METRICS
from breakeven.physics.processes import PRETRAINING
from breakeven.places import Places
from breakeven.study.folder import folder_with_trials, read_command
from breakeven.study.naming import Names
from breakeven.study.spec import Study
from breakeven.terminal import console
from breakeven.views.misfits import find_misfits

if TYPE_CHECKING:
    from breakeven.report.results import Results


@dataclass(frozen=True)
class StudyResults:
    """The results of one study as its ledger stands. members: hashes of its records.

    mlflow: where the report's links to MLflow lead: address of the server, id of the experiment.
    """

    study: Study
    places: Places
    ledger: Ledger
    members: tuple[str, ...]
    mlflow: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The ledger frame: one row a record of any level; chosen_ratio: what the study's search chose for its cell."""
        frame = self.ledger.frame(self.members, Names(self.study, PRETRAINING).of)
        chosen = self._kept("chosen.json", lambda kept: set(map(type, kept.values())) <= {int, float}) or {}
        return frame.assign(chosen_ratio=frame["cell"].map(chosen).astype(float))

    @property
    def trials(self) -> pd.DataFrame:
        """One row a trial, see analysis/frame.py."""
        return ledger_frame.trials(self.frame)

    @property
    def cells(self) -> pd.DataFrame:
        """One row a cell with its accuracy, see analysis/accuracy.py."""
        return self._of_networks(lambda results: results.cells)

    @property
    def gains(self) -> pd.DataFrame:
        """What each pretraining adds to scratch, see analysis/accuracy.py."""
        return self._of_networks(lambda results: results.gains)

    @property
    def break_even(self) -> pd.DataFrame:
        """Break-even under every way of charging, see analysis/cost/breakeven.py."""
        return self._of_networks(lambda results: results.break_even)

    @cached_property
    def figures(self) -> "Results":
        """All figures of the report."""
        from breakeven.report.results import Results

        merit = METRICS[self.study.finetuning.merit]
        return Results(
            self.frame,
            self.facts,
            self.accounts,
            lambda: self.similarity,
            lambda: self.shared_events,
            lambda: self.passing,
            merit,
        )

    @cached_property
    def shared_events(self) -> SharedEvents:
        """How far trials err together on their test sample, by those scores that can be read here."""
        return shared_events(self.frame, self._read_scores, self._copies)

    @cached_property
    def passing(self) -> pd.DataFrame:
        """How much background passes in each trial, by those scores that can be read here, see analysis/passing.py."""
        return passing(self.frame, self._read_scores, self._behind)

    @property
    def _read_scores(self) -> Read:
        return Responses(self.places.ledger, "scores").read

    @cached_property
    def scored(self) -> list[str]:
        """The records of this study whose scores lie beside the ledger, sorted: others may come, as from where it ran."""
        return sorted(Responses(self.places.ledger, "scores").present() & set(self.frame["record"]))

    def _copies(self, record: str, n_kept: Sequence[int]) -> list[np.ndarray]:
        """The hard events behind the test events of a trial."""
        return [of_class.hard_event for of_class in self._behind(record, n_kept)]

    def _behind(self, record: str, n_kept: Sequence[int]) -> list[evaluated_events.EvaluatedEvents]:
        """What is known of the test events of a trial, whose datasets are among those of the study, and are here."""
        tries = self.frame[self.frame["record"] == record].dropna(subset="scored_events")  # one that failed has none
        trial = tries.iloc[-1].to_dict()
        processes = [trial[side].split("+") for side in ("signal", "background")]
        known = [self._datasets.get(process, []) for of_class in processes for process in of_class]
        why = f"the events of {trial['signal']} and {trial['background']} are not on this machine"
        for datasets in itertools.product(*known):
            try:
                classes = datasets[: len(processes[0])], datasets[len(processes[0]) :]
                return evaluated_events.behind(
                    classes, self.study.finetuning.test_events, n_kept, trial["scored_events"]
                )
            except ValueError as error:
                why = str(error)
        raise ValueError(why)

    @cached_property
    def _datasets(self) -> dict[str, list[store.Dataset]]:
        """The datasets of this study that are on this machine, by process; several where it has grown."""
        datasets: dict[str, list[store.Dataset]] = {}
        for row in self._generated.to_dict("records"):
            if (dataset := store.find_dataset(self.places.datasets, row["process"], row["dataset"])) is not None:
                datasets.setdefault(row["process"], []).append(dataset)
        return datasets

    @property
    def _generated(self) -> pd.DataFrame:
        """The records of its datasets."""
        return self.frame[(self.frame["level"] == "generation") & (self.frame["outcome"] == "finished")]

    def _of_networks(self, figure: "Callable[[Results], pd.DataFrame]") -> pd.DataFrame:
        """A figure of each network, one below the other; without their names where there is one that has none."""
        tables = {network: figure(part) for network, part in self.figures.by_network.items()}
        if "" in tables:
            return tables[""]
        return pd.concat([table.assign(network=network) for network, table in tables.items()], ignore_index=True)

    @cached_property
    def accounts(self) -> pd.DataFrame:
        """Where the time went that this study's drivers reserved."""
        return accounts(self.ledger.frame(), reservations(self.places.ledger, self.study.name, _warn))

    @cached_property
    def facts(self) -> dict[str, Any]:
        """What the report says of the study besides the ledger's numbers, see report.write_report."""
        missing = self._kept("missing.json", lambda kept: set(map(type, kept.values())) <= {int}) or {}
        return {
            "study": self.study.name,
            "spec": dataclasses.asdict(self.study),
            "git_commit": provenance.git_commit(),
            "versions": provenance.versions(),
            "processor": provenance.processor(),
            "datasets": {row["process"]: _manifest(self.places, row) for row in self._generated.to_dict("records")},
            "command": read_command(self.places) or "unknown",
            "missing": missing,
            "mlflow": dict(self.mlflow),
            **({"price": [], "price_origin": ""} if missing else self._price()),
        }

    @cached_property
    def similarity(self) -> pd.DataFrame:
        """How alike the networks are; computed anew only where other networks are to be compared.

        Nothing is kept where a network could not be read: its file may come back.
        """
        trained = self.frame[self.frame["representation"].notna()]
        if trained.empty:
            return ensembles.NONE.assign(network="")
        named = [trained[name] for name in ("record", "representation", "cell")]
        key = fingerprint([ensembles.VERSION, sorted(zip(*named, strict=True))])
        before = self._kept("similarity.json", lambda kept: all(isinstance(row, dict) for row in kept["rows"]))
        if before is not None and before.get("key") == key:
            return pd.DataFrame(before["rows"], columns=[*ensembles.COLUMNS, "network"]).fillna(np.nan)
        console.print("  report: comparing what the networks have learnt")
        read, parts = Responses(self.places.ledger, "representations").read, ledger_frame.by_network(self.frame)
        tables = [ensembles.similarities(part, read).assign(network=name) for name, part in parts.items()]
        table = pd.concat(tables, ignore_index=True)
        if not table["n_unreadable"].any():
            kept = {"key": key, "rows": json.loads(table.to_json(orient="records"))}
            atomic.write_text(self.places.folder / "similarity.json", json.dumps(kept) + "\n")
        return table

    def _price(self) -> dict[str, Any]:
        """What the study was expected to take, held against what it took; no rows where there is no price."""
        kept, names = self._kept("price.json") or {}, Names(self.study, PRETRAINING)
        known = (record for name in self.members if (record := self.ledger.get(name)) is not None)
        # Sorted, so that a sum has the same last digit in whatever order the study found them.
        records = sorted(({**record, **names.of(record)} for record in known), key=lambda record: record["record"])
        try:
            return {"price": price.outcome(kept, records), "price_origin": kept["origin"]}
        except (KeyError, TypeError):
            return {"price": [], "price_origin": ""}

    def _kept(self, name: str, fits: Callable[[dict[str, Any]], bool] = lambda kept: True) -> dict[str, Any] | None:
        """What a JSON file in the study's folder holds; None where it is not there, or was damaged, which is said."""
        path = self.places.folder / name
        try:
            kept = json.loads(path.read_text())
            if isinstance(kept, dict) and fits(kept):
                return kept
            reason = "it has another form"
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = repr(error)
        _warn(
            f"{path}: not what was written to it ({reason}); it is left out, and written anew when the study runs again"
        )
        return None


def _warn(problem: str) -> None:
    console.print(f"[yellow]warning[/] {escape(problem)}")


def load(name: str, runs_dir: Path) -> StudyResults:
    """The results of the study with this name below `runs_dir`, or whose folder is the path `name`.

    Raises FileNotFoundError where no such study came to its trials, and InvalidStudy where its files cannot be read.
    """
    ran = folder_with_trials(name, runs_dir)
    ledger = Ledger(ran.places.ledger).refresh()
    for problem in ledger.problems:
        _warn(f"{problem}; what it holds is missing here")
    for problem in find_misfits(ran, ledger):
        _warn(problem)
    return StudyResults(ran.study, ran.places, ledger, ran.members)


def _manifest(places: Places, record: dict[Any, Any]) -> dict[str, Any]:
    """The dataset's own manifest; where the events are not here, as after a move, what the ledger says of them."""
    if (known := store.find_dataset(places.datasets, record["process"], record["dataset"])) is not None:
        return known.manifest
    note = "the events are not on this machine: cross section and notes are in their manifest"
    return {"source": record["source"], "events": int(record["events"]), "hash": record["dataset"], "note": note}
