"""What cluster/README.md says to type, typed: a study on a head and a worker that were started as it says."""

import os
import re
import subprocess

import pytest
from cluster.hosts import ROOT, Hosts, refused, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.skipif(bool(refused()), reason=refused() or "-")]


def test_every_command_works_as_it_stands_there(tmp_path):
    (block,) = re.findall(r"```sh\n(.*?)```", (ROOT / "cluster" / "README.md").read_text(), re.DOTALL)
    token, head, worker, study = (line.partition("#")[0].strip() for line in block.strip().splitlines())
    own = {"HOME": str(tmp_path), "RAY_AUTH_TOKEN": "", "BREAKEVEN_RUNS": str(tmp_path / "runs")}
    with Hosts(2, tmp_path) as hosts:

        def typed(i, command, log):
            return hosts.start(i, ["bash", "-c", f"unset RAY_AUTH_TOKEN; {command}"], log, own)

        assert hosts.address(0) in head and hosts.address(0) in worker and hosts.cluster in study
        assert typed(0, token, "token.log").wait(60) == 0, hosts.log("token.log")
        assert (tmp_path / ".ray" / "auth_token").exists()
        typed(0, head, "head.log")
        hosts.said("head.log", "This command will now block", 120)
        typed(1, worker, "worker.log")
        hosts.said("worker.log", "This command will now block", 120)
        running = typed(0, study, "study.log")
        until(lambda: running.poll() is not None, 600, lambda: hosts.log("study.log")[-3000:])
        assert running.returncode == 0, hosts.log("study.log")
        assert "Traceback" not in hosts.log("study.log")
        records = "".join(file.read_text() for file in (tmp_path / "runs/shared/ledger/records").glob("*.json"))
        assert re.search(r'"host": ?"be\d+h1"', records), "nothing was trained on the worker"


def test_a_head_for_this_machine_alone_listens_nowhere_else(tmp_path):
    with Hosts(1, tmp_path) as hosts:
        hosts.start(0, [ROOT / "cluster" / "node.sh", "head", "127.0.0.1", "--num-cpus=1"], "head.log")
        hosts.said("head.log", "This command will now block", 120)
        listening = [line.split()[3] for line in hosts.run(0, "ss", "-Hltn").stdout.splitlines()]
    assert len(listening) > 5
    assert {address.rpartition(":")[0].strip("[]").removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}


def test_it_says_how_it_is_called():
    for words in ([], ["head"], ["boss", "10.0.0.1"]):
        said = subprocess.run(
            [ROOT / "cluster" / "node.sh", *words], capture_output=True, text=True, env=dict(os.environ)
        )
        assert said.returncode == 2 and "cluster/node.sh head ADDRESS" in said.stderr
