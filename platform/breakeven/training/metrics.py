"""Accuracy and area under the ROC curve, both as fractions. Never sees a model.

A score that is not finite makes both NaN. An area needs both kinds of events: where there is only one it is NaN,
and an average over classes or labels takes those that have both (NaN if none has).
"""

import math

import numpy as np
from sklearn.metrics import roc_auc_score
from torch import Tensor


def binary_metrics(scores: Tensor, target: Tensor) -> dict[str, float]:
    """scores: [n] signal probabilities, target: [n] 0 or 1. Accuracy is at the threshold 0.5."""
    score, truth = _numpy(scores), _numpy(target)
    return _unless_not_finite(score, float(np.mean((score >= 0.5) == (truth > 0.5))), _area(score, truth > 0.5))


def multiclass_metrics(scores: Tensor, target: Tensor) -> dict[str, float]:
    """scores: [n, n_classes], target: [n] class numbers. Accuracy of the highest score; AUC one against the rest,
    averaged over classes with equal weight.
    """
    score, truth = _numpy(scores), _numpy(target)
    areas = [_area(score[:, k], truth == k) for k in range(score.shape[1])]
    return _unless_not_finite(score, float(np.mean(score.argmax(1) == truth)), _mean(areas))


def multilabel_metrics(scores: Tensor, target: Tensor, n_regression: int) -> dict[str, float]:
    """scores, target: [n, n_labels], the first `n_regression` of which are regressions and do not count here.

    Accuracy and AUC of each binary label, averaged over labels with equal weight.
    """
    score, truth = _numpy(scores)[:, n_regression:], _numpy(target)[:, n_regression:] > 0.5
    areas = [_area(score[:, k], truth[:, k]) for k in range(score.shape[1])]
    return _unless_not_finite(score, float(np.mean((score >= 0.5) == truth)), _mean(areas))


def _area(score: np.ndarray, positive: np.ndarray) -> float:
    if positive.all() or not positive.any() or not np.isfinite(score).all():
        return math.nan
    return float(roc_auc_score(positive, score))


def _mean(values: list[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


def _unless_not_finite(score: np.ndarray, accuracy: float, auc: float) -> dict[str, float]:
    finite = bool(np.isfinite(score).all())
    return {"accuracy": accuracy if finite else math.nan, "auc": auc if finite else math.nan}


def _numpy(values: Tensor) -> np.ndarray:
    return values.detach().cpu().numpy()
