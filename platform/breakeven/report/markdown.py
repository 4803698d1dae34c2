"""The report in short, as Markdown: the answer, the main tables, where the rest lies."""

from collections.abc import Mapping, Sequence

from breakeven.report import headline, sentences
from breakeven.report.exports import commits_of
from breakeven.report.provenance_tables import SOURCES
from breakeven.report.results import Results
from breakeven.report.table import Table
from breakeven.report.wording import events_in_words

_SHOWN = (
    ("Published rejections", "published_rejections"),
    ("Processes of the signal", "by_process"),
    ("Cost", "cost"),
    ("Accounts", "accounts"),
    ("Price and outcome", "price"),
    ("Break-even", "break_even"),
    ("What each task saves", "savings"),
    ("How trainings ended", "endings"),
    ("Learning-rate ratios", "ratios_used"),
    ("Similarity", "similarity"),
    ("Missing", "missing"),
    ("Failed", "failed"),
)
_ONLY_WHERE_THERE_ARE = ("accounts", "price", "similarity", "missing", "failed")


def markdown_of(results: Results, tables: Mapping[str, Table], pictures: bool) -> str:
    """The text; tables: by name.  pictures: whether headline.png lies beside it."""
    lines = [f"# {results.facts['study']}: does pretraining pay?", "", "## Answer", ""]
    lines += [part for line in headline.headline(results) for part in (line, "")]
    seen = f"Test {results.merit.title} against training events per class"
    lines += [f"![{seen}](headline.png)", ""] if pictures else []
    lines += [f"**{tables['headline'].title}** {tables['headline'].caption}", "", *_rows(tables["headline"]), ""]
    lines += ["Plots, all tables, scaling laws and every trial: [index.html](index.html).", ""]
    if told := sentences.details(results):
        lines += ["## In detail", "", *(f"- {line}" for line in told), ""]
    for title, name in ((results.merit.heading, "table_1"), *_SHOWN):
        table = tables.get(name)
        if table is not None and (len(table.frame) or name not in _ONLY_WHERE_THERE_ARE):
            lines += [f"## {title}", "", table.caption, "", *_rows(table), ""]
        if name == "break_even" and results.in_paper:
            lines += [sentences.published_break_even(), ""]
    lines += ["## Method", "", *(f"- {line}" for line in sentences.method(results.facts["spec"])), ""]
    return "\n".join([*lines, *_provenance(results)]) + "\n"


def _provenance(results: Results) -> list[str]:
    facts = results.facts
    commits = ", ".join(f"`{commit}`" for commit in commits_of(results.frame)) or "unknown"
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    samples = [
        f"- {name}: {SOURCES.get(manifest['source'], manifest['source'])}, {events_in_words(manifest)}, dataset "
        f"`{manifest['hash']}`" + (f"; {manifest['note']}" if manifest["note"] else "")
        for name, manifest in facts["datasets"].items()
    ]
    return [
        "## Provenance",
        "",
        f"`{facts['command']}`, commit {commits}, on {facts['processor']}. {versions}.",
        "",
        *samples,
    ]


def _rows(table: Table) -> Sequence[str]:
    """A Markdown table; one without rows says so."""
    shown = table.shown
    if shown.empty:
        return [table.empty]
    rows = ["| " + " | ".join(text.replace("|", "\\|") for text in row) + " |" for row in shown.to_numpy()]
    return ["| " + " | ".join(shown.columns) + " |", "|" + " --- |" * len(shown.columns), *rows]
