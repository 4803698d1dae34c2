import json
import os
import signal
import subprocess
import sys
import time

import pytest

from breakeven.study.ledger import Ledger, LedgerError, now


def record(name: str, outcome: str = "finished", **more):
    body = {
        "level": "trial", "record": name, "outcome": outcome, "device": "cpu", "device_seconds": 2.0,
        "started": now(), "ended": now(), "validation_loss": 0.5, "test_accuracy": 0.75, "curve": [{"epoch": 1}],
    }  # fmt: skip
    return {**body, **more}


def test_a_record_is_read_back_whole_by_anyone(tmp_path):
    Ledger(tmp_path).write([record("a", size=100), record("b", "failed", reason="loss is nan")])
    other = Ledger(tmp_path).refresh()
    assert other.finished("a") and not other.finished("b") and other.get("c") is None
    assert other.get("b")["reason"] == "loss is nan"
    frame = other.frame()
    assert frame.set_index("record").loc["a", "test_accuracy"] == 0.75
    assert frame.set_index("record").loc["a", "size"] == 100


def test_refresh_sees_what_others_wrote_since(tmp_path):
    mine, theirs = Ledger(tmp_path).refresh(), Ledger(tmp_path)
    theirs.write([record("a")])
    assert mine.get("a") is None
    assert mine.refresh().finished("a")


def test_a_finished_record_wins_over_a_failed_one(tmp_path):
    for outcomes in (("failed", "finished"), ("finished", "failed")):
        ledger = Ledger(tmp_path / outcomes[0])
        for outcome in outcomes:
            ledger.write([record("a", outcome)])
        assert ledger.finished("a")
        assert Ledger(tmp_path / outcomes[0]).refresh().finished("a")


def test_work_done_twice_counts_as_waste(tmp_path):
    ledger = Ledger(tmp_path)
    for _ in range(3):
        ledger.write([record("a", wasted_seconds=1.0)])
    frame = ledger.frame()
    assert len(frame) == 1
    assert frame["device_seconds"].item() == 2.0 and frame["wasted_seconds"].item() == pytest.approx(1.0 + 2 * 2.0)


def test_frame_keeps_the_order_asked_for_and_skips_the_unknown(tmp_path):
    ledger = Ledger(tmp_path)
    ledger.write([record("a"), record("b"), record("c")])
    assert ledger.frame(["c", "nobody", "a"])["record"].tolist() == ["c", "a"]
    assert list(Ledger(tmp_path / "empty").refresh().frame().columns) == list(ledger.frame().columns)


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda text: text[:-20], "not used"),
        (lambda text: text.replace("0.75", "0.95"), "was changed after it was written"),
        (lambda text: text.replace('"ledger": 1', '"ledger": 2'), "ledger version 2, this program reads 1"),
        (lambda text: "[{}]", "not used"),
    ],
)
def test_a_damaged_file_is_told_and_its_trials_run_again(tmp_path, damage, why):
    path = Ledger(tmp_path).write([record("a")])
    path.write_text(damage(path.read_text()))
    Ledger(tmp_path).write([record("b")])
    ledger = Ledger(tmp_path).refresh()
    assert ledger.get("a") is None and ledger.finished("b")
    assert len(ledger.problems) == 1 and path.name in ledger.problems[0] and why in ledger.problems[0]


def test_nan_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(LedgerError, match="test_auc is nan"):
        Ledger(tmp_path).write([record("a", test_auc=float("nan"))])
    assert not list(tmp_path.rglob("*.json"))


def test_a_record_without_its_fields_is_refused(tmp_path):
    with pytest.raises(LedgerError, match="'outcome'"):
        Ledger(tmp_path).write([{key: value for key, value in record("a").items() if key != "outcome"}])


def test_a_claim_of_a_killed_worker_counts_as_waste(tmp_path):
    script = f"""
import time
from pathlib import Path
from breakeven.study.ledger import Ledger
with Ledger(Path({str(tmp_path)!r})).claim("a"):
    print("begun", flush=True)
    while True: sum(range(10000))
"""
    worker = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert worker.stdout is not None and worker.stdout.readline() == b"begun\n"
    claim = tmp_path / "claims" / "a.json"
    until = time.monotonic() + 30
    while json.loads(claim.read_text())["device_seconds"] < 0.5 and time.monotonic() < until:
        time.sleep(0.1)
    os.kill(worker.pid, signal.SIGKILL)
    worker.communicate()
    with Ledger(tmp_path).claim("a") as again:
        assert again.wasted_seconds >= 0.5
        again.release()
    assert not claim.exists()
    with Ledger(tmp_path).claim("a") as fresh:
        assert fresh.wasted_seconds == 0.0
