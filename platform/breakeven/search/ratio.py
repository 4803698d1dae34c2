"""One Optuna study per cell proposes learning-rate ratios, and remembers what became of them.

The only room that imports optuna is this folder. It knows no ledger, no lease and no worker.
"""

import json
import math
import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend
from rich.markup import escape
from scipy.stats import qmc

from breakeven.fingerprint import fingerprint
from breakeven.study.spec import Search
from breakeven.terminal import console

optuna.logging.set_verbosity(optuna.logging.WARNING)

SPREAD = 4
"""Proposals that are spread over the range, the published one among them, before TPE has enough to learn from."""


class StorageUnavailable(ConnectionError):
    """The database of the proposals cannot be reached; the message says which and what to do."""


def open_database(url: str) -> optuna.storages.BaseStorage:
    """Proposals in a relational database (an SQLAlchemy URL), in place of the journal, for those who want to look at them.

    One driver at a time may write one study's proposals. Raises StorageUnavailable.
    """
    try:
        return optuna.storages.RDBStorage(url, engine_kwargs={"pool_pre_ping": True})
    except (sqlalchemy.exc.SQLAlchemyError, ImportError, ValueError, RuntimeError) as error:
        first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise StorageUnavailable(
            f"--optuna-storage {sqlalchemy_url(url)}: {first}; mend the URL or start the database, or leave the option out: "
            "a journal beside the study then takes its place, and nothing finished is lost"
        ) from error


def sqlalchemy_url(url: str) -> str:
    """The URL without its password, for messages."""
    try:
        return sqlalchemy.make_url(url).render_as_string(hide_password=True)
    except sqlalchemy.exc.ArgumentError:
        return repr(url)


def open_storage(path: Path | None) -> optuna.storages.BaseStorage:
    """Memory for the proposals of a study: a journal at `path`, safe on network file systems; None: this process only.

    One driver alone may write a journal. Others, on the same ledger, need none: proposals are a function of what was told
    before, and that is in the ledger. A journal that a kill or a full disk has damaged, or that is none, is put aside, which
    is said, and begun anew.
    """
    if path is None:
        return optuna.storages.InMemoryStorage()
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        try:
            return JournalStorage(_Journal(path))
        except OSError:
            raise
        except Exception as error:  # Optuna replays what it holds, and fails in as many ways as it can be damaged
            aside = path.with_name(f"{path.name}.damaged")
            path.replace(aside)
            console.print(
                f"[yellow]warning[/] {escape(str(path))}: no journal of Optuna's ({escape(repr(error))}); it is kept as "
                f"{escape(aside.name)}, and its proposals are made again: what they gave is in the ledger"
            )
            return JournalStorage(_Journal(path))


class _Journal(BaseJournalBackend):
    """A file as Optuna's JournalFileBackend writes it; raises ValueError where it is none.

    It has one writer, so it takes no lock; the ledger knows what it holds, so nothing waits for the disk.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        self._logs: list[dict[str, Any]] = [json.loads(line) for line in lines]
        if lines and not lines[-1].endswith(b"\n"):
            raise ValueError("its last line is cut short")

    def read_logs(self, log_number_from: int) -> list[dict[str, Any]]:
        return self._logs[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        with self._path.open("a") as file:
            file.writelines(json.dumps(log, separators=(",", ":")) + "\n" for log in logs)
        self._logs += logs


@dataclass(frozen=True)
class Outcome:
    """What became of a proposal: a mean validation loss; none of one that was stopped, which the sampler avoids, or failed."""

    value: float | None = None
    stopped: bool = False

    @property
    def state(self) -> optuna.trial.TrialState:
        """As Optuna has it."""
        if self.value is not None:
            return optuna.trial.TrialState.COMPLETE
        return optuna.trial.TrialState.PRUNED if self.stopped else optuna.trial.TrialState.FAIL


class RatioSearch:
    """Proposes learning-rate ratios for one cell: the published one, some spread over the range, then by TPE on the logarithm.

    The name of its Optuna study is the identity of what is searched: equal names share their history in the journal.
    """

    def __init__(self, study: optuna.Study, space: Search) -> None:
        self.study, self.space = study, space

    @classmethod
    def begin(cls, storage: optuna.storages.BaseStorage, name: str, space: Search) -> "RatioSearch":
        """The search with this name as `storage` remembers it, or a new one."""
        return cls(
            optuna.create_study(storage=storage, study_name=name, direction="minimize", load_if_exists=True), space
        )

    def proposals(self) -> list[tuple[int, float, bool]]:
        """All proposals so far: number, ratio, and whether it was told. Those of a killed driver are still good."""
        return [(one.number, one.params["ratio"], one.state.is_finished()) for one in self._proposed()]

    def remembers(self, number: int, outcome: "Outcome | None") -> bool:
        """Whether a proposal was told this."""
        told = self.study.get_trials(deepcopy=False)[number]
        return outcome is not None and (told.state, told.value) == (outcome.state, outcome.value)

    def forget(self, storage: optuna.storages.BaseStorage) -> None:
        """Begin anew, with nothing proposed."""
        name = self.study.study_name
        optuna.delete_study(study_name=name, storage=storage)
        self.study = optuna.create_study(storage=storage, study_name=name, direction="minimize")

    def ask(self) -> tuple[int, float]:
        """A new proposal: its number and ratio, a function of what was told before and of nothing else.

        The sampler is seeded anew for each proposal, so a study that was killed proposes what it would have proposed.
        """
        proposed, told = self._proposed(), self.told()
        low, high = min(self.space.low, self.space.published), max(self.space.high, self.space.published)
        if not proposed:
            return self._propose(self.space.published, low, high)
        if self.space.spread and 0 < told < SPREAD:
            return self._propose(low * (high / low) ** self._spread[told - 1], low, high)
        self.study.sampler = optuna.samplers.TPESampler(seed=self._seed(told), n_startup_trials=SPREAD)
        proposal = self.study.ask()
        return proposal.number, proposal.suggest_float("ratio", low, high, log=True)

    @cached_property
    def _spread(self) -> list[float]:
        """Where in the range the ratios after the published one lie, from 0 to 1."""
        return [float(part) for part in qmc.Halton(1, rng=self._seed(0)).random(SPREAD - 1)[:, 0]]

    def _propose(self, ratio: float, low: float, high: float) -> tuple[int, float]:
        drawn_from: dict[str, BaseDistribution] = {"ratio": FloatDistribution(low, high, log=True)}
        running = optuna.trial.TrialState.RUNNING
        self.study.add_trial(
            optuna.trial.create_trial(state=running, params={"ratio": ratio}, distributions=drawn_from)
        )
        return self.study.get_trials(deepcopy=False)[-1].number, ratio

    def _seed(self, number: int) -> int:
        return int(fingerprint([self.study.study_name, number]), 16) % 2**32

    def tell(self, number: int, outcome: "Outcome") -> None:
        """Tell what became of a proposal, once."""
        self.study.tell(number, outcome.value, outcome.state, skip_if_finished=True)

    def told(self) -> int:
        """Number of proposals that are finished, failed ones included."""
        return sum(one.state.is_finished() for one in self._proposed())

    def best(self) -> float:
        """The ratio with the lowest validation loss; the published one where every proposal failed."""
        done = [one for one in self._proposed() if one.state is optuna.trial.TrialState.COMPLETE]
        if not done:
            return self.space.published
        best = min(done, key=lambda one: one.value if one.value is not None else math.inf)
        return float(best.params["ratio"])

    def _proposed(self) -> list[optuna.trial.FrozenTrial]:
        """The proposals with a ratio, first to last, as many as this search has: an earlier one may have had more.

        So the ratio that is confirmed is the same for a driver that remembers more and for one that remembers nothing.
        """
        known = self.study.get_trials(deepcopy=False)
        return [one for one in known if "ratio" in one.params][: self.space.trials]
