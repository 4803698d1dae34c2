"""Ray Tune as its documentation has it, with its own Optuna searcher: what our scheduling is measured against.

A class trainable with reused workers, one Tune trial for each trial and one result for each, no loggers: the cheapest
form that Tune offers. Studies never use it.
"""

import math
import shutil
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.search.optuna import OptunaSearch

from breakeven.distributed.session import Resources


def search_ratio(trials: int, resources: Resources, scratch: Path) -> int:
    """Search a ratio with `trials` Tune trials of a formula; returns how many came to their end.

    scratch: folder for Tune's files, removed at the end.
    """
    shutil.rmtree(scratch, ignore_errors=True)
    tuner = tune.Tuner(
        tune.with_resources(_Formula, {"cpu": 1.0}),
        param_space={"ratio": tune.loguniform(0.03, 1.0)},
        tune_config=tune.TuneConfig(
            search_alg=OptunaSearch(seed=1),
            metric="validation_loss",
            mode="min",
            num_samples=trials,
            max_concurrent_trials=max(1, resources.cpus),
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(name="plain", storage_path=str(scratch.resolve()), verbose=0),
    )
    results = tuner.fit()
    shutil.rmtree(scratch, ignore_errors=True)
    return len(results) - int(results.num_errors)


class _Formula(tune.Trainable):
    def setup(self, config: dict[str, Any]) -> None:
        self.ratio = config["ratio"]

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.ratio = new_config["ratio"]
        return True

    def step(self) -> dict[str, Any]:
        return {"validation_loss": math.log(self.ratio / 0.3) ** 2, tune.result.DONE: True}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """A formula has no state."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """A formula has no state."""
