"""Where things lie on disk, below one runs folder that all studies share.

Holds paths and nothing else; it never reads or writes.
"""

import os
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Places", "default_runs_dir"]

JOB_VARIABLE = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Environment variable that a cluster sets in the process of a submitted job."""


@dataclass(frozen=True)
class Places:
    """Where things lie below the runs folder."""

    root: Path
    study: str

    @property
    def datasets(self) -> Path:
        """Events, by process and recipe; shared by all studies."""
        return self.root / "shared" / "datasets"

    @property
    def ledger(self) -> Path:
        """Records of all trials; shared by all studies."""
        return self.root / "shared" / "ledger"

    @property
    def backbones(self) -> Path:
        """Finished backbones, by pretraining hash; shared by all studies."""
        return self.root / "shared" / "backbones"

    @property
    def pretraining(self) -> Path:
        """Ray Train's checkpoints of pretrainings."""
        return self.root / "shared" / "pretraining"

    @property
    def folder(self) -> Path:
        """The study's own folder: specification, journal, report."""
        return self.root / self.study

    @property
    def report(self) -> Path:
        """The report and its files, made anew each time; nothing else lies here."""
        return self.folder / "report"


def default_runs_dir() -> Path:
    """Where results go: `BREAKEVEN_RUNS`, else `runs` here; in a submitted job, whose folder vanishes, the checkout."""
    if given := os.environ.get("BREAKEVEN_RUNS"):
        return Path(given)
    if JOB_VARIABLE not in os.environ:
        return Path("runs")
    checkout = Path(__file__).resolve().parents[2]
    return (checkout if (checkout / "pyproject.toml").exists() else Path.home() / "breakeven") / "runs"
