"""A pack of trials in a worker, without Ray: each member is recorded, fails and runs out of time alone."""

import multiprocessing
import os
import signal
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from queues import run_alone
from small_studies import SMALL

from breakeven.distributed.finetuning import QueueSearcher, shares
from breakeven.distributed.session import Resources
from breakeven.ledger.ledger import Ledger
from breakeven.study.plan import Ingredients, trial
from breakeven.work.deadline import OutOfTime, deadline
from breakeven.work.job import TrialJob
from breakeven.work.trial import run_pack, train_and_evaluate


def job_for(events, ledger, seed, small=SMALL[0], **settings):
    study = replace(small.study, finetuning=replace(small.settings, **settings))
    made_of = Ingredients({name: dataset.hash for name, dataset in events.items()}, {})
    made = trial(study, small.cell(), "confirm", seed, 1.0, made_of)
    return TrialJob(made, study.network, study.finetuning, events, None, ledger, "cpu", "abc")


def facts(job, check):
    return {"outcome": "finished", "wall_seconds": 0.0, "device_seconds": 0.0, "seed": job.trial.seed}


def test_a_member_that_is_not_finite_leaves_the_others_as_they_are(small, events, tmp_path):
    jobs = [job_for(events, tmp_path / "pack", 1, small), job_for(events, tmp_path / "pack", 2, small, learning_rate=1e30),
            job_for(events, tmp_path / "pack", 3, small)]  # fmt: skip
    files, _ = run_pack(jobs)
    ledger = Ledger(tmp_path / "pack").read(files)
    tried = [ledger.get(job.trial.hash) for job in jobs]
    assert [record["outcome"] for record in tried] == ["finished", "failed", "finished"]
    assert tried[1]["reason"].startswith("NonFinite") and not tried[1]["retry"]
    for job, record in zip(jobs, tried, strict=True):
        if record["outcome"] == "finished":
            alone = run_alone(replace(job, ledger=tmp_path / "alone"))
            assert alone["metrics"]["test_loss"] == record["metrics"]["test_loss"]
    assert ledger.refresh().records() == tried  # nothing else was written


def test_running_out_of_memory_is_one_members_own(datasets, tmp_path):
    jobs = [job_for(datasets, tmp_path, seed) for seed in (1, 2, 3)]

    def train(job, check):
        if job.trial.seed == 2:
            np.ones(1 << 50)
        return facts(job, check)

    ledger = Ledger(tmp_path).read(run_pack(jobs, train)[0])
    assert [ledger.get(job.trial.hash)["outcome"] for job in jobs] == ["finished", "failed", "finished"]
    lost = ledger.get(jobs[1].trial.hash)
    assert "Memory" in lost["reason"] and lost["retry"]  # on another worker there may be room


def test_every_record_is_there_before_the_next_member_begins(datasets, tmp_path):
    seen = []

    def train(job, check):
        seen.append(len(Ledger(tmp_path).refresh().records()))
        return facts(job, check)

    run_pack([job_for(datasets, tmp_path, seed) for seed in (1, 2, 3)], train)
    assert seen == [0, 1, 2]


def test_a_training_that_takes_too_long_ends_and_says_so(small, events, tmp_path):
    slow = job_for(events, tmp_path, 1, small, epochs=100_000, patience=100_000, trial_seconds=1.5)
    quick = job_for(events, tmp_path, 2, small)
    ledger = Ledger(tmp_path).read(run_pack([slow, quick])[0])
    tried = ledger.get(slow.trial.hash)
    assert tried["outcome"] == "failed" and "not done after 1.5 s (finetuning.trial-seconds)" in tried["reason"]
    assert tried["time_limit"] == 1.5 and not tried["retry"] and tried["device_seconds"] > 0.0
    assert ledger.finished(quick.trial.hash)


@pytest.mark.parametrize("asks", [True, False])
def test_time_runs_out_in_sleep_and_between_epochs(asks):
    before = signal.getsignal(signal.SIGALRM)
    with pytest.raises(OutOfTime), deadline(0.2, lambda error: pytest.fail("it could be interrupted")) as check:
        for _ in range(10_000):
            time.sleep(0.001 if asks else 1000.0)
            check()
    assert signal.getsignal(signal.SIGALRM) == before


def test_an_alarm_does_not_ring_into_the_end_of_work_that_asked():
    with deadline(0.1, lambda error: pytest.fail(str(error))) as check:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
        with pytest.raises(OutOfTime):
            while True:
                check()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
        signal.raise_signal(signal.SIGALRM)


def test_what_is_done_in_time_is_left_alone():
    with deadline(0.3, lambda error: pytest.fail(str(error))) as check:
        check()
    time.sleep(0.5)


def hang(job, check):
    """As a call into a library that never comes back: no alarm reaches it."""
    if job.trial.seed == 2:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
        time.sleep(1000.0)
    return facts(job, check)


def test_a_call_that_never_comes_back_takes_its_process_but_no_record(datasets, tmp_path):
    jobs = [job_for(datasets, tmp_path, seed, trial_seconds=0.5) for seed in (1, 2, 3)]
    worker = multiprocessing.get_context("fork").Process(target=run_pack, args=(jobs, hang))
    worker.start()
    worker.join(60.0)
    assert worker.exitcode == 1
    ledger = Ledger(tmp_path).refresh()
    assert ledger.finished(jobs[0].trial.hash) and ledger.get(jobs[2].trial.hash) is None
    tried = ledger.get(jobs[1].trial.hash)
    assert tried["outcome"] == "failed" and "not done after 0.5 s" in tried["reason"] and tried["wall_seconds"] > 0.5


def test_a_limit_changes_no_number(small, events, tmp_path):
    free, limited = (
        train_and_evaluate(job_for(events, tmp_path, 1, small, trial_seconds=limit)) for limit in (0.0, 600.0)
    )
    assert free["metrics"]["test_loss"] == limited["metrics"]["test_loss"]
    assert (
        job_for(events, tmp_path, 1, small).trial.hash
        == job_for(events, tmp_path, 1, small, trial_seconds=9.0).trial.hash
    )


def test_workers_fit_the_cluster():
    def offers(cpus, gpus):
        return Resources(cpus=cpus, gpus=gpus, nodes=1, dashboard="")

    assert shares(offers(4, 0), 0.25) == (4, {"cpu": 1.0})
    assert shares(offers(8, 2), 1.0) == (2, {"gpu": 1.0, "cpu": 1.0})
    assert shares(offers(8, 2), 0.25) == (8, {"gpu": 0.25, "cpu": 1.0})
    assert shares(offers(8, 2), 0.1) == (20, {"gpu": 0.1, "cpu": 0.4})
    assert shares(offers(8, 1), 0.4)[0] == 2


def test_a_dead_worker_was_at_the_first_trial_that_it_had_claimed(datasets, tmp_path):
    jobs = {job.trial.hash: job for job in (job_for(datasets, tmp_path, seed) for seed in (1, 2, 3))}
    first, second, _ = jobs
    ledger = Ledger(tmp_path)
    searcher = QueueSearcher(SimpleNamespace(ledger=ledger), None, None, None)
    assert searcher._at_work(jobs, {}) == (first, 0.0, ""), "held to the first, though it may never have begun"
    with ledger.claim(second):
        sum(range(1_000_000))
    tried, spent, worker = searcher._at_work(jobs, {first: {}})
    assert tried == second and spent > 0.0 and str(os.getpid()) in worker
    ledger.claim_path(second).unlink()
    assert searcher._at_work(jobs, {first: {}, second: {}})[0] is None, "it ended itself after a record"
