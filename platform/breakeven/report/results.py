"""All figures of one study, each computed once, when it is first asked for. Holds no sentence and no picture."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import pandas as pd

from breakeven.analysis import (
    accuracy,
    data_efficiency,
    ensembles,
    event_scores,
    exposure,
    learning_rate,
    over_tasks,
    passing,
    published_rejections,
    rejection,
)
from breakeven.analysis import frame as ledger_frame
from breakeven.analysis.adaptation import adaptation as adaptation_of_pretrainings
from breakeven.analysis.cost import accounts, breakeven, convergence
from breakeven.analysis.cost import hours as cost
from breakeven.analysis.cost.charges import HEADLINE
from breakeven.analysis.cost.savings import savings as savings_of_tasks
from breakeven.analysis.drift import drift as drift_of_score
from breakeven.analysis.drift import emergence as emergence_of_score
from breakeven.analysis.endings import endings as how_they_ended
from breakeven.analysis.laws import forecast, scaling_law
from breakeven.analysis.overall import overall as mean_over_tasks
from breakeven.metric import MERIT, METRICS, Metric
from breakeven.study.spec import TASKS


def _of_frame(compute: Callable[..., pd.DataFrame]) -> cached_property[pd.DataFrame]:
    """A table computed from the ledger frame alone, its rows in the report's order."""
    return cached_property(lambda results: results.ordered(compute(results.frame)))


def _of_merit(compute: Callable[..., pd.DataFrame]) -> cached_property[pd.DataFrame]:
    """A table of the figure of merit likewise."""
    return cached_property(lambda results: results.ordered(compute(results.frame, merit=results.merit)))


@dataclass(frozen=True)
class Results:
    """One frame for each kind of figure, as the modules of analysis describe them.

    frame: the ledger frame of one study.  facts: what is known of it besides, see report.write_report.
    accounts: where the reserved time went.  similarities: gives how alike the networks are, which takes a while.
    shared: gives how far trials err together on their test sample, which takes a while, too.
    passing: gives what background passes in each trial, see analysis/passing.py.
    merit: the figure of merit, of which gains, laws, data efficiency, convergence and equal accuracy are.
    """

    frame: pd.DataFrame
    facts: Mapping[str, Any]
    accounts: pd.DataFrame = field(default_factory=lambda: accounts.NONE)
    similarities: Callable[[], pd.DataFrame] = lambda: ensembles.NONE
    shared: Callable[[], event_scores.SharedEvents] = lambda: event_scores.NONE
    passing: Callable[[], pd.DataFrame] = lambda: passing.NOTHING
    merit: Metric = MERIT

    overall = _of_merit(mean_over_tasks)
    endings = _of_merit(how_they_ended)
    exposures = _of_frame(exposure.exposures)
    drift = _of_frame(drift_of_score)
    emergence = _of_frame(emergence_of_score)
    adaptation = cached_property(lambda self: adaptation_of_pretrainings(self.frame))
    time_ratios = _of_merit(convergence.time_ratios)
    curves_by_events = _of_merit(convergence.accuracy_curves)
    curves_by_hours = _of_merit(partial(convergence.accuracy_curves, against="device_hours"))
    plateaus = _of_frame(convergence.times_to_plateau)
    back_test = _of_merit(forecast.back_test)
    optima = _of_merit(learning_rate.optima)
    pooled_optima = _of_merit(partial(learning_rate.optima, by=("pretraining",)))
    responses = _of_merit(learning_rate.responses)
    response_curves = _of_frame(learning_rate.response_curves)

    laws = cached_property(lambda self: self.ordered(scaling_law.law_table(self._laws)))
    law_curves = cached_property(lambda self: self.ordered(scaling_law.law_curves(self._laws, merit=self.merit)))
    accuracy_forecast = cached_property(
        lambda self: self.ordered(forecast.accuracy_forecast(self._laws, merit=self.merit))
    )
    catch_up = cached_property(lambda self: self.ordered(forecast.catch_up(self._laws)))
    hours_forecast = cached_property(lambda self: self.ordered(forecast.hours_forecast(self.frame, self._hours)))
    break_even_forecast = cached_property(
        lambda self: self.ordered(forecast.break_even_forecast(self.frame, self._hours))
    )
    similarity = cached_property(
        lambda self: self.ordered(self.similarities().drop(columns="network", errors="ignore"))
    )
    cells = cached_property(lambda self: self.ordered(self._grid))
    gains = cached_property(
        lambda self: self.ordered(accuracy.gains(self.frame, merit=self.merit, shared=self.shared_events))
    )
    savings = cached_property(
        lambda self: self.ordered(savings_of_tasks(self.frame, merit=self.merit, shared=self.shared_events))
    )
    factors = cached_property(
        lambda self: self.ordered(data_efficiency.factors(self.frame, merit=self.merit, shared=self.shared_events))
    )
    factors_over_frozen = cached_property(
        lambda self: self.ordered(
            data_efficiency.factors(self.frame, merit=self.merit, shared=self.shared_events, reference="frozen")
        )
    )
    mean_gains = cached_property(lambda self: over_tasks.mean_gains(self.frame, self.gains, merit=self.merit))
    working_points = cached_property(
        lambda self: self.ordered(rejection.working_points(self.frame, shared=self.shared_events, passed=self._passing))
    )

    _grid = cached_property(lambda self: accuracy.cells(self.frame, merit=self.merit, shared=self.shared_events))
    shared_events = cached_property(lambda self: self.shared())
    table_1 = cached_property(lambda self: accuracy.table(self.cells, self.gains, merit=self.merit))
    break_even = cached_property(
        lambda self: breakeven.break_even_table(self.frame, merit=self.merit, shared=self.shared_events)
    )
    cost = cached_property(lambda self: cost.cost_table(self.frame))
    failed = cached_property(lambda self: ledger_frame.failed(self.frame))
    _laws = cached_property(lambda self: scaling_law.fit_laws(self.frame, merit=self.merit))
    _hours = cached_property(lambda self: forecast.fit_hours(self.frame))

    @cached_property
    def by_network(self) -> "dict[str, Results]":
        """The results of each network, by its name; these themselves where there is one without a name."""
        parts = ledger_frame.by_network(self.frame)
        if "" in parts:
            return {"": self}

        def alike(network: str) -> pd.DataFrame:
            table = self.similarities()
            return table[table["network"] == network]

        return {name: replace(self, frame=part, similarities=partial(alike, name)) for name, part in parts.items()}

    @cached_property
    def _passing(self) -> pd.DataFrame:
        table = self.passing()
        return table[table["record"].isin(self.frame["record"])]

    @cached_property
    def rejections(self) -> pd.DataFrame:
        """Rejections by the background events that pass, of all of the signal and of its processes."""
        return self.ordered(passing.rejections(self._passing))

    @property
    def rejection(self) -> Metric:
        """The rejection that is told of each process of the signal: the figure of merit where it is one."""
        return self.merit if self.merit.by_factors else METRICS["rejection_90"]

    @cached_property
    def by_process(self) -> pd.DataFrame:
        """That rejection of each process of the signal at the largest size."""
        return passing.of_processes(self.rejections, self.rejection.name)

    @cached_property
    def published_rejections(self) -> pd.DataFrame:
        """Published rejections and data efficiencies of this network's representation, ours beside them."""
        spec, trained = self.facts.get("spec", {}), self.frame[self.frame["level"] == "trial"]
        names = set(trained.loc[trained["strategy"] != "trees", "network"].fillna(""))
        networks = spec.get("networks") or {"": spec.get("network", {})}
        [used, *_] = [networks[name] for name in networks if name in names] or [{}]
        factors = {"scratch": self.factors, "frozen": self.factors_over_frozen}
        return published_rejections.beside(used.get("representation", ""), self.working_points, factors)

    @cached_property
    def passing_by_cell(self) -> dict[tuple[Any, ...], str]:
        """`115 to 130 of 1,875` by task, pretraining, strategy, size and name of the rejection, of those that are known."""
        whole = self.rejections[(self.rejections["process"] == "") & (self.rejections["weighting"] == "")]
        keys = whole[[*ledger_frame.CELL, "metric"]].itertuples(index=False, name=None)
        return dict(zip(keys, whole["passing"], strict=True))

    def passing_of(self, row: Mapping[Any, Any], metric: Metric) -> str:
        """How many background events pass, of how many, in the cell of a row; empty where the metric is no rejection."""
        return self.passing_by_cell.get((*(row[name] for name in ledger_frame.CELL), metric.name), "")

    @cached_property
    def tasks(self) -> list[str]:
        """All tasks, in the order of the ledger."""
        return ledger_frame.ordered_tasks(self._grid)

    @property
    def by_headline(self) -> pd.DataFrame:
        """Break-even until the end of each training, nothing on top, against each baseline."""
        return self.break_even[self.break_even["charged"] == HEADLINE.text]

    @cached_property
    def chooses(self) -> Metric:
        """What validation events choose by, see analysis/frame.py."""
        return ledger_frame.choosing(ledger_frame.confirmed(self.frame), self.merit)

    @cached_property
    def leading(self) -> str:
        """The pretraining that the answer speaks of, the best finetuned on validation events, mean over tasks and sizes."""
        tuned = self.overall[self.overall["strategy"] == "finetune"]
        held = self.chooses.sign * tuned.groupby("pretraining", sort=False)["validation"].mean()
        return str(held.fillna(-math.inf).idxmax()) if len(held) else ""

    @cached_property
    def in_paper(self) -> bool:
        """Whether a task of the study is one of arXiv 2412.10665, whose figures then stand beside ours."""
        return any(task in TASKS for task in self.tasks)

    def ordered(self, table: pd.DataFrame) -> pd.DataFrame:
        """Rows by task, treatment and size; what else there is keeps its order."""
        ranks = {"task": self.tasks, "strategy": ledger_frame.ORDER}
        keys = [name for name in ("task", "pretraining", "strategy", "size") if name in table.columns]
        if table.empty or not keys:
            return table

        def place(column: pd.Series) -> pd.Series:
            if column.name == "pretraining":
                return column.map(lambda name: "" if name == "none" else name)
            if (known := ranks.get(str(column.name))) is None:
                return column
            return column.map({name: rank for rank, name in enumerate(known)}).fillna(len(known))

        return table.sort_values(keys, key=place, kind="stable").reset_index(drop=True)
