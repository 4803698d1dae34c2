"""kill -9 at any stage, then the same command: it goes on, and nothing that was finished is made again."""

import json
import os
import shutil
import signal

import pytest
from study_runs.started import assert_each_once, files, study, trials

pytestmark = pytest.mark.slow


def shards(runs):
    return {
        str(path.relative_to(runs)): path.stat().st_mtime_ns
        for path in (runs / "shared" / "datasets").glob("*/*/*.parquet")
    }


def datasets(runs):
    return sorted(path.stem for path in (runs / "shared" / "datasets").glob("*/*/manifests/*.json"))


def epochs(runs):
    """Epochs of the pretraining that have ended."""
    progress = list((runs / "shared" / "pretraining").glob("*/progress.json"))
    return json.loads(progress[0].read_text()) if progress else []


def test_the_command_is_killed_in_each_stage(example, finished, tmp_path, starting):
    runs, shard_events = tmp_path / "runs", example.smoke.generation.shard_events
    epochs_enough = ("--pretraining.epochs", "6")

    generating = starting(study(example, runs, *epochs_enough))
    generating.until(lambda: len(shards(runs)) >= 3)
    generating.kill()
    made = shards(runs)
    assert 3 <= len(made) < example.events // shard_events and not datasets(runs)

    pretraining = starting(study(example, runs, *epochs_enough))
    pretraining.until(lambda: len(epochs(runs)) >= 3)
    pretraining.kill()
    assert {name: shards(runs)[name] for name in made} == made
    assert datasets(runs) == datasets(finished[0])
    assert not list((runs / "shared" / "backbones").glob("[0-9a-f]*"))
    trained = epochs(runs)

    finetuning = starting(study(example, runs, *epochs_enough))
    finetuning.until(lambda: len(trials(runs)) >= 3)
    finetuning.kill()
    kept = files(runs)
    (pretrained,) = [r for text in kept.values() for r in json.loads(text[1]) if r["level"] == "pretraining"]
    # The first epoch has a checkpoint, later ones every few seconds, and the last may not have been registered yet.
    assert pretrained["curve"][0] == {k: v for k, v in trained[0].items() if k != "workers"}, (
        "epochs of before the kill were trained again"
    )
    assert 3 <= len(trials(runs)) < example.trials()

    last = starting(study(example, runs, *epochs_enough))
    assert last.ends() == 0, last.said
    assert_each_once(runs, example.trials(), kept)
    assert (runs / example.name / "report" / "report.md").exists()


def test_a_killed_worker_is_survived(example, prepared, starting):
    command = starting(study(example, prepared))
    at_work = []
    command.until(lambda: (trials(prepared) and at_work.extend(command.named("ray::ResourceTrainable"))) or at_work)
    at_work[0].kill()
    assert command.ends() == 0, command.said
    assert "Traceback" not in command.said
    assert_each_once(prepared, example.trials())


def test_ctrl_c_leaves_in_a_line(example, prepared, starting):
    shutil.rmtree(prepared / "shared" / "backbones")
    shutil.rmtree(prepared / "shared" / "pretraining")
    pretraining = prepared / "shared" / "pretraining"
    for begun in (lambda: list(pretraining.glob("*/progress.json")), lambda: trials(prepared)):
        command = starting(study(example, prepared))
        command.until(begun)
        os.killpg(command.popen.pid, signal.SIGINT)  # as a terminal does
        assert command.ends() == 130, command.said
        last = command.said.splitlines()[-1]
        assert last == "interrupted; nothing finished is lost: the same command goes on from here"
        assert "Traceback" not in command.said
    assert 1 <= len(trials(prepared)) < example.trials()


def test_a_killed_raylet_ends_the_run_and_loses_nothing(example, prepared, starting):
    command = starting(study(example, prepared))
    command.until(lambda: len(trials(prepared)) >= 3)
    (raylet,) = [process for process in command.family() if process.name() == "raylet"]
    raylet.kill()
    status = command.ends()
    kept = files(prepared)
    assert status in (0, 1) and "Traceback" not in command.said, command.said
    if status:
        assert "start the same command again" in command.said, command.said
    last = starting(study(example, prepared))
    assert last.ends() == 0, last.said
    assert_each_once(prepared, example.trials(), kept)
