"""The model card says what is true of the events, the weights and the gains of a backbone."""

import dataclasses
import re

import pytest
from tracking.studies import BASE, frame, trial

from breakeven.analysis import backbones
from breakeven.events.objects import OBJECTS
from breakeven.feature import OBJECT
from breakeven.ledger.ledger import Ledger
from breakeven.models.spec import NetworkSpec
from breakeven.registry import package
from breakeven.registry.card import card
from breakeven.study.spec import Study
from breakeven.training.checkpoint import write_model

MADE = {
    "identity": {
        "objective": "multiclass", "datasets": ["hash_ttH", "hash_WH"], "network": {"iterations": 4},
        "training": {"events_per_process": 0, "epochs": 5, "batch_size": 64, "learning_rate": 3e-4, "decay": 0.99, "seed": 1},
    },
    "epochs": 5, "best_epoch": 3, "train_events": 4800, "device": "cpu", "processor": "an Intel", "device_seconds": 3600.0,
    "git_commit": "abc",
}  # fmt: skip


def study(gains=(0.01, 0.03), sizes=(100,)):
    """Records of a study with these gains over scratch, one for each seed."""
    pretrained = {**BASE, "level": "pretraining", "record": "p1", "pretraining": "multiclass", "backbone": "weights"}
    rows = [
        {**trial(f"{strategy}{size}{seed}", seed, strategy), "size": float(size), "test_accuracy": 0.7 + gain,
         "validation_accuracy": 0.7 + gain, "cell": f"stop_vs_ttH/{strategy}/{size}"}
        for size in sizes for seed, more in enumerate(gains, 1) for strategy, gain in (("scratch", 0.0), ("finetune", more))
    ]  # fmt: skip
    return frame(pretrained, *rows).assign(
        representation=None,
        represented_events=None,
        validation_events=500.0,
        test_events=1000.0,
        scores=None,
        scored_events=None,
    )


def text(made=MADE, records=None, **sources):
    """The card; sources: by process, those of the two that it was pretrained on and of another."""
    sources = {"ttH": "pythia", "WH": "pythia", "other": "pythia"} | sources
    datasets = {name: {"events": 4000, "source": kind, "hash": f"hash_{name}"} for name, kind in sources.items()}
    datasets["WH"]["hard_events"] = 3900
    records = study() if records is None else records
    best = backbones.ranking(records).iloc[0].to_dict()
    facts = {"study": "mine", "spec": dataclasses.asdict(Study()), "datasets": datasets}
    return card("mine-backbone", best, made, records, facts, OBJECTS.levels, 64)


def test_it_says_what_goes_in_and_what_it_was_trained_on():
    found = text()
    for column in ("pt | GeV", "eta | 1", "phi | rad", "b_tag | 0 to 1", "charge | e", "kind | 0 to 4"):
        assert f"| {column} |" in found
    assert "models:/mine-backbone@winner" in found
    assert "- ttH: 4,000 events generated (pythia), dataset `hash_ttH`" in found and "hash_other" not in found
    assert "- WH: 4,000 events of 3,900 hard events generated (pythia), dataset `hash_WH`" in found
    assert "Trained on 4,800 of them.\n" in found
    assert "Weights of epoch 4 of 5, that of the lowest validation loss, `weights`, record `p1`, commit `abc`" in found
    assert "Events (LHC, 13 TeV, an ATLAS-like fast detector response, without multiparton interactions):" in found
    assert "- Trained on simulation at leading order with a parametrised detector" in found and "Surrogate" not in found


def test_a_cap_on_events_is_named_and_old_records_know_less():
    capped = {**MADE["identity"], "training": {**MADE["identity"]["training"], "events_per_process": 300}}
    assert "Trained on 600 of them, at most 300 of each process." in text(
        {**MADE, "identity": capped, "train_events": 600}
    )
    old = text({name: value for name, value in MADE.items() if name not in ("train_events", "best_epoch")})
    assert "Trained on those of the training split.\n" in old and "Weights `weights`, record" in old


@pytest.mark.parametrize(
    ("sources", "origin", "order"),
    [
        ({"WH": "lhe"}, "LHC, 13 TeV, but WH at the energy of the files it was made from, an ATLAS",
         "simulation at leading order (not WH) with"),
        ({"ttH": "lhe", "WH": "lhe"}, "(ttH, WH at the energy of the files it was made from, an ATLAS",
         "simulation with a parametrised"),
        ({"other": "lhe"}, "Events (LHC, 13 TeV, an ATLAS", "simulation at leading order with"),
    ],
)  # fmt: skip
def test_energy_and_order_are_claimed_only_of_events_that_have_them(sources, origin, order):
    found = text(**sources)
    assert origin in found and order in found
    assert ("13 TeV" in found) == ("ttH" not in sources)


def test_gains_have_a_spread_that_is_never_zero_point_zero():
    found = text(records=study(gains=(0.0100, 0.0102), sizes=(100, 1000)))
    assert "| stop vs ttH | +1.0 ± 0.01 (n=2) | +1.0 ± 0.01 (n=2) |" in found and "± 0.0 " not in found
    assert "mean over 1 task(s), in all 2 cells: +1.01 percentage points on validation events" in found
    assert "| +3.0 (n=1) |" in text(records=study(gains=(0.03,)))


def test_it_says_what_its_gain_does_not_contain():
    words = re.sub(r"\s+", " ", text())
    assert "chosen by the same networks' validation accuracy, so a little of its luck may remain" in words
    assert "share one pretraining run: no interval contains the scatter of pretraining seeds" in words


def test_a_backbone_of_a_plugin_is_not_given_away_as_one_on_whole_events(tmp_path):
    ledger = Ledger(tmp_path)
    made = {**MADE, "identity": {**MADE["identity"], "network": {"kind": "jet_sets"}}}
    ledger.write(
        [{"level": "pretraining", "record": "p1", "outcome": "finished", "started": 0.0, "ended": 1.0, **made}]
    )
    (tmp_path / "p1").mkdir()
    with pytest.raises(package.NoBackbone, match=r"kind jet_sets, a plug-in's.*the weights are in .*p1"):
        package.winner("mine", study(), dict, ledger, tmp_path)


def test_damaged_and_other_weights_are_not_given_away(tmp_path):
    ledger, folder = Ledger(tmp_path), tmp_path / "p1"
    made = {**MADE, "identity": {**MADE["identity"], "network": {}}, "backbone": "0" * 16}
    ledger.write(
        [{"level": "pretraining", "record": "p1", "outcome": "finished", "started": 0.0, "ended": 1.0, **made}]
    )
    write_model(folder, NetworkSpec("event_graph").build((OBJECT,), 12), {})
    with pytest.raises(package.NoBackbone, match=r"p1 holds weights that hash to .* the study's are 0000000000000000"):
        package.winner("mine", study(), dict, ledger, tmp_path)
    weights = folder / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(package.NoBackbone, match="start the study again"):
        package.winner("mine", study(), dict, ledger, tmp_path)
    weights.unlink()
    with pytest.raises(package.NoBackbone, match="missing"):
        package.winner("mine", study(), dict, ledger, tmp_path)
