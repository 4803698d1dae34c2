"""A beat goes on until it is stopped, and its last call ends before `stop` returns."""

import threading

from breakeven.beat import Beat


def test_it_beats_until_it_is_stopped() -> None:
    thrice, beats = threading.Event(), []

    def do() -> None:
        beats.append(threading.current_thread().name)
        if len(beats) == 3:
            thrice.set()

    beat = Beat(0.001, do, "a heart")
    assert not beat.stopped and thrice.wait(60)
    beat.stop()
    n = len(beats)
    assert beat.stopped and n >= 3 and set(beats) == {"a heart"}
    beat.stop()  # nothing more to do
    assert len(beats) == n


def test_a_call_under_way_comes_to_its_end() -> None:
    begun, go_on, done = threading.Event(), threading.Event(), []

    def do() -> None:
        begun.set()
        go_on.wait(60)
        done.append(True)

    beat = Beat(0.001, do, "slow")
    assert begun.wait(60)
    threading.Timer(0.05, go_on.set).start()
    beat.stop()
    assert done == [True]
