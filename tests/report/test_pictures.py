from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.image import imread

from breakeven.report import accuracy_plots, pictures
from breakeven.report.plot import Bars, Panel, Plot, Series
from breakeven.report.results import Results


def accuracy_plot(frame) -> Plot:
    return accuracy_plots.accuracy_plot(Results(frame, {"datasets": {}}))


def drawn(plot: Plot, words: str = "accuracy"):
    return pictures.draw(plot, words, plot.variants[words])


def fill(ledger, tasks=("stop_vs_ttH", "WH_vs_ZH")) -> None:
    for task in tasks:
        for size in (100, 1000):
            for seed in (1, 2):
                ledger.trial(task, "scratch", size, seed, 0.6 + seed / 50)
                ledger.trial(task, "finetune", size, seed, 0.7 + seed / 50)
                ledger.trial(task, "frozen", size, seed, 0.5 + seed / 50, pretraining="multilabel")


def test_the_picture_is_drawn_in_both_formats_and_is_not_blank(ledger, tmp_path: Path) -> None:
    fill(ledger)
    paths = pictures.write_pictures(accuracy_plot(ledger.frame()), tmp_path)
    assert [path.name for path in paths] == ["accuracy.png", "accuracy.pdf"]
    pixels = imread(paths[0])[..., :3]
    assert pixels.shape[1] > 800 and np.ptp(pixels) > 0.5
    assert paths[1].read_bytes().startswith(b"%PDF")
    assert paths[1].read_bytes().count(b"/Type /Page ") == 2, "a page for accuracy, one for AUC"


def test_lines_show_the_tables_means_and_spreads(ledger) -> None:
    fill(ledger, tasks=("stop_vs_ttH",))
    bars = drawn(accuracy_plot(ledger.frame())).axes[0].containers
    assert len(bars) == 3
    assert bars[0].lines[0].get_ydata().tolist() == [63.0, 63.0]
    [spread] = {round(segment[1][1] - segment[0][1], 6) for segment in bars[0].lines[2][0].get_segments()}
    assert spread == round(2 * 2 / np.sqrt(2), 6)


def panel_of(frame):
    return drawn(accuracy_plot(frame)).axes[0]


@pytest.fixture(scope="module")
def whole_plot(whole_study) -> Plot:
    return accuracy_plot(whole_study)


def ticks(panel) -> list[str]:
    return [pictures._count(place, 0) for place in panel.xaxis.get_major_locator()()]


def published_at(panel) -> set[float]:
    hollow = [line for line in panel.lines if line.get_markerfacecolor() == "none"]
    return {float(place) for line in hollow for place in line.get_xdata()}


def test_a_whole_study_has_its_sizes_below_and_the_published_points_within_them(whole_plot, tmp_path: Path) -> None:
    panel = drawn(whole_plot).axes[0]
    assert ticks(panel) == ["100", "300", "1k"] and published_at(panel) == {1000.0}
    [path, _] = pictures.write_pictures(whole_plot, tmp_path)
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
    panel = panel_of(ledger.frame())
    assert published_at(panel) == published and ticks(panel) == labels


def test_one_panel_leaves_room_for_the_whole_legend(ledger) -> None:
    fill(ledger, tasks=("stop_vs_ttH",))
    figure = drawn(accuracy_plot(ledger.frame()))
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    legend = figure.legends[0].get_window_extent(canvas.get_renderer())
    panel = figure.axes[0].get_window_extent(canvas.get_renderer())
    assert legend.x0 > panel.x1 and legend.x1 <= figure.bbox.x1


def test_the_same_figures_keep_their_pictures_and_others_replace_them(ledger, tmp_path: Path) -> None:
    fill(ledger, tasks=("stop_vs_ttH",))
    plot = accuracy_plot(ledger.frame())
    paths = pictures.write_pictures(plot, tmp_path)
    first, made = [path.read_bytes() for path in paths], [path.stat().st_ino for path in paths]
    pictures.write_pictures(plot, tmp_path)
    assert [path.stat().st_ino for path in paths] == made, "not drawn again"
    paths[1].unlink()
    pictures.write_pictures(plot, tmp_path)
    assert [path.read_bytes() for path in paths] == first, "the same plot gives the same bytes"
    ledger.trial("stop_vs_ttH", "scratch", 100, 3, 0.9)
    pictures.write_pictures(accuracy_plot(ledger.frame()), tmp_path)
    assert [path.read_bytes() for path in paths] != first


def test_one_seed_a_task_of_ones_own_and_an_unknown_pretraining_can_be_drawn(ledger) -> None:
    ledger.trial("mine", "scratch", 100, 1, 0.7)
    ledger.trial("mine", "finetune", 100, 1, 0.8, pretraining="jets")
    words = [text.get_text() for text in drawn(accuracy_plot(ledger.frame())).legends[0].get_texts()]
    assert words == ["from scratch", "jets, finetuned"]


def test_bars_bounds_curves_and_remarks_can_be_drawn_on_logarithms(tmp_path: Path) -> None:
    nan = float("nan")
    bound = Series("b", "multiclass", "finetune", (100.0,), (3.0,), (3.0,), (3.0,), "above")
    curve = Series("c", "none", "scratch", (1.0, 10.0, 100.0), (3.0, 2.0, 1.0), (nan,) * 3, (nan,) * 3, "curve", 10.0)
    panels = (
        Panel("bound alone", "x", "y", (bound,), y_log=True),
        Panel(
            "forecast", "x", "y", (curve,), y_log=True, references=((2.0, "here"),), remark="no law: " + "word " * 40
        ),
        Panel("hours", "h", "", bars=(Bars("useful", ("a", "b"), (1.0, 2.0)), Bars("idle", ("a", "b"), (1.0, 0.0)))),
    )
    plot = Plot("all", "t", "c", {"": panels})
    assert [path.name for path in pictures.write_pictures(plot, tmp_path)] == ["all.png", "all.pdf"]
    lines = drawn(plot, "").axes[1].lines
    assert lines[0].get_xdata().tolist() == [1.0, 10.0] and lines[1].get_xdata().tolist() == [10.0, 100.0]


def test_nothing_confirmed_draws_nothing(ledger, tmp_path: Path) -> None:
    ledger.trial("stop_vs_ttH", "finetune", 100, 1_000_001, 0.7, phase="search")
    assert pictures.write_pictures(accuracy_plot(ledger.frame()), tmp_path / "none") == []
    assert not (tmp_path / "none").exists()
