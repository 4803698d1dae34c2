"""What observers are told, and what the terminal and the heartbeat make of it."""

import pytest
from formula_study import STUDY, begin, work

from breakeven.ledger.lease import Leases
from breakeven.observer import Observer, Observers, Work
from breakeven.stages.heartbeat import Heartbeat
from breakeven.views.screen import Screen
from breakeven.views.tally import Tally


class Log(Observer):
    def __init__(self, name: str, log: list[str]) -> None:
        self.name, self.log = name, log

    def began(self, work: Work) -> None:
        self.log.append(f"{self.name} began {work.title}")

    def recorded(self, names) -> None:
        self.log.append(f"{self.name} recorded {len(names)}")

    def ended(self) -> None:
        self.log.append(f"{self.name} ended")


def test_all_are_told_in_their_order_and_of_the_end_whatever_happens() -> None:
    log: list[str] = []
    observers = Observers(Log("a", log), Observers(Log("b", log)))
    with pytest.raises(ZeroDivisionError), observers.watch(Work("finetuning", 3, "trials")):
        observers.advanced(1, "nobody listens")
        observers.recorded(["x", "y"])
        raise ZeroDivisionError
    assert log == ["a began finetuning", "b began finetuning", "a recorded 2", "b recorded 2", "a ended", "b ended"]


def test_the_heartbeat_says_what_a_driver_is_at(tmp_path) -> None:
    leases = Leases(tmp_path)
    observers = Observers(Heartbeat(leases))
    with observers.watch(Work("multiclass pretraining", 1500, "epochs", done=1)):
        assert leases.doing == "multiclass pretraining"
        observers.advanced(1199, "loss 0.5")
        assert leases.doing == "multiclass pretraining, 1,200 of 1,500 epochs"
    assert leases.doing == "multiclass pretraining done"
    with observers.watch(Work("finetuning", None, "trials")):
        observers.advanced(7, "")
        assert leases.doing == "finetuning, 7 trials"


def test_a_log_shows_bars_and_the_board(tmp_path, capsys) -> None:
    queue = begin(tmp_path)
    tally = Tally(STUDY, queue.ledger)
    screen = Observers(tally, Screen(tally))
    with screen.watch(Work("generation", 100, "events", done=40)):
        screen.advanced(60, "WH")
    with screen.watch(Work("multiclass pretraining", 6, "epochs", done=6)):
        pass
    screen.recorded(["backbone", "unknown to the ledger"])
    queue.observer = screen
    with screen.watch(Work("finetuning", queue.total, "trials", queue.done, lambda: "2 with other drivers")):
        work(tmp_path, queue)
    with screen.watch(Work("finetuning", queue.total, "trials", queue.done)):
        pass
    first, second, board, last = capsys.readouterr().out.splitlines()
    assert first.startswith("  generation: 100 of 100 events") and first.endswith("WH")
    assert second == "  multiclass pretraining: all 6 epochs are there already"
    assert board.startswith("  trials: 32 of 32, 8 of 8 cells") and "2 with other drivers" in board
    assert "cpu-hours: 0.0300 useful" in board  # of 60 s of the backbone and 48 s of reported trials
    assert last == "  finetuning: all 32 trials are there already"
