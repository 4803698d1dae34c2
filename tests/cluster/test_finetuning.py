"""Finetuning on real separate hosts: those that start slowly, or come late, have a share; those that are lost cost no trial."""

import json
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from cluster.hosts import Hosts, refused, until

pytestmark = [pytest.mark.timeout(1500), pytest.mark.skipif(bool(refused()), reason=refused() or "-")]
DRIVER = Path(__file__).with_name("finetuning_driver.py")


class Driven:
    """A finetuning of so many trials of so many seconds, driven from host 0 over the cores of the other hosts."""

    def __init__(self, hosts, folder, trials, seconds):
        self.hosts, self.folder, self.trials = hosts, folder, trials
        words = [sys.executable, DRIVER, folder, str(trials), str(seconds)]
        self.process = hosts.start(0, words, "driver.log", {"RAY_ADDRESS": hosts.cluster})

    def by_host(self):
        """Number of records by the number of their host."""
        files = (self.folder / "ledger" / "records").glob("*.json")
        return Counter(int(record["host"][-1]) for file in files for record in json.loads(file.read_text()))

    def until_host(self, i, n, seconds):
        """Wait until host `i` has `n` records."""
        until(
            lambda: self.by_host()[i] >= n, seconds, lambda: f"{self.by_host()} {self.hosts.log('driver.log')[-3000:]}"
        )

    def each_once(self):
        """Wait for the end; all trials have one record, and nothing looks like an error."""
        until(lambda: self.process.poll() is not None, 900, lambda: self.hosts.log("driver.log")[-3000:])
        said = self.hosts.log("driver.log")
        assert self.process.returncode == 0 and "Traceback" not in said, said
        assert f"done {self.trials} with" in said
        records = [
            record
            for file in (self.folder / "ledger" / "records").glob("*.json")
            for record in json.loads(file.read_text())
        ]
        assert len(records) == len({record["record"] for record in records}) == self.trials
        assert {record["outcome"] for record in records} == {"finished"}


@pytest.fixture
def hosts(tmp_path):
    with Hosts(4, tmp_path) as four:
        four.head()
        yield four


@pytest.mark.slow
def test_a_slow_node_and_a_late_one_have_trials_and_a_lost_one_costs_none(hosts, tmp_path):
    hosts.worker(1)
    hosts.worker(2, hosts.patched("import time; time.sleep(10)"))
    driven = Driven(hosts, tmp_path, trials=400, seconds=0.4)
    driven.until_host(2, 4, 120)
    hosts.worker(3)
    driven.until_host(3, 4, 120)
    hosts.off(1)
    driven.each_once()
    assert all(driven.by_host()[i] >= 20 for i in (1, 2, 3)), driven.by_host()


@pytest.mark.faults
def test_a_thousand_trials_on_three_nodes(hosts, tmp_path):
    hosts.worker(1)
    hosts.worker(2, hosts.patched("import time; time.sleep(30)"))
    hosts.worker(3)
    driven = Driven(hosts, tmp_path, trials=1000, seconds=0.8)
    driven.until_host(3, 60, 300)
    hosts.off(3)
    hosts.said("driver.log", "1 of 3 nodes lost", 60)
    hosts.on(3)
    hosts.worker(3)
    driven.each_once()
    assert all(driven.by_host()[i] >= 1000 / 3 / 2 for i in (1, 2, 3)), driven.by_host()


@pytest.mark.faults
def test_a_cable_that_is_cut_for_90_seconds(hosts, tmp_path):
    hosts.worker(1)
    hosts.worker(2)
    driven = Driven(hosts, tmp_path, trials=800, seconds=0.8)
    driven.until_host(2, 10, 180)
    hosts.cut(2)
    hosts.said("driver.log", "1 of 2 nodes lost, going on with 1", 60)
    before = driven.by_host()[2]
    time.sleep(90)
    hosts.mend(2)
    driven.until_host(2, before + 10, 180)
    driven.each_once()
