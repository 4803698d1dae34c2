"""Generation, pretraining and finetuning on a real local Ray with two workers."""

import os
import signal
from dataclasses import replace

import psutil
import pytest
from queues import Heard, filled
from small_studies import FINETUNING, SHARD_EVENTS, SMALL, small_recipe

from breakeven.distributed import finetuning, generation, pretraining
from breakeven.distributed.session import session
from breakeven.events import store
from breakeven.events.catalogue import source
from breakeven.events.simulated import Simulated
from breakeven.events.simulated_jets import SimulatedJets
from breakeven.ledger.ledger import Ledger
from breakeven.physics.jets.processes import CATALOGUE
from breakeven.physics.processes import process
from breakeven.search import open_storage
from breakeven.study.plan import Ingredients
from breakeven.study.spec import Pretraining, Search, Study
from breakeven.training.checkpoint import read_weights
from breakeven.training.loop import train
from breakeven.training.training import Training
from breakeven.work.job import TrialJob
from breakeven.work.network import build_network
from breakeven.work.pretraining import load_events, recipe_of

pytestmark = pytest.mark.filterwarnings("default")  # Ray's own warnings are not ours to mend

WHOLE_EVENTS = replace(FINETUNING, tasks=("WH_vs_ZH",))


def with_jets(mark):
    """With whole events, and in the runs of this mark with jets."""
    whole, jets = SMALL
    return pytest.mark.parametrize("small", [whole, pytest.param(jets, marks=mark)], ids=str, indirect=True)


@pytest.fixture(scope="module")
def resources():
    with session() as found:
        yield found


def test_a_ray_of_its_own_listens_on_this_machine_alone(resources):
    started = [process for process in psutil.Process().children(recursive=True) if process.is_running()]
    listening = [
        one.laddr.ip.removeprefix("::ffff:")
        for process in (psutil.Process(), *started)
        for one in process.net_connections("tcp")
        if one.status == psutil.CONN_LISTEN
    ]
    assert len(listening) > 5 and set(listening) == {"127.0.0.1"}


def test_workers_make_the_same_events_and_only_the_missing_ones(resources, datasets, tmp_path):
    first, second = datasets
    recipes = {small_recipe(first): 2, small_recipe(second): 2}
    store.make_shard(small_recipe(first), tmp_path, 1)
    there = store.shard_path(small_recipe(first).folder(tmp_path), 1).stat().st_mtime_ns
    counted = []
    missing = {recipe: store.missing_shards(recipe, tmp_path, n) for recipe, n in recipes.items()}
    generation.generate(missing, tmp_path, lambda process, events, seconds: counted.append((process, events)))
    made = {recipe.source.name: store.complete(recipe, tmp_path, n) for recipe, n in recipes.items()}
    assert {name: dataset.hash for name, dataset in made.items()} == {n: d.hash for n, d in datasets.items()}
    assert sorted(counted) == [(first, SHARD_EVENTS), (second, SHARD_EVENTS), (second, SHARD_EVENTS)]
    assert store.shard_path(small_recipe(first).folder(tmp_path), 1).stat().st_mtime_ns == there


def test_a_process_that_cannot_be_generated_is_named(resources, tmp_path):
    recipe = store.Recipe(Simulated(replace(process("WH"), settings=("NoSuch:setting=on",))))
    with pytest.raises(generation.GenerationFailed, match=r"process WH: .*NoSuch:setting"):
        generation.generate({recipe: [0]}, tmp_path)
    beyond = replace(CATALOGUE["QCD_300_470"], settings=("HardQCD:all=on", "PhaseSpace:pTHatMin=7000."))
    with pytest.raises(generation.GenerationFailed, match=r"process QCD_300_470: .*pTHatMin=7000"):
        generation.generate({store.Recipe(SimulatedJets(beyond)): [0]}, tmp_path)
    gone = store.Recipe(source("mine", lhe=str(tmp_path / "gone.lhe")))
    with pytest.raises((ValueError, OSError), match=r"gone\.lhe"):
        generation.generate({gone: store.missing_shards(gone, tmp_path, 1)}, tmp_path)


@with_jets(pytest.mark.slow)
def test_the_backbone_does_not_depend_on_the_number_of_workers(resources, small, events, tmp_path):
    # A small rate: Adam makes a whole step of a gradient that vanishes but for rounding, whatever its sign.
    job = small.pretraining_job(events, tmp_path, workers=2, learning_rate=1e-5)
    seen = []
    made = pretraining.pretrain(job, resources, tmp_path / "storage", seen.append)
    assert [epoch["epoch"] for epoch in seen] == [0, 1] and made.facts["workers"] == 2

    loaded, train_sample, validation_sample, n_outputs = load_events(job, "cpu")
    alone = build_network(job.network, loaded.levels, n_outputs, job.settings.seed)
    result = train(Training(alone, loaded, train_sample, validation_sample, recipe_of(job)))
    for epoch, together in zip(result.curve, made.facts["curve"], strict=True):
        assert together["train_loss"] == pytest.approx(epoch.train_loss, rel=1e-4)
        assert together["validation_loss"] == pytest.approx(epoch.validation_loss, rel=1e-3)
    weights = read_weights(made.folder)
    assert (
        max(float((weights[k] - v).abs().max()) for k, v in alone.state_dict().items() if v.is_floating_point()) < 1e-2
    )


@pytest.mark.parametrize("small", SMALL[:1], ids=str, indirect=True)
def test_what_no_other_try_would_mend_is_tried_once(resources, small, events, tmp_path, capsys):
    job = small.pretraining_job(events, tmp_path, workers=1, learning_rate=1e30)
    seen = []
    with pytest.raises(pretraining.PretrainingFailed, match=r"pretraining: epoch \d+.*loss is (nan|-?inf)"):
        pretraining.pretrain(job, resources, tmp_path / "storage", seen.append)
    assert len(seen) < 2 and "goes on from" not in capsys.readouterr().out


@pytest.mark.slow
@with_jets(pytest.mark.endurance)
def test_a_killed_trainer_goes_on_from_its_last_checkpoint(resources, small, events, tmp_path):
    job = small.pretraining_job(events, tmp_path, workers=2, epochs=4)
    killed, told = [], []

    def kill_once(epoch):
        told.append(epoch["epoch"])
        if not killed and epoch["epoch"] >= 1:
            workers = [
                p for p in psutil.Process().children(recursive=True) if "RayTrainWorker" in " ".join(p.cmdline())
            ]
            if workers:
                killed.append(workers[0].pid)
                os.kill(workers[0].pid, signal.SIGKILL)

    made = pretraining.pretrain(job, resources, tmp_path / "storage", kill_once)
    assert killed and len(made.facts["curve"]) == 4 and told == [0, 1, 2, 3]  # none twice
    quiet = pretraining.pretrain(
        replace(job, identity={"kind": "a quiet one"}, backbone=tmp_path / "quiet"),
        resources,
        tmp_path / "storage",
        lambda _: None,
    )
    assert [epoch["validation_loss"] for epoch in made.facts["curve"]] == pytest.approx(
        [epoch["validation_loss"] for epoch in quiet.facts["curve"]], rel=1e-4
    )


@pytest.mark.slow
@with_jets(pytest.mark.endurance)
def test_killed_workers_cost_a_try_and_no_trial(resources, small, events, tmp_path):
    study = replace(small.study, pretraining=Pretraining(objectives=()), finetuning=replace(small.settings, seeds=8))
    made_of = Ingredients({name: dataset.hash for name, dataset in events.items()}, {})
    ledger = Ledger(tmp_path / "ledger")
    queue = filled(study, made_of, ledger, open_storage(tmp_path / "optuna.journal"), observer=Heard())

    def job_of(trial):
        return TrialJob(trial, study.network, study.finetuning, events, None, tmp_path / "ledger", "cpu", "abc")

    def killed_at_the_first_try(job, check):
        from breakeven.work.trial import train_and_evaluate

        mark = tmp_path / f"tried-{job.trial.seed}"
        if job.trial.seed in (3, 6) and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return train_and_evaluate(job, check)

    slots, held = finetuning.slots_of(resources, gpu_share=1.0)
    finetuning.finetune(queue, job_of, slots, held, tmp_path / "tune", killed_at_the_first_try)
    assert len(list(tmp_path.glob("tried-*"))) == 2 and queue.finished
    frame = Ledger(tmp_path / "ledger").refresh().frame()
    assert len(frame) == len(queue.observer.names) == 8 and (frame["outcome"] == "finished").all()
    assert len(list((tmp_path / "ledger" / "records").glob("*.json"))) == 8  # nothing was recorded twice


def test_trials_that_never_end_cost_the_others_nothing(resources, tmp_path):
    settings = replace(WHOLE_EVENTS, seeds=24, epochs=1, steps=0, trial_seconds=1.0)
    study = Study(pretraining=Pretraining(objectives=()), finetuning=settings, search=Search(trials=0))
    ledger = Ledger(tmp_path / "ledger")
    made_of = Ingredients({"WH": "a", "ZH": "b"}, {})
    queue = filled(study, made_of, ledger, open_storage(tmp_path / "optuna.journal"), observer=Heard())

    def job_of(trial):
        return TrialJob(trial, study.network, settings, {}, None, tmp_path / "ledger", "cpu", "abc")

    def train(job, check):
        import signal
        import time

        if job.trial.seed == 7:  # hangs where no alarm reaches it
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
        if job.trial.seed in (3, 7):
            time.sleep(1000.0)
        return {"outcome": "finished", "wall_seconds": 0.01, "device_seconds": 0.01}

    slots, held = finetuning.slots_of(resources, gpu_share=1.0)
    finetuning.finetune(queue, job_of, slots, held, tmp_path / "tune", train)
    records = [ledger.get(name) for name in queue.observer.names]
    failed = {record["seed"]: record["reason"] for record in records if record["outcome"] == "failed"}
    assert len(records) == 24 and set(failed) == {3, 7} and all("not done after 1 s" in why for why in failed.values())
    assert queue.packs < 12 and len(list((tmp_path / "ledger" / "records").glob("*.json"))) == 24


def test_a_ledger_that_cannot_be_written_to_ends_the_study_with_its_reason(resources, tmp_path):
    settings = replace(WHOLE_EVENTS, seeds=4)
    study = Study(pretraining=Pretraining(objectives=()), finetuning=settings, search=Search(trials=0))
    ledger = Ledger(tmp_path / "ledger")
    queue = filled(study, Ingredients({"WH": "a", "ZH": "b"}, {}), ledger, open_storage(tmp_path / "optuna.journal"))

    def job_of(trial):
        return TrialJob(trial, study.network, settings, {}, None, tmp_path / "ledger", "cpu", "abc")

    def break_the_disk(job, check):
        (tmp_path / "ledger" / "records").write_text("no folder")
        return {"outcome": "finished", "wall_seconds": 0.0, "device_seconds": 0.0}

    slots, held = finetuning.slots_of(resources, gpu_share=1.0)
    with pytest.raises(OSError, match="a worker could not write to the ledger"):
        finetuning.finetune(queue, job_of, slots, held, tmp_path / "tune", train=break_the_disk)
    assert not queue.finished
