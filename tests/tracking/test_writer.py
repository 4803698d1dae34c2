"""The thread beside a study, on a real MLflow: what it writes, what it leaves to others, how it ends."""

import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd
import pytest
from tracking.studies import Experiment, trial

from breakeven.tracking import Tracker, TrackingUnavailable, Writer, writer

RECORDS = [f"t{number}" for number in range(40)]


def rows(names: Sequence[str]) -> pd.DataFrame:
    known = [trial(name, RECORDS.index(name)) for name in names if name in RECORDS]
    return pd.DataFrame(known, columns=list(trial("any")))


def writing(experiment: Experiment, lost: Callable[[Exception], None] = lambda error: None, **parts: Any) -> Writer:
    return Writer(**{"connect": experiment.open, "frame": rows, "ours": lambda: True, "lost": lost, **parts})


def wait_for(thread: Writer) -> None:
    while thread.left:
        threading.Event().wait(0.01)


def written(experiment: Experiment) -> set[str]:
    return {record for record in experiment.runs() if record in RECORDS}


def test_what_is_named_is_written_once(experiment: Experiment) -> None:
    with writing(experiment) as thread:
        thread.recorded(RECORDS[:3])
        thread.recorded([*RECORDS[:4], "unknown to the ledger"])
        wait_for(thread)
    assert written(experiment) == set(RECORDS[:4])


def test_a_slow_mlflow_holds_no_records(experiment: Experiment) -> None:
    """The frames of what waits are not made before their turn, and none is kept."""
    gate, frames = threading.Event(), []

    def made(names: Sequence[str]) -> pd.DataFrame:
        chosen = rows(names)
        frames.append(weakref.ref(chosen))
        return chosen

    with writing(experiment, frame=made, ours=gate.wait) as thread:
        for name in RECORDS[:8]:
            thread.recorded([name])
        assert thread.left == 8 and not frames
        gate.set()
        wait_for(thread)
    assert len(frames) >= 8 and not any(chosen() is not None for chosen in frames)


def test_an_interrupt_ends_it_at_the_record_that_it_is_at(experiment: Experiment) -> None:
    thread = writing(experiment)
    asked = 0

    def ours() -> bool:
        nonlocal asked
        asked += 1
        if asked == 3:  # the first was for opening MLflow
            thread._end.set()
        return True

    thread._ours = ours
    with pytest.raises(KeyboardInterrupt), thread:
        thread.recorded(RECORDS)
        thread._end.wait()
        raise KeyboardInterrupt
    assert written(experiment) == set(RECORDS[:2])
    runs = experiment.runs()
    assert {runs[record].info.status for record in RECORDS[:2]} == {"FINISHED"}
    assert experiment.sync(rows(RECORDS)) == len(RECORDS) - 2


def test_only_who_is_to_write_writes_and_looks_anew_after_another_did(experiment: Experiment) -> None:
    mine = threading.Event()
    with writing(experiment, ours=mine.is_set) as thread:
        thread.recorded(RECORDS[:2])
        wait_for(thread)
        experiment.sync(rows(RECORDS[:3]))
        mine.set()
        thread.recorded(RECORDS[2:5])
        wait_for(thread)
    assert written(experiment) == set(RECORDS[:5])


def test_an_mlflow_that_comes_back_is_written_to_again(experiment: Experiment, monkeypatch) -> None:
    said: list[Exception] = []
    answers = [False, False, True]

    def connect() -> Tracker:
        if not answers.pop(0):
            raise TrackingUnavailable("down")
        return experiment.open()

    monkeypatch.setattr(writer, "AGAIN_SECONDS", 0.0)
    with writing(experiment, said.append, connect=connect) as thread:
        thread.recorded(RECORDS[:3])
        wait_for(thread)
    assert [str(error) for error in said] == ["down"], "told once"
    assert written(experiment) == set(RECORDS[1:3])
    assert experiment.sync(rows(RECORDS[:3])) == 1


def test_an_mlflow_that_is_down_is_left_in_peace_for_a_while(experiment: Experiment) -> None:
    tries = []

    def connect() -> Tracker:
        tries.append(1)
        raise TrackingUnavailable("down")

    with writing(experiment, connect=connect) as thread:
        thread.recorded(RECORDS)
        wait_for(thread)
    assert len(tries) == 1
