"""A study from beginning to end: generation, pretraining, finetuning, tracking and report, in that order.

The only place where they meet. Each stage takes and gives plain values, finds what is done already and goes on
from there.
"""

from pathlib import Path

from breakeven.estimate.budget import Budget
from breakeven.events import sampling, schema, store
from breakeven.ledger.lease import Leases
from breakeven.observer import Observers
from breakeven.physics.pythia import GenerationError
from breakeven.places import Places
from breakeven.publish import export, publish, sync, tracked
from breakeven.registry.package import NoBackbone
from breakeven.results import StudyResults, load
from breakeven.search import StorageUnavailable
from breakeven.stages.cluster import Cluster
from breakeven.stages.driver import Driver
from breakeven.stages.finetuning import finetune_tasks
from breakeven.stages.gauges import StudyGauges
from breakeven.stages.generation import generate_events
from breakeven.stages.heartbeat import Heartbeat
from breakeven.stages.opening import open_study
from breakeven.stages.pretraining import pretrain_backbones
from breakeven.study.spec import Study
from breakeven.terminal import console
from breakeven.tracking import TrackingUnavailable
from breakeven.training.content import CorruptCheckpoint
from breakeven.views import preview
from breakeven.views.screen import Screen
from breakeven.views.tally import Tally

__all__ = ["EXPECTED", "export_backbone", "report_again", "run", "track_again"]

EXPECTED = (
    *preview.EXPECTED,
    GenerationError,
    schema.SchemaMismatch,
    store.CorruptDataset,
    sampling.TooFewEvents,
    CorruptCheckpoint,
    TrackingUnavailable,
    StorageUnavailable,
    NoBackbone,
)
"""Bad input, bad files and full disks: the command line shows them as one line."""


def run(study: Study, runs_dir: Path, budget: Budget | None = None, database: str = "") -> Path:
    """Run a study, or go on with it.

    Several may run at once on the same runs folder, on this machine or others: what one does the others wait for.

    Args:
        study: what is asked.
        runs_dir: folder that all studies share.
        budget: device time that this run may spend; it ends with a report on what it could do, and on what is missing.
        database: SQLAlchemy URL for Optuna's proposals; empty: a journal in the study's folder.

    Returns:
        Path of its report.

    Raises:
        InvalidStudy: a field cannot be run. This and the other errors in `EXPECTED` name the way out.
        StageFailed: the cluster, or a stage on it, failed for good.
    """
    places = Places(runs_dir.resolve(), study.name)
    ledger = open_study(study, places)
    tally = Tally(study, ledger)
    with (
        Leases(places.ledger, study=study.name) as leases,
        tracked(study, places, ledger, leases) as mlflow,
        Cluster(leases) as cluster,
        StudyGauges(study.name, tally, ledger, cluster) as gauges,
    ):
        observers = Observers(tally, Heartbeat(leases), Screen(tally), mlflow, gauges)
        driver = Driver(study, places, ledger, leases, cluster, observers, budget)
        datasets = generate_events(driver)
        inputs = pretrain_backbones(driver, datasets)
        members = finetune_tasks(driver, inputs, database)
    return publish(StudyResults(study, places, ledger, members))


def report_again(name: str, runs_dir: Path) -> None:
    """Write the report of a study from the ledger.

    Args:
        name: of a study below `runs_dir`, or the path of its folder.
        runs_dir: folder that holds the studies.

    Raises:
        FileNotFoundError: no such study ran.
    """
    publish(load(name, runs_dir), anew=True)


def track_again(name: str, runs_dir: Path, uri: str) -> None:
    """Write a study to MLflow from the ledger; what is there already is not written twice.

    Args:
        name: of a study below `runs_dir`, or the path of its folder.
        runs_dir: folder that holds the studies.
        uri: of MLflow; empty: `MLFLOW_TRACKING_URI`, else the file in `runs_dir`.

    Raises:
        FileNotFoundError: no such study ran.
        TrackingUnavailable: MLflow does not answer.
    """
    results = load(name, runs_dir)
    written = sync(results, uri)
    console.print(f"{len(results.frame)} records of {results.study.name} are in MLflow, {written} of them new")


def export_backbone(name: str, runs_dir: Path, folder: Path | None, onnx: bool) -> None:
    """Write the winning backbone of a study as files; see publish.export.

    Args:
        name: of a study below `runs_dir`, or the path of its folder.
        runs_dir: folder that holds the studies.
        folder: where to; None: `<study's folder>/backbone`.
        onnx: write the ONNX file as well.

    Raises:
        NoBackbone: nothing was finetuned, or the weights are elsewhere.
        FileNotFoundError: no such study ran.
    """
    results = load(name, runs_dir)
    export(results, folder or results.places.folder / "backbone", onnx)
