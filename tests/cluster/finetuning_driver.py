"""A driver of a finetuning whose trials sleep, run by test_finetuning.py: finetuning_driver.py FOLDER TRIALS SECONDS."""

import sys
import time
from dataclasses import replace
from pathlib import Path

from breakeven.distributed.internals import set_environment

set_environment()
from queues import filled  # noqa: E402
from small_studies import FINETUNING  # noqa: E402

from breakeven.distributed import finetuning  # noqa: E402
from breakeven.distributed.session import session  # noqa: E402
from breakeven.ledger.ledger import Ledger  # noqa: E402
from breakeven.search import open_storage  # noqa: E402
from breakeven.study.plan import Ingredients  # noqa: E402
from breakeven.study.spec import Pretraining, Search, Study  # noqa: E402
from breakeven.work.job import TrialJob  # noqa: E402


def main(folder: Path, trials: int, seconds: float) -> None:
    """Train as many trials as there are seeds, on all cores."""
    settings = replace(FINETUNING, tasks=("WH_vs_ZH",), seeds=trials)
    study = Study(pretraining=Pretraining(objectives=()), finetuning=settings, search=Search(trials=0))
    ledger = Ledger(folder / "ledger")
    queue = filled(study, Ingredients({"WH": "a", "ZH": "b"}, {}), ledger, open_storage(folder / "optuna.journal"))

    def train(job, check):
        time.sleep(seconds)
        return {"outcome": "finished", "wall_seconds": seconds, "device_seconds": seconds}

    def job_of(trial):
        return TrialJob(trial, study.network, settings, {}, None, folder / "ledger", "cpu", "abc")

    with session() as resources:
        slots, held = finetuning.slots_of(resources, gpu_share=1.0)
        finetuning.finetune(queue, job_of, slots, held, folder / "tune", train)
    print(f"done {queue.done} with {slots.workers} workers")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
