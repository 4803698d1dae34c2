"""Metrics on cases small enough to count by hand, and where they are not defined."""

import math

import torch

from breakeven.training.metrics import binary_metrics, multiclass_metrics, multilabel_metrics


def test_binary_counts_pairs_in_order_and_events_beyond_one_half() -> None:
    found = binary_metrics(torch.tensor([0.9, 0.4, 0.6, 0.1]), torch.tensor([1.0, 1.0, 0.0, 0.0]))
    assert found == {"accuracy": 0.5, "auc": 0.75}
    tied = binary_metrics(torch.tensor([0.5, 0.5]), torch.tensor([1.0, 0.0]))
    assert tied == {"accuracy": 0.5, "auc": 0.5}


def test_one_kind_of_event_has_an_accuracy_but_no_area() -> None:
    found = binary_metrics(torch.tensor([0.9, 0.4]), torch.tensor([1.0, 1.0]))
    assert found["accuracy"] == 0.5
    assert math.isnan(found["auc"])


def test_multiclass_averages_the_classes_that_are_there() -> None:
    scores = torch.tensor([[0.6, 0.3, 0.1], [0.5, 0.4, 0.1], [0.2, 0.7, 0.1], [0.7, 0.2, 0.1]])
    found = multiclass_metrics(scores, torch.tensor([0, 1, 1, 0]))
    assert found == {"accuracy": 0.75, "auc": 1.0}


def test_multilabel_leaves_regressions_and_constant_labels_out_of_the_area() -> None:
    scores = torch.tensor([[9.0, 0.9, 0.2, 0.1], [9.0, 0.2, 0.3, 0.1], [9.0, 0.6, 0.9, 0.1]])
    target = torch.tensor([[1.0, 1.0, 0.0, 0.0], [2.0, 0.0, 1.0, 0.0], [3.0, 0.0, 1.0, 0.0]])
    found = multilabel_metrics(scores, target, n_regression=1)
    assert math.isclose(found["accuracy"], 7 / 9)
    assert found["auc"] == 1.0


def test_scores_that_are_not_finite_give_nan_not_an_error() -> None:
    broken = torch.tensor([0.3, math.nan])
    for found in (
        binary_metrics(broken, torch.tensor([0.0, 1.0])),
        multiclass_metrics(torch.stack([broken, broken], dim=1), torch.tensor([0, 1])),
        multilabel_metrics(torch.stack([broken, broken], dim=1), torch.tensor([[0.0, 1.0], [0.0, 0.0]]), 1),
    ):
        assert math.isnan(found["accuracy"]) and math.isnan(found["auc"])
