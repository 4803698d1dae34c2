"""MLflow beside a study and after it, with a real ledger and a real MLflow: one driver, several, and none at all."""

import dataclasses
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_studies import small_recipe
from tracking.studies import Experiment, trial

from breakeven import atomic, publish, run
from breakeven.events import store
from breakeven.ledger.lease import Leases
from breakeven.ledger.ledger import Ledger, now
from breakeven.ledger.responses import Responses
from breakeven.places import Places
from breakeven.results import StudyResults
from breakeven.stages.generation import _generation_record
from breakeven.study.spec import Study
from breakeven.terminal import bar
from breakeven.tracking.database import Connection

STUDY = Study(name="tiny")
ALL = ["a" * 16, "b" * 16]


def results(places: Places, ledger: Ledger, members: Sequence[str] = ALL) -> StudyResults:
    return StudyResults(STUDY, places, ledger, tuple(members))


@pytest.fixture
def ledger(tmp_path):
    kept = Ledger(Places(tmp_path, "tiny").ledger)
    facts = {"level": "generation", "outcome": "finished", "process": "WH", "source": "pythia", "events": 120,
             "dataset": "d", "device": "cpu", "device_seconds": 1.0, "wall_seconds": 1.0, "git_commit": "abc",
             "host": "here", "started": now(), "ended": now()}  # fmt: skip
    for name in ("a" * 16, "b" * 16):
        kept.write([{**facts, "record": name}])
    return kept


@pytest.fixture
def experiment(tmp_path, monkeypatch, empty_database):
    """The MLflow of a runs folder where the study "tiny" has no run yet."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    made = Experiment(Path(shutil.copy(empty_database, tmp_path / "mlflow.db")), "tiny")
    made.places = Places(tmp_path, "tiny")
    made.places.folder.mkdir()
    made.open()
    return made


@pytest.fixture
def leases(ledger):
    with Leases(ledger.folder) as held:
        yield held


def test_records_reach_mlflow_beside_the_work(ledger, leases, experiment):
    for _ in range(2):  # the second time nothing is written twice
        with publish.tracked(STUDY, experiment.places, ledger, leases) as tracker:
            tracker.recorded(["a" * 16])
            tracker.recorded(["b" * 16])
    assert sorted(experiment.runs()) == ["a" * 16, "b" * 16, "study:tiny"]
    assert publish.sync(results(experiment.places, ledger)) == 0


def test_of_two_drivers_one_writes_and_the_other_waits_its_turn(ledger, leases, experiment, capsys):
    """The second has the same study in the same ledger; what it hands over is written when the first ends."""
    with Leases(ledger.folder) as others, publish.tracked(STUDY, experiment.places, ledger, leases) as tracker:
        tracker.recorded(["a" * 16])
        while "a" * 16 not in experiment.runs():
            time.sleep(0.01)
        with publish.tracked(STUDY, experiment.places, ledger, others) as second:
            second.recorded(["a" * 16, "b" * 16])
        assert "b" * 16 not in experiment.runs()
    assert publish.sync(results(experiment.places, ledger)) == 1
    assert sorted(experiment.runs()) == ["a" * 16, "b" * 16, "study:tiny"]


def test_ctrl_c_while_mlflow_is_slow_ends_the_wait_and_loses_nothing(ledger, leases, experiment, monkeypatch):
    real = publish.Tracker.record
    waiting = threading.Event()

    def slow(tracker, row):
        written = real(tracker, row)
        assert waiting.wait(60)
        return written

    @contextmanager
    def interrupted(*_):
        waiting.set()
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(publish.Tracker, "record", slow)
    monkeypatch.setattr(publish, "bar", interrupted)
    with pytest.raises(KeyboardInterrupt), publish.tracked(STUDY, experiment.places, ledger, leases) as tracker:
        tracker.recorded(["a" * 16, "b" * 16])
    assert {run.info.status for record, run in experiment.runs().items() if len(record) == 16} == {"FINISHED"}
    monkeypatch.setattr(publish, "bar", bar)
    publish.sync(results(experiment.places, ledger))
    assert sorted(experiment.runs()) == ["a" * 16, "b" * 16, "study:tiny"]


def test_publishing_opens_mlflow_once_and_links_to_it(ledger, experiment, monkeypatch, capsys):
    opened, real = [], Connection.client
    monkeypatch.setattr(Connection, "client", lambda one: opened.append(one.uri) or real(one))
    remember(experiment.places, ALL)
    path = publish.publish(results(experiment.places, ledger))
    assert len(opened) == 1
    assert f"experiment {experiment.id}; <code>breakeven ui</code> serves it" in path.read_text()
    assert sorted(experiment.runs()) == [*ALL, "study:tiny"]
    written, drawing = path.stat().st_mtime_ns, "  report: writing tables, drawing pictures\n"
    assert drawing in capsys.readouterr().out
    publish.publish(results(experiment.places, ledger))
    assert path.stat().st_mtime_ns == written, "nothing has changed, so the report is kept"
    assert drawing not in capsys.readouterr().out


@pytest.mark.slow
def test_a_report_that_is_kept_says_the_same_and_needs_no_statistics(ledger, experiment, capsys):
    """In a process of its own; a file that was damaged is made anew."""
    trials = [record(f"{name}{seed}", seed, strategy=name) for seed in (1, 2) for name in ("scratch", "finetune")]
    ledger.write(trials)
    members = [*ALL, *(one["record"] for one in trials)]
    remember(experiment.places, members)
    path = publish.publish(results(experiment.places, ledger.refresh(), members))
    said = capsys.readouterr().out.partition("runs/s")[2].partition("\n")[2]
    seen, written = experiment.seen(), path.stat().st_mtime_ns
    again = f"""
import sys
from pathlib import Path
from breakeven.publish import publish
from breakeven.results import load
publish(load("tiny", Path({str(experiment.places.root)!r})))
print(sorted({{"matplotlib", "scipy.stats", "sklearn", "torch"}} & sys.modules.keys()))
"""
    asked = subprocess.run([sys.executable, "-c", again], capture_output=True, text=True, check=True).stdout
    assert asked == f"{said}[]\n" and "no finished pretraining" in said
    assert experiment.seen() == seen and path.stat().st_mtime_ns == written
    kept = experiment.places.folder / "report.json"
    kept.write_text(kept.read_text()[:-20])
    publish.publish(results(experiment.places, ledger, members))
    drawn = f"  report: writing tables, drawing pictures\n{said}"
    assert capsys.readouterr().out == drawn and path.stat().st_mtime_ns > written
    kept.write_text(json.dumps({**json.loads(kept.read_text()), "lines": 5}))
    publish.publish(results(experiment.places, ledger, members))
    assert capsys.readouterr().out == drawn
    path.with_name("gains.csv").unlink()
    publish.publish(results(experiment.places, ledger, members))
    assert path.with_name("gains.csv").exists() and capsys.readouterr().out == drawn


def test_a_report_is_made_anew_where_scores_come_later(ledger, experiment, capsys):
    """As from the machine where the study ran: with them intervals hold the test sample as it is, not its bound."""
    members, kept = [*ALL, "t1"], Responses(ledger.folder, "scores")
    scores = {"signal": np.linspace(-1, 2, 40), "background": np.linspace(-2, 1, 40)}
    ledger.write([record("t1", scores=kept.write("t1", scores), scored_events="e", test_events=80)])
    away = kept.folder.rename(kept.folder.with_name("elsewhere"))
    remember(experiment.places, members)
    path = publish.publish(results(experiment.places, ledger.refresh(), members))
    without = path.stat().st_mtime_ns
    away.rename(kept.folder)
    publish.publish(results(experiment.places, ledger, members))
    with_scores = path.stat().st_mtime_ns
    kept.write("t2", scores)
    publish.publish(results(experiment.places, ledger, members))
    assert without < with_scores == path.stat().st_mtime_ns, "those of another study's trial are none of its own"


def test_a_study_is_published_while_mlflow_is_down(ledger, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    places = Places(tmp_path, "tiny")
    places.folder.mkdir()
    remember(places, ALL)
    assert "not reached when this page was made" in publish.publish(results(places, ledger)).read_text()
    assert capsys.readouterr().out.count("warning MLflow: http://127.0.0.1:9 does not take") == 1


def test_a_study_outlives_mlflow(ledger, leases, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with publish.tracked(STUDY, Places(tmp_path, "tiny"), ledger, leases) as tracker:
        tracker.recorded(["a" * 16])
        tracker.recorded(["b" * 16])
    said = capsys.readouterr().out
    assert said.count("warning MLflow: http://127.0.0.1:9 does not take") == 1
    assert "breakeven track tiny" in said


def test_a_fault_in_tracking_is_not_swallowed(ledger, leases, experiment, monkeypatch):
    def faulty(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(publish.Tracker, "record", faulty)
    with pytest.raises(ZeroDivisionError), publish.tracked(STUDY, experiment.places, ledger, leases) as tracker:
        tracker.recorded(["a" * 16])


def test_the_report_of_an_older_study_prints_its_own_dataset_and_not_the_newest(tmp_path):
    places, recipe, ledger = Places(tmp_path, "tiny"), small_recipe("WH"), Ledger(Places(tmp_path, "tiny").ledger)
    atomic.write_text(places.folder / "command.txt", "a command")
    for shard in range(2):
        store.make_shard(recipe, places.datasets, shard)
    older, newer = (store.complete(recipe, places.datasets, shards) for shards in (1, 2))
    ledger.write([_generation_record("WH", older), _generation_record("WH", newer)])
    for dataset in (older, newer):
        facts = StudyResults(STUDY, places, ledger.refresh(), (dataset.hash,)).facts
        assert facts["datasets"]["WH"] == dataset.manifest and facts["datasets"]["WH"]["events"] == dataset.n_events


def record(name, seed=1, **fields):
    """A trial as a worker writes it: without the figures that it does not have."""
    row = {key: value for key, value in trial(name, seed, **fields).items() if value is not None and value == value}
    return row | {key: int(row[key]) for key in ("size", "seed", "epochs")}


def remember(places: Places, members: list[str]) -> None:
    """What a study leaves behind of itself, besides its records."""
    (places.folder / "study.json").write_text(json.dumps(dataclasses.asdict(STUDY)))
    (places.folder / "records.json").write_text(json.dumps(members))
    (places.folder / "command.txt").write_text("python studies/scaling.py")
    places.report.mkdir()
    (places.report / "report.md").write_text("# a report")


def test_a_view_rebuilt_by_command_equals_the_one_written_beside_the_study(
    ledger, leases, experiment, empty_database, tmp_path
):
    """Failed tries that finished later, a stopped search trial and cells of several packs among them."""
    members = ["a" * 16, "b" * 16, "t1", "t2", "t3", "s1"]
    later = {"started": "2026-03-01T11:00:00.000+00:00", "ended": "2026-03-01T11:00:40.000+00:00"}
    failed = record("t1", outcome="failed", reason="ValueError: no", test_accuracy=None, curve=None)
    stopped = record("s1", seed=9, strategy="finetune", phase="search", outcome="stopped", test_accuracy=None)
    with publish.tracked(STUDY, experiment.places, ledger, leases) as tracker:
        for tried in (failed, record("t3", 3, **later), record("t2", 2), stopped, record("t1", **later)):
            ledger.write([tried])
            tracker.recorded(["a" * 16, "b" * 16, tried["record"]])
    remember(experiment.places, members)
    assert publish.sync(results(experiment.places, ledger.refresh(), members)) <= 1

    uri = Path(shutil.copy(empty_database, tmp_path / "later.db"))
    run.track_again("tiny", tmp_path, f"sqlite:///{uri}")
    rebuilt = Experiment(uri, "tiny")
    assert rebuilt.seen() == experiment.seen()
    assert set(members) < rebuilt.runs().keys()
    assert "artifact.report.md" in rebuilt.runs()["study:tiny"].data.tags
    run.track_again("tiny", tmp_path, f"sqlite:///{uri}")
    assert rebuilt.seen() == experiment.seen()


def test_a_report_is_made_anew_where_anything_that_it_says_may_differ():
    rows, facts = pd.DataFrame([trial("t1"), trial("t2", 2)]), {"study": "tiny", "git_commit": "abc", "seeds": (1, 2)}
    accounts = pd.DataFrame({"stage": ["finetuning"], "idle": [1.0]})
    key = publish._report_key(rows, facts, ["t1"], accounts)
    assert key == publish._report_key(rows.copy(), dict(facts), ["t1"], accounts.copy())
    assert key == publish._report_key(rows.iloc[::-1], facts, ["t1"], accounts), "the order of records says nothing"
    others = [
        publish._report_key(rows.iloc[:1], facts, ["t1"], accounts),
        publish._report_key(rows.assign(wasted_seconds=1.0), facts, ["t1"], accounts),
        publish._report_key(rows, facts | {"git_commit": "def"}, ["t1"], accounts),
        publish._report_key(rows, facts, ["t1"], accounts.assign(idle=2.0)),
        publish._report_key(rows, facts, ["t1", "t2"], accounts),
    ]
    assert len({key, *others}) == 6


DRIVER = """
import sys
from pathlib import Path
from breakeven import publish
from breakeven.places import Places
from breakeven.ledger.lease import Leases
from breakeven.ledger.ledger import Ledger
from breakeven.stages.generation import _generation_record
from breakeven.results import StudyResults
from breakeven.study.spec import Study
places, study = Places(Path(sys.argv[1]), "tiny"), Study(name="tiny")
ledger = Ledger(places.ledger).refresh()
members = [record["record"] for record in ledger.records()]
print("ready", flush=True)
sys.stdin.readline()
with Leases(places.ledger) as leases, publish.tracked(study, places, ledger, leases) as tracker:
    for name in members:
        tracker.recorded([name])
publish.sync(StudyResults(study, places, ledger, tuple(members)))
"""
RECORDS = [f"{number:016x}" for number in range(60)]


class Driver:
    """A process that writes the records of the study to MLflow, beside it and after it."""

    def __init__(self, runs: Path) -> None:
        words = [sys.executable, "-u", "-c", DRIVER, runs]
        self.process = subprocess.Popen(words, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.hears("ready")

    def hears(self, words: str) -> None:
        while words not in (line := self.process.stdout.readline()):
            assert line, f"it ended before it said {words}"

    def start(self) -> None:
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def ends(self) -> int:
        self.process.communicate()
        return self.process.returncode


@pytest.fixture
def drivers(tmp_path) -> Iterator[list[Driver]]:
    """Two drivers of one study, sixty trials of which are in the ledger; there is no MLflow yet."""
    places = Places(tmp_path, "tiny")
    places.folder.mkdir()
    Ledger(places.ledger).write([record(name, seed) for seed, name in enumerate(RECORDS)])
    started = [Driver(tmp_path), Driver(tmp_path)]
    yield started
    for driver in started:
        driver.process.kill()
        driver.process.communicate()


def count(database: Path, condition: str) -> int:
    """Runs for which a condition holds."""
    if not database.exists():
        return 0
    with closing(sqlite3.connect(database, timeout=60)) as connection:
        return connection.execute(f"select count(*) from runs where {condition}").fetchone()[0]


def until(database: Path, runs: int) -> None:
    while count(database, "status = 'FINISHED'") < runs:
        time.sleep(0.02)


def assert_each_once(tmp_path: Path) -> None:
    experiment = Experiment(tmp_path / "mlflow.db", "tiny")
    assert set(RECORDS) < experiment.runs().keys(), "and no record has two"
    assert {run.info.status for run in experiment.runs().values()} == {"FINISHED"}
    assert count(experiment.database, "lifecycle_stage = 'deleted'") == 0


@pytest.mark.slow
def test_two_drivers_that_start_on_nothing_write_each_run_once(drivers, tmp_path):
    for driver in drivers:
        driver.start()
    assert [driver.ends() for driver in drivers] == [0, 0]
    assert_each_once(tmp_path)


@pytest.mark.slow
def test_a_driver_that_stands_still_keeps_its_half_written_run(drivers, tmp_path):
    first, second = drivers
    first.start()
    until(tmp_path / "mlflow.db", 5)
    os.kill(first.process.pid, signal.SIGSTOP)
    second.start()
    second.hears("another driver writes tiny")
    os.kill(first.process.pid, signal.SIGCONT)
    assert [first.ends(), second.ends()] == [0, 0]
    assert_each_once(tmp_path)


@pytest.mark.slow
def test_what_a_killed_driver_did_not_write_the_other_writes(drivers, tmp_path):
    first, second = drivers
    first.start()
    until(tmp_path / "mlflow.db", 5)
    os.kill(first.process.pid, signal.SIGSTOP)  # else it may be through with all before the second looks
    second.start()
    second.hears("another driver writes tiny")
    os.kill(first.process.pid, signal.SIGKILL)
    first.process.wait()
    assert second.ends() == 0
    assert_each_once(tmp_path)
