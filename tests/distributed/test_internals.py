"""What is used of Ray beyond its public interface is there in the pinned version: a new pin that lacks it fails here."""

import importlib.util
import inspect
import os
import socket
from pathlib import Path

import pytest
import ray
from ray._common.network_utils import build_address
from ray._private import ray_constants, services, utils, worker
from ray._private.authentication.authentication_token_setup import generate_and_save_token
from ray._private.node import Node
from ray._private.runtime_env.constants import RAY_JOB_CONFIG_JSON_ENV_VAR
from ray.data._internal.cluster_autoscaler import default_autoscaling_coordinator
from ray.train.v2._internal.constants import CHECKPOINT_MANAGER_SNAPSHOT_FILENAME
from ray.train.v2._internal.execution.checkpoint import checkpoint_manager
from ray.train.v2._internal.execution.worker_group import worker_group
from ray.tune.experiment.trial import _TemporaryTrialState

from breakeven import places
from breakeven.distributed import internals, session

ROOM = Path(str(ray.__file__)).parent
READ_IN = {
    "RAY_AUTH_MODE": "_private/authentication/authentication_token_setup.py",
    "RAY_USAGE_STATS_ENABLED": "_common/usage/usage_constants.py",
    "RAY_TRAIN_V2_ENABLED": "train/v2/_internal/constants.py",
    "RAY_TRAIN_ENABLE_STATE_TRACKING": "train/constants.py",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "tune/utils/callback.py",
    "TUNE_DISABLE_SIGINT_HANDLER": "tune/tune.py",
    "TUNE_GLOBAL_CHECKPOINT_S": "tune/execution/tune_controller.py",
    "TUNE_MAX_PENDING_TRIALS_PG": "tune/execution/tune_controller.py",
    "RAY_AIR_NEW_OUTPUT": "tune/experimental/output.py",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "_private/accelerators/accelerator.py",
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "train/v2/_internal/constants.py",
    "RAY_ADDRESS": "_private/ray_constants.py",
}
"""Where Ray reads each variable, quoted; its C++ has one more, see below."""


def test_every_variable_is_known_to_be_read() -> None:
    used = {*internals.SETTINGS, *internals.WORKER_SETTINGS, internals.ADDRESS}
    assert used - {"OMP_NUM_THREADS"} == {*READ_IN, "RAY_worker_niceness"}


def test_the_node_of_this_process_is_where_it_was() -> None:
    assert hasattr(worker, "_global_node")
    assert {"check_alive", "allow_graceful"} <= set(inspect.signature(Node.kill_all_processes).parameters)
    assert callable(Node.dead_processes) and ray_constants.PROCESS_TYPE_RAYLET == "raylet"


def test_the_token_that_ray_writes_is_read_by_nobody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH", raising=False)
    internals.guard_token()  # there is none yet
    generate_and_save_token()
    internals.guard_token()
    (token,) = (tmp_path / ".ray").iterdir()
    assert token.read_text() and token.stat().st_mode & 0o777 == 0o600


def test_a_ray_is_started_on_loopback_alone_only_when_asked() -> None:
    before = services.get_node_ip_address()
    with internals.on_loopback():
        assert services.get_node_ip_address() == "127.0.0.1"
    assert services.get_node_ip_address() == before


def test_the_address_that_ray_start_leaves_is_read() -> None:
    (folder,) = inspect.signature(utils.read_ray_address).parameters.values()
    assert folder.default is None and inspect.signature(utils.read_ray_address).return_annotation is str
    address = internals.started_address()
    assert not address or ":" in address


def test_nothing_is_ended_where_ray_was_not_started() -> None:
    assert worker._global_node is None and not internals.abandon_dead_node()


def test_the_actor_that_elastic_groups_ask_is_where_it_was() -> None:
    source = inspect.getsource(default_autoscaling_coordinator.get_or_create_autoscaling_coordinator)
    assert f'name="{internals.COORDINATOR}"' in source and f'namespace="{internals.COORDINATOR}"' in source
    asked = inspect.signature(default_autoscaling_coordinator._AutoscalingCoordinatorActor.get_reserved_resources)
    assert "recompute" in asked.parameters


def test_the_timeout_of_a_start_is_read_at_each_start() -> None:
    assert "WORKER_GROUP_START_TIMEOUT_S_ENV_VAR" in inspect.getsource(worker_group.WorkerGroup.__init__)


def test_the_list_of_checkpoints_is_where_it_was_and_goes_where_it_is_cut_short(tmp_path: Path) -> None:
    known = checkpoint_manager._TrainingResultState(checkpoint_dir_name="checkpoint_2", metrics={})
    fields = {name: [] for name in checkpoint_manager._CheckpointManagerState.model_fields if name != "ray_version"}
    written = checkpoint_manager._CheckpointManagerState(
        **{**fields, "latest_checkpoint_result": known, "current_report_index": 2}
    ).model_dump_json()
    path = tmp_path / internals.CHECKPOINTS
    assert path.name == CHECKPOINT_MANAGER_SNAPSHOT_FILENAME
    (tmp_path / "checkpoint_3").mkdir()  # not all of it was there when its worker was lost
    assert internals.newest_checkpoint(tmp_path) == ""
    path.write_text(written)
    assert internals.newest_checkpoint(tmp_path) == "checkpoint_2" and path.exists()
    for damaged in (written[:-9], "", "{}"):
        path.write_text(damaged)
        assert internals.newest_checkpoint(tmp_path) == "" and not path.exists()


def test_the_actor_of_a_trial_is_where_it_was() -> None:
    assert "self.ray_actor" in inspect.getsource(_TemporaryTrialState.__init__)


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_a_head_answers_at_its_address_as_ray_writes_it(family: socket.AddressFamily, host: str) -> None:
    with socket.socket(family) as head:
        try:
            head.bind((host, 0))
        except OSError:
            pytest.skip(f"this host has no {host}")
        head.listen()
        written, _, port = build_address(host, head.getsockname()[1]).rpartition(":")
        assert session._answers((written, int(port)))
    assert not session._answers((written, int(port)))


@pytest.mark.parametrize("name", internals.TUNE_LOGGERS)
def test_a_logger_is_that_of_a_module(name: str) -> None:
    assert importlib.util.find_spec(name) is not None


@pytest.mark.parametrize("name", READ_IN)
def test_an_environment_variable_is_read_by_ray(name: str) -> None:
    assert f'"{name}"' in (ROOM / READ_IN[name]).read_text()


def test_the_niceness_of_workers_is_a_setting_of_the_raylet() -> None:
    raylet = (ROOM / "core" / "src" / "ray" / "raylet" / "raylet").read_bytes()
    assert b"worker_niceness" in raylet


def test_the_environment_was_set_before_ray_was_imported() -> None:
    assert all(os.environ.get(name) for name in internals.SETTINGS)


def test_a_submitted_job_is_known_by_the_variable_that_ray_sets() -> None:
    assert places.JOB_VARIABLE == RAY_JOB_CONFIG_JSON_ENV_VAR
