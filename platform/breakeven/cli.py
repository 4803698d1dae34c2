"""The command line: thin, over run.py.

`study_main` turns a study file with presets into a command; `breakeven ...` works on what has run.
"""

import argparse
import os
import runpy
import sys
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Annotated

import tyro

from breakeven import plugins
from breakeven.errors import StageFailed, no_way_back
from breakeven.estimate.budget import budget_of
from breakeven.ledger.ledger import Ledger
from breakeven.places import Places, default_runs_dir
from breakeven.study.folder import read_folder
from breakeven.study.spec import InvalidStudy, Study
from breakeven.terminal import console, show_error
from breakeven.views import preview

__all__ = ["main", "study_main"]


def study_main(presets: Mapping[str, Study], default: str, description: str | None) -> None:
    """Run the study that the command line describes: a preset, and any of its fields overridden.

    Leaves with status 2 and one clear message on bad input, 1 on a failed run, 130 when interrupted.

    Args:
        presets: by the name that `--preset` takes.
        default: name of the preset where none is chosen.
        description: head of the help page: the study file's own docstring.
    """
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--preset", choices=sorted(presets), default=default)
    chosen = first.parse_known_args()[0].preset

    @dataclass(frozen=True)
    class Command:
        study: Annotated[Study, tyro.conf.arg(name="")]
        preset: Annotated[str, tyro.conf.arg(metavar="{" + ",".join(presets) + "}")] = chosen
        """The numbers to start from; every field below then shows this preset's value and can be overridden."""
        plan: tyro.conf.FlagCreatePairsOff[bool] = False
        """Print cells, trials, disk and expected hours, and stop: needs neither Ray nor a GPU."""
        on: Annotated[str, tyro.conf.arg(metavar="CARD")] = ""
        """With --plan: price the trainings on this card (h100, h200), which need not be here, from its measured speeds."""
        gpus: int = 1
        """With --plan --on: how many of that card."""
        calibrate: bool = True
        """Before a plan on a machine without history, measure it for 20 seconds, once."""
        budget: Annotated[str, tyro.conf.arg(metavar="TIME")] = ""
        """Most device time that this run may spend, such as 20h or 90m: it ends there, with what tells most done first."""
        optuna_storage: Annotated[str, tyro.conf.arg(metavar="URL")] = ""
        """Database for Optuna's proposals, as sqlite:///ratios.db; empty: a journal in the study's folder."""
        plugin: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="FILE ...")] = ()
        """Python files of your own that bring sources of events, networks and tasks, see breakeven/plugins.py; every node must
        find them there."""
        runs_dir: Annotated[Path, tyro.conf.arg(metavar="DIR")] = field(default_factory=default_runs_dir)
        """Where datasets, backbones, the ledger and the reports live; shared by all studies."""

    command = tyro.cli(Command, default=Command(presets[chosen]), description=description)
    study = command.study.with_options_of_each()

    def plan_or_run() -> None:
        plugins.add_files(command.plugin)
        budget = budget_of(command.budget) if command.budget else None
        preview.check_study(study)  # bad input is told before the rooms that work are imported
        if (hand_over := _INSTEAD.get()) is not None:
            _check_job(study, command.plan or bool(command.on))
            hand_over(Asked(study, chosen))
            return
        if command.on:
            _show_plan_on(command.plan, command.on, command.gpus, study, command.runs_dir)
            return
        if not command.plan:
            preview.check_reuse(study)
            _run().run(study, command.runs_dir, budget, command.optuna_storage)
            return
        folder = Places(command.runs_dir.resolve(), study.name).ledger
        for part in map(study.with_network, study.networks_by_name()):
            if command.calibrate and not preview.price_of(part, Ledger(folder).refresh()).speeds.trusted:
                _calibrate(part, folder)
        preview.show_plan(study, command.runs_dir)

    _guarded(plan_or_run)


@dataclass(frozen=True)
class Asked:
    """What a study file was asked for: the study, and the preset that it began from."""

    study: Study
    preset: str


_INSTEAD: ContextVar[Callable[[Asked], None] | None] = ContextVar("instead", default=None)
"""Takes the study that a file's command line describes, in place of running it here."""


def _asked_of(file: Path, arguments: Sequence[str]) -> Asked:
    """What a study file makes of its arguments; on bad ones it leaves as the file itself does."""
    found: list[Asked] = []
    token, before = _INSTEAD.set(found.append), (sys.argv, sys.path)
    sys.argv, sys.path = [str(file), *arguments], [str(file.resolve().parent), *sys.path]
    try:
        runpy.run_path(str(file), run_name="__main__")
    except SystemExit as left:
        if left.code:
            raise
    finally:
        sys.argv, sys.path = before
        _INSTEAD.reset(token)
    if not found:
        raise InvalidStudy(
            f"{file}: is no study file; it must call breakeven.cli.study_main, as studies/scaling.py does"
        )
    if len(found) > 1:
        names = ", ".join(asked.study.name for asked in found)
        raise InvalidStudy(
            f"{file}: calls study_main {len(found)} times ({names}), and a job runs one study; give each a file of its own"
        )
    return found[0]


def _check_job(study: Study, planned: bool) -> None:
    if planned:
        raise InvalidStudy("--plan and --on need no cluster: give them to the study file itself")
    preview.check_reuse(study)


def _show_plan_on(planned: bool, card: str, gpus: int, study: Study, runs_dir: Path) -> None:
    from breakeven.elsewhere import show_plan_on

    if not planned:
        raise InvalidStudy(f"--on {card} says where a plan is for; add --plan, or drop it to run the study here")
    show_plan_on(card, gpus, study, runs_dir.resolve())


def _calibrate(study: Study, ledger: Path) -> None:
    from breakeven.work.calibration import calibrate

    console.print("no history of this network on this machine: measuring it for 20 seconds (--no-calibrate: do not)")
    calibrate(study, ledger, lambda word: console.print(f"  {word}"))


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What all that reads a study takes."""

    runs_dir: Path = field(default_factory=default_runs_dir)
    """Folder of the studies that are given by name."""
    plugin: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="FILE ...")] = ()
    """Python files of your own that the study was run with."""


@dataclass(frozen=True)
class Report(Reading):
    """Write a study's report again, from the ledger alone."""

    study: Annotated[str, tyro.conf.Positional]
    """Name of the study, or the path of its folder."""

    def __call__(self) -> None:
        _run_of(self.study, self.runs_dir).report_again(self.study, self.runs_dir)


@dataclass(frozen=True)
class Track(Reading):
    """Write a study to MLflow from the ledger alone: for when MLflow was down, or for another server."""

    study: Annotated[str, tyro.conf.Positional]
    """Name of the study."""
    uri: str = ""
    """Tracking URI; empty: MLFLOW_TRACKING_URI, or the SQLite file in the runs folder."""

    def __call__(self) -> None:
        _run_of(self.study, self.runs_dir).track_again(self.study, self.runs_dir, self.uri)


@dataclass(frozen=True)
class Export(Reading):
    """Write a study's winning backbone as files: weights, model card and, if asked for, ONNX."""

    study: Annotated[str, tyro.conf.Positional]
    """Name of the study, or the path of its folder."""
    output: Path | None = None
    """Folder to write to; none: backbone/ in the study's folder."""
    onnx: tyro.conf.FlagCreatePairsOff[bool] = False
    """Also write backbone.onnx, for programs without torch (pip install 'breakeven[onnx]')."""

    def __call__(self) -> None:
        _run_of(self.study, self.runs_dir).export_backbone(self.study, self.runs_dir, self.output, self.onnx)


@dataclass(frozen=True)
class Validate:
    """Draw the physics of every generated dataset: multiplicities, pt, MET and b-tags, as PNG pages."""

    runs_dir: Path = field(default_factory=default_runs_dir)
    """Where the datasets live."""

    def __call__(self) -> None:
        from breakeven.drawing import draw_physics

        draw_physics(self.runs_dir)


@dataclass(frozen=True)
class Status(Reading):
    """Say how far a study is, while it runs or after: cells, trials, pace, device-hours, time left, its drivers."""

    study: Annotated[str, tyro.conf.Positional] = ""
    """Name of the study, or the path of its folder; none: all studies of the runs folder."""
    watch: tyro.conf.FlagCreatePairsOff[bool] = False
    """Look again every two seconds, until all is done or you interrupt."""

    def __call__(self) -> None:
        from breakeven.views.status import show_status

        show_status(self.study, self.runs_dir, self.watch)


@dataclass(frozen=True)
class Diff(Reading):
    """Compare two studies cell by cell: specifications, test accuracy with significance, device-hours."""

    a: Annotated[str, tyro.conf.Positional]
    """Name of a study, or the path of its folder, which may be in another runs folder."""
    b: Annotated[str, tyro.conf.Positional]
    """The study that it is compared with: differences are B - A."""
    json: Path | None = None
    """Write everything here as JSON."""
    csv: Path | None = None
    """Write the table of cells here."""

    def __call__(self) -> None:
        from breakeven.views.diff import show_diff

        show_diff(self.a, self.b, self.runs_dir, json_path=self.json, csv_path=self.csv)


@dataclass(frozen=True)
class Submit:
    """Run a study file on a Ray cluster and follow it: `breakeven submit studies/scaling.py --preset paper --address http://HOST:8265`.

    The checkout of the file is sent there with its commit. All other arguments are the file's own. The same command again finds
    the job while it runs, and once it has ended goes on from the ledger.
    """

    file: Annotated[Path, tyro.conf.Positional]
    """The study file, in its checkout."""
    address: str = ""
    """Of the cluster's dashboard, as http://HOST:8265; empty: RAY_API_SERVER_ADDRESS, or the cluster started on this machine."""
    follow: bool = True
    """Show what the job says, until it ends; Ctrl-C leaves it running."""

    def __call__(self, arguments: Sequence[str] = ()) -> None:
        from breakeven.submit import submit_study

        if not self.file.is_file():
            raise InvalidStudy(f"{self.file}: there is no such file; give a study file, such as studies/scaling.py")
        asked = _asked_of(self.file, arguments)
        submit_study(self.file, arguments, asked.study, asked.preset, self.address, self.follow)


@dataclass(frozen=True)
class Ui:
    """Serve the MLflow pages of what has run, on this machine only."""

    runs_dir: Path = field(default_factory=default_runs_dir)
    """Where it ran."""
    port: int = 5000
    """Port on 127.0.0.1."""

    def __call__(self) -> None:
        from breakeven.publish import tracking_uri
        from breakeven.tracking import prepare

        uri = tracking_uri(self.runs_dir)
        prepare(uri)
        os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
        # Not on its command line: it may hold a password, and all users of a machine see that.
        os.environ["MLFLOW_BACKEND_STORE_URI"] = uri
        server = [sys.executable, "-m", "mlflow", "ui", "--host", "127.0.0.1", "--port", str(self.port)]
        os.execv(sys.executable, server)


def main() -> None:
    """`breakeven`: status, report, diff, track, export, validate, submit, ui."""
    if sys.argv[1:2] == ["submit"]:  # what it does not know itself are arguments of the study file
        job, arguments = tyro.cli(Submit, prog="breakeven submit", args=sys.argv[2:], return_unknown_args=True)
        _guarded(lambda: job(arguments))
        return
    command = tyro.extras.subcommand_cli_from_dict(
        {
            "status": Status,
            "report": Report,
            "diff": Diff,
            "track": Track,
            "export": Export,
            "validate": Validate,
            "submit": Submit,
            "ui": Ui,
        },
        description="Works on what has run. A study itself is started by its file: python studies/scaling.py --help",
    )
    plugins.add_files(getattr(command, "plugin", ()))
    _guarded(command)


def _run() -> ModuleType:
    """The rooms that work, imported when they are needed: help and plans answer without them."""
    from breakeven import run

    return run


def _run_of(name: str, runs_dir: Path) -> ModuleType:
    """The same, where there is such a study: a name that was mistyped is told at once."""
    read_folder(name, runs_dir)
    return _run()


def _guarded(work: Callable[[], object]) -> None:
    """Do `work`; leave with one clear line, and status 2 on bad input, 1 on a failed stage, 130 when interrupted.

    Anything else is a fault of ours and keeps its traceback.
    """
    status = 0
    try:
        work()
    except StageFailed as error:
        show_error(error)
        status = 1
    except KeyboardInterrupt:
        console.print("interrupted; nothing finished is lost: the same command goes on from here")
        status = 130
    except Exception as error:
        if not isinstance(error, preview.EXPECTED) and not isinstance(error, _run().EXPECTED):
            raise
        show_error(error)
        status = 2
    if no_way_back.is_set():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    if status:
        sys.exit(status)
