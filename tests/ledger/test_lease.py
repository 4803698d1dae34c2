"""Leases between real processes; "another machine" is a process that says so, so that its process number means nothing."""

import os
import signal
import time
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest
from ledger.ledger_contract import fork, in_processes

from breakeven.ledger import lease
from breakeven.ledger.lease import Leases

PATIENCE = 0.6


def leases(folder, patience=PATIENCE):
    return Leases(folder, beat_seconds=0.05, patience_seconds=patience)


@contextmanager
def other_driver(folder, names, machine=None):
    """A process that takes `names` and lives until it is killed; on another machine where one is given."""
    receive, send = fork.Pipe(duplex=False)

    def work():
        if machine is not None:
            lease.machine = lambda: machine
        with leases(folder) as theirs:
            send.send([theirs.take(name) for name in names])
            signal.pause()

    process = fork.Process(target=work)
    process.start()
    assert receive.recv() == [True] * len(names)
    yield process
    if process.is_alive():
        process.kill()
    process.join()


def until_taken(mine, name):
    """Try to take `name` until it can be taken."""
    while not mine.take(name):
        time.sleep(0.01)


@pytest.fixture
def clock(monkeypatch):
    """The monotonic clock by which heartbeats are watched, in seconds: it goes on when a test says so."""
    now = [100.0]
    watched = SimpleNamespace(monotonic=lambda: now[0], time=lambda: time.time(), sleep=time.sleep)
    monkeypatch.setattr(lease, "time", watched)
    return now


def wait_for_a_beat(folder, mine):
    """Wait until the heart of the other driver has beaten once more."""
    (heartbeat,) = (path for path in (folder / "drivers").iterdir() if path.name != mine.owner)
    before = heartbeat.read_bytes()
    while heartbeat.read_bytes() == before:
        time.sleep(0.01)


def taken_after_patience(mine, name, clock):
    """Whether `name` is left alone for as long as patience asks, and taken then."""
    clock[0] += 0.05  # a look, which may find a last beat
    early = mine.take(name)
    clock[0] += 0.8 * PATIENCE
    early = mine.take(name) or early
    clock[0] += 0.3 * PATIENCE
    return mine.take(name) and not early


def test_a_lease_is_taken_once_and_kept(tmp_path):
    with leases(tmp_path) as one, leases(tmp_path) as two:
        assert one.take("a") and one.take("a") and not two.take("a") and two.take("b") and not one.take("b")
        one.release("a")
        assert two.take("a")


def test_one_of_many_gets_it(tmp_path):
    ready, won = fork.Barrier(4), fork.Value("i", 0)

    def work(_):
        with leases(tmp_path) as mine:
            ready.wait(30)
            taken = sum(mine.take(str(i)) for i in range(100))
            with won.get_lock():
                won.value += taken
            ready.wait(30)  # nobody ends, and so gives up its leases, before all have tried

    in_processes(4, work)
    assert won.value == 100


def test_a_thousand_leases_have_one_heartbeat(tmp_path):
    with leases(tmp_path) as mine:
        assert all(mine.take(str(i)) for i in range(1000))
        assert len(os.listdir(tmp_path / "drivers")) == 1
        before = {path: path.stat().st_mtime_ns for path in (tmp_path / "leases").iterdir()}
        time.sleep(0.2)
        assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "leases").iterdir()}
        for i in range(1000):
            mine.release(str(i))
        assert not os.listdir(tmp_path / "leases")
    assert not os.listdir(tmp_path / "drivers")


def test_a_driver_that_ended_leaves_its_work_at_once(tmp_path):
    with leases(tmp_path) as one:
        assert one.take("a")
    with leases(tmp_path, patience=1000) as two:
        assert two.take("a")


def test_a_driver_that_stood_still_has_not_what_another_took_and_gave_back(tmp_path):
    with leases(tmp_path) as one, leases(tmp_path) as two, leases(tmp_path) as three:
        assert one.take("a")
        (tmp_path / "drivers" / one.owner).unlink()  # as if it had been silent for too long
        assert two.take("a")
        two.release("a")
        assert three.take("a")
        assert not one.take("a")
        one.release("a")  # nothing of its own to remove
        assert three.take("a") and not two.take("a")


def test_a_process_killed_on_this_machine_is_dead_at_once(tmp_path):
    with leases(tmp_path, patience=1000) as mine, other_driver(tmp_path, ["a"]) as process:
        assert not mine.take("a")
        process.kill()  # not waited for: a zombie is dead as well
        until_taken(mine, "a")  # patience alone would take longer than any test may


def test_a_process_number_used_again_is_another_process(tmp_path):
    with leases(tmp_path) as one:
        assert one.take("a")
        heartbeat = tmp_path / "drivers" / one.owner
        with leases(tmp_path, patience=1000) as two:
            assert not two.take("a")
            one._heart.stop()
            heartbeat.write_text(heartbeat.read_text().replace(lease._born(os.getpid()), "1"))
            time.sleep(two.beat_seconds)
            assert two.take("a")


def test_on_another_machine_only_a_heart_that_stands_still_is_dead(tmp_path, clock):
    with leases(tmp_path) as mine, other_driver(tmp_path, ["a"], machine="elsewhere") as process:
        for _ in range(5):
            assert not mine.take("a")
            wait_for_a_beat(tmp_path, mine)
            clock[0] += 2 * PATIENCE
        assert not mine.take("a")
        process.kill()
        process.join()
        assert taken_after_patience(mine, "a", clock)


@pytest.mark.parametrize("jump", [-1e6, 1e6])
def test_a_clock_that_jumps_takes_nothing_away_and_keeps_nothing(tmp_path, monkeypatch, clock, jump):
    true = time.time
    with leases(tmp_path) as mine, other_driver(tmp_path, ["a"], machine="elsewhere") as process:
        assert not mine.take("a")
        monkeypatch.setattr(time, "time", lambda: true() + jump)
        for path in (tmp_path / "drivers").iterdir():
            os.utime(path, (true() + jump, true() + jump))
        wait_for_a_beat(tmp_path, mine)
        clock[0] += 2 * PATIENCE
        assert not mine.take("a")
        process.kill()
        process.join()
        assert taken_after_patience(mine, "a", clock)


def test_one_of_many_takes_over(tmp_path):
    with other_driver(tmp_path, ["a"]) as process:
        process.kill()
    ready, won = fork.Barrier(4), fork.Value("i", 0)

    def work(_):
        with leases(tmp_path, patience=1000) as mine:
            ready.wait(30)
            if mine.take("a"):
                with won.get_lock():
                    won.value += 1
            ready.wait(30)

    in_processes(4, work)
    assert won.value == 1


def test_a_driver_that_slept_through_a_takeover_has_lost_the_lease(tmp_path, clock):
    with leases(tmp_path) as one, leases(tmp_path) as two:
        assert one.take("a") and not two.take("a")
        one._heart.stop()  # it stands still: stopped, or cut off from the disk
        assert taken_after_patience(two, "a", clock)
        assert not one.take("a")
        one.release("a")
        assert two.take("a") and len(os.listdir(tmp_path / "leases")) == 2  # the number of the first is not freed
        two.release("a")
        assert not os.listdir(tmp_path / "leases")


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"../../x", b"[]", b"x" * 300])
def test_a_lease_without_a_name_or_with_nonsense_is_given_time(tmp_path, clock, content):
    with leases(tmp_path) as mine:
        # Its driver was killed between two system calls, or will go on.
        (tmp_path / "leases" / "a.1").write_bytes(content)
        assert mine.held() and taken_after_patience(mine, "a", clock)


def test_folders_among_leases_and_heartbeats_are_none(tmp_path, clock):
    with leases(tmp_path) as mine:
        for folder in ("leases/a.1", "drivers/somebody"):
            (tmp_path / folder).mkdir()
        assert mine.held() and taken_after_patience(mine, "a", clock)
        mine.sweep(lambda name: True)
        mine.release("a")
        assert [driver.owner for driver in mine.drivers()] == [mine.owner] and mine.take("a")


def test_waiting_ends_when_the_work_is_done_or_left(tmp_path, monkeypatch):
    monkeypatch.setattr(lease, "_LOOK_SECONDS", 0.01)
    done = tmp_path / "done"
    with leases(tmp_path) as mine:
        assert mine.wait("a", done.exists) and mine.wait("a", done.exists)
        with other_driver(tmp_path, ["b", "c"]) as process:
            looks = iter([False, False, True])
            assert not mine.wait("b", lambda: next(looks))
            process.kill()
            assert mine.wait("c", done.exists)
        done.touch()
        assert not mine.wait("d", done.exists) and not (tmp_path / "leases" / "d.1").exists()


def test_what_the_killed_left_is_swept(tmp_path):
    with other_driver(tmp_path, ["done", "open"]) as process, leases(tmp_path) as mine:
        assert mine.take("mine")
        mine.sweep(lambda name: False)
        assert len(os.listdir(tmp_path / "drivers")) == 2
        process.kill()
        process.join()
        time.sleep(mine.beat_seconds)
        mine.sweep(lambda name: name in ("done", "mine"))
        assert os.listdir(tmp_path / "drivers") == [mine.owner]
        assert sorted(os.listdir(tmp_path / "leases")) == ["mine.1", "open.1"]
        assert mine.take("open")


def test_a_disk_that_takes_no_heartbeat_is_told(tmp_path, monkeypatch):
    with leases(tmp_path) as mine:

        def full(self):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(Leases, "_beat", full)
        assert mine.take("a")  # one late beat is nothing
        time.sleep(PATIENCE)
        with pytest.raises(OSError, match="No space left"):
            mine.take("b")
        assert mine._heart._thread.is_alive()


def test_what_drivers_are_at(tmp_path):
    with Leases(tmp_path, beat_seconds=0.02, study="mine") as one, leases(tmp_path) as two:
        one.doing = "pretraining, 3 of 15 epochs"
        two.doing = "x" * 5000  # never longer than a heartbeat
        one.take("a")
        watcher = Leases(tmp_path)
        while [driver.doing for driver in watcher.drivers() if driver.study] != [one.doing]:
            time.sleep(0.01)
        drivers = {driver.owner: driver for driver in watcher.drivers()}
        assert set(drivers) == {one.owner, two.owner} and all(driver.alive for driver in drivers.values())
        assert drivers[one.owner].study == "mine" and drivers[one.owner].pid == os.getpid()
        assert watcher.held() == {"a": one.owner}
        sizes = {path.stat().st_size for path in (tmp_path / "drivers").iterdir()}
        assert sizes == {1024}
    assert watcher.drivers() == []


def test_a_killed_driver_is_seen_as_dead(tmp_path):
    with other_driver(tmp_path, ["a"]) as process:
        (alive,) = Leases(tmp_path).drivers()
        assert alive.alive and alive.pid == process.pid
        process.kill()
        process.join()
        (dead,) = Leases(tmp_path).drivers()
        assert dead == replace(alive, alive=False, silent_seconds=dead.silent_seconds)
        assert Leases(tmp_path).held() == {"a": alive.owner}


def test_a_driver_of_another_machine_is_dead_when_its_heartbeat_is_old(tmp_path):
    with other_driver(tmp_path, ["a"], machine="another") as process:
        process.kill()
        process.join()
        (path,) = (tmp_path / "drivers").iterdir()
        (fresh,) = Leases(tmp_path).drivers()
        os.utime(path, (time.time() - 300, time.time() - 300))
        (old,) = Leases(tmp_path).drivers()
        assert fresh.alive and not old.alive and old.silent_seconds > 299


def test_what_lies_among_heartbeats(tmp_path):
    (tmp_path / "drivers").mkdir()
    for name, text in (
        ("empty", ""),
        ("cut", '{"pid": 1'),
        ("list", "[]"),
        ("nameless", "{}"),
        ("infinite", '{"pid": 1e999}'),
        ("deep", "[" * 100_000),
    ):
        (tmp_path / "drivers" / name).write_text(text)
    assert Leases(tmp_path).drivers() == [] and Leases(tmp_path / "nowhere").drivers() == []
    assert Leases(tmp_path / "nowhere").held() == {}
    with leases(tmp_path) as mine:
        assert mine.lives("deep"), "watched until it has stood still"
