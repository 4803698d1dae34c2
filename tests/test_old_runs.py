"""A runs folder that the first version wrote: its records are read, reported, and found again by the same study."""

import shutil
from pathlib import Path

import pytest
from queues import filled

from breakeven import run
from breakeven.estimate.speeds import ELSEWHERE, speeds
from breakeven.fingerprint import fingerprint
from breakeven.ledger.ledger import Ledger
from breakeven.places import Places
from breakeven.search import open_storage
from breakeven.study.folder import folder_with_trials
from breakeven.study.identity import pretraining_identity
from breakeven.study.plan import Ingredients
from breakeven.work.versions import result_versions

RUNS = Path(__file__).parent / "data" / "runs-0.1"
"""The smoke study by commit 39a69a03e303, without its events, weights and representations."""


@pytest.fixture
def old(tmp_path):
    return Path(shutil.copytree(RUNS, tmp_path / "runs"))


def test_its_report_is_written_again(old, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # nobody listens: this is about the report
    run.report_again("smoke", old)
    page = (old / "smoke" / "report" / "report.md").read_text()
    accuracies = Ledger(Places(old, "smoke").ledger).refresh().frame()["test_accuracy"].dropna()
    assert len(accuracies) == 16 and "the events are not on this machine" in page
    assert "39a69a03e303" in page and "WH vs ZH" in page


def test_the_same_study_finds_all_that_it_has_done(old):
    """No hash has changed: its queue, on the ledger of then, has nothing to hand out."""
    study, ledger = folder_with_trials("smoke", old).study, Ledger(Places(old, "smoke").ledger).refresh()
    made = {record["process"]: record["dataset"] for record in ledger.records() if record["level"] == "generation"}
    (backbone,) = (record for record in ledger.records() if record["level"] == "pretraining")
    assert study.pretraining.validation_events == study.finetuning.validation_events == 60
    said = pretraining_identity(study.pretraining, study.network,
                                [made[name] for name in study.pretraining.processes], result_versions("event_graph"))  # fmt: skip
    assert fingerprint(said) == backbone["record"]
    made_of = Ingredients(made, {"multiclass": (backbone["backbone"],)}, {"": result_versions("event_graph")})
    queue = filled(study, made_of, ledger, open_storage(None))
    assert queue.finished and queue.total == len(queue.trials) == 24 and not queue.missing()


def test_its_speeds_are_history_of_this_machine(old, monkeypatch):
    ledger = Ledger(Places(old, "smoke").ledger).refresh()
    processor = next(record["processor"] for record in ledger.records() if record["level"] == "trial")
    monkeypatch.setattr("breakeven.provenance.processor", lambda: processor)
    known = speeds(folder_with_trials("smoke", old).study, ledger.records(), None)
    assert known.trusted and known.pretrained.value != ELSEWHERE.pretrained.value and known.trials
