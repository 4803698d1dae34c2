"""The live view in a terminal that is one (a pseudo-terminal of its own), and in a log."""

import fcntl
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import threading
from types import SimpleNamespace

import pytest

from breakeven import terminal
from breakeven.observer import Work
from breakeven.views.screen import Screen

WORK = """
import itertools, sys, time
from breakeven.terminal import console, show_error, live
from breakeven.cli import _guarded

numbers = itertools.count()

def work():
    with live(lambda: f"board {next(numbers)}\\n" + 30 * "wide ", lambda: "line", redraws=20.0):
        console.print("[yellow]warning[/] a worker died")
        print("somebody else prints")
        PART

_guarded(work)
"""
SHOW_CURSOR, HIDE_CURSOR = "\x1b[?25h", "\x1b[?25l"


def in_a_terminal(part, until=None, keys=b"", columns=80, **environment):
    """Output and exit status of WORK in a terminal; `keys` are typed when `until` has been seen."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, columns))
    known = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES", "NO_COLOR")}
    process = subprocess.Popen(
        [sys.executable, "-c", WORK.replace("PART", part)], stdin=theirs, stdout=theirs, stderr=theirs,
        env={**known, "TERM": "xterm", **environment}, start_new_session=True, close_fds=True,
        preexec_fn=_take_the_terminal,
    )  # fmt: skip
    os.close(theirs)
    said = b""
    while True:
        try:
            more = os.read(ours, 4096)
        except OSError:  # the other side is closed
            break
        if not more:
            break
        said += more
        if keys and until is not None and re.search(until, said):
            os.write(ours, keys)
            keys = b""
    os.close(ours)
    return said.decode(), process.wait()


def _take_the_terminal():
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # heard even where these tests were started in the background


@pytest.mark.parametrize(
    ("unit", "paces"), [("epochs", ["", "13.0 s each  "]), ("events", ["68.0 s each  ", "31.3 s each  "])]
)
def test_the_pace_of_epochs_holds_no_start_of_their_stage(monkeypatch, capsys, unit, paces):
    """The first is heard of after 68 seconds, 55 of which it takes to start, and each other 13 seconds later."""
    now = [0.0]
    monkeypatch.setattr(terminal, "time", SimpleNamespace(monotonic=lambda: now[0]))
    screen = Screen(None)
    screen.began(Work("pretraining", 3, unit))
    for now[0] in (68.0, 81.0, 94.0):
        screen.advanced(1, "loss 0.5")
    screen.ended()
    assert capsys.readouterr().out.splitlines() == [
        f"  pretraining: {count} of 3 {unit}  {pace}loss 0.5" for count, pace in zip((1, 3), paces, strict=True)
    ]


def test_a_board_is_drawn_over_and_its_last_state_stays():
    said, status = in_a_terminal("time.sleep(0.5)")
    assert status == 0 and said.count("board") > 3
    assert "warning" in said and "somebody else prints" in said and "line" not in said
    last = max(map(int, re.findall(r"board (\d+)", said)))
    after = said[said.rindex(f"board {last}") :]
    assert after.rstrip().endswith(SHOW_CURSOR) and said.count(HIDE_CURSOR) == 1
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", said)
    assert max(map(len, re.split(r"[\r\n]+", shown))) <= 80  # no line runs on into the next


def test_ctrl_c_leaves_the_terminal_clean():
    said, status = in_a_terminal("time.sleep(600)", until=rb"board [3-9]", keys=b"\x03")
    assert status == 130 and "Traceback" not in said
    shown, after = said.rindex("board"), said.rindex(SHOW_CURSOR)
    assert shown < after < said.rindex("interrupted; nothing finished is lost")
    assert said.rindex(HIDE_CURSOR) < after


def test_an_error_leaves_the_terminal_clean():
    said, status = in_a_terminal("raise OSError(28, 'No space left on device', '/full')")
    assert status == 2 and "Traceback" not in said
    assert said.rindex(SHOW_CURSOR) < said.rindex("No space left on device")


def test_a_terminal_that_cannot_be_drawn_over():
    said, status = in_a_terminal("time.sleep(0.1)", TERM="dumb")
    assert status == 0 and "board" not in said and "\x1b" not in said and "  line" in said


def test_a_log_gets_a_line_where_something_changed(monkeypatch, capsys):
    monkeypatch.setattr(terminal, "LOG_SECONDS", 0.005)
    told, thrice = ["first"], threading.Event()
    asked = []

    def line():
        asked.append(told[0])
        if asked.count("second") >= 3:
            thrice.set()
        if told[0] == "first" and len(asked) >= 3:
            told[0] = "second"
        return told[0]

    with terminal.live(lambda: "board", line):
        assert thrice.wait(60)
        told[0] = "[last]"
    assert capsys.readouterr().out.splitlines() == ["  first", "  second", "  [last]"]


def test_a_log_ends_with_the_last_state_whatever_happens(capsys):
    with pytest.raises(ZeroDivisionError), terminal.live(lambda: "board", lambda: "where it stood"):
        raise ZeroDivisionError
    assert capsys.readouterr().out == "  where it stood\n"


def test_pages_are_as_wide_as_asked_for(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "30")
    terminal.show("word " * 40)
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 30
    monkeypatch.delenv("COLUMNS")
    terminal.show("word " * 40)
    assert 120 < max(map(len, capsys.readouterr().out.splitlines())) <= terminal.PAGE_WIDTH
