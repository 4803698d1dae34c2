"""A study of two hundred trials whose driver, workers and raylet are each killed -9 at ten random moments.

Against the same study undisturbed: one record for every trial, equal figures, and the work that was lost is counted.
"""

import json
import random
import shutil
import time
from collections import Counter

import pytest
from study_runs.started import SCALING, study, trials

from breakeven.analysis.cost.accounts import accounts
from breakeven.ledger.ledger import Ledger
from breakeven.ledger.reservation import reservations

pytestmark = pytest.mark.endurance

WORKERS = ("ray::TrialWorker", "ray::ResourceTrainable")
"""What Ray calls the process of a worker, between its calls and in one."""
KILLS = 10
"""Of each kind."""
SEEDS = 48
"""At the beginning: 200 trials. Where the study ends before the last kill it grows by as many seeds."""


def larger(seeds):
    return ("--finetuning.sizes", "50", "--finetuning.seeds", str(seeds), "--search.trials", "4")


def figures(runs):
    """What each trial gave; times are left out, as they are never the same twice."""
    return {
        record["record"]: (
            record["outcome"],
            record["validation_loss"],
            record["metrics"].get("test_accuracy"),
            record["epochs"],
        )
        for record in trials(runs)
    }


def records_on_disk(runs):
    """How often a record of each trial was written."""
    found = Counter()
    for file in (runs / "shared" / "ledger" / "records").glob("*.json"):
        found.update(record["record"] for record in json.loads(file.read_text()) if record["level"] == "trial")
    return found


def raylet(command):
    return next((process for process in command.family() if process.name() == "raylet"), None)


@pytest.mark.timeout(3000)
@pytest.mark.parametrize("example", [SCALING], ids=str, indirect=True)
def test_nothing_is_lost_and_nothing_is_run_twice(example, prepared, starting, tmp_path):
    quiet_runs = shutil.copytree(prepared, tmp_path / "quiet")
    chance = random.Random(20261122)
    kinds = ["driver", "worker", "raylet"] * KILLS
    chance.shuffle(kinds)
    command, interrupted, seeds = None, 0, SEEDS
    while kinds:
        fresh = command is None or command.popen.poll() is not None
        if fresh:
            if command is not None and command.popen.returncode == 0:
                seeds += SEEDS
            command = starting(study(example, prepared, *larger(seeds)))
        command.until(lambda: command.popen.poll() is not None or command.named(WORKERS))  # noqa: B023
        # A worker needs about ten seconds to begin: kills fall into its start, its trials, and what comes between.
        time.sleep(chance.uniform(0.0, 15.0 if fresh else 4.0))
        if command.popen.poll() is not None:
            assert command.popen.returncode in (0, 1) and "Traceback" not in command.said, command.said
        elif kinds[-1] == "driver":
            command.kill()
            interrupted += 2
            kinds.pop()
        elif kinds[-1] == "worker" and (workers := command.named(WORKERS)):
            chance.choice(workers).kill()
            interrupted += 1
            kinds.pop()
        elif kinds[-1] == "raylet" and (process := raylet(command)):
            process.kill()  # its workers go on, and would finish the study: so all else follows, as when a node dies
            time.sleep(chance.uniform(0.0, 2.0))
            command.crash()
            interrupted += 2
            kinds.pop()
        print(f"{KILLS * 3 - len(kinds)} of {KILLS * 3} kills, {len(trials(prepared))} trials", flush=True)
    if command.popen.poll() is None:
        command.ends()
    last = starting(study(example, prepared, *larger(seeds)))
    assert last.ends() == 0, last.said
    quiet = starting(study(example, quiet_runs, *larger(seeds)))
    assert quiet.ends() == 0, quiet.said

    found = figures(prepared)
    assert len(found) == 2 * 2 * seeds + 2 * 4 and found == figures(quiet_runs)
    assert {outcome for outcome, *_ in found.values()} <= {"finished", "stopped"}
    written = records_on_disk(prepared)
    twice = sum(written.values()) - len(written)
    assert set(written) == set(found) and twice <= interrupted
    lost = sum(record["wasted_seconds"] for record in trials(prepared))
    print(
        f"{len(found)} trials, {interrupted} interrupted at most, {twice} run twice, {lost:.1f} device-seconds wasted"
    )
    assert lost > 0.0
    ledger = Ledger(prepared / "shared" / "ledger").refresh()
    spent = accounts(ledger.frame(), reservations(ledger.folder, example.name))
    print(spent.to_string())
    assert (spent["unaccounted"].abs() <= 0.02 * spent["reserved"]).all()
