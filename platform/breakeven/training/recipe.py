"""Plain values of a training: what is asked (Recipe), how the weights start (Strategy), what comes out (Epoch, Result).

Holds no tensors and imports no torch, so that plans and ledgers may use it.
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

__all__ = ["Epoch", "Recipe", "Result", "Strategy"]

ObjectiveName = Literal["multiclass", "multilabel", "binary", "weighted"]
Precision = Literal["float32", "tf32", "bfloat16"]


@dataclass(frozen=True)
class Recipe:
    """Everything but data, model and strategy that defines a training's result.

    objective: what is minimised (objectives.py).  epochs: most passes over the training sample.
    batch_size: events per optimiser step, over all workers together; the last batch of an epoch may be smaller.
    learning_rate, decay, warmup: the head's rate is learning_rate * decay**epoch, epochs counted from 0
    (arXiv 2412.10665 section III.3.3), and grows to that in `warmup` even steps, one an epoch: a network of 56 layers
    whose first steps are large never leaves its starting loss.  ratio: backbone rate over head rate.
    patience, min_delta, slow_start: the plateau rule (plateau.py), after the warm-up; patience None never stops early.
    head_epochs: passes in which the new layers of finetuning learn alone, before the epochs that are counted; the best of them
    by validation loss is where all weights begin.
    symmetries: turn and mirror each training event at random in every epoch (symmetry.py).
    seed: of the initialisation and of the order of events.  evaluation_batch_size: events at once without gradients.
    precision: of the matrix products in training steps (precision.py); weights and losses stay as the model is, and so
    does evaluation, but for an engine whose kernels know one precision alone.
    """

    objective: ObjectiveName = "binary"
    epochs: int = 50
    batch_size: int = 1024
    learning_rate: float = 1e-4
    decay: float = 0.99
    warmup: int = 0
    ratio: float = 1.0
    patience: int | None = 5
    min_delta: float = 1e-3
    slow_start: int = 1
    symmetries: bool = False
    head_epochs: int = 0
    seed: int = 0
    evaluation_batch_size: int = 1024
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        if self.objective not in get_args(ObjectiveName):
            raise ValueError(f"objective is {self.objective!r}; choose {', '.join(get_args(ObjectiveName))}")
        if self.precision not in get_args(Precision):
            raise ValueError(f"precision is {self.precision!r}; choose float32, tf32 or bfloat16")
        for name in ("epochs", "batch_size", "evaluation_batch_size", "slow_start"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        for name in ("warmup", "head_epochs"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be a number of epochs, 0 for none")
        if self.patience is not None and self.patience < 1:
            raise ValueError(f"patience is {self.patience}; give at least 1 epoch, or None to train all epochs")
        for name in ("learning_rate", "decay", "ratio"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0.0):
                raise ValueError(f"{name} is {getattr(self, name)}; it must be a finite number above 0")
        if not (math.isfinite(self.min_delta) and self.min_delta >= 0.0):
            raise ValueError(f"min_delta is {self.min_delta}; it must be a finite fraction of at least 0")

    def rate(self, epoch: int) -> float:
        """The head's learning rate in `epoch`, counted from 0."""
        return self.learning_rate * self.decay**epoch * min(1.0, (epoch + 1) / (self.warmup + 1))


@dataclass(frozen=True)
class Strategy:
    """How the weights start and which of them learn.

    name: "scratch", all weights from the seed, one learning rate (the recipe's ratio is ignored); "finetune", the
    backbone from pretraining under a new last layer; "frozen", the same with a backbone that does not learn.
    """

    name: Literal["scratch", "finetune", "frozen"] = "scratch"

    def __post_init__(self) -> None:
        if self.name not in ("scratch", "finetune", "frozen"):
            raise ValueError(f"strategy is {self.name!r}; choose scratch, finetune or frozen")


@dataclass(frozen=True)
class Epoch:
    """One pass over the training sample. All seconds and events count from the start of the training.

    epoch: counted from 0.  wall_seconds: on the clock of this worker, time before a resumption included.
    device_seconds: summed over workers. On CPU the CPU time of the process, all its threads; on a GPU the wall time,
    as the device is held that long.  Validation is included, as are measuring the scaling and caching features.
    train_loss: mean over the epoch's events, each seen with the weights of its step.
    validation_*: with the weights after the epoch; accuracy and AUC are fractions as metrics.py defines them.
    learning_rate: the head's.  validation_probe_auc: see training/probe.py; NaN where the network has no probe.
    """

    epoch: int
    wall_seconds: float
    device_seconds: float
    events_seen: int
    train_loss: float
    validation_loss: float
    validation_accuracy: float
    validation_auc: float
    learning_rate: float
    validation_probe_auc: float = math.nan


@dataclass(frozen=True)
class Result:
    """What a training gives, besides the model's weights, which are those of `best_epoch`.

    best_epoch: lowest validation loss.  plateau_epoch: last improving epoch, None where training ended before the
    plateau was certain.  stopped: "plateau", "epochs" (all done) or "asked" (by on_epoch).
    """

    curve: tuple[Epoch, ...]
    best_epoch: int
    plateau_epoch: int | None
    stopped: Literal["plateau", "epochs", "asked"]

    @property
    def best(self) -> Epoch:
        """The epoch whose weights were kept."""
        return self.curve[self.best_epoch]

    @property
    def plateau_seconds(self) -> float:
        """Device-seconds until the end of the plateau epoch; NaN where no plateau was reached."""
        return math.nan if self.plateau_epoch is None else self.curve[self.plateau_epoch].device_seconds
