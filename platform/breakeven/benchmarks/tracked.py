"""A benchmark's figures in MLflow."""

from pathlib import Path

from breakeven.places import Places
from breakeven.terminal import show_error


def log(places: Places, name: str, written: Path, figures: dict[str, float]) -> None:
    """The figures as one run of the MLflow experiment `name`, with the JSON beside them; not where MLflow is not."""
    try:
        from breakeven.ledger.ledger import Ledger
        from breakeven.tracking import Tracker, TrackingUnavailable, resolve_uri
    except ModuleNotFoundError as error:
        show_error(error)
        return
    try:
        uri = resolve_uri(places.root.resolve() / "mlflow.db")
        tracker = Tracker(uri, name, places.folder / "artifacts")
        tracker.sync(Ledger(places.ledger).frame([]), figures, {})
        tracker.log_artifacts([written])
    except TrackingUnavailable as error:
        show_error(error)
