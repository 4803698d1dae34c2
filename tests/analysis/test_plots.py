from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
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


def panel_of(ledger):
    cells = accuracy.cells(ledger.frame())
    return plots._draw(cells[cells["n"] > 0]).axes[0]


def ticks(panel) -> list[str]:
    return [plots._events(place, 0) for place in panel.xaxis.get_major_locator()()]


def published_at(panel) -> set[float]:
    hollow = [line for line in panel.lines if line.get_markerfacecolor() == "none"]
    return {float(place) for line in hollow for place in line.get_xdata()}


def test_a_whole_study_has_its_sizes_below_and_the_published_points_within_them(study, tmp_path: Path) -> None:
    panel = panel_of(study)
    assert ticks(panel) == ["100", "300", "1k"] and published_at(panel) == {1000.0}
    [path] = plots.accuracy_against_size(study.frame(), tmp_path, formats=("png",))
    pixels = (imread(path)[..., :3] * 255).round().astype(int)
    for colour in ((0x3C, 0x3C, 0x3C), (0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)):
        assert (pixels == colour).all(axis=-1).sum() > 1000, "each kind of line is there, in its colour"


@pytest.mark.parametrize(
    ("sizes", "published", "labels"),
    [
        ((100, 300), {1000.0}, ["100", "300", "1k"]),
        ((10, 30), set(), ["10", "30"]),
        ((1000, 10_000), {1000.0, 10_000.0}, ["1k", "10k"]),
    ],
)
def test_the_paper_stands_where_it_helps(ledger, sizes, published, labels) -> None:
    for size in sizes:
        ledger.trial("stop_vs_ttH", "scratch", size, 1, 0.7)
        ledger.trial("stop_vs_ttH", "finetune", size, 1, 0.8)
    panel = panel_of(ledger)
    assert published_at(panel) == published and ticks(panel) == labels


def test_one_panel_leaves_room_for_the_whole_legend(study) -> None:
    frame = study.frame()
    cells = accuracy.cells(frame[frame["task"].isin(["stop_vs_ttH", ""])])
    figure = plots._draw(cells[cells["n"] > 0])
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    legend = figure.legends[0].get_window_extent(canvas.get_renderer())
    panel = figure.axes[0].get_window_extent(canvas.get_renderer())
    assert legend.x0 > panel.x1 and legend.x1 <= figure.bbox.x1


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
