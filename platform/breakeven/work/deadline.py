"""A time limit for a piece of work in a worker process, even for one that never comes back from a call.

Four guards, each for what the one before it cannot stop: the work asks between epochs; an alarm interrupts Python code;
a thread ends the process when a call into a library hangs; and a timer of the interpreter's does so when even threads
stand still. It never knows what the work is.
"""

import faulthandler
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

Check = Callable[[], None]
"""Raises OutOfTime when the limit has passed."""


class OutOfTime(Exception):
    """The work took longer than it may."""


@contextmanager
def deadline(seconds: float, on_timeout: Callable[[OutOfTime], object]) -> Iterator[Check]:
    """Raise OutOfTime in the body `seconds` after it began; 0 is no limit. Gives a function that the body may call.

    on_timeout: called, from another thread, where the body cannot be interrupted, before this process is ended.
    Outside the main thread there is no alarm, and a body that never calls the function meets the last guards only.
    """
    if not seconds:
        yield lambda: None
        return
    end = time.monotonic() + seconds
    error = OutOfTime(f"not done after {seconds:g} s (finetuning.trial-seconds)")
    over, asked = threading.Event(), threading.Event()
    grace = min(max(seconds / 4, 2.0), 30.0)

    def check() -> None:
        if time.monotonic() > end:
            asked.set()
            raise error

    def ring(number: int, frame: FrameType | None) -> None:
        # An alarm that rings while the error of `check` is on its way would break off what restores the process.
        if not (over.is_set() or asked.is_set()):
            raise error

    def end_process() -> None:
        if not over.wait(seconds + grace):
            on_timeout(error)
            os._exit(1)

    guard = threading.Thread(target=end_process, daemon=True, name="deadline")
    alarmed = threading.current_thread() is threading.main_thread()
    guard.start()
    faulthandler.dump_traceback_later(seconds + 2 * grace, exit=True, file=sys.__stderr__ or 2)
    if alarmed:
        before = signal.signal(signal.SIGALRM, ring)
        # Again each second: an exception is lost where it rings inside a callback of a library or a finaliser.
        timer = signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
    try:
        yield check
    finally:
        over.set()
        if alarmed:
            signal.setitimer(signal.ITIMER_REAL, *timer)
            signal.signal(signal.SIGALRM, before)
        faulthandler.cancel_dump_traceback_later()
        guard.join()
