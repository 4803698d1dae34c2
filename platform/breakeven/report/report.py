"""The report of a study, from the ledger frame and the facts it is given: a page, pictures, tables, a short text.

Question, answer, evidence, cost, method, provenance. The other files here are its parts; nothing is computed there but
sentences.
"""

from pathlib import Path

from breakeven import atomic
from breakeven.report import (
    PAGE,
    accuracy_plots,
    accuracy_tables,
    cost_tables,
    drift_parts,
    headline,
    law_tables,
    networks,
    similarity_parts,
    time_plots,
    worth_tables,
)
from breakeven.report.exports import commits_of, csv_text, latex_text
from breakeven.report.markdown import markdown_of
from breakeven.report.page import page_of
from breakeven.report.pictures import write_pictures
from breakeven.report.plot import Plot
from breakeven.report.provenance_tables import provenance_tables, trials_table
from breakeven.report.results import Results
from breakeven.report.table import Table


def write_report(results: Results, folder: Path) -> Path:
    """Write `folder`/index.html, and beside it report.md, each plot as PNG and PDF, each table as CSV and LaTeX.

    Returns the path of index.html, which holds all of it in itself but for the files beside it that it links to.
    results.facts: study, command, spec, git_commit, processor, versions (dict), datasets (manifest by process); price and
    price_origin (rows of estimate.price.outcome) where one was made; missing (trials that a budget left out, by cell);
    mlflow (address of the server, id of the experiment) for links.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sections, plots = tables_of(results), plots_of(results)
    tables = {table.name: table for here in sections.values() for table in here}
    commits, records = commits_of(results.frame), trials_table(results.frame, results.merit)
    for table in [*tables.values(), records]:
        atomic.write_text(folder / f"{table.name}.csv", csv_text(table, results.facts, commits))
        atomic.write_text(folder / f"{table.name}.tex", latex_text(table, results.facts, commits))
    drawn = {plot.name for plot in plots if write_pictures(plot, folder)}
    atomic.write_text(folder / "report.md", markdown_of(results, tables, "headline" in drawn))
    path = folder / PAGE
    atomic.write_text(path, page_of(results, sections, records, {plot.name: plot for plot in plots}))
    return path


def tables_of(results: Results) -> dict[str, list[Table]]:
    """All tables of the page but that of the trials, by its section."""
    summary, table_1, cells, gains = networks.tables(results, accuracy_tables.accuracy_tables)
    similarity = networks.tables(results, similarity_parts.similarity_tables)
    return {
        "headline": networks.tables(results, lambda part: [headline.table(part)]),
        "answer": [summary],
        "accuracy": [table_1, cells, gains],
        "worth": [
            *networks.tables(results, worth_tables.worth_tables),
            *_filled(networks.tables(results, worth_tables.rejection_tables)),
        ],
        "laws": networks.tables(results, law_tables.law_tables),
        "ratios": networks.tables(results, law_tables.ratio_tables),
        "similarity": [
            *(_filled(similarity) if not results.in_paper else similarity),
            *_filled(networks.tables(results, drift_parts.drift_tables)),
        ],
        "break_even": [table for table in networks.tables(results, cost_tables.break_even_tables)
                       if results.in_paper or table.name != "break_even_readings"],
        "convergence": networks.tables(results, cost_tables.convergence_tables),
        "cost": [*networks.tables(results, cost_tables.hours_tables), *cost_tables.account_tables(results)],
        "provenance": provenance_tables(results),
    }  # fmt: skip


def _filled(tables: list[Table]) -> list[Table]:
    """Those that this study has anything for: not every signal has several processes, not every study a published one."""
    return [table for table in tables if len(table.frame)]


def plots_of(results: Results) -> list[Plot]:
    """All plots, each of which may be empty."""
    of_networks = (
        headline.plot,
        accuracy_plots.accuracy_plot,
        accuracy_plots.gain_plot,
        accuracy_plots.rejection_plot,
        accuracy_plots.process_plot,
        accuracy_plots.data_efficiency_plot,
        accuracy_plots.law_plot,
        accuracy_plots.ratio_plot,
        similarity_parts.similarity_plot,
        drift_parts.emergence_plot,
        time_plots.break_even_plot,
        time_plots.bill_plot,
        time_plots.convergence_plot,
        time_plots.events_curves_plot,
        time_plots.hours_curves_plot,
        time_plots.cost_plot,
    )
    pretrainings = results.facts.get("spec", {}).get("pretrainings", {})
    adapted = {name for name, settings in pretrainings.items() if settings.get("start")}
    return [networks.plots(results, make).adapted(adapted) for make in of_networks]
