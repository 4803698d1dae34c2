"""Losses and scores against the formulas written out, and targets that make no sense."""

import math

import pytest
import torch

from breakeven.physics.truth import LABEL_NAMES, N_MULTIPLICITIES
from breakeven.training import objectives
from breakeven.training.metrics import area_of_curve
from breakeven.training.objectives import (
    N_REGRESSION_LABELS,
    balanced,
    binary,
    multiclass,
    multilabel,
    named_objective,
    weighted,
)


def test_binary_loss_and_scores() -> None:
    outputs, target = torch.tensor([[0.0], [2.0], [-1.0]]), binary().prepare(torch.tensor([1, 0, 0]))
    expected = math.log(2.0) + math.log1p(math.exp(2.0)) + math.log1p(math.exp(-1.0))
    assert float(binary().loss_sum(outputs, target)) == pytest.approx(expected, rel=1e-6)
    torch.testing.assert_close(binary().scores(outputs), torch.tensor([0.5, 1 / (1 + math.exp(-2)), 1 / (1 + math.e)]))


def test_weights_are_the_published_ones_of_a_natural_mixture_but_for_a_factor() -> None:
    """BCEWithLogitsLoss(pos_weight=background / signal), as the code of arXiv 2401.13536 has it."""
    target, outputs = (torch.arange(50) < 4).float(), torch.randn(50, 1, generator=torch.Generator().manual_seed(0))
    objective, counted = weighted(), balanced(target)
    published = torch.nn.functional.binary_cross_entropy_with_logits(
        outputs[:, 0], target, pos_weight=torch.tensor(46 / 4), reduction="sum"
    )
    found = objective.loss_sum(outputs, objective.prepare(counted))
    torch.testing.assert_close(found * 2 * 46 / 50, published)
    assert float(counted[:, 1].mean()) == pytest.approx(1.0) and objective.constant_loss(counted) == pytest.approx(
        math.log(2)
    )
    plain = objective.prepare(target)
    torch.testing.assert_close(objective.loss_sum(outputs, plain), binary().loss_sum(outputs, target))
    scores = objective.scores(outputs)
    assert objective.metrics(scores, counted, area=area_of_curve) == binary().metrics(scores, target)


def test_multiclass_loss_is_minus_the_log_of_the_score() -> None:
    objective = multiclass(3)
    outputs, target = torch.tensor([[1.0, 2.0, 0.5], [0.0, 0.0, 3.0]]), objective.prepare(torch.tensor([1, 0]))
    scores = objective.scores(outputs)
    torch.testing.assert_close(scores.sum(1), torch.ones(2))
    expected = -(scores[0, 1].log() + scores[1, 0].log())
    torch.testing.assert_close(objective.loss_sum(outputs, target), expected)


def test_multilabel_weighs_all_labels_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objectives, "N_REGRESSION_LABELS", 1)
    objective = multilabel(4)
    outputs = torch.tensor([[2.0, 0.0, 1.0, -1.0], [0.0, 0.0, 0.0, 0.0]])
    target = objective.prepare(torch.tensor([[1.0, 1.0, 0.0, 0.0], [3.0, 0.0, 1.0, 1.0]]))
    first = (1.0 + math.log(2) + math.log1p(math.e) + math.log1p(1 / math.e)) / 4
    second = (9.0 + 3 * math.log(2)) / 4
    assert float(objective.loss_sum(outputs, target)) == pytest.approx(first + second, rel=1e-6)
    scores = objective.scores(outputs)
    assert scores[:, 0].tolist() == [2.0, 0.0]
    torch.testing.assert_close(scores[:, 1:], torch.sigmoid(outputs[:, 1:]))


def test_the_regressions_are_the_multiplicities_of_the_truth() -> None:
    assert N_REGRESSION_LABELS == N_MULTIPLICITIES
    assert multilabel(len(LABEL_NAMES)).n_outputs == 41


@pytest.mark.parametrize(
    "objective", [binary(), weighted(), multiclass(4), multilabel(7)], ids=lambda objective: objective.name
)
def test_a_share_without_events_has_no_loss_but_gradients(objective) -> None:  # type: ignore[no-untyped-def]
    outputs = torch.zeros(0, objective.n_outputs, requires_grad=True)
    empty = torch.zeros(0, 7) if objective.name == "multilabel" else torch.zeros(0, dtype=torch.int64)
    loss = objective.loss_sum(outputs, objective.prepare(empty))
    loss.backward()
    assert loss.item() == 0.0
    assert outputs.grad is not None


@pytest.mark.parametrize(
    ("name", "n_outputs", "target", "message"),
    [
        ("binary", 1, torch.tensor([0, 2]), "zeros and ones"),
        ("binary", 1, torch.tensor([[0], [1]]), "zeros and ones"),
        ("weighted", 1, torch.tensor([[1.0, 0.0]]), "weights above zero"),
        ("weighted", 1, torch.tensor([[1.0, math.inf]]), "weights above zero"),
        ("weighted", 1, torch.tensor([[0.5, 1.0]]), "zeros and ones"),
        ("weighted", 1, torch.zeros(2, 3), r"\[n, 2\]"),
        ("multiclass", 3, torch.tensor([0, 3]), "from 0 to 2"),
        ("multiclass", 3, torch.tensor([0.0, 1.0]), "whole numbers"),
        ("multilabel", 7, torch.zeros(2, 6), r"\[n, 7\]"),
        ("multilabel", 7, torch.full((2, 7), 0.5), "labels 5 to 6"),
        ("multilabel", 7, torch.tensor([[math.nan, 0, 0, 0, 0, 0, 0]]), "finite"),
    ],
)
def test_senseless_targets_are_refused(name: str, n_outputs: int, target: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        named_objective(name, n_outputs).prepare(target)


@pytest.mark.parametrize(
    ("name", "n_outputs"), [("binary", 2), ("multiclass", 1), ("multilabel", 5), ("regression", 1)]
)
def test_objectives_that_do_not_fit_the_model_are_refused(name: str, n_outputs: int) -> None:
    with pytest.raises(ValueError, match="objective"):
        named_objective(name, n_outputs)


@pytest.mark.parametrize("name", ["binary", "weighted", "multiclass", "multilabel"])
def test_no_constant_output_is_better_than_the_best(name: str) -> None:
    generator = torch.Generator().manual_seed(3)
    objective = named_objective(name, {"multiclass": 3, "multilabel": 9}.get(name, 1))
    target = {
        "binary": (torch.rand(50, generator=generator) < 0.3).float(),
        "weighted": torch.stack([(torch.arange(50) < 9).float(), 0.1 + torch.rand(50, generator=generator)], 1),
        "multiclass": torch.randint(0, 3, (50,), generator=generator),
        "multilabel": torch.randn(50, 9, generator=generator),
    }[name]
    if name == "multilabel":
        target[:, N_REGRESSION_LABELS:] = (target[:, N_REGRESSION_LABELS:] > 0.8).float()
    outputs = torch.zeros(objective.n_outputs, dtype=torch.float64, requires_grad=True)
    descent = torch.optim.LBFGS([outputs], max_iter=200, tolerance_grad=1e-10)

    def loss() -> torch.Tensor:
        descent.zero_grad()
        value = objective.loss_sum(outputs.expand(50, -1), target) / 50
        value.backward()
        return value

    descent.step(loss)
    assert objective.constant_loss(target) == pytest.approx(loss().item(), abs=1e-6)


def test_the_loss_of_a_constant_output_is_the_entropy_of_balanced_classes() -> None:
    assert named_objective("binary", 1).constant_loss(torch.tensor([0.0, 1.0])) == pytest.approx(math.log(2))
    assert named_objective("multiclass", 4).constant_loss(torch.arange(4)) == pytest.approx(math.log(4))
    assert named_objective("binary", 1).constant_loss(torch.zeros(5)) == pytest.approx(0.0, abs=1e-5)
