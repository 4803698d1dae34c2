"""Pretraining on real separate hosts that are lost and come back: nothing is lost but time, and the losses are the same."""

import json
import pickle
import re
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from cluster.hosts import Hosts, refused, until
from small_studies import SMALL

from breakeven.ledger.ledger import Ledger
from breakeven.training.loop import train
from breakeven.training.training import Training
from breakeven.work.network import build_network
from breakeven.work.pretraining import load_events, recipe_of

pytestmark = [pytest.mark.timeout(900), pytest.mark.skipif(bool(refused()), reason=refused() or "-")]
LONG_EPOCHS = """
import threading, time, sys

def lengthen():
    while not hasattr(module := sys.modules.get("breakeven.work.pretraining"), "train_share"):
        time.sleep(0.05)
    atomic = module.atomic

    class Slow:
        @staticmethod
        def write_json(path, curve):
            time.sleep(1.0)
            atomic.write_json(path, curve)

    module.atomic = Slow

threading.Thread(target=lengthen, daemon=True).start()
"""
"""A second more for each epoch: few steps in many epochs, as rounding grows with each step."""
DRIVER = Path(__file__).with_name("pretraining_driver.py")


class Driven:
    """A pretraining of so many epochs, driven from host 0 over the cores of the other hosts."""

    def __init__(self, hosts, datasets, folder, epochs):
        self.hosts, self.folder = hosts, folder
        # A small rate: Adam makes a whole step of a gradient that vanishes but for rounding, whatever its sign.
        self.job = SMALL[0].pretraining_job(
            datasets,
            folder,
            workers=2,
            learning_rate=3e-7,
            epochs=epochs,
            batch_size=64,
            patience=0,
            checkpoint_seconds=4.0,
        )
        Ledger(self.job.ledger).refresh()
        (folder / "job").write_bytes(pickle.dumps(self.job))
        self.start()

    def start(self):
        """Start the driver, for the first time or again."""
        words = [sys.executable, DRIVER, self.folder / "job", self.folder / "storage"]
        self.process = self.hosts.start(0, words, "driver.log", {"RAY_ADDRESS": self.hosts.cluster})

    @property
    def said(self):
        return self.hosts.log("driver.log")

    @property
    def epochs(self):
        """What was told of each epoch, in order."""
        return [json.loads(line) for line in self.said.splitlines() if line.startswith("{")]

    def until_epoch(self, seconds, workers, more=2):
        """Wait for `more` epochs from now, the last by so many workers; the seconds until then."""
        n = len(self.epochs)
        return until(
            lambda: len(self.epochs) >= n + more and self.epochs[-1].get("workers") == workers,
            seconds,
            lambda: self.said,
        )

    def same_losses(self):
        """Wait for its end, and hold it, a little further than it has come now, to the same training in this process."""
        n = min(len(self.epochs) + 5, self.job.settings.epochs)
        until(lambda: self.process.poll() is not None, 300, lambda: self.said)
        assert self.process.returncode == 0, self.said
        (facts,) = [json.loads(line[5:]) for line in self.said.splitlines() if line.startswith("made ")]
        events, train_sample, validation_sample, n_outputs = load_events(self.job, "cpu")
        model = build_network(self.job.network, events.levels, n_outputs, self.job.settings.seed)
        recipe = replace(recipe_of(self.job), epochs=n)
        expected = train(Training(model, events, train_sample, validation_sample, recipe)).curve
        assert [one["epoch"] for one in self.epochs] == list(range(self.job.settings.epochs))  # none lost, none twice
        for name in ("train_loss", "validation_loss"):
            told = [one[name] for one in facts["curve"][:n]]
            assert told == pytest.approx([getattr(one, name) for one in expected], rel=1e-4)
        assert "Traceback" not in self.said
        return facts


@pytest.fixture
def hosts(tmp_path):
    with Hosts(3, tmp_path) as three:
        three.head()
        three.worker(1, three.patched(LONG_EPOCHS))
        three.worker(2, three.patched(LONG_EPOCHS))
        yield three


@pytest.mark.slow
def test_hosts_and_raylets_are_lost_and_come_back(hosts, datasets, tmp_path):
    driven = Driven(hosts, datasets, tmp_path, epochs=80)
    driven.until_epoch(180, workers=2)
    hosts.off(2)
    took = {
        "line": until(lambda: re.search("1 of 2 nodes lost, going on with 1", driven.said), 60, lambda: driven.said)
    }
    took["power cut"] = driven.until_epoch(120, workers=1) + took["line"]
    hosts.on(2)
    hosts.worker(2, hosts.patched(LONG_EPOCHS))
    hosts.said("driver.log", "1 node.s. joined, going on with 2 of 2", 60)
    took["grown back"] = driven.until_epoch(120, workers=2)
    assert hosts.kill(1, r"raylet/raylet ") == 1
    noticed = until(lambda: driven.said.count("1 of 2 nodes lost, going on with 1") == 2, 60, lambda: driven.said)
    took["raylet killed, and back"] = noticed + driven.until_epoch(120, workers=2)  # it may be back before a restart
    print(took)
    facts = driven.same_losses()
    assert facts["wasted_seconds"] > 0


@pytest.mark.faults
def test_a_cable_is_cut_for_90_seconds(hosts, datasets, tmp_path):
    driven = Driven(hosts, datasets, tmp_path, epochs=200)
    driven.until_epoch(180, workers=2)
    hosts.cut(2)
    hosts.said("driver.log", "1 of 2 nodes lost, going on with 1", 30)
    print("cable cut", driven.until_epoch(120, workers=1))
    time.sleep(60)
    hosts.mend(2)
    hosts.said("driver.log", "1 node.s. joined, going on with 2 of 2", 120)
    driven.until_epoch(120, workers=2)
    driven.same_losses()


@pytest.mark.faults
def test_the_head_is_killed_and_another_goes_on(hosts, datasets, tmp_path):
    driven = Driven(hosts, datasets, tmp_path, epochs=100)
    driven.until_epoch(180, workers=2, more=8)
    assert hosts.kill(0, r"gcs/gcs_server ") == 1
    took = until(lambda: driven.process.poll() is not None, 90, lambda: driven.said)
    assert driven.process.returncode == 1 and "Traceback" not in driven.said, driven.said
    assert "StageFailed: Ray: the head at 10.77.0.10:6379 does not answer any more" in driven.said.splitlines()[-1]
    print("the driver ended after", took)
    before = driven.epochs
    (tmp_path / "driver.log").rename(tmp_path / "first-driver.log")
    hosts.kill(0, r"raylet/raylet |ray::|dashboard|ray start")
    (tmp_path / "head.log").unlink()
    hosts.head()
    driven.start()
    (progress,) = (tmp_path / "storage").glob("*/progress.json")
    # Those that were trained before have no workers where another try goes on from them.
    until(lambda: "workers" not in json.loads(progress.read_text())[0], 240, lambda: driven.said)
    first = json.loads(progress.read_text())[0]
    assert first == {name: value for name, value in before[0].items() if name != "workers"}, "it was trained again"
