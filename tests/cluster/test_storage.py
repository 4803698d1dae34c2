"""Nodes that cannot work for a study are named before anything is made."""

import sys

import pytest
from cluster.hosts import ROOT, Hosts, refused, until

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(bool(refused()), reason=refused() or "-"),
    pytest.mark.faults,
]


def test_storage_that_is_not_shared_and_a_missing_package_are_refused_by_node(tmp_path):
    runs = tmp_path / "runs"
    runs.mkdir()
    with Hosts(4, tmp_path) as hosts:
        hosts.head()
        hosts.worker(1)
        assert hosts.run(2, "mount", "-t", "tmpfs", "own", str(runs)).returncode == 0
        hosts.worker(2)
        hosts.worker(3, hosts.patched("import sys; sys.modules['breakeven'] = None"))
        hosts.said("head.log", "command will now block", 60)
        until(lambda: len(hosts.run(0, "ray", "list", "nodes").stdout.split("ALIVE")) == 5, 120)
        words = [sys.executable, ROOT / "studies" / "scaling.py", "--preset", "smoke", "--runs-dir", runs]
        driver = hosts.start(0, words, "driver.log", {"RAY_ADDRESS": hosts.cluster})
        until(lambda: driver.poll() is not None, 180, lambda: hosts.log("driver.log"))
        said = " ".join(hosts.log("driver.log").split())
    assert driver.returncode == 1 and "Traceback" not in said, said
    assert f"{hosts.host(2)} (10.77.0.12) does not see what this node writes" in said, said
    assert f"{hosts.host(3)} (10.77.0.13) lacks a package" in said, said
    assert f"{hosts.host(1)} " not in said.partition("StageFailed")[2], said
    assert not list(runs.glob("shared/datasets/*")), "events were made"
