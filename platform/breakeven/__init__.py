"""breakeven: does pretraining pay in high-energy physics, for which tasks, from how much data, from how many tasks on?

Data flow: processes -> generation -> dataset -> pretraining -> backbone -> plan -> packs -> ledger -> analysis -> report.
Start reading at `breakeven.run`, the only place where these meet. Importing the package imports nothing else.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from breakeven.results import StudyResults

__all__ = ["__version__", "load"]

__version__ = "0.1.0"


def load(name: str, runs_dir: Path | str | None = None) -> "StudyResults":
    """The results of a study that ran, or is running, as pandas frames: `.trials`, `.cells`, `.gains`, `.break_even`.

    Args:
        name: of a study below `runs_dir`, or the path of its folder.
        runs_dir: folder that holds the studies; None: `BREAKEVEN_RUNS`, else `runs` in the working directory.

    Returns:
        The study as it stands now; its frames need the disk no more.

    Raises:
        FileNotFoundError: there is no such study (the message names those that there are), or it has no trial yet.
        InvalidStudy: its files are not what was written to them.
    """
    from breakeven import results
    from breakeven.places import default_runs_dir

    runs = default_runs_dir() if runs_dir is None else Path(runs_dir)
    try:
        return results.load(name, runs)
    except FileNotFoundError as error:
        if (runs / name / "study.json").is_file():  # it has not come to its trials
            raise
        raise FileNotFoundError(f"{error}; give the folder's path, runs_dir= or BREAKEVEN_RUNS") from None
