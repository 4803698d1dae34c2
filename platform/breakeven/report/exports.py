"""A table as a file to cite: CSV with HEPData-style header lines, LaTeX with booktabs. Never changes a figure."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from breakeven.report.table import Table

_LONG = 40


def csv_text(table: Table, facts: Mapping[str, Any], commits: Sequence[str]) -> str:
    """All figures of `table`, below comment lines that say what they are: read back with `comment="#"`.

    facts: study and command, as report.write_report has them.  commits: those that made the records.
    """
    lines = [
        f"table: {table.name}",
        f"title: {table.title}",
        f"study: {facts['study']}",
        f"command: {facts['command']}",
        f"commit: {', '.join(commits) or 'unknown'}",
        f"description: {table.caption}",
        *(f"column {name}: {table.meaning(name)}" for name in table.frame.columns),
    ]
    # A comment sign within a field would end the row for a reader that skips comments.
    texts = table.frame.select_dtypes(["object", "str"]).columns
    rows = table.frame.assign(**{name: table.frame[name].map(_without_comment_sign) for name in texts})
    return "".join(f"#: {' '.join(line.split())}\n" for line in lines) + rows.to_csv(index=False)


def latex_text(table: Table, facts: Mapping[str, Any], commits: Sequence[str]) -> str:
    """What a reader is shown of `table`, as LaTeX for the booktabs (and, where it is long, longtable) package."""
    shown = table.shown
    head = f"% {table.name} of the study {facts['study']}, commit {', '.join(commits) or 'unknown'}\n"
    if shown.empty:
        return f"{head}% {table.empty}\n"
    escaped = shown.rename(columns=_escape)
    styled = escaped.style.hide(axis="index").format(_escape)
    return head + styled.to_latex(
        hrules=True,
        caption=_escape(f"{table.title}. {table.caption}"),
        label=f"tab:{table.name}",
        environment="longtable" if len(shown) > _LONG else "table",
        column_format="l" * len(shown.columns),
    )


_LATEX = {"\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
          "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "√": r"$\sqrt{}$", "<": "$<$", ">": "$>$",
          "²": "$^2$"}  # fmt: skip


def _escape(text: object) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in str(text))


def _without_comment_sign(value: object) -> object:
    return value.replace("#", "No. ") if isinstance(value, str) else value


def commits_of(frame: pd.DataFrame) -> list[str]:
    """The commits that made the records, sorted."""
    return sorted(set(frame["git_commit"].dropna()) - {""})
