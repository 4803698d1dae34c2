"""breakeven: does pretraining pay in high-energy physics, for which tasks, from how much data, from how many tasks on?

Data flow: processes -> generation -> dataset -> pretraining -> backbone -> plan -> packs -> ledger -> analysis -> report.
Start reading at `breakeven.run`, the only place where these meet. Importing the package imports nothing else.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from breakeven.views.notebook import StudyFrames

__all__ = ["__version__", "load"]

__version__ = "0.1.0"


def load(name: str, runs_dir: Path | str | None = None) -> "StudyFrames":
    """The results of a study as pandas frames, for notebooks: `.trials`, `.cells`, `.gains`, `.break_even`.

    Arguments, result and errors are those of `breakeven.views.notebook.load`.
    """
    from breakeven.views import notebook

    return notebook.load(name, runs_dir)
