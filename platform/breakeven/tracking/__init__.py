"""MLflow: the view of the ledger that people look at.

The only room that imports mlflow. It decides nothing and holds nothing that the ledger has not, so MLflow can be lost or
down without any loss: `content` says what each run shows, `tracker` brings MLflow to it, `writer` does so beside a study,
`database` is how MLflow is reached.
"""

from breakeven.tracking.database import TrackingUnavailable, prepare, resolve_uri, without_password
from breakeven.tracking.tracker import Tracker
from breakeven.tracking.writer import Writer

__all__ = ["Tracker", "TrackingUnavailable", "Writer", "prepare", "resolve_uri", "without_password"]
