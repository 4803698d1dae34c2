"""Boosted trees on high-level variables: the baseline of an analyst, under the rules of every other training.

An epoch is ten boosting iterations; the plateau rule and the best epoch are those of loop.py. The trees are
scikit-learn's histogram gradient boosting (as Ke et al., LightGBM, NeurIPS 2017). It knows no events.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from breakeven.training.objectives import balanced, binary, quality, weighted
from breakeven.training.plateau import find_plateau
from breakeven.training.recipe import Epoch, Recipe, Result

__all__ = ["Trees", "train_trees"]

ITERATIONS = 10
"""Boosting iterations of an epoch."""
_SETTINGS: dict[str, Any] = {
    "learning_rate": 0.05,
    "max_leaf_nodes": 3,
    "min_samples_leaf": 20,
    "l2_regularization": 1.0,
}
"""Chosen by validation loss among 3, 6, 12 and 31 leaves with 5 or 20 events in each at least: mean over the five tasks of
arXiv 2412.10665 at 100, 300 and 1,000 events per class of laptop's events, 3 seeds each (n = 45), up to 1,000 iterations,
best kept. 3 leaves: 0.5444 with 20 events, 0.5439 with 5, which is no difference; 31 leaves: 0.5520 and 0.5565."""


@dataclass(frozen=True)
class Trees:
    """Trained trees. columns: the variables that they take.  iterations: of the best epoch."""

    model: Any
    columns: np.ndarray
    iterations: int

    def outputs(self, variables: np.ndarray) -> Tensor:
        """The logit of signal [n, 1] for variables [n, n_variables]."""
        steps = self.model.staged_decision_function(variables[:, self.columns])
        return _logits(next(islice(steps, self.iterations - 1, None)))


def train_trees(
    train_sample: tuple[np.ndarray, np.ndarray],
    validation_sample: tuple[np.ndarray, np.ndarray],
    recipe: Recipe,
    on_epoch: Callable[[Epoch], bool | None] | None = None,
    *,
    balance: bool = False,
) -> tuple[Trees, Result]:
    """Train trees until their plateau.

    Args:
        train_sample: variables [n, n_variables], NaN where an event has none, and targets [n], 1 for signal.
        validation_sample: likewise.
        recipe: epochs, patience, min_delta and seed are used.
        on_epoch: called after every epoch; True ends the training.
        balance: training events have weights by which both classes count alike.

    Returns:
        The trees of the best epoch, and the curve.

    Raises:
        ValueError: a sample is empty, or no variable tells two training events apart.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    wall, begun = time.perf_counter(), time.process_time()
    values, target = train_sample
    if not len(values) or not len(validation_sample[0]):
        raise ValueError("training or validation events are missing: trees need both")
    columns = np.flatnonzero(np.nanmax(values, axis=0, initial=-np.inf) > np.nanmin(values, axis=0, initial=np.inf))
    if not len(columns):
        raise ValueError("every high-level variable is the same for all training events: trees cannot tell them apart")
    model = HistGradientBoostingClassifier(
        warm_start=True, early_stopping=False, max_iter=0, random_state=recipe.seed, **_SETTINGS
    )
    chosen, expected = values[:, columns], _floats(validation_sample[1])
    objective, curve, best, asked = binary(), list[Epoch](), 0, False
    learns, truth = (weighted(), balanced(_floats(target))) if balance else (objective, _floats(target))
    weights = truth[:, 1].numpy() if balance else None
    plateau = find_plateau([], recipe)
    while len(curve) < recipe.epochs and not plateau.reached and not asked:
        model.set_params(max_iter=model.max_iter + ITERATIONS).fit(chosen, target, weights)
        measured = quality(objective, _logits(model.decision_function(validation_sample[0][:, columns])), expected)
        learnt = quality(learns, _logits(model.decision_function(chosen)), truth)
        curve.append(
            Epoch(
                epoch=len(curve),
                wall_seconds=time.perf_counter() - wall,
                device_seconds=time.process_time() - begun,
                events_seen=(len(curve) + 1) * ITERATIONS * len(values),
                train_loss=learnt["loss"],
                validation_loss=measured["loss"],
                validation_accuracy=measured["accuracy"],
                validation_auc=measured["auc"],
                learning_rate=_SETTINGS["learning_rate"],
            )
        )
        best = min(range(len(curve)), key=lambda epoch: curve[epoch].validation_loss)
        plateau = find_plateau([epoch.validation_loss for epoch in curve], recipe)
        asked = on_epoch is not None and bool(on_epoch(curve[-1]))
    result = Result(
        curve=tuple(curve),
        best_epoch=best,
        plateau_epoch=plateau.last_improving if plateau.reached else None,
        stopped="plateau" if plateau.reached else "asked" if asked else "epochs",
    )
    return Trees(model, columns, (best + 1) * ITERATIONS), result


def _floats(target: np.ndarray) -> Tensor:
    return torch.from_numpy(target.astype(np.float32))


def _logits(scores: np.ndarray) -> Tensor:
    return torch.from_numpy(np.asarray(scores, np.float32)).reshape(-1, 1)
