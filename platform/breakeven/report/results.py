"""All figures of one study, each computed once, for every part of the report to share. Holds no sentence and no picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import pandas as pd

from breakeven.analysis import accuracy, data_efficiency, ensembles, learning_rate, rejection
from breakeven.analysis import frame as ledger_frame
from breakeven.analysis.cost import breakeven, convergence
from breakeven.analysis.cost import hours as cost
from breakeven.analysis.cost.charges import Charge
from breakeven.analysis.laws import forecast, scaling_law


@dataclass(frozen=True)
class Results:
    """The ledger frame, the facts beside it, and one frame for each kind of figure (see the modules of analysis)."""

    frame: pd.DataFrame
    facts: Mapping[str, Any]
    accounts: pd.DataFrame
    cells: pd.DataFrame
    gains: pd.DataFrame
    table_1: pd.DataFrame
    working_points: pd.DataFrame
    factors: pd.DataFrame
    time_ratios: pd.DataFrame
    curves_by_events: pd.DataFrame
    curves_by_hours: pd.DataFrame
    plateaus: pd.DataFrame
    break_even: pd.DataFrame
    laws: pd.DataFrame
    law_curves: pd.DataFrame
    accuracy_forecast: pd.DataFrame
    catch_up: pd.DataFrame
    back_test: pd.DataFrame
    hours_forecast: pd.DataFrame
    break_even_forecast: pd.DataFrame
    optima: pd.DataFrame
    pooled_optima: pd.DataFrame
    responses: pd.DataFrame
    response_curves: pd.DataFrame
    similarity: pd.DataFrame
    cost: pd.DataFrame
    failed: pd.DataFrame

    @property
    def surrogates(self) -> list[str]:
        """Processes whose events are surrogates: right particles, wrong correlations."""
        return [name for name, manifest in self.facts["datasets"].items() if manifest["source"] == "surrogate"]

    def title(self, task: str) -> str:
        """How a reader knows the task, with a mark where one side of it is a surrogate sample."""
        return ledger_frame.title(task) + (" (surrogate)" if task in self._on_surrogates else "")

    @cached_property
    def _on_surrogates(self) -> set[str]:
        either = self.cells["signal"].isin(self.surrogates) | self.cells["background"].isin(self.surrogates)
        return set(self.cells.loc[either, "task"])

    @property
    def tasks(self) -> list[str]:
        return ledger_frame.ordered_tasks(self.cells)

    @property
    def by_plateau(self) -> pd.DataFrame:
        """Break-even until the plateau of each training, nothing on top."""
        return self.break_even.loc[self.break_even["charged"] == Charge().text]


def results_of(
    frame: pd.DataFrame, facts: Mapping[str, Any], accounts: pd.DataFrame, similarity: pd.DataFrame = ensembles.NONE
) -> Results:
    """Compute everything; frame: the ledger frame of one study.  facts, accounts, similarity: see report.write_report."""
    laws, hours = scaling_law.fit_laws(frame), forecast.fit_hours(frame)
    found = _results(frame, facts, accounts, similarity, laws, hours)
    rank = {task: place for place, task in enumerate(found.tasks)}
    tables: dict[str, Any] = {field.name: getattr(found, field.name) for field in fields(found)}
    ordered: dict[str, Any] = {name: _ordered(tables[name], rank) for name in tables.keys() - set(_AS_THEY_ARE)}
    return replace(found, **ordered)


_AS_THEY_ARE = ("frame", "facts", "accounts", "table_1", "break_even", "cost", "failed")


def _ordered(table: pd.DataFrame, rank: Mapping[str, int]) -> pd.DataFrame:
    """Rows by task, treatment and size; what else there is keeps its order."""
    places = {"task": rank, "strategy": {"scratch": 0, "finetune": 1, "frozen": 2}}
    keys = [name for name in ("task", "pretraining", "strategy", "size") if name in table.columns]
    if table.empty or not keys:
        return table

    def place(column: pd.Series) -> pd.Series:
        known = places.get(str(column.name))
        if column.name == "pretraining":
            return column.map(lambda name: "" if name == "none" else name)
        return column.map(lambda name: known.get(name, len(known))) if known else column

    return table.sort_values(keys, key=place, kind="stable").reset_index(drop=True)


def _results(
    frame: pd.DataFrame,
    facts: Mapping[str, Any],
    accounts: pd.DataFrame,
    similarity: pd.DataFrame,
    laws: Mapping[scaling_law.Family, scaling_law.Law],
    hours: Mapping[scaling_law.Family, scaling_law.Law],
) -> Results:
    return Results(
        frame=frame,
        facts=facts,
        accounts=accounts,
        cells=accuracy.cells(frame),
        gains=accuracy.gains(frame),
        table_1=accuracy.table(frame),
        working_points=rejection.working_points(frame),
        factors=data_efficiency.factors(frame),
        time_ratios=convergence.time_ratios(frame),
        curves_by_events=convergence.accuracy_curves(frame),
        curves_by_hours=convergence.accuracy_curves(frame, against="device_hours"),
        plateaus=convergence.times_to_plateau(frame),
        break_even=breakeven.break_even_table(frame),
        laws=scaling_law.law_table(laws),
        law_curves=scaling_law.law_curves(laws),
        accuracy_forecast=forecast.accuracy_forecast(laws),
        catch_up=forecast.catch_up(laws),
        back_test=forecast.back_test(frame),
        hours_forecast=forecast.hours_forecast(frame, hours),
        break_even_forecast=forecast.break_even_forecast(frame, hours),
        optima=learning_rate.optima(frame),
        pooled_optima=learning_rate.optima(frame, by=("pretraining",)),
        responses=learning_rate.responses(frame),
        response_curves=learning_rate.response_curves(frame),
        similarity=similarity,
        cost=cost.cost_table(frame),
        failed=ledger_frame.failed(frame),
    )
