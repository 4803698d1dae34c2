"""A study that ran, as pandas frames for a notebook: the report's own figures, computed when they are first asked for.

Reads the study's folder and the ledger, once, and changes neither. It needs no Ray, torch or MLflow.
"""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pandas as pd

from breakeven.analysis import accuracy
from breakeven.analysis import frame as ledger_frame
from breakeven.analysis.cost.breakeven import break_even_table
from breakeven.ledger.ledger import Ledger
from breakeven.places import default_runs_dir
from breakeven.study.remembered import Remembered, remember
from breakeven.study.spec import Study

__all__ = ["StudyFrames"]


@dataclass(frozen=True)
class StudyFrames:
    """The figures of one study as they stood when it was loaded; each frame is the caller's to change."""

    remembered: Remembered
    records: pd.DataFrame = field(repr=False)
    """The ledger frame of the study: one row a record of any level, in the units of `Ledger.frame`."""

    @property
    def study(self) -> Study:
        """Its specification. Raises InvalidStudy where another version of this program wrote it."""
        return self.remembered.study

    @cached_property
    def trials(self) -> pd.DataFrame:
        """One row a trial, searched and confirmed, finished, failed or stopped; accuracies are fractions."""
        return ledger_frame.trials(self.records).reset_index(drop=True)

    @cached_property
    def cells(self) -> pd.DataFrame:
        """One row a cell: test accuracy in percent with n, sd and interval; see analysis.accuracy.cells."""
        return accuracy.cells(self.records)

    @cached_property
    def gains(self) -> pd.DataFrame:
        """One row a cell with pretraining: its gain over scratch, in percent; see analysis.accuracy.gains."""
        return accuracy.gains(self.records)

    @cached_property
    def break_even(self) -> pd.DataFrame:
        """From how many tasks on each pretraining is cheaper; see analysis.cost.breakeven.break_even_table."""
        return break_even_table(self.records)


def load(name: str, runs_dir: Path | str | None = None) -> StudyFrames:
    """See `breakeven.load`."""
    found = remember(name, default_runs_dir() if runs_dir is None else Path(runs_dir))
    if not found.members:
        raise FileNotFoundError(f"{found.places.folder}: this study has not come to its trials yet; start it again")
    return StudyFrames(found, Ledger(found.places.ledger).refresh().frame(found.members))
