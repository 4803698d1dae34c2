"""Metrics on cases small enough to count by hand, and where they are not defined."""

import math

import numpy as np
import pytest
import torch

from breakeven.training.metrics import (
    area_of_curve,
    area_of_ranks,
    binary_metrics,
    multiclass_metrics,
    multilabel_metrics,
    working_points,
)


def test_binary_counts_pairs_in_order_and_events_beyond_one_half() -> None:
    figures = binary_metrics(torch.tensor([0.9, 0.4, 0.6, 0.1]), torch.tensor([1.0, 1.0, 0.0, 0.0]))
    assert figures == {"accuracy": 0.5, "auc": 0.75}
    tied = binary_metrics(torch.tensor([0.5, 0.5]), torch.tensor([1.0, 0.0]))
    assert tied == {"accuracy": 0.5, "auc": 0.5}


def test_one_kind_of_event_has_an_accuracy_but_no_area() -> None:
    figures = binary_metrics(torch.tensor([0.9, 0.4]), torch.tensor([1.0, 1.0]))
    assert figures["accuracy"] == 0.5
    assert math.isnan(figures["auc"])


def test_multiclass_averages_the_classes_that_are_there() -> None:
    scores = torch.tensor([[0.6, 0.3, 0.1], [0.5, 0.4, 0.1], [0.2, 0.7, 0.1], [0.7, 0.2, 0.1]])
    figures = multiclass_metrics(scores, torch.tensor([0, 1, 1, 0]))
    assert figures == {"accuracy": 0.75, "auc": 1.0}


def test_multilabel_leaves_regressions_and_constant_labels_out_of_the_area() -> None:
    scores = torch.tensor([[9.0, 0.9, 0.2, 0.1], [9.0, 0.2, 0.3, 0.1], [9.0, 0.6, 0.9, 0.1]])
    target = torch.tensor([[1.0, 1.0, 0.0, 0.0], [2.0, 0.0, 1.0, 0.0], [3.0, 0.0, 1.0, 0.0]])
    figures = multilabel_metrics(scores, target, n_regression=1)
    assert math.isclose(figures["accuracy"], 7 / 9)
    assert figures["auc"] == 1.0


def test_scores_that_are_not_finite_give_nan_not_an_error() -> None:
    broken = torch.tensor([0.3, math.nan])
    for figures in (
        binary_metrics(broken, torch.tensor([0.0, 1.0])),
        multiclass_metrics(torch.stack([broken, broken], dim=1), torch.tensor([0, 1])),
        multilabel_metrics(torch.stack([broken, broken], dim=1), torch.tensor([[0.0, 1.0], [0.0, 0.0]]), 1),
    ):
        assert math.isnan(figures["accuracy"]) and math.isnan(figures["auc"])


def test_working_points_of_a_curve_counted_by_hand() -> None:
    """100 signal events at .005, .015 ... .995: half of them from .505 on; background denser below."""
    signal = torch.arange(100) / 100 + 0.005
    background = (torch.arange(100) / 100) ** 2
    figures = working_points(torch.cat([signal, background]), torch.cat([torch.ones(100), torch.zeros(100)]))
    for percent, cut in ((50, 0.505), (70, 0.305), (90, 0.105)):
        assert math.isclose(figures[f"rejection_{percent}"], 100 / int((background > cut).sum()))
    cuts = signal[[int((background >= cut).sum()) >= 10 for cut in signal]]
    best = max(float((signal >= c).sum()) / 100 / math.sqrt(float((background >= c).sum()) / 100) for c in cuts)
    assert math.isclose(figures["significance_improvement"], best, rel_tol=1e-6)


def test_working_points_that_a_few_events_decide_are_left_out() -> None:
    """Half of the signal lies above all but 9, or 10, of 1,000 background events."""
    for passing in (9, 10):
        background = torch.cat([torch.full((passing,), 0.95), torch.full((1000 - passing,), 0.2)])
        scores = torch.cat([torch.full((50,), 0.9), torch.full((50,), 0.1), background])
        figures = working_points(scores, torch.cat([torch.ones(100), torch.zeros(1000)]))
        assert ("rejection_50" in figures) == (passing == 10)
        assert figures["rejection_70"] == figures["rejection_90"] == 1.0
        assert math.isclose(figures["significance_improvement"], 0.5 / math.sqrt(0.01) if passing == 10 else 1.0)


def test_without_both_kinds_or_with_broken_scores_there_is_no_working_point() -> None:
    assert working_points(torch.tensor([0.9, 0.4]), torch.tensor([1.0, 1.0])) == {}
    assert working_points(torch.tensor([math.nan, 0.4]), torch.tensor([1.0, 0.0])) == {}


@pytest.mark.parametrize("digits", [1, 15])
def test_the_area_of_ranks_is_that_of_the_curve(digits: int) -> None:
    generator = np.random.default_rng(digits)
    for n in (2, 7, 500):
        score, positive = generator.random(n).round(digits), np.arange(n) % 3 == 0
        assert area_of_ranks(score, positive) == pytest.approx(area_of_curve(score, positive), rel=1e-12)
