"""Boosted trees under the rules of every other training."""

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss, roc_auc_score

from breakeven.training.plateau import find_plateau
from breakeven.training.recipe import Recipe
from breakeven.training.trees import ITERATIONS, train_trees

RECIPE = Recipe(epochs=60, patience=3, seed=4)


def sample(n, seed):
    """Two variables that tell signal from background, one that says nothing, one that is missing now and then, one constant."""
    random = np.random.default_rng(seed)
    target = np.repeat([1, 0], n)
    values = random.normal(size=(2 * n, 5))
    values[:, 0] += target
    values[:, 1] *= 1 + target
    values[random.random(2 * n) < 0.3, 2] = np.nan
    values[:, 3] = 7.0
    return values.astype(np.float32), target


def test_they_learn_to_their_plateau_and_give_the_trees_of_the_best_epoch():
    trees, result = train_trees(sample(400, 1), sample(400, 2), RECIPE)
    losses = [epoch.validation_loss for epoch in result.curve]
    assert result.stopped == "plateau" and len(losses) < RECIPE.epochs
    assert result.plateau_epoch == find_plateau(losses, RECIPE).last_improving
    assert result.best_epoch == int(np.argmin(losses)) and losses[result.best_epoch] < 0.6
    values, target = sample(400, 2)
    share = torch.sigmoid(trees.outputs(values)).numpy().ravel()
    best = result.curve[result.best_epoch]
    assert best.validation_loss == pytest.approx(log_loss(target, share), rel=1e-5)
    assert best.validation_auc == pytest.approx(roc_auc_score(target, share), rel=1e-6)
    assert best.validation_accuracy == pytest.approx(((share > 0.5) == target).mean())
    assert best.events_seen == (result.best_epoch + 1) * ITERATIONS * 800 and 3 not in trees.columns
    seconds = [epoch.device_seconds for epoch in result.curve]
    assert seconds == sorted(seconds) and result.plateau_seconds in seconds


def test_the_same_seed_gives_the_same_trees():
    one, other = (train_trees(sample(100, 1), sample(100, 2), RECIPE)[0] for _ in range(2))
    assert torch.equal(one.outputs(sample(50, 3)[0]), other.outputs(sample(50, 3)[0]))


def test_it_stops_where_it_is_asked_to_and_at_the_limit():
    _, asked = train_trees(sample(100, 1), sample(100, 2), RECIPE, lambda epoch: epoch.epoch == 1)
    assert (asked.stopped, len(asked.curve)) == ("asked", 2) and asked.plateau_epoch is None
    _, capped = train_trees(sample(100, 1), sample(100, 2), Recipe(epochs=2, patience=9))
    assert (capped.stopped, len(capped.curve)) == ("epochs", 2)


def test_what_nothing_can_be_learnt_from_is_refused():
    values, target = sample(10, 1)
    with pytest.raises(ValueError, match="trees cannot tell them apart"):
        train_trees((np.full_like(values, np.nan), target), (values, target), RECIPE)
    with pytest.raises(ValueError, match="validation events are missing"):
        train_trees((values, target), (values[:0], target[:0]), RECIPE)
