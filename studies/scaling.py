#!/usr/bin/env python
"""The scaling study: when does pretraining pay, for which tasks, from how much data and from how many tasks on?

Reproduces arXiv 2412.10665 at the size that you choose: generate collision events, pretrain a graph network on many
processes, finetune it for binary tasks at growing sample sizes beside training from scratch, and report gains and the
break-even task count. Presets differ only in numbers; any number can be overridden.

    python studies/scaling.py --preset smoke           two tasks, two sizes: does it run here?
    python studies/scaling.py                          the laptop preset: all processes, five tasks
    python studies/scaling.py --preset paper --plan    what the published study would cost, without running it
    python studies/scaling.py --finetuning.sizes 100 1000 10000 --finetuning.seeds 5 --name larger
"""

from breakeven.cli import study_main
from breakeven.study.spec import Finetuning, Generation, Network, Pretraining, Search, Study

SMOKE = Study(
    name="smoke",
    generation=Generation(events_per_process=600, shard_events=150),
    pretraining=Pretraining(
        objectives=("multiclass",), processes=("ttH", "WH", "ZH", "ttbar"), epochs=6, patience=0, batch_size=32, symmetries=False,
        validation_events=60,
    ),
    finetuning=Finetuning(
        tasks=("stop_vs_ttH", "WH_vs_ZH"), strategies=("finetune",), sizes=(50, 200), seeds=2, epochs=4,
        steps=40, warmup_steps=0, patience=5, patience_steps=0, slow_start=1, symmetries=False, validation_events=60,
    ),
    search=Search(strategies=("finetune",), trials=2),
)  # fmt: skip
"""Everything runs, nothing is trained to its end: its numbers mean nothing."""

LAPTOP = Study(
    name="laptop",
    pretraining=Pretraining(events_per_process=1200),
    finetuning=Finetuning(baselines=("trees",)),
)

WORKSTATION = Study(
    name="workstation",
    generation=Generation(events_per_process=20_000, seed=2),
    pretraining=Pretraining(events_per_process=5000, seeds=3, validation_events=500),
    finetuning=Finetuning(baselines=("trees",), sizes=(100, 500, 2000), seeds=3, validation_events=500),
    search=Search(trials=3, seeds=2),
)  # fmt: skip

PAPER = Study(
    name="paper",
    generation=Generation(
        events_per_process=17_000_000, fewer={"tttt": 8_500_000}, multiparton_interactions=True,
        shard_events=5000,
    ),
    network=Network(log_momenta=False, initialisation="torch"),
    pretraining=Pretraining(
        objectives=("multiclass", "multilabel"), events_per_process=10_000_000, epochs=50, patience=0, symmetries=False,
        batch_size=1024, learning_rate=1e-4, workers=16, validation_events=500_000,
    ),
    finetuning=Finetuning(
        strategies=("finetune",), sizes=(1000, 10_000, 100_000, 1_000_000, 10_000_000), seeds=5, epochs=100,
        batch_size=1024, steps=0, warmup_steps=0, learning_rate=1e-4, head_rate=1e-4, patience=5, patience_steps=0, slow_start=1,
        symmetries=False, validation_events=500_000,
    ),
    search=Search(trials=0),
)  # fmt: skip

PRESETS = {"smoke": SMOKE, "laptop": LAPTOP, "workstation": WORKSTATION, "paper": PAPER}

if __name__ == "__main__":
    study_main(PRESETS, default="laptop", description=__doc__)
