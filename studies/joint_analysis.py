#!/usr/bin/env python
"""The joint analysis: is a jet tagger worth finetuning inside the search that uses it, or may it stay frozen?

Reproduces arXiv 2401.13536 at the size that you choose: generate heavy resonances X -> HH -> 4b and QCD multijets with
large-radius jets, pretrain a Particle Transformer to tell jets of H -> bb from all others, then tell the events apart from its
frozen scalar or vector, by finetuning all of it, and from scratch; report background rejection at 90 % signal efficiency
against the events that it took, for each representation, beside boosted trees on jet variables.

    python studies/joint_analysis.py --preset smoke          one representation, two sizes: does it run here?
    python studies/joint_analysis.py                         the laptop preset: three representations
    python studies/joint_analysis.py --preset adaptation     is a tagger better that starts from ten classes of jets?
    python studies/joint_analysis.py --preset paper --plan   what the published study would cost, without running it
"""

from dataclasses import replace

from breakeven.cli import study_main
from breakeven.physics.jets.processes import JETCLASS
from breakeven.study.spec import Finetuning, Generation, Network, Pretraining, Search, Study
from breakeven.study.task import JET_TASKS

TASK = JET_TASKS["HH4b_vs_QCD"]


def networks(**options: float) -> dict[str, Network]:
    """A Particle Transformer of this size under each of the published event networks."""
    backbone = Network(kind="jet_transformer", options=options)
    return {
        "S-HLF": replace(backbone, representation="S+HLF"),
        "V-HLF": replace(backbone, representation="V+HLF"),
        "V": replace(backbone, representation="V"),
    }


SMOKE = Study(
    name="joint-smoke",
    generation=Generation(events_per_process=400, shard_events=100),
    networks={"V": networks(width=16, blocks=1, class_blocks=1, heads=2, pairs=8)["V"]},
    pretraining=Pretraining(
        objectives=("xbb",), processes=("HH4b_1000", "QCD_300_470"), epochs=3, patience=0, learning_rate=1e-3, symmetries=False,
        validation_events=60,
    ),
    finetuning=Finetuning(
        tasks=("HH4b_1000+HH4b_2000_vs_QCD_300_470+QCD_600_800",), strategies=("finetune", "frozen"), baselines=("trees",),
        merit="auc", sizes=(50, 150), seeds=2, epochs=4, steps=40, head_steps=40, warmup_steps=0, patience=5,
        patience_steps=0, slow_start=1, symmetries=False, validation_events=80, represented_events=0,
    ),
    search=Search(trials=0, published=0.3),
)  # fmt: skip
"""Everything runs, nothing is trained to its end: its numbers mean nothing."""

LAPTOP = Study(
    name="joint",
    generation=Generation(events_per_process=1500, shard_events=250),
    networks=networks(width=32, blocks=2, class_blocks=1, heads=4, pairs=8, constituents=30),
    pretraining=Pretraining(
        objectives=("xbb",), processes=TASK.processes, epochs=30, patience=2, batch_size=128, learning_rate=1e-3,
        symmetries=False,
    ),
    finetuning=Finetuning(
        tasks=(TASK.name,), strategies=("finetune", "frozen"), baselines=("trees", "trees+score"), merit="rejection_90",
        sizes=(100, 300), learning_rate=1e-3, head_steps=600, patience=5, symmetries=False, validation_events=100,
        represented_events=0,
    ),
    search=Search(trials=0, published=0.3),
)  # fmt: skip

WORKSTATION = replace(
    LAPTOP,
    name="joint-workstation",
    generation=Generation(events_per_process=8000),
    networks=networks(width=32, blocks=2, class_blocks=1, heads=4, pairs=8, constituents=50),
    pretraining=replace(LAPTOP.pretraining, patience=3, validation_events=500),
    finetuning=replace(LAPTOP.finetuning, sizes=(100, 1000, 3000), validation_events=1000),
    search=Search(trials=2, published=0.3),
)

PAPER = replace(
    LAPTOP,
    name="joint-paper",
    generation=Generation(events_per_process=1_800_000, multiparton_interactions=True, shard_events=5000),
    networks=networks(width=128, blocks=8, class_blocks=2, heads=8, pairs=64, pair_layers=3),
    pretraining=replace(LAPTOP.pretraining, epochs=11, patience=0, batch_size=512, workers=16, validation_events=100_000),
    finetuning=replace(
        LAPTOP.finetuning, sizes=(1000, 10_000, 100_000, 1_000_000), seeds=4, epochs=4, steps=0, batch_size=256, patience_steps=0,
        head_steps=0, validation_events=100_000, same_events=True, signal_fraction=0.068,
    ),
    search=Search(trials=0, published=1.0),
)  # fmt: skip

FEW = replace(
    LAPTOP.pretraining, events_per_process=67, epochs=60, patience=8, batch_size=64, seeds=3, validation_events=100,
)  # fmt: skip
ADAPTATION = replace(
    LAPTOP,
    name="joint-adaptation",
    networks={"V": LAPTOP.networks["V"]},
    pretraining=Pretraining(),
    pretrainings={
        "xbb": FEW,
        "jetclass": replace(
            LAPTOP.pretraining, objectives=("multiclass",), processes=tuple(one.name for one in JETCLASS)
        ),
        "jetclass-xbb": replace(FEW, start="jetclass"),
    },
    finetuning=replace(LAPTOP.finetuning, strategies=("frozen",), baselines=(), sizes=(100,)),
)
"""A tagger taught 1,450 jets, from scratch and from a backbone of ten classes of jets, and that backbone itself, each frozen in
the analysis; `--finetuning.strategies finetune frozen --finetuning.sizes 100 300` takes 2.5 times as long."""

PRESETS = {"smoke": SMOKE, "laptop": LAPTOP, "workstation": WORKSTATION, "adaptation": ADAPTATION, "paper": PAPER}

if __name__ == "__main__":
    study_main(PRESETS, default="laptop", description=__doc__)
