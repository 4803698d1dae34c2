"""What a study takes on disk; what its embeddings take is held against real files where jets are trained."""

from dataclasses import replace

from breakeven.study.spec import Finetuning, Generation, Network, Pretraining, Search, Study
from breakeven.views.disk import events_bytes, kept_bytes

NETWORK = Network(kind="jet_transformer", options={"width": 8})
JETS = Study(
    generation=Generation(events_per_process=1000),
    networks={name: replace(NETWORK, representation=name) for name in ("V", "S+HLF")},
    pretraining=Pretraining(("xbb",), processes=("HH4b_1000", "QCD_600_800")),
    finetuning=Finetuning(
        tasks=("HH4b_1000+HH4b_2000_vs_QCD_600_800",), strategies=("frozen",), baselines=("trees+score",), sizes=(20, 50),
        seeds=3, validation_events=200,
    ),
    search=Search(trials=0),
)  # fmt: skip
EACH = 4 * 5 * 8
EVALUATED = 200 + 150 + 500 + 250  # validation, then test: signal of two processes, background of one
TRAINED = 3 * 2 * (20 + 50)


def tuned(**more: object) -> Study:
    return replace(JETS, finetuning=replace(JETS.finetuning, **more))


def test_what_is_kept_is_counted_once_per_backbone_and_sample() -> None:
    assert kept_bytes(JETS) == EACH * (EVALUATED + TRAINED), "both representations and trees share it"
    wider = replace(NETWORK, options={"width": 16}, representation="V")
    assert kept_bytes(replace(JETS, networks={**JETS.networks, "wide": wider})) == 3 * kept_bytes(JETS)
    assert kept_bytes(tuned(same_events=True)) == EACH * (EVALUATED + TRAINED / 3)
    of_seeds = replace(JETS, pretraining=replace(JETS.pretraining, seeds=3))
    assert kept_bytes(of_seeds) == EACH * (3 * EVALUATED + TRAINED), "each seed's events are asked of its own backbone"
    published = Network(kind="jet_transformer", representation="V")
    assert kept_bytes(replace(JETS, networks={"": published})) == 16 * kept_bytes(JETS)


def test_what_no_frozen_backbone_says_is_not_counted() -> None:
    finetuned = {"strategies": ("finetune",), "baselines": ()}
    assert kept_bytes(tuned(**finetuned)) == 0 == kept_bytes(Study())
    heads = tuned(**finetuned, head_steps=600)
    assert kept_bytes(heads) == EACH * (350 + TRAINED), "test events are asked of what was finetuned"
    searched = replace(heads, search=Search(trials=2, seeds=2))
    assert kept_bytes(searched) == EACH * (350 + TRAINED + 2 * 2 * (20 + 50))


def test_jets_take_more_than_whole_events() -> None:
    def taken(*processes: str, **more: dict[str, str]) -> float:
        pretrained = Pretraining(processes=processes)
        asked = Generation(events_per_process=1000, **more)
        return events_bytes(Study(generation=asked, pretraining=pretrained, finetuning=Finetuning(tasks=()))) / 1000

    assert taken("ttH", "WH") == 2 * 490 and taken("HH4b_1000") == 2 * taken("jet_Hbb") == 2 * 2050
    assert taken("ttH", "mine", jetclass={"mine": "mine.root"}) == 490 + 2050
