"""What a study's progress looks like, at any width, with figures of any size."""

from dataclasses import replace

import pytest
from rich.console import Console

from breakeven.ledger.charge import Spent
from breakeven.views import board
from breakeven.views.progress import Standing

RECORD = {"outcome": "finished", "phase": "confirm", "strategy": "finetune", "seed": 3, "ratio": 0.1, "wall_seconds": 12.34,
          "cell": "stop_vs_ttH/multiclass/finetune/1000",
          "metrics": {"test_accuracy": 0.8512, "validation_accuracy": 0.9}}  # fmt: skip
STANDING = Standing(
    cells=45, cells_done=7, total=5000, done=1234, failed=2, stopped=0, rate=61.27,
    spent={"cpu": Spent(3600.0, 36.0, 0.0, 360.0), "cuda": Spent(7.2e6, 0.0, 3.6)}, work_seconds=9000.0, left_seconds=4500.0,
    how="", latest=(RECORD,),
)  # fmt: skip


def drawn(picture, width=140):
    console = Console(width=width, record=True, highlight=False, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(picture)
    console.file.close()
    return console.export_text()


def test_all_figures_are_there():
    page = drawn(board.picture(STANDING, ["16 at work"]))
    for words in ("1,234 of 5,000, about 1.2 h left", "7 of 45 cells, 61.3 trials per minute, 2 failed, 16 at work",
                  "cpu-hours: 1.00 useful, 0.100 wasted, 0.0100 search",
                  "gpu-hours: 2,000 useful, 0 wasted, 0.00100 search",
                  "stop_vs_ttH/multiclass/finetune/1000     3    0.1    85.1 %     12.3"):  # fmt: skip
        assert words in page, page


def test_the_same_in_one_line():
    line = board.line(STANDING, ["16 at work"])
    assert line == (
        "trials: 1,234 of 5,000, 7 of 45 cells, 61.3 trials per minute, 2 failed, 16 at work; cpu-hours: 1.00 useful, "
        "0.100 wasted, 0.0100 search; gpu-hours: 2,000 useful, 0 wasted, 0.00100 search; about 1.2 h left"
    )


@pytest.mark.parametrize("width", [20, 40, 80, 140, 300])
def test_it_fits_any_width(width):
    page = drawn(board.picture(STANDING), width)
    assert max(map(len, page.splitlines())) <= width
    letters = "".join(page.split())
    assert "wasted" in letters and "7of45cells" in letters
    assert width < 40 or "1,234of5,000,about1.2hleft" in letters
    assert width < 60 or "stop_vs_ttH/multiclass" in letters


@pytest.mark.parametrize(
    ("facts", "shown"),
    [
        ({}, "85.1 %"),
        ({"phase": "search", "metrics": {"validation_accuracy": 0.9}}, "(90.0 %)"),
        ({"outcome": "failed", "metrics": {}}, "failed"),
        ({"outcome": "stopped", "phase": "search", "metrics": {}}, "pruned"),
        ({"metrics": {"test_accuracy": None}}, " - "),
    ],
)
def test_what_came_of_a_trial(facts, shown):
    row = drawn(board.last_results([{**RECORD, **facts}])).splitlines()[1]
    assert shown in row and ("search" in row) == (facts.get("phase") == "search")


def test_a_ratio_only_where_there_is_one():
    """From scratch as finetuned; that in a record of trees is a constant."""
    for strategy, shown in (("finetune", " 0.1 "), ("scratch", " 0.1 "), ("trees", " - "), ("frozen", " - ")):
        assert shown in drawn(board.last_results([{**RECORD, "strategy": strategy}])).splitlines()[1]


def test_time_left_in_words():
    assert board.left_text(STANDING) == "about 1.2 h left"
    assert board.left_text(replace(STANDING, left_seconds=None)) == "about 2.5 h of one worker left"
    assert board.left_text(replace(STANDING, done=5000)) == "all done"
    assert "pruned" not in board.line(STANDING) and "3 pruned" in board.line(replace(STANDING, stopped=3))


def test_the_last_failure_is_told():
    failed = replace(STANDING, failure="a/b/c/100 seed 3: NonFinite: the loss is [nan] " + 100 * "x ")
    for page in (drawn(board.picture(failed)), board.line(failed)):
        shown = " ".join(page.split())
        assert (
            "last failure: a/b/c/100 seed 3: NonFinite: the loss is [nan] x x x" in shown
            and 50 < shown.count("x") < 100
        )
    assert "last failure" not in board.line(STANDING)


def test_nothing_yet():
    page = drawn(board.picture(replace(STANDING, total=0, done=0, spent={}, latest=())))
    assert "0 of 0, all done" in page and "last results" not in page
