"""What a training minimises, and how outputs are read: multiclass, multilabel, binary, and that with weights.

Losses are sums over events, so that workers can add theirs; the loop divides by the number of events.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from breakeven.training import metrics

N_REGRESSION_LABELS = 5
"""Multiplicities among the 41 labels, the first columns (arXiv 2412.10665 section III.3.2); the rest is binary."""

_LEAST = 1e-6
"""Least probability of a constant output."""


@dataclass(frozen=True)
class Objective:
    """prepare: checks and converts targets.  loss: (outputs [n, n_outputs], prepared targets, "sum") -> sum over events,
    and with "none" for each event [n], for batches of which some events do not count.
    scores: outputs -> probabilities (and regressions).  constant: prepared targets -> the outputs [n_outputs] that are best
    for one who does not look at the events.  metrics: (scores, prepared targets, area=how) -> accuracy and auc.
    """

    name: str
    n_outputs: int
    prepare: Callable[[Tensor], Tensor]
    loss: Callable[[Tensor, Tensor, str], Tensor]
    scores: Callable[[Tensor], Tensor]
    constant: Callable[[Tensor], Tensor]
    metrics: Callable[..., dict[str, float]]

    def loss_sum(self, outputs: Tensor, target: Tensor) -> Tensor:
        """The loss summed over events."""
        return self.loss(outputs, target, "sum")

    def losses(self, outputs: Tensor, target: Tensor) -> Tensor:
        """The loss of each event [n]."""
        return self.loss(outputs, target, "none")

    def constant_loss(self, target: Tensor) -> float:
        """The least mean loss of one output for all events, the loss of a network that has learnt nothing."""
        outputs = self.constant(target).double().expand(len(target), self.n_outputs)
        return float(self.loss_sum(outputs, target)) / len(target)


def named_objective(name: str, n_outputs: int) -> Objective:
    """The objective `name` for a model with `n_outputs`; raises ValueError on an unknown name or a wrong number."""
    if name == "binary":
        return binary(n_outputs)
    if name == "multiclass":
        return multiclass(n_outputs)
    if name == "multilabel":
        return multilabel(n_outputs)
    if name == "weighted":
        return weighted(n_outputs)
    raise ValueError(f"objective is {name!r}; choose multiclass, multilabel, binary or weighted")


def quality(
    objective: Objective, outputs: Tensor, target: Tensor, area: metrics.Area = metrics.area_of_curve
) -> dict[str, float]:
    """loss (mean over events), accuracy and auc of `outputs` [n, n_outputs] against prepared targets."""
    loss = float(objective.loss_sum(outputs.double(), target)) / len(target)
    return {"loss": loss} | objective.metrics(objective.scores(outputs), target, area=area)


def binary(n_outputs: int = 1) -> Objective:
    """Signal against background: cross-entropy of one logit; targets [n] are 1 for signal and 0 for background."""
    if n_outputs != 1:
        raise ValueError(f"the binary objective needs a model with 1 output, this one has {n_outputs}")

    return Objective(
        "binary", 1, _zeros_and_ones, _binary_loss, _binary_scores, _share_of_signal, metrics.binary_metrics
    )


def weighted(n_outputs: int = 1) -> Objective:
    """As binary, each event's loss times its weight: targets [n, 2], label and weight, or labels [n], which weigh one each."""
    like = binary(n_outputs)
    return replace(
        like,
        name="weighted",
        prepare=_labels_and_weights,
        loss=_weighted_loss,
        constant=_weighted_share,
        metrics=_of_labels,
    )


def balanced(signal: Tensor) -> Tensor:
    """Labels [n], 1 for signal, with weights by which both classes count alike and an event one on average: [n, 2]."""
    share = signal.mean()
    return torch.stack([signal, 0.5 / torch.where(signal > 0.5, share, 1.0 - share)], dim=1)


def multiclass(n_outputs: int) -> Objective:
    """Which process: cross-entropy over classes; targets [n] are class numbers."""
    if n_outputs < 2:
        raise ValueError(f"the multiclass objective needs at least 2 outputs, this model has {n_outputs}")
    return Objective(
        "multiclass",
        n_outputs,
        partial(_class_numbers, n_classes=n_outputs),
        _multiclass_loss,
        _multiclass_scores,
        partial(_shares_of_classes, n_classes=n_outputs),
        metrics.multiclass_metrics,
    )


def multilabel(n_outputs: int) -> Objective:
    """Truth labels: squared error of the first N_REGRESSION_LABELS, binary cross-entropy of the others, equal weights.

    The loss of an event is the average over all labels (arXiv 2412.10665 section III.3.2).
    """
    if n_outputs <= N_REGRESSION_LABELS:
        raise ValueError(
            f"the multilabel objective has {N_REGRESSION_LABELS} regressions and at least one binary label, "
            f"this model has {n_outputs} outputs"
        )
    prepare = partial(_labels, n_labels=n_outputs)
    measure = partial(metrics.multilabel_metrics, n_regression=N_REGRESSION_LABELS)
    return Objective("multilabel", n_outputs, prepare, _multilabel_loss, _multilabel_scores, _means_of_labels, measure)


def _binary_loss(outputs: Tensor, target: Tensor, reduction: str) -> Tensor:
    return functional.binary_cross_entropy_with_logits(outputs[:, 0], target.to(outputs.dtype), reduction=reduction)


def _binary_scores(outputs: Tensor) -> Tensor:
    return torch.sigmoid(outputs[:, 0])


def _weighted_loss(outputs: Tensor, target: Tensor, reduction: str) -> Tensor:
    each = _binary_loss(outputs, target[:, 0], "none") * target[:, 1].to(outputs.dtype)
    return each.sum() if reduction == "sum" else each


def _of_labels(scores: Tensor, target: Tensor, area: metrics.Area) -> dict[str, float]:
    return metrics.binary_metrics(scores, target[:, 0], area=area)


def _multiclass_loss(outputs: Tensor, target: Tensor, reduction: str) -> Tensor:
    return functional.cross_entropy(outputs, target, reduction=reduction)


def _multiclass_scores(outputs: Tensor) -> Tensor:
    return torch.softmax(outputs, dim=1)


def _multilabel_loss(outputs: Tensor, target: Tensor, reduction: str) -> Tensor:
    target = target.to(outputs.dtype)
    squares = (outputs[:, :N_REGRESSION_LABELS] - target[:, :N_REGRESSION_LABELS]).square()
    entropies = functional.binary_cross_entropy_with_logits(
        outputs[:, N_REGRESSION_LABELS:], target[:, N_REGRESSION_LABELS:], reduction="none"
    )
    over = None if reduction == "sum" else 1
    return (squares.sum(over) + entropies.sum(over)) / outputs.shape[1]


def _multilabel_scores(outputs: Tensor) -> Tensor:
    return torch.cat([outputs[:, :N_REGRESSION_LABELS], torch.sigmoid(outputs[:, N_REGRESSION_LABELS:])], dim=1)


def _share_of_signal(target: Tensor) -> Tensor:
    return target.double().mean().logit(_LEAST)[None]


def _weighted_share(target: Tensor) -> Tensor:
    label, weight = target.double().unbind(1)
    return ((label * weight).sum() / weight.sum()).logit(_LEAST)[None]


def _shares_of_classes(target: Tensor, n_classes: int) -> Tensor:
    return (torch.bincount(target, minlength=n_classes).double() / len(target)).clamp(min=_LEAST).log()


def _means_of_labels(target: Tensor) -> Tensor:
    means = target.double().mean(0)
    return torch.cat([means[:N_REGRESSION_LABELS], means[N_REGRESSION_LABELS:].logit(_LEAST)])


def _zeros_and_ones(target: Tensor) -> Tensor:
    if target.ndim != 1 or not bool(((target == 0) | (target == 1)).all()):
        raise ValueError(f"binary targets are zeros and ones [n]; these are {_describe(target)}")
    return target.to(torch.float32)


def _labels_and_weights(target: Tensor) -> Tensor:
    if target.ndim == 1:
        return torch.stack([_zeros_and_ones(target), torch.ones_like(target, dtype=torch.float32)], dim=1)
    if target.ndim != 2 or target.shape[1] != 2 or not bool(((target[:, 1] > 0) & target[:, 1].isfinite()).all()):
        raise ValueError(f"weighted targets are [n, 2], labels and weights above zero; these are {_describe(target)}")
    return torch.stack([_zeros_and_ones(target[:, 0]), target[:, 1].to(torch.float32)], dim=1)


def _class_numbers(target: Tensor, n_classes: int) -> Tensor:
    if target.ndim != 1 or target.is_floating_point() or not bool(((target >= 0) & (target < n_classes)).all()):
        raise ValueError(
            f"multiclass targets are whole numbers [n] from 0 to {n_classes - 1}; these are {_describe(target)}"
        )
    return target.to(torch.int64)


def _labels(target: Tensor, n_labels: int) -> Tensor:
    if target.ndim != 2 or target.shape[1] != n_labels:
        raise ValueError(f"multilabel targets are [n, {n_labels}]; these are {_describe(target)}")
    flags = target[:, N_REGRESSION_LABELS:]
    if not bool(((flags == 0) | (flags == 1)).all()) or not bool(torch.isfinite(target).all()):
        raise ValueError(
            f"labels {N_REGRESSION_LABELS} to {n_labels - 1} are zeros and ones and the others finite; "
            f"these are {_describe(target)}"
        )
    return target.to(torch.float32)


def _describe(target: Tensor) -> str:
    limits = f", from {target.min().item()} to {target.max().item()}" if target.numel() else ""
    return f"{str(target.dtype).removeprefix('torch.')} {list(target.shape)}{limits}"
