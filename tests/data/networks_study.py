"""Two networks, and a backbone that another starts from: a study file as a user writes one."""

from dataclasses import replace

from breakeven.cli import study_main
from breakeven.study.spec import Finetuning, Generation, Network, Pretraining, Search, Study

BASE = Pretraining(objectives=("multiclass",), processes=("WH", "ZH"), epochs=2, batch_size=32, validation_events=20)
STUDY = Study(
    name="networks",
    generation=Generation(events_per_process=200, shard_events=100),
    finetuning=Finetuning(
        tasks=("WH_vs_ZH",), strategies=("finetune",), sizes=(20, 40), seeds=2, epochs=3, steps=0, validation_events=20
    ),
    search=Search(trials=0),
    networks={"narrow": Network(hidden=16, iterations=2), "wide": Network(iterations=2)},
    pretrainings={
        "two": BASE,
        "adapted": replace(BASE, objectives=("multilabel",), processes=("ttH", "WH"), start="two"),
    },
)

if __name__ == "__main__":
    study_main({"tiny": STUDY}, default="tiny", description=__doc__)
