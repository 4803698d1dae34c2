"""One rank of a pretraining, on real events and without Ray."""

import json
import math
import time
from dataclasses import replace

import torch

from breakeven.events.arrays import open_arrays
from breakeven.ledger.ledger import Ledger
from breakeven.training import eager
from breakeven.training.checkpoint import read_state, read_weights, write_model
from breakeven.training.workers import ALONE
from breakeven.work import pretraining
from breakeven.work.pretraining import train_share


def trained(small, events, folder, start, rate, deliver=lambda epoch, checkpoint: None, **settings):
    """Weights of a pretraining at this rate, of one epoch where `settings` do not say otherwise."""
    job = small.pretraining_job(
        events, folder, **{"epochs": 1, "patience": 8, "learning_rate": rate, "seed": 5, **settings}
    )
    job = replace(job, identity={"start": str(start)}, start=start)
    (folder / "ledger").mkdir(parents=True)
    Ledger(folder / "ledger").refresh()
    train_share(job, ALONE, "cpu", None, deliver, folder / "progress.json")
    return read_weights(job.backbone)


def test_it_starts_from_the_weights_of_another_with_a_head_of_its_own(small, events, tmp_path):
    scratch, start = trained(small, events, tmp_path / "scratch", None, 1e-9), tmp_path / "start"
    arrays = open_arrays(events[small.names[0]])
    write_model(start, small.network(arrays, len(scratch["head.weight"]), seed=77, backbone=True), {})
    before, after = read_weights(start), trained(small, events, tmp_path / "adapted", start, 1e-9)
    kept = {
        name
        for name in before
        if before[name].is_floating_point() and torch.allclose(before[name], after[name], atol=1e-6)
    }
    assert {name for name in before if before[name].is_floating_point()} - kept == {"head.weight", "head.bias"}
    assert any(not torch.allclose(scratch[name], after[name], atol=1e-3) for name in kept)
    moved = trained(small, events, tmp_path / "moved", start, 1e-2)  # every layer learns
    weights = [name for name in kept if name.endswith("weight") and before[name].dim() == 2]
    assert weights and all(not torch.allclose(before[name], moved[name], atol=1e-6) for name in weights)


def test_it_stops_at_its_plateau_where_it_is_asked_to(small, events, tmp_path):
    trained(small, events, tmp_path / "patient", None, 1e-9, epochs=50, patience=2)
    facts = json.loads((tmp_path / "patient" / "backbone" / "model.json").read_text())["about"]
    assert (facts["stopped"], facts["epochs"]) == ("plateau", 3)
    assert 0 < facts["plateau_seconds"] < facts["device_seconds"]
    trained(small, events, tmp_path / "whole", None, 1e-9, epochs=4)
    facts = json.loads((tmp_path / "whole" / "backbone" / "model.json").read_text())["about"]
    assert (facts["stopped"], facts["epochs"], facts["plateau_seconds"]) == ("epochs", 4, None)


def test_checkpoints_take_a_twentieth_of_the_time_at_most(small, events, tmp_path, monkeypatch):
    """Ray Train takes up one in two seconds, and would hold up epochs that are shorter."""
    delivered = []

    def deliver(epochs, folder):
        time.sleep(0.5)
        delivered.append(epochs)
        assert len(read_state(folder).curve) == epochs

    trained(small, events, tmp_path / "short", None, 1e-9, deliver, epochs=5)
    assert delivered == [1]
    curve = json.loads((tmp_path / "short" / "progress.json").read_text())
    assert [epoch["epoch"] for epoch in curve] == [0, 1, 2, 3, 4]
    delivered.clear()
    monkeypatch.setattr(pretraining, "CHECKPOINT_SHARE", math.inf)
    trained(small, events, tmp_path / "each", None, 1e-9, deliver, epochs=3)
    assert delivered == [1, 2, 3]


def test_long_epochs_have_checkpoints_within_them(small, events, tmp_path, monkeypatch):
    monkeypatch.setattr(eager, "BATCHES_BETWEEN_PAUSES", 1)
    kept = []

    def deliver(epochs, folder):
        kept.append(read_state(folder))

    trained(small, events, tmp_path / "a", None, 1e-9, deliver, epochs=2, checkpoint_seconds=1e-9, batch_size=64)
    n_batches = -(-kept[-1].curve[0].events_seen // 64)
    # Between all batches, and after each epoch.
    assert [(len(s.curve), len(s.losses)) for s in kept] == [
        (epochs + (n == n_batches), n % n_batches) for epochs in (0, 1) for n in range(1, n_batches + 1)
    ]
    curve = json.loads((tmp_path / "a" / "progress.json").read_text())
    assert [(one["epoch"], one["workers"]) for one in curve] == [(0, 1), (1, 1)]
