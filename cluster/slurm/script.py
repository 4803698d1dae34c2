#!/usr/bin/env python
"""Write the batch script of a study for Slurm to standard output.

  python cluster/slurm/script.py --nodes 2 --time 4:00:00 studies/scaling.py --preset laptop > study.sbatch
  sbatch study.sbatch

Each node runs Ray, the first one the study as well; all need the same checkout, environment and runs folder. At the time limit
the study is interrupted, the job goes back into the queue, and the study goes on where it stood. On NERSC Perlmutter:

  python cluster/slurm/script.py --site perlmutter --account m1234 --nodes 16 --time 6:00:00 \\
      --runs $PSCRATCH/breakeven studies/scaling.py --preset paper > study.sbatch
"""

import argparse
import os
import re
import shlex
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
MARGIN_SECONDS = 120
"""Slurm signals up to a minute earlier; ending a study takes up to a minute."""
SHORTEST_MINUTES = 10
LONGEST_SCRATCH = 40
"""Ray's sockets lie up to 64 characters below, and a socket's path has at most 107."""


class Wrong(ValueError):
    """A value that cannot work."""

    def __init__(self, flag: str, value: object, reason: str) -> None:
        super().__init__(f"{flag} is {str(value)!r}: {reason}")


def main() -> int:
    """Write the script that the command line asks for; 2 with one line where a value cannot work."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("--site", choices=("generic", "perlmutter"), default="generic", help="whose habits to follow (%(default)s)")
    add("--account", default="", help="whose allocation pays; Perlmutter wants one")
    add("--partition", default="", help="a queue of the site; its own default without")
    add("--qos", default="", help="quality of service; on Perlmutter regular (also debug, preempt)")
    add("--constraint", default="", help="kind of node; on Perlmutter gpu or cpu, by the GPUs")
    add("--nodes", type=int, default=2, help="how many (%(default)s)")
    add("--gpus", type=int, help="on each node; none (generic), 4 (Perlmutter)")
    add("--time", default="4:00:00", help="limit of one start: minutes, H:MM:SS or D-HH:MM:SS (%(default)s)")
    add("--container", default="", metavar="IMAGE", help="run in it: Apptainer (generic), Shifter (Perlmutter)")
    add("--environment", default=sys.prefix, metavar="FOLDER", help="virtual environment on all nodes (%(default)s)")
    runs = os.environ.get("BREAKEVEN_RUNS") or "runs"
    add("--runs", default=runs, metavar="FOLDER", help="results, on storage that all nodes share (%(default)s)")
    server = os.environ.get("MLFLOW_TRACKING_URI", "")
    add("--mlflow", default=server, metavar="URI", help="a server in place of a file in --runs")
    add("--scratch", default="/tmp", metavar="FOLDER", help="a short path that each node has to itself (%(default)s)")
    add("--ray-options", default="", help="of `ray start`, as --ray-options=--object-store-memory=4000000000")
    add("study", help="a study file")
    add("options", nargs=argparse.REMAINDER, help="of the study")
    try:
        print(script(parser.parse_args()), end="")
    except Wrong as wrong:
        print(wrong, file=sys.stderr)
        return 2
    return 0


def script(asked: argparse.Namespace) -> str:
    """The batch script; Wrong where a value cannot work."""
    perlmutter = asked.site == "perlmutter"
    study, runs = Path(asked.study).resolve(), Path(asked.runs).resolve()
    if not study.is_file():
        raise Wrong("STUDY", asked.study, "there is no such file; name one, as studies/scaling.py")
    if asked.nodes < 1:
        raise Wrong("--nodes", asked.nodes, "give 1 or more")
    most = (0 if asked.constraint == "cpu" else 4) if perlmutter else None
    gpus = asked.gpus if asked.gpus is not None else most or 0
    if gpus < 0 or (most is not None and gpus > most):
        way_out = "a node of Perlmutter has 4, one of its kind cpu none" if perlmutter else "give 0 or more"
        raise Wrong("--gpus", gpus, way_out)
    if perlmutter and not asked.account:
        raise Wrong("--account", "", "Perlmutter runs nothing without; give your project, as m1234")
    for flag in ("account", "partition", "qos", "constraint"):
        if not re.fullmatch(r"[\w.,&|*()\[\]-]*", name := getattr(asked, flag)):
            raise Wrong(f"--{flag}", name, "Slurm's names have no spaces or quotes; `sinfo` shows them")
    if (minutes := minutes_of(asked.time)) < SHORTEST_MINUTES:
        way_out = f"start and end take some of {minutes:g} minutes; give {SHORTEST_MINUTES} or more"
        raise Wrong("--time", asked.time, way_out)
    if not asked.scratch.startswith("/") or len(asked.scratch) > LONGEST_SCRATCH:
        way_out = f"Ray's sockets lie in it; give a whole path of at most {LONGEST_SCRATCH} characters, as /tmp"
        raise Wrong("--scratch", asked.scratch, way_out)
    if re.search(r"//[^/]*@", server := asked.mlflow):
        way_out = (
            "a password does not belong in a script; set MLFLOW_TRACKING_USERNAME and _PASSWORD where you call sbatch"
        )
        raise Wrong("--mlflow", re.sub(r"//.*@", "//...@", server), way_out)
    if not asked.container and not (Path(asked.environment) / "bin" / "ray").exists():
        way_out = (
            "there is no bin/ray in it; give the virtual environment that `make` filled, as .venv, or a --container"
        )
        raise Wrong("--environment", asked.environment, way_out)
    try:
        ray_options = shlex.join(shlex.split(asked.ray_options))
    except ValueError as error:
        raise Wrong("--ray-options", asked.ray_options, f"{error}; quote as in a shell") from error
    try:
        runs.mkdir(parents=True, exist_ok=True)  # Slurm says nothing where it cannot write its log
    except OSError as error:
        raise Wrong(
            "--runs", asked.runs, f"{error.strerror}; give a folder that you and all nodes can write"
        ) from error
    slurm = {
        "job-name": study.stem,
        "account": asked.account,
        "partition": asked.partition,
        "qos": asked.qos or ("regular" if perlmutter else ""),
        "constraint": asked.constraint or (("gpu" if gpus else "cpu") if perlmutter else ""),
        "nodes": asked.nodes,
        "ntasks-per-node": 1,
        "gpus-per-node": gpus or "",
        "mem": 0,
        "time": asked.time,
        "signal": f"B:USR1@{MARGIN_SECONDS}",
        "open-mode": "append",
        "output": f'"{runs}/%x-%j.log"',
    }
    if perlmutter:
        inside = ["shifter", f"--image={asked.container}", *(["--module=gpu"] if gpus else [])]
    else:
        folders = ",".join(dict.fromkeys(map(str, (CHECKOUT, study.parent, runs, asked.scratch))))
        inside = ["apptainer", "exec", "--bind", folders, *(["--nv"] if gpus else []), asked.container]
    path = shlex.quote(str(Path(asked.environment).absolute() / "bin"))
    lines = [
        "#!/bin/bash",
        f"# {study.name} on {asked.nodes} node(s), by cluster/slurm/script.py. After a failure sbatch it again: it goes on.",
        *(f"#SBATCH --{name}={value}" for name, value in slurm.items() if value != ""),
        "#SBATCH --exclusive",
        "#SBATCH --requeue",
        *([] if asked.container else [f"export PATH={path}:$PATH"]),
        f"export BREAKEVEN_RUNS={shlex.quote(str(runs))}",
        *([f"export MLFLOW_TRACKING_URI={shlex.quote(server)}"] if server else []),
        f"inside=({shlex.join(inside) if asked.container else ''})",
        f"scratch={shlex.quote(asked.scratch.rstrip('/'))}",
        f"ray_options=({ray_options})",
        f"source {shlex.quote(str(Path(__file__).resolve().parent / 'job.sh'))} {shlex.join([str(study), *asked.options])}",
    ]
    return "\n".join(lines) + "\n"


def minutes_of(time: str) -> float:
    """Of a time limit in Slurm's forms: M, M:S, H:M:S, D-H, D-H:M, D-H:M:S; Wrong for any other."""
    if not re.fullmatch(r"\d+(:\d\d?){0,2}|\d+-\d\d?(:\d\d?){0,2}", time):
        raise Wrong("--time", time, "give it as Slurm has it, as 90 (minutes), 4:00:00 or 1-12:00:00")
    days, dash, rest = time.rpartition("-")
    parts = [int(part) for part in rest.split(":")]
    if dash:
        hours, minutes, seconds = [*parts, 0, 0][:3]
    elif len(parts) == 3:
        hours, minutes, seconds = parts
    else:
        hours, (minutes, seconds) = 0, [*parts, 0][:2]
    return (int(days or 0) * 24 + hours) * 60 + minutes + seconds / 60


if __name__ == "__main__":
    sys.exit(main())
