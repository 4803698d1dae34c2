"""A study of two networks and of a backbone that starts from another, from a user's own study file."""

import json
import sys

import pytest
from mlflow.tracking import MlflowClient
from study_runs.started import ROOT, Command

import breakeven
from breakeven.fingerprint import fingerprint
from breakeven.ledger.ledger import Ledger
from breakeven.study.plan import cells

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]  # MLflow's own warnings are not ours

FILE = ROOT / "tests" / "data" / "networks_study.py"


def test_networks_and_pretrainings_are_axes_of_a_study(starting, tmp_path):
    runs = tmp_path / "runs"
    command = starting(Command([sys.executable, FILE, "--runs-dir", runs], tmp_path / "first.txt", {}))
    assert command.ends() == 0, command.said
    ledger = Ledger(runs / "shared" / "ledger").refresh()
    backbones = {(one["network"], one["pretraining"]): one for one in ledger.records() if one["level"] == "pretraining"}
    assert set(backbones) == {(network, name) for network in ("narrow", "wide") for name in ("two", "adapted")}
    for (network, name), record in backbones.items():
        start = backbones[network, "two"]["backbone"] if name == "adapted" else ""
        assert record["identity"].get("start", "") == record["start"] == start
        assert record["record"] == fingerprint(record["identity"])
    results = breakeven.load("networks", runs)
    asked = {cell.name: cell for cell in cells(results.study)}
    trials = results.trials
    assert set(trials["cell"]) == set(asked) and len(trials) == 2 * len(asked) == 24
    for record in ledger.records():
        if record["level"] == "trial":
            cell = asked[record["cell"]]
            backbone = "" if cell.pretraining == "none" else backbones[cell.network, cell.pretraining]["backbone"]
            assert record["backbone"] == backbone and record["identity"]["network"]["iterations"] == 2
            assert ("hidden" in record["identity"]["network"]) == (cell.network == "narrow")
    gains = results.gains
    assert set(zip(gains["network"], gains["pretraining"], gains["size"], strict=True)) == {
        (network, name, size) for network in ("narrow", "wide") for name in ("two", "adapted") for size in (20, 40)
    }
    own = (
        trials[trials["phase"] == "confirm"].groupby(["network", "pretraining", "size", "seed"])["test_accuracy"].mean()
    )
    for row in gains.to_dict("records"):  # each against scratch of its own network
        pairs = [own[row["network"], row["pretraining"], row["size"], seed]
                 - own[row["network"], "none", row["size"], seed] for seed in (1, 2)]  # fmt: skip
        assert row["gain"] == pytest.approx(100 * sum(pairs) / 2)
    page = (runs / "networks" / "report" / "index.html").read_text()
    assert (
        "<strong>narrow</strong>: " in page and "<strong>wide</strong>: " in page and "from the backbone of two" in page
    )
    client = MlflowClient(f"sqlite:///{runs / 'mlflow.db'}")
    (experiment,) = (one for one in client.search_experiments() if one.name == "networks")
    tagged = client.search_runs([experiment.experiment_id], "tags.level = 'trial' and tags.network = 'wide'")
    assert len(tagged) == 12
    words = [sys.executable, FILE, "--runs-dir", runs, "--pretrainings.two.epochs", "2"]
    again = starting(Command(words, tmp_path / "second.txt", {}))
    assert again.ends() == 0 and "finetuning: all 24 trials are there already" in again.said
    assert json.loads((runs / "networks" / "missing.json").read_text()) == {}
