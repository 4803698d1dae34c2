"""A Ray that does not come up, for real: it is told in a line, as any other lost cluster."""

import threading
from contextlib import suppress

import psutil
import pytest

from breakeven.distributed.session import session
from breakeven.errors import StageFailed

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]  # Ray's own warnings are not ours to mend


def kill_every_raylet(over: threading.Event) -> None:
    """kill -9 of each raylet that this process starts."""
    while not over.wait(0.01):
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                if process.name() == "raylet":
                    process.kill()


def test_a_node_that_does_not_come_up_is_told_in_a_line():
    over = threading.Event()
    killer = threading.Thread(target=kill_every_raylet, args=(over,))
    killer.start()
    try:
        with pytest.raises(StageFailed, match=r"^Ray did not start: .*start the same command again$"), session():
            pass
    finally:
        over.set()
        killer.join()
