"""What any storage of the ledger must do. A test class inherits `LedgerContract` and provides the fixture `store`."""

import multiprocessing
import random
import signal
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from itertools import permutations
from typing import Protocol

import pytest

from breakeven.ledger import records
from breakeven.ledger.claim import last_try
from breakeven.ledger.ledger import Ledger, LedgerError, now

fork = multiprocessing.get_context("fork")


class Store(Protocol):
    """One place that a ledger keeps its records in, and how it may be harmed."""

    def open(self) -> Ledger:
        """A new view of it, as another process would have."""

    def cut(self, change: Callable[[bytes], bytes]) -> None:
        """Change the bytes of all that lies there."""

    def edit(self, old: str, new: str) -> None:
        """Change the text of the records that lie there, as somebody would who wants a better accuracy."""

    def full_disk(self) -> AbstractContextManager[None]:
        """While it lasts, no more than a few kilobytes can be written."""

    def rest(self) -> list[str]:
        """Names of all that lies there."""


def record(name: str, outcome: str = "finished", **more):
    body = {
        "level": "trial", "record": name, "outcome": outcome, "device": "cpu", "device_seconds": 2.0,
        "started": now(), "ended": now(), "validation_loss": 0.5, "metrics": {"test_accuracy": 0.75}, "curve": [{"epoch": 1}],
    }  # fmt: skip
    return {**body, **more}


def content(ledger: Ledger) -> dict[str, dict]:
    """All that a view says: the records and what each has wasted."""
    frame = ledger.refresh().frame()
    wasted = dict(zip(frame["record"], frame["wasted_seconds"].round(6), strict=True))
    return {found["record"]: {**found, "wasted in all": wasted[found["record"]]} for found in ledger.records()}


def in_processes(n: int, work: Callable[[int], None]) -> None:
    """Run `work(0)` to `work(n - 1)` at the same time, each in a process of its own; all must end well."""
    running = [fork.Process(target=work, args=(i,)) for i in range(n)]
    for process in running:
        process.start()
    for process in running:
        process.join(60)
    assert [process.exitcode for process in running] == [0] * n


class LedgerContract:
    # What is written is read.

    def test_a_record_is_read_back_whole_by_anyone(self, store):
        exact = {"size": 100, "ratio": 0.1 + 0.2, "identity": {"x": [1, 2.5, None, True]}, "reason": "ü\n\"'"}
        store.open().write([record("a", **exact), record("b", "failed", reason="loss is nan")])
        other = store.open().refresh()
        assert other.finished("a") and not other.finished("b") and other.get("c") is None
        assert other.get("b")["reason"] == "loss is nan"
        assert {key: other.get("a")[key] for key in exact} == exact
        frame = other.frame().set_index("record")
        assert frame.loc["a", "test_accuracy"] == 0.75 and frame.loc["a", "size"] == 100

    def test_writer_and_reader_see_the_same(self, store):
        writer = store.open()
        writer.write([record("a", seen=(1, 2))])
        assert content(writer) == content(store.open())

    def test_refresh_sees_what_others_wrote_since(self, store):
        mine = store.open().refresh()
        store.open().write([record("a")])
        assert mine.get("a") is None
        assert mine.refresh(certain=True).finished("a")

    def test_a_frame_keeps_the_order_asked_for_and_skips_the_unknown(self, store):
        empty = store.open().refresh().frame()
        ledger = store.open()
        ledger.write([record("a"), record("b"), record("c")])
        assert ledger.frame(["c", "nobody", "a"])["record"].tolist() == ["c", "a"]
        assert list(empty.columns) == list(ledger.frame().columns) and empty.empty

    # Several tries of one record.

    def test_a_finished_record_wins_over_a_failed_one_whatever_the_clocks_say(self, store):
        early, late = "1970-01-01T00:00:00.000+00:00", "2199-01-01T00:00:00.000+00:00"
        for number, ended in enumerate([(early, late), (late, early)]):
            for outcomes in (("failed", "finished"), ("finished", "failed")):
                name = f"{outcomes[0]}{number}"
                for outcome in outcomes:
                    store.open().write([record(name, outcome, ended=ended[outcome == "failed"])])
                assert store.open().refresh().finished(name)

    def test_work_done_twice_counts_as_waste(self, store):
        ledger, same = store.open(), record("a", wasted_seconds=1.0)
        for _ in range(3):
            ledger.write([same])  # to the last digit: it is still a repeat
        for view in (ledger, store.open().refresh()):
            frame = view.frame()
            assert len(frame) == 1 and frame["device_seconds"].item() == 2.0
            assert frame["wasted_seconds"].item() == pytest.approx(1.0 + 2 * 2.0)

    def test_what_failed_before_it_was_finished_counts_as_waste(self, store):
        store.open().write([record("a", "failed", device_seconds=5.0, wasted_seconds=3.0)])
        store.open().write([record("a", wasted_seconds=1.0)])
        assert store.open().refresh().frame()["wasted_seconds"].item() == pytest.approx(1.0 + 5.0 + 3.0)

    def test_the_order_of_reading_does_not_matter(self, store):
        tries = [record("a", host="1", device_seconds=1.0), record("a", host="2", device_seconds=4.0, ended="1999"),
                 record("a", "failed", host="3", device_seconds=16.0)]  # fmt: skip
        views = []
        for order in permutations(tries):
            view = store.open()  # never refreshed: it knows only what it writes
            for one in order:
                view.write([one])
            views.append((view.get("a")["host"], view.frame()["wasted_seconds"].item()))
        assert set(views) == {("2", 17.0)}

    # What must not be written.

    @pytest.mark.parametrize(
        ("more", "message"),
        [
            ({"test_auc": float("nan")}, "test_auc is nan"),
            ({"curve": [{"epoch": 0, "train_loss": float("inf")}]}, r"curve\[0\].train_loss is inf"),
            ({"identity": {"x": object()}}, "identity.x is a object"),
            ({"identity": {1: 2}}, "identity has the key 1"),
        ],
    )
    def test_what_has_no_exact_form_is_refused_before_anything_is_written(self, store, more, message):
        with pytest.raises(LedgerError, match=f"record a: .*{message}"):
            store.open().write([record("good"), record("a", **more)])
        assert store.rest() == []

    def test_a_record_without_its_fields_is_refused(self, store):
        with pytest.raises(LedgerError, match="'outcome'"):
            store.open().write([{key: value for key, value in record("a").items() if key != "outcome"}])
        with pytest.raises(LedgerError, match="no records"):
            store.open().write([])

    def test_a_full_disk_leaves_what_was_there_and_nothing_half(self, store):
        ledger = store.open()
        ledger.write([record("a")])
        large = [record("b", curve=[{"epoch": i, "noise": random.random()} for i in range(20_000)])]
        with store.full_disk():
            with pytest.raises(OSError, match="free or remount the disk"):
                ledger.write(large)
            before = store.rest()
            assert not ledger.finished("b") and len(before) == 1
        ledger.write(large)
        view = store.open().refresh()
        assert view.finished("a") and view.finished("b") and not view.problems

    # What was harmed later.

    @pytest.mark.parametrize("folded", [False, True])
    @pytest.mark.parametrize(
        ("damage", "why"),
        [
            (lambda store: store.cut(lambda data: data[: len(data) // 2]), "not used"),
            (lambda store: store.cut(lambda data: data[:-1]), "not used"),
            (lambda store: store.cut(lambda data: b""), "not used"),
            (lambda store: store.cut(lambda data: b"[{}]"), "not used"),
            (lambda store: store.edit("0.75", "0.95"), "changed after it was written"),
        ],
    )
    def test_what_was_cut_or_edited_is_told_and_its_trials_run_again(self, store, damage, why, folded):
        store.open().write([record("a")])
        if folded:
            store.open().compact()
        damage(store)
        before = store.rest()
        store.open().write([record("b")])
        view = store.open().refresh()
        assert view.get("a") is None and view.finished("b")
        [problem] = view.problems
        assert why in problem and "run again" in problem
        view.compact()
        assert set(before) <= set(store.rest())  # nobody tidies away what might be mended
        view.write([record("a")])
        assert store.open().refresh().finished("a")

    @pytest.mark.parametrize("folded", [False, True])
    def test_a_newer_schema_is_told_and_left_alone(self, store, monkeypatch, folded):
        monkeypatch.setattr(records, "VERSION", records.VERSION + 1)
        newer = store.open()
        newer.write([record("a")])
        if folded:
            newer.compact()
        monkeypatch.undo()
        before = store.rest()
        view = store.open()
        view.write([record("b")])
        view.refresh().compact()
        assert view.get("a") is None and view.finished("b") and set(before) <= set(store.rest())
        [problem] = view.problems
        assert f"ledger version {records.VERSION + 1}, this program reads {records.VERSION}: update" in problem

    # Folding many files into one.

    def test_folding_changes_nothing_that_is_read(self, store):
        ledger = store.open()
        assert ledger.compact() is None
        for i in range(12):
            ledger.write([record(f"r{i}", curve=[{"epoch": e, "loss": 1 / (e + 3)} for e in range(5)]), record("same")])
            if i % 5 == 4:
                ledger.compact()
        before = content(ledger)
        assert before == content(store.open()) and before["same"]["wasted in all"] == 11 * 2.0
        reader = store.open().refresh()
        ledger.compact()
        assert ledger.loose == 0 and ledger.compact() is None
        assert content(ledger) == content(reader) == content(store.open()) == before

    def test_a_full_disk_while_folding_loses_nothing(self, store):
        ledger = store.open()
        for i in range(40):
            ledger.write([record(f"r{i}", curve=[{"epoch": e, "noise": random.random()} for e in range(200)])])
        before, files = content(ledger), store.rest()
        with store.full_disk(), pytest.raises(OSError, match="free or remount the disk"):
            ledger.compact()
        assert store.rest() == files
        ledger.compact()
        assert content(store.open()) == before and len(store.rest()) == 1

    # Many at once.

    def test_writers_readers_and_folders_at_the_same_time(self, store):
        def work(i: int) -> None:
            dice = random.Random(i)
            ledger = store.open()
            for number in range(60):
                ledger.write([record(f"w{i}-{number}"), record("shared", device_seconds=1.0)])
                assert ledger.finished(f"w{i}-{number}")
                if dice.random() < 0.1:
                    ledger.compact()
                if dice.random() < 0.1:
                    seen = store.open().refresh()
                    # A reader that starts now sees all that this process has written, wherever it lies by now.
                    assert all(seen.finished(f"w{i}-{earlier}") for earlier in range(number + 1))
                    assert not seen.problems

        in_processes(4, work)
        found = content(store.open())
        assert len(found) == 4 * 60 + 1
        assert found["shared"]["wasted in all"] == 4 * 60 - 1.0

    def test_two_that_fold_the_same_files(self, store):
        first = store.open()
        for i in range(30):
            first.write([record(f"r{i}"), record("same")])
        before, ready = content(first), fork.Barrier(3)

        def work(_: int) -> None:
            ledger = store.open().refresh()
            ready.wait(30)
            ledger.compact()
            assert content(ledger) == before

        in_processes(3, work)
        assert content(store.open()) == before
        store.open().compact()
        assert content(store.open()) == before

    def test_a_claim_of_a_killed_worker_counts_as_waste(self, store):
        receive, send = fork.Pipe(duplex=False)

        def work() -> None:
            begun = time.process_time()
            with store.open().claim("a", share=10.0) as claim:
                while last_try(claim.path)[0] < 3.0:
                    sum(range(1000))
                send.send(time.process_time() - begun)
                signal.pause()

        worker = fork.Process(target=work)
        worker.start()
        spent = receive.recv()
        worker.kill()
        worker.join()
        with store.open().claim("a") as again:
            first = again.wasted_seconds
            assert 3.0 <= first < 10 * spent + 1.0
        with store.open().claim("a") as third:  # the second try ended without a record: its time is lost as well
            assert third.wasted_seconds >= first
            third.release()
        with store.open().claim("a") as fresh:
            assert fresh.wasted_seconds == 0.0
