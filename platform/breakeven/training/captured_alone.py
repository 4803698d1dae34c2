"""An epoch of one training as CUDA graphs: captured.py with one member, for loop.train."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from breakeven.models.graph_network import GraphNetwork
from breakeven.models.jet_network import JetNetwork
from breakeven.models.stacked import StackedWeights, set_parameters
from breakeven.training import optimiser as optimisers
from breakeven.training.batches import epoch_order
from breakeven.training.eager import Pause
from breakeven.training.engines import captured_networks
from breakeven.training.nonfinite import check_batches, mean_loss
from breakeven.training.training import Training
from breakeven.training.workers import Workers


def can_be_captured(training: Training) -> bool:
    """Whether all weights learn, and in our own form: what CapturedAlone is for.

    Dropout is not: what it draws would depend on how far batches are filled up, which another epoch may change.
    """
    model = training.model
    ours = isinstance(model, GraphNetwork) or (isinstance(model, JetNetwork) and not model.dropout)
    return ours and training.strategy.name != "frozen"


class CapturedAlone:
    """A learner for loop.train; see its Learner."""

    def __init__(self, training: Training, workers: Workers, moments: Mapping[str, Tensor] | None) -> None:
        self._training, self._weights = training, StackedWeights([training.model])
        rows = None if moments is None else self._rows(moments)
        self._captured = captured_networks([training], workers=workers, moments=rows)

    def train_epoch(self, epoch: int, done: Tensor, pause: Pause | None = None) -> float:
        """One pass over the training sample, or what is left of it, the model's weights set to those it ends with; the mean
        loss over its events.
        """
        training = self._training
        training.begin_epoch(epoch)
        order = epoch_order(len(training.train_sample), training.recipe.seed, epoch)
        rates = torch.tensor([training.rates(epoch)], dtype=torch.float64)

        def whole(losses: Tensor) -> Tensor:
            """The losses of one epoch, of which this process may have seen the end alone; the model's weights are set."""
            set_parameters(training.model, self._captured.engine.weights[0])
            return torch.cat([done.to(losses), losses[len(done) :, 0]])

        def between(number: int, losses: Callable[[], Tensor]) -> None:
            def so_far() -> Tensor:
                """What is not finite is not kept: each try would go on from it."""
                known = whole(losses())[:number]
                check_batches(training, known, epoch)
                return known

            if pause is not None:
                pause(so_far)

        return mean_loss(training, whole(self._captured.train(order, rates, [True], len(done), between)), epoch)

    def predict(self) -> Tensor:
        """Outputs [n, n_outputs] for the validation sample."""
        return self._captured.predict([True])[0]

    def moments(self) -> dict[str, Tensor]:
        """Copies of Adam's state by name."""
        engine = self._captured.engine
        step = engine.steps[0].float().cpu()
        moments: dict[str, Tensor] = {}
        for kind, rows in (("exp_avg", engine.first), ("exp_avg_sq", engine.second)):
            for name, part in self._weights.named(rows).items():
                moments |= {f"step.{name}": step.clone(), f"{kind}.{name}": part[0].detach().clone()}
        return moments

    def close(self) -> None:
        """Let go of the graphs, which must be gone before the group of workers is."""
        self._captured.close()

    def _rows(self, moments: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """The saved state of Adam in the engine's form. Raises WeightsDoNotFit with all misfits."""
        optimisers.check_moments(self._training.model, moments)
        names = list(self._weights.shapes)
        first, second = (
            torch.cat([moments[f"{kind}.{name}"].flatten() for name in names])[None]
            for kind in ("exp_avg", "exp_avg_sq")
        )
        return first, second, moments[f"step.{names[0]}"].flatten()
