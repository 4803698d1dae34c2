"""A study file handed to a Ray cluster: which checkout it belongs to, what the job is called, and what is said of it."""

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from breakeven import plugins, provenance
from breakeven.errors import StageFailed
from breakeven.fingerprint import fingerprint
from breakeven.study.spec import InvalidStudy, Study
from breakeven.terminal import console

HANDED_ON: dict[str, Callable[[str], str]] = {
    "BREAKEVEN_RUNS": os.path.abspath,
    "MLFLOW_TRACKING_URI": str,
    plugins.VARIABLE: lambda files: os.pathsep.join(os.path.abspath(file) for file in files.split(os.pathsep) if file),
}
"""Environment variables that a job has from where it is submitted, and how: a job's own folder vanishes with it."""

_PATHS = ("--runs-dir", "--runs_dir", "--plugin")
_DATABASES = ("--optuna-storage", "--optuna_storage")
_PASSWORD = re.compile(r"//[^/@\s]*:[^/@\s]+@")
_WAY_OUT = "a job runs in a folder of its own, which vanishes with it; give a whole path that all nodes share"


def submit_study(file: Path, arguments: Sequence[str], study: Study, preset: str, address: str, follow: bool) -> None:
    """Submit a study file, or find its job, and follow it.

    Args:
        file: below the top of a checkout, which is sent whole.
        arguments: of the file.
        study, preset: what the file makes of them.
        address: of the cluster; empty: see distributed.submission.submit.
        follow: show what the job says until it ends.

    Raises:
        InvalidStudy: the file is in no checkout, a path of the study means nothing in a job, or a password would be seen.
        StageFailed: the cluster does not answer, or the job has failed.
    """
    from breakeven.distributed import submission

    top = _checkout(file)
    _check_arguments(arguments)
    _check_passwords(arguments)
    _check_files(study)
    handed_on = {one: absolute(os.environ[one]) for one, absolute in HANDED_ON.items() if os.environ.get(one)}
    asked = [asdict(study), list(arguments), *(handed_on[one] for one in (plugins.VARIABLE,) if one in handed_on)]
    name = f"{study.name}-{fingerprint(asked)[:8]}"
    entry = submission.Entry(
        folder=top,
        command=("python", str(file.resolve().relative_to(top)), *arguments),
        name=name,
        variables={**handed_on, "BREAKEVEN_GIT_COMMIT": provenance.commit_of(top)},
        metadata={"study": study.name, "preset": preset, "commit": provenance.commit_of(top)},
    )  # fmt: skip
    job = submission.submit(entry, address)
    said = "runs already, and is followed" if job.attached else "is submitted"
    console.print(f"  job {job.identifier} {said}; dashboard {job.address}/#/jobs/{job.identifier}", soft_wrap=True)
    console.print(
        f"  MLflow: {os.environ.get('MLFLOW_TRACKING_URI') or 'a file in the runs folder there: breakeven ui on the head'}"
    )
    if not follow:
        console.print(f"  stop it with: ray job stop --address {job.address} {job.identifier}", soft_wrap=True)
        return
    try:
        succeeded = submission.follow(
            job, lambda text: console.print(text, end="", markup=False, highlight=False, soft_wrap=True)
        )
    except KeyboardInterrupt:
        console.print(f"\n  job {job.identifier} goes on; the same command follows it again, and this ends it:")
        console.print(f"  ray job stop --address {job.address} {job.identifier}", soft_wrap=True)
        raise
    if not succeeded:
        raise StageFailed(f"job {job.identifier} has not succeeded; nothing finished is lost: submit it again")


def _check_arguments(arguments: Sequence[str]) -> None:
    """Raise InvalidStudy where an argument would mean something else in a job."""
    name = ""
    for argument in arguments:
        value = argument
        if argument.startswith("--"):
            name, _, value = argument.partition("=")
        if value and name in _PATHS and not os.path.isabs(value):
            raise InvalidStudy(f"{name} is {value!r}: {_WAY_OUT}")
        if (
            name in _DATABASES
            and value.startswith("sqlite:///")
            and not os.path.isabs(value.removeprefix("sqlite:///"))
        ):
            raise InvalidStudy(f"{name} is {value!r}: {_WAY_OUT}, as sqlite:////shared/ratios.db")


def _check_passwords(arguments: Sequence[str]) -> None:
    """Raise InvalidStudy where a URI holds a password: Ray shows a job's command and variables, and keeps them in its logs."""
    seen = "holds a password, which Ray would show to all who see its dashboard, and keep in its logs"
    if _PASSWORD.search(os.environ.get("MLFLOW_TRACKING_URI", "")):
        raise InvalidStudy(
            f"MLFLOW_TRACKING_URI {seen}; for a server leave it out, and set MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD where the head is started; for a database unset it here, and set it there"
        )
    if any(_PASSWORD.search(argument) for argument in arguments):
        raise InvalidStudy(
            f"--optuna-storage {seen}; leave it out, and let the head's ~/.pgpass or PGPASSWORD say it, or leave the option "
            "out: a journal beside the study then takes its place"
        )


def _check_files(study: Study) -> None:
    """Raise InvalidStudy where a job would not find a file of events of the user's."""
    for field in ("lhe", "jetclass"):
        for process, file in getattr(study.generation, field).items():
            if not os.path.isabs(file):
                raise InvalidStudy(f"generation.{field}: {process!r} is {file!r}: {_WAY_OUT}")


def _checkout(file: Path) -> Path:
    for folder in file.resolve().parents:
        if (folder / "pyproject.toml").is_file():
            return folder
    raise InvalidStudy(
        f"{file}: no folder above it has a pyproject.toml; submit a file of a checkout, which is sent whole"
    )
