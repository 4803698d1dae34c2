from pathlib import Path

import numpy as np
from matplotlib.image import imread

from breakeven.analysis import accuracy, plots


def fill(ledger, tasks=("stop_vs_ttH", "WH_vs_ZH")) -> None:
    for task in tasks:
        for size in (100, 1000):
            for seed in (1, 2):
                ledger.trial(task, "scratch", size, seed, 0.6 + seed / 50)
                ledger.trial(task, "finetune", size, seed, 0.7 + seed / 50)
                ledger.trial(task, "frozen", size, seed, 0.5 + seed / 50, pretraining="multilabel")


def test_the_picture_is_drawn_in_every_format_and_is_not_blank(ledger, tmp_path: Path) -> None:
    fill(ledger)
    paths = plots.accuracy_against_size(ledger.frame(), tmp_path / "new")
    assert [path.name for path in paths] == ["accuracy.png", "accuracy.svg", "accuracy.pdf"]
    pixels = imread(paths[0])[..., :3]
    assert pixels.shape[1] > 800 and np.ptp(pixels) > 0.5
    text = paths[1].read_text()
    for words in (
        "stop vs ttH",
        "WH vs ZH",
        "from scratch",
        "multiclass, finetuned",
        "multilabel, frozen",
        "published",
    ):
        assert words in text


def test_lines_show_the_tables_means_and_spreads(ledger) -> None:
    fill(ledger, tasks=("stop_vs_ttH",))
    cells = accuracy.cells(ledger.frame())
    figure = plots._draw(cells[cells["n"] > 0])
    bars = figure.axes[0].containers
    assert len(bars) == 3
    assert bars[0].lines[0].get_ydata().tolist() == [63.0, 63.0]
    [spread] = {round(segment[1][1] - segment[0][1], 6) for segment in bars[0].lines[2][0].get_segments()}
    assert spread == round(2 * 2 / np.sqrt(2), 6)


def test_the_same_ledger_gives_the_same_bytes(ledger, tmp_path: Path) -> None:
    fill(ledger, tasks=("stop_vs_ttH",))
    first = [path.read_bytes() for path in plots.accuracy_against_size(ledger.frame(), tmp_path)]
    assert [path.read_bytes() for path in plots.accuracy_against_size(ledger.frame(), tmp_path)] == first


def test_one_seed_a_task_of_ones_own_and_an_unknown_pretraining_can_be_drawn(ledger, tmp_path: Path) -> None:
    ledger.trial("mine", "scratch", 100, 1, 0.7)
    ledger.trial("mine", "finetune", 100, 1, 0.8, pretraining="jets")
    [path] = plots.accuracy_against_size(ledger.frame(), tmp_path, formats=("svg",))
    assert "jets, finetuned" in path.read_text() and "published" not in path.read_text()


def test_nothing_confirmed_draws_nothing(ledger, tmp_path: Path) -> None:
    ledger.trial("stop_vs_ttH", "finetune", 100, 1_000_001, 0.7, phase="search")
    assert plots.accuracy_against_size(ledger.frame(), tmp_path / "none") == []
    assert not (tmp_path / "none").exists()
