"""All that is used of Ray beyond its public interface: environment variables, loggers, and names that begin with `_`.

One file, so that a test can hold it against the pinned version. It imports ray only when asked: Ray reads its settings
when it is imported, by whichever module comes first.
"""

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

SETTINGS = {
    # Ray's behaviour otherwise depends on whether an old token file lies in the home folder.
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",
    "RAY_TRAIN_V2_ENABLED": "1",
    # The dashboard's page of trainings is empty without.
    "RAY_TRAIN_ENABLE_STATE_TRACKING": "1",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # Ctrl-C ends a study at once, in every stage alike: what is finished is in the ledger.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # Of Tune's state nothing is kept: it need not be written every ten seconds.
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",
    # A trial of Tune's is a worker: all may start at once.
    "TUNE_MAX_PENDING_TRIALS_PG": "10000",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
"""Environment of the driver, where the user has not set it otherwise."""

START_TIMEOUT = "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"
"""Environment variable of Ray Train's controller, read at each start of a group: seconds that it waits for room."""

WORKER_SETTINGS = {"RAY_worker_niceness": "0", "OMP_NUM_THREADS": "1", START_TIMEOUT: "120"}
"""Environment of every worker process."""

ADDRESS = "RAY_ADDRESS"
"""Environment variable that names the cluster to connect to."""

COORDINATOR = "AutoscalingCoordinator"
"""Name and namespace of the actor that says what the groups of Ray Train may have."""

CHECKPOINTS = "checkpoint_manager_snapshot.json"
"""File of a training's folder in which Ray Train lists the checkpoints that it has taken up."""

TUNE_LOGGERS = (
    "ray.tune.analysis.experiment_analysis", "ray.tune.execution.experiment_state",
    "ray.tune.execution.tune_controller", "ray.tune.tune", "ray.tune.utils.resource_updater", "ray.tune.utils.util",
    "ray.train._internal.syncer",
)  # fmt: skip
"""Loggers of the modules that speak of what nobody needs."""


def set_environment() -> None:
    """Set what the user has not; call it before ray is imported."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)


def silence_tune() -> None:
    """Keep Tune from its warnings of result files that nobody needs, and from a traceback for each lost worker.

    The ledger has the results, the searcher says in a line which trial is trained again, the session that a cluster is gone.
    """
    for name in TUNE_LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)


def started_address() -> str | None:
    """The address that `ray start` left on this machine, whether a cluster still answers there or not."""
    import ray

    return ray._private.utils.read_ray_address()


@contextmanager
def on_loopback() -> Iterator[None]:
    """Have a Ray that is started meanwhile listen on this machine alone, as it does by itself on macOS and Windows."""
    from ray._private import ray_constants

    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


def guard_token() -> None:
    """Let nobody else read the token in the home folder: Ray writes it as the umask says, which is for all on most machines."""
    with suppress(OSError, RuntimeError):  # there is none, it is another's, there is no home
        (Path.home() / ".ray" / "auth_token").chmod(0o600)


def worker_of(trial: Any) -> Any:
    """The actor of a trial of Tune's that runs."""
    return trial.temporary_state.ray_actor


def nodes_have_changed(wait: bool = False) -> None:
    """Have Ray Train's elastic groups see at once which nodes there are; by itself the actor they ask looks every 20 seconds.

    wait: until it has, for some seconds.
    """
    import ray

    with suppress(ValueError):  # nobody has asked it yet
        coordinator = ray.get_actor(COORDINATOR, namespace=COORDINATOR)
        looked: Any = coordinator.get_reserved_resources.remote("", recompute=True)
        if wait:
            ray.wait([looked], timeout=5.0)


def newest_checkpoint(folder: Path) -> str:
    """Name of the newest checkpoint that Ray Train has taken up in a training's folder; empty where it knows of none.

    Ray writes its list over the last one: one that a kill or a full disk has cut short, with which none would start, is removed.
    """
    path = folder / CHECKPOINTS
    try:
        newest = json.loads(path.read_text())["latest_checkpoint_result"]
        return str(newest["checkpoint_dir_name"]) if newest else ""
    except FileNotFoundError:
        pass
    except (ValueError, KeyError, TypeError):
        path.unlink(missing_ok=True)
    return ""


def abandon_dead_node(head_lost: bool = False) -> bool:
    """End what this process has started of Ray where its raylet, or the head, is dead; False, and nothing done, where both live.

    `ray.shutdown` would end this process, silently, with status 1.
    """
    import ray
    from ray._private import ray_constants

    node = ray._private.worker._global_node
    raylet_lives = node is None or all(kind != ray_constants.PROCESS_TYPE_RAYLET for kind, _ in node.dead_processes())
    if node is None or (raylet_lives and not head_lost):
        return False
    node.kill_all_processes(check_alive=False, allow_graceful=False)
    return True
