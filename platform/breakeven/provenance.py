"""Where a result comes from: commit, package versions, hardware, host.

Looks at the program and the machine once and returns plain values. It never decides anything.
"""

import hashlib
import importlib.metadata
import os
import platform
import socket
import subprocess
from functools import cache
from pathlib import Path

_PACKAGES = (
    "torch", "ray", "optuna", "mlflow", "dgl", "numpy", "pyarrow", "pandas", "pythia8mc", "fastjet", "awkward",
)  # fmt: skip


@cache
def git_commit() -> str:
    """Commit of the code that runs: `BREAKEVEN_GIT_COMMIT` where set (a submitted job has no .git), else of its checkout."""
    if given := os.environ.get("BREAKEVEN_GIT_COMMIT"):
        return given
    return commit_of(Path(__file__).resolve().parents[2])


def commit_of(checkout: Path) -> str:
    """Commit of a checkout; a dirty tree is marked `+` and the first digits of its diff's hash; "unknown" where there is none."""
    commit = _git(checkout, "rev-parse", "HEAD")
    if not commit:
        return "unknown"
    diff = _git(checkout, "diff", "HEAD", "--", "platform", "studies")
    return commit[:12] + (f"+{hashlib.sha256(diff.encode()).hexdigest()[:6]}" if diff else "")


@cache
def versions() -> dict[str, str]:
    """Versions of Python, this package and the packages that results depend on."""
    known = {"python": platform.python_version()}
    for name in ("breakeven", *_PACKAGES):
        try:
            known[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            known[name] = "absent"
    return known


@cache
def host() -> str:
    """Name of this machine."""
    return socket.gethostname()


@cache
def processor() -> str:
    """Model and number of this machine's processors, such as "Intel(R) Xeon(R) Processor x 2"."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    return f"{model} x {os.cpu_count()}"


def _git(checkout: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(checkout), *arguments], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
