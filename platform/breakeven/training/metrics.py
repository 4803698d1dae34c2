"""Accuracy, area under the ROC curve, and points of that curve. Fractions and ratios of fractions; never sees a model.

A score that is not finite makes both NaN. An area needs both kinds of events: where there is only one it is NaN,
and an average over classes or labels takes those that have both (NaN if none has).
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from sklearn.metrics import roc_auc_score, roc_curve
from torch import Tensor

Area = Callable[[np.ndarray, np.ndarray], float]
"""(scores [n], which events are positive [n] bool) -> the area under the ROC curve, where there are both kinds."""
SIGNAL_EFFICIENCIES = (0.5, 0.7, 0.9)
"""Signal efficiencies at which the background rejection is taken."""
LEAST_BACKGROUND = 10
"""Background events that must pass a threshold for its efficiency to count: ten have a statistical error of 30 %."""


def area_of_curve(score: np.ndarray, positive: np.ndarray) -> float:
    """The area under the ROC curve, as scikit-learn sums it."""
    return float(roc_auc_score(positive, score))


def area_of_ranks(score: np.ndarray, positive: np.ndarray) -> float:
    """The same from ranks, ties sharing theirs (Mann and Whitney): equal but for the last digits, in a twentieth of the time.

    For packs on a GPU, whose epochs are shorter than scikit-learn's checks of its arguments.
    """
    in_order = np.sort(score)
    ranks = (np.searchsorted(in_order, score, "left") + np.searchsorted(in_order, score, "right") + 1) / 2
    n_positive = int(positive.sum())
    return float((ranks[positive].sum() - n_positive * (n_positive + 1) / 2) / (n_positive * (len(score) - n_positive)))


def binary_metrics(scores: Tensor, target: Tensor, *, area: Area = area_of_curve) -> dict[str, float]:
    """scores: [n] signal probabilities, target: [n] 0 or 1. Accuracy is at the threshold 0.5."""
    score, truth = _numpy(scores), _numpy(target) > 0.5
    return _accuracy_and_auc((score >= 0.5) == truth, score[:, None], truth[:, None], area)


def multiclass_metrics(scores: Tensor, target: Tensor, *, area: Area = area_of_curve) -> dict[str, float]:
    """scores: [n, n_classes], target: [n] class numbers. Accuracy of the highest score; AUC one against the rest,
    averaged over classes with equal weight.
    """
    score, truth = _numpy(scores), _numpy(target)
    return _accuracy_and_auc(score.argmax(1) == truth, score, truth[:, None] == np.arange(score.shape[1]), area)


def multilabel_metrics(
    scores: Tensor, target: Tensor, n_regression: int, *, area: Area = area_of_curve
) -> dict[str, float]:
    """scores, target: [n, n_labels], the first `n_regression` of which are regressions and do not count here.

    Accuracy and AUC of each binary label, averaged over labels with equal weight.
    """
    score, truth = _numpy(scores)[:, n_regression:], _numpy(target)[:, n_regression:] > 0.5
    return _accuracy_and_auc((score >= 0.5) == truth, score, truth, area)


def working_points(
    scores: Tensor, target: Tensor, efficiencies: Sequence[float] = SIGNAL_EFFICIENCIES
) -> dict[str, float]:
    """What an analysis gets out of a binary classifier: background rejections and the significance improvement.

    scores: [n] signal probabilities, target: [n] 0 or 1. rejection_50, _70, _90, by `efficiencies`: 1 / background efficiency at
    the highest threshold that keeps at least this percentage of the signal (tied scores pass together).
    significance_improvement: the largest signal efficiency / sqrt(background efficiency) over all thresholds, 1 being
    no cut at all (arXiv 1010.3698). A threshold that fewer than LEAST_BACKGROUND background events pass has no
    figure, as its efficiency would be the noise of a few events; a figure that no threshold has is left out.
    """
    score, truth = _numpy(scores), _numpy(target) > 0.5
    n_background = int((~truth).sum())
    if truth.all() or not truth.any() or not np.isfinite(score).all():
        return {}
    background, signal, _ = roc_curve(truth, score, drop_intermediate=False)
    counts = background * n_background > LEAST_BACKGROUND - 0.5
    points = {}
    for efficiency in efficiencies:
        first = int(np.argmax(signal >= efficiency - 1e-12))
        if counts[first]:
            points[f"rejection_{round(100 * efficiency)}"] = float(1.0 / background[first])
    if counts.any():
        points["significance_improvement"] = float(np.max(signal[counts] / np.sqrt(background[counts])))
    return points


def _accuracy_and_auc(right: np.ndarray, score: np.ndarray, positive: np.ndarray, area: Area) -> dict[str, float]:
    """score, positive: [n, n_columns]; the area is the mean over those columns that have both kinds of events."""
    if not np.isfinite(score).all():
        return {"accuracy": math.nan, "auc": math.nan}
    both = [k for k in range(score.shape[1]) if positive[:, k].any() and not positive[:, k].all()]
    areas = [area(score[:, k], positive[:, k]) for k in both]
    return {"accuracy": float(np.mean(right)), "auc": sum(areas) / len(areas) if areas else math.nan}


def _numpy(values: Tensor) -> np.ndarray:
    return values.detach().cpu().numpy()
