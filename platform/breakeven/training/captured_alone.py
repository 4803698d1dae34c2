"""An epoch of one training as CUDA graphs: captured.py with one member, for loop.train."""

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor

from breakeven.models.backbone import Backbone
from breakeven.models.event_network import EventNetwork
from breakeven.models.graph_network import GraphNetwork
from breakeven.models.stacked import StackedWeights, set_parameters
from breakeven.training import optimiser as optimisers
from breakeven.training.batches import EventTensors, Sample, epoch_order
from breakeven.training.engines import captured_networks
from breakeven.training.nonfinite import not_finite
from breakeven.training.objectives import Objective
from breakeven.training.recipe import Recipe, Strategy
from breakeven.training.workers import Workers


def can_be_captured(model: Backbone, strategy: Strategy) -> bool:
    """Whether all weights of `model` learn, and in our own form: what CapturedAlone is for."""
    return isinstance(model, GraphNetwork) and strategy.name != "frozen"


class CapturedAlone:
    """A learner for loop.train; see its Learner. Arguments as of eager.Eager."""

    def __init__(
        self,
        model: Backbone,
        events: EventTensors,
        training: Sample,
        validation: Sample,
        objective: Objective,
        recipe: Recipe,
        strategy: Strategy,
        workers: Workers,
        moments: Mapping[str, Tensor] | None,
    ) -> None:
        model = cast(EventNetwork, model)  # see can_be_captured
        self._model, self._events, self._training, self._recipe = model, events, training, recipe
        self._ratio = optimisers.backbone_ratio(recipe, strategy)
        self._weights = StackedWeights([model])
        self._captured = captured_networks(
            [model],
            events,
            [training],
            [validation],
            [recipe.batch_size],
            objective,
            recipe,
            workers=workers,
            moments=None if moments is None else self._rows(moments),
        )

    def train_epoch(self, epoch: int) -> float:
        """One pass over the training sample, the model's weights set to those it ends with; the mean loss over its events."""
        recipe, n = self._recipe, len(self._training)
        order, rate = epoch_order(n, recipe.seed, epoch), recipe.rate(epoch)
        rates = torch.tensor([[rate, rate * self._ratio]], dtype=torch.float64)
        losses = self._captured.train(order, rates, [True])[:, 0]
        set_parameters(self._model, self._captured.engine.weights[0])
        bad = (~torch.isfinite(losses)).nonzero()
        if len(bad):
            number = int(bad[0])
            index = self._training.index[order.split(recipe.batch_size)[number].to(self._events.device)]
            raise not_finite(losses[number].item(), self._events, index, self._model, recipe, epoch, number)
        return float(losses.sum()) / n

    def predict(self) -> Tensor:
        """Outputs [n, n_outputs] for the validation sample."""
        return self._captured.predict([True])[0]

    def moments(self) -> dict[str, Tensor]:
        """Copies of Adam's state by name."""
        engine = self._captured.engine
        step = engine.steps[0].float().cpu()
        found: dict[str, Tensor] = {}
        for kind, rows in (("exp_avg", engine.first), ("exp_avg_sq", engine.second)):
            for name, part in self._weights.named(rows).items():
                found |= {f"step.{name}": step.clone(), f"{kind}.{name}": part[0].detach().clone()}
        return found

    def _rows(self, moments: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """The saved state of Adam in the engine's form. Raises WeightsDoNotFit with all misfits."""
        optimisers.check_moments(self._model, moments)
        names = list(self._weights.shapes)
        first, second = (
            torch.cat([moments[f"{kind}.{name}"].flatten() for name in names])[None]
            for kind in ("exp_avg", "exp_avg_sq")
        )
        return first, second, moments[f"step.{names[0]}"].flatten()
