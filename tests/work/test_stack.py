"""A pack of trials side by side, on CPU: the records of trials one after another, each written, failed and timed alone."""

import time
from dataclasses import replace

import pytest
import torch

from breakeven.ledger.ledger import Ledger
from breakeven.ledger.responses import Responses
from breakeven.models import build
from breakeven.study.plan import Cell, Ingredients, space, trial
from breakeven.study.spec import Finetuning, Study
from breakeven.study.spec import task as named_task
from breakeven.training.checkpoint import write_model
from breakeven.training.content import content_hash
from breakeven.training.pack import train_pack
from breakeven.work import stack
from breakeven.work import stack as stack_module
from breakeven.work.job import TrialJob
from breakeven.work.stack import run_stacked
from breakeven.work.trial import run_pack

SETTINGS = Finetuning(
    tasks=("WH_vs_ZH", "ZH_vs_WH"), sizes=(20,), epochs=2, steps=0, batch_size=16, validation_events=10,
    represented_events=5,
)  # fmt: skip


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("backbone") / "b"
    write_model(folder, build(12, seed=3), {})
    return folder


@pytest.fixture
def job_for(datasets, backbone, tmp_path):
    def make(seed, strategy="scratch", phase="confirm", ratio=None, size=20, task="WH_vs_ZH", **settings):
        study = Study(finetuning=replace(SETTINGS, **settings))
        hashes = {name: dataset.hash for name, dataset in datasets.items()}
        made_of = Ingredients(hashes, {"multiclass": (content_hash(backbone),)})
        start = None if strategy == "scratch" else backbone
        cell = Cell(named_task(task), "multiclass" if start else "none", strategy, size)
        made = trial(study, cell, phase, seed, ratio or space(study, cell).published, made_of)
        return TrialJob(made, study.network, study.finetuning, datasets, start, tmp_path / "stacked", "cpu", "abc")

    return make


def records(jobs, files=None):
    ledger = Ledger(jobs[0].ledger)
    ledger = ledger.refresh() if files is None else ledger.read(files)
    return [ledger.get(job.trial.hash) for job in jobs]


def test_records_are_those_of_trials_one_after_another(job_for, tmp_path):
    """Seeds without a gradient that is rounding noise alone, of which Adam would make a whole step."""
    jobs = [
        job_for(2), job_for(2, "finetune"), job_for(3, "frozen"), job_for(4, "frozen"), job_for(7, phase="search"),
        job_for(3, "finetune", ratio=1.0), job_for(6, task="ZH_vs_WH"), job_for(7, size=31), job_for(8, size=5000),
    ]  # fmt: skip
    begun = time.process_time()
    files, used = run_stacked(jobs)
    spent = time.process_time() - begun
    found = records(jobs, files)
    alone = [replace(job, ledger=tmp_path / "alone") for job in jobs]
    run_pack(alone)
    for record, expected in zip(found, records(alone), strict=True):
        assert record.keys() == expected.keys()
        for key in ("outcome", "reason", "retry", "epochs", "best_epoch", "stopped", "events_seen", "test_events",
                    "validation_events", "represented_events", "scored_events", "identity", "cell"):  # fmt: skip
            assert record.get(key) == expected.get(key), key
        for key in ("test_loss", "test_accuracy", "validation_loss", "validation_auc"):
            assert record.get(key, 0.0) == pytest.approx(expected.get(key, 0.0), rel=1e-5), key
    assert "5,000 events asked for" in found[-1]["reason"]
    kept = Responses(tmp_path / "stacked", "representations").read(found[0]["record"], found[0]["representation"])
    assert kept["decoder"].shape == (10, 64)
    assert used == pytest.approx(spent, rel=0.05)
    assert 0.0 < sum(record["device_seconds"] for record in found) <= used  # the rest is keeping the books
    assert not list((tmp_path / "stacked" / "claims").iterdir())


def test_one_that_fails_or_is_pruned_leaves_the_others_as_they_are(job_for, tmp_path):
    diverging = job_for(2, learning_rate=1e30)
    gone = replace(job_for(3, "finetune"), backbone=tmp_path / "gone")
    pruned = replace(job_for(4, phase="search"), limits=(0.0, 0.0))
    jobs = [job_for(1), diverging, gone, pruned, job_for(5)]
    found = records(jobs, run_stacked(jobs)[0])
    assert [record["outcome"] for record in found] == ["finished", "failed", "failed", "stopped", "finished"]
    assert found[1]["reason"].startswith("NonFinite") and not found[1]["retry"]
    assert "gone" in found[2]["reason"] and found[2]["retry"]
    assert "pruned after epoch 1" in found[3]["reason"]
    others = [replace(job, ledger=tmp_path / "others") for job in (jobs[0], jobs[4])]
    run_stacked(others)
    assert [record["metrics"] for record in records(others)] == [found[0]["metrics"], found[4]["metrics"]]


def test_records_are_there_as_soon_as_trials_end(job_for):
    short, long = replace(job_for(1, phase="search", epochs=6), limits=(0.0,) * 6), job_for(2, epochs=6)
    seen = []

    def slow(trainings, on_done):
        def done(number, outcome):
            on_done(number, outcome)
            seen.append([record is not None for record in records([short, long])])

        return train_pack(trainings, done)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stack, "train_pack", slow)
        run_stacked([short, long])
    assert seen == [[True, False], [True, True]]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the alarm may ring inside a finaliser
def test_a_trial_out_of_time_is_recorded_and_the_pack_has_an_end(job_for):
    jobs = [job_for(seed, trial_seconds=0.05, epochs=50) for seed in (1, 2)]
    found = records(jobs, run_stacked(jobs)[0])
    assert [record["outcome"] for record in found] == ["failed", "failed"]
    assert all("OutOfTime: not done after" in record["reason"] for record in found)
    assert all(record["time_limit"] == 0.05 and not record["retry"] for record in found)


def test_what_does_not_fit_into_memory_is_trained_in_halves(job_for):
    jobs, tried = [job_for(seed) for seed in (1, 2, 3, 4, 5)], []

    def small(members, *others):
        tried.append(len(members))
        if len(members) > 2:
            raise torch.OutOfMemoryError("no room")
        return train_pack(members, *others)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stack, "train_pack", small)
        files, _ = run_stacked(jobs)
    assert tried == [5, 3, 2, 1, 2]
    assert [record["outcome"] for record in records(jobs, files)] == ["finished"] * 5


def test_events_of_another_schema_are_trained_apart(job_for, monkeypatch):
    """A plug-in's task may have other objects than the house's: both are in one pack for a GPU, not in one list of events."""
    jobs, together = [job_for(seed) for seed in (1, 2, 3)], []

    def train(members, *others):
        together.append(len(members))
        return train_pack(members, *others)

    monkeypatch.setattr(stack, "train_pack", train)
    monkeypatch.setattr(stack_module, "schema_of", lambda job: "jets/1" if job is jobs[1] else "objects/1")
    found = records(jobs, run_stacked(jobs)[0])
    assert together == [2, 1] and [record["outcome"] for record in found] == ["finished"] * 3
