"""A study as a job on a running Ray cluster: `ray start --head`, then `ray job submit`, as the README writes it."""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient
from study_runs.started import JOINT, ROOT, Command, assert_each_once, both, trials

from breakeven import provenance

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:The ``noload``")]  # MLflow's own

RAY = str(Path(sys.executable).with_name("ray"))
MOST_UPLOADED_BYTES = 30_000_000

WHERE = """
import json, os
from pathlib import Path
from breakeven.places import default_runs_dir
from breakeven import provenance
files = [path for path in Path.cwd().rglob("*") if path.is_file()]
print("found", json.dumps({
    "runs": str(default_runs_dir()), "commit": provenance.git_commit(), "top": os.listdir(),
    "bytes": sum(path.stat().st_size for path in files),
}))
"""


def free_ports(count):
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A Ray head of our own, beside any other, and the environment to reach it."""
    gcs, dashboard, client, agent, metrics = free_ports(5)
    temporary = Path(tempfile.mkdtemp(prefix="ray"))  # short: a socket's path has 107 characters at most
    reach = {
        "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_ADDRESS": "", "BREAKEVEN_RUNS": "",
        "MLFLOW_TRACKING_URI": "", "RAY_USAGE_STATS_ENABLED": "0",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }  # fmt: skip
    head = Command(
        (RAY, "start", "--head", "--block", "--num-cpus", "2", "--node-ip-address", "127.0.0.1", "--port", str(gcs),
         "--dashboard-host", "127.0.0.1", "--dashboard-port", str(dashboard), "--ray-client-server-port", str(client),
         "--dashboard-agent-listen-port", str(agent), "--metrics-export-port", str(metrics),
         "--temp-dir", temporary), tmp_path_factory.mktemp("head") / "head.log", reach,
    )  # fmt: skip
    head.until(lambda: "Ray runtime started" in head.said or head.popen.poll() is not None)
    yield reach | {"RAY_ADDRESS": f"http://127.0.0.1:{dashboard}"}
    head.family()
    head.popen.terminate()
    head.popen.wait()
    head.clean()
    shutil.rmtree(temporary, ignore_errors=True)


def submit(cluster, output, *entrypoint, variables=None):
    environment = ("--runtime-env-json", json.dumps({"env_vars": variables})) if variables else ()
    return Command((RAY, "job", "submit", "--working-dir", ".", *environment, "--", *entrypoint), output, cluster)


def test_what_a_job_carries_and_where_it_writes(cluster, tmp_path, starting):
    job = starting(submit(cluster, tmp_path / "job.log", "python", "-c", WHERE))
    assert job.ends() == 0, job.said
    (line,) = [line for line in job.said.splitlines() if line.startswith("found ")]
    found = json.loads(line.removeprefix("found "))
    assert Path(found["runs"]) == ROOT / "runs"
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout
    assert found["commit"][:12] == head[:12]
    assert found["bytes"] < MOST_UPLOADED_BYTES
    assert {"studies", "platform"} <= set(found["top"]) and not {".venv", "runs", ".git"} & set(found["top"])


@pytest.mark.parametrize("words", [("studies/scaling.py",), ("python", "studies/joint_analysis.py")], ids=" ".join)
def test_the_literal_command_works_where_the_head_was_started_in_the_checkout(cluster, words, tmp_path, starting):
    """`ray job submit studies/scaling.py`, with a plan in place of a quarter of an hour."""
    plan = ("--preset", "smoke", "--plan", "--no-calibrate", "--runs-dir", tmp_path / "runs")
    job = starting(Command((RAY, "job", "submit", "--", *words, *plan), tmp_path / "job.log", cluster))
    assert job.ends() == 0, job.said
    assert "cells" in job.said and "Traceback" not in job.said


def handed_over(cluster, example, prepared, tmp_path, starting):
    """The same study submitted twice by our own command: the second follows the first one's job."""
    words = (
        Path(RAY).with_name("breakeven"),
        "submit",
        example.file,
        "--preset",
        "smoke",
        "--address",
        cluster["RAY_ADDRESS"],
    )
    environment = {**cluster, "BREAKEVEN_RUNS": str(prepared)}
    first = starting(Command(words, tmp_path / "job.log", environment))
    first.until(lambda: "is submitted" in first.said)
    second = starting(Command(words, tmp_path / "second.log", environment))
    second.until(lambda: "runs already, and is followed" in second.said)
    assert first.ends() == second.ends() == 0, first.said + second.said
    wrong = Command(words, tmp_path / "wrong.log", environment | {"RAY_AUTH_TOKEN": secrets.token_hex(32)})
    assert starting(wrong).ends() == 1
    assert "Authentication failed" in wrong.said and "Traceback" not in wrong.said
    return first


@both
def test_a_submitted_study_ends_in_nested_runs(cluster, example, prepared, tmp_path, starting):
    commit = "0123abc"
    if example is JOINT:
        job, commit = handed_over(cluster, example, prepared, tmp_path, starting), provenance.commit_of(ROOT)
    else:
        job = starting(
            submit(cluster, tmp_path / "job.log", "python", example.file, "--preset", "smoke",
                   variables={"BREAKEVEN_RUNS": str(prepared), "BREAKEVEN_GIT_COMMIT": commit}),
        )  # fmt: skip
    assert job.ends() == 0, job.said
    assert "Break-even" in job.said and "Traceback" not in job.said
    assert_each_once(prepared, example.trials())
    assert {record["git_commit"] for record in trials(prepared)} == {commit}
    assert (prepared / example.name / "report" / "report.md").exists()
    client = MlflowClient(f"sqlite:///{prepared / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name(example.name).experiment_id], max_results=1000)
    level = {run.info.run_id: run.data.tags["level"] for run in runs}
    nested = {(run.data.tags["level"], level.get(run.data.tags.get("mlflow.parentRunId"), "")) for run in runs}
    assert nested == {
        ("study", ""),
        ("generation", "study"),
        ("pretraining", "study"),
        ("cell", "study"),
        ("trial", "cell"),
    }
