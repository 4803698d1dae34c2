import json
import re
from dataclasses import asdict, replace

import pytest

from breakeven.physics.processes import from_lhe
from breakeven.study.check import check
from breakeven.study.growth import changes
from breakeven.study.plan import cells
from breakeven.study.spec import (
    TASKS,
    Finetuning,
    Generation,
    InvalidStudy,
    Network,
    Pretraining,
    Search,
    Study,
    Task,
    task,
)
from breakeven.study.task import JET_TASKS, task_name

KNOWN = ("ttH", "WH", "ZH", "ttW", "ttt", "tHq", "FCNC", "stop_pair", "ttH_yy_even", "ttH_yy_odd")


ONE = Pretraining(objectives=("multiclass",))
SCORED = Study(
    network=Network(kind="jet_transformer", representation="S+HLF"),
    finetuning=Finetuning(baselines=("trees", "trees+score")),
)


def test_the_default_study_is_valid():
    check(Study(), KNOWN)


@pytest.mark.parametrize(
    ("study", "message"),
    [
        (Study(finetuning=Finetuning(tasks=("stop_pair_vs_tth",))), "'tth' is not known; the nearest known: ttH"),
        (Study(finetuning=Finetuning(tasks=("WHZH",))), "'WHZH' is not known; the nearest known: WH_vs_ZH"),
        (Study(finetuning=Finetuning(sizes=(100, 0))), r"finetuning.sizes\[1\] is 0: it must be above zero"),
        (Study(finetuning=Finetuning(sizes=(-5,))), r"finetuning.sizes\[0\] is -5"),
        (Study(finetuning=Finetuning(sizes=())), "must name at least one"),
        (Study(finetuning=Finetuning(sizes=(10, 10))), "name each only once"),
        (Study(finetuning=Finetuning(learning_rate=float("nan"))), "learning-rate is nan"),
        (Study(finetuning=Finetuning(seeds=0)), "finetuning.seeds is 0"),
        (
            Study(pretraining=Pretraining(seeds=4)),
            "pretraining.seeds is 4: no trial takes more backbones than .*seeds 3",
        ),
        (Study(search=Search(scratch_low=2.0)), "search.scratch-high is 1.5, below search.scratch-low 2.0"),
        (Study(search=Search(strategies=("frozen",))), "search.strategies is 'frozen': choose scratch, finetune"),
        (Study(search=Search(strategies=("scratch", "scratch"))), "search.strategies is .*: name each only once"),
        (Study(finetuning=Finetuning(slow_start=0)), "finetuning.slow-start is 0: it must be above zero"),
        (Study(finetuning=Finetuning(warmup_steps=-1)), "finetuning.warmup-steps is -1: .* not negative"),
        (Study(finetuning=Finetuning(trial_seconds=-1.0)), "finetuning.trial-seconds is -1.0"),
        (Study(finetuning=Finetuning(trial_seconds=float("nan"))), "finetuning.trial-seconds is nan"),
        (Study(finetuning=Finetuning(gpu_share=0.0)), "finetuning.gpu-share is 0.0: it must be above zero"),
        (Study(finetuning=Finetuning(gpu_share=2.0)), "use at most 1"),
        (Study(finetuning=Finetuning(signal_fraction=0.0)), "finetuning.signal-fraction is 0.0: it must be above zero"),
        (Study(finetuning=Finetuning(signal_fraction=1.0)), "finetuning.signal-fraction is 1.0: it must be below one"),
        (
            Study(finetuning=Finetuning(signal_fraction=0.068, sizes=(1000, 3))),
            "3 events a class with finetuning.signal-fraction 0.068 are 0 of signal and 6 of background: raise the size",
        ),
        (Study(pretraining=Pretraining(processes=("ttH", "WHH"))), "'WHH' is not known; the nearest known: WH"),
        (Study(pretraining=Pretraining(processes=("ttH",))), "at least two"),
        (
            Study(finetuning=Finetuning(precision="fp8")),
            "finetuning.precision is 'fp8': choose float32, tf32, bfloat16",
        ),
        (Study(pretraining=Pretraining(workers=-1)), "workers is -1"),
        (Study(generation=Generation(events_per_process=-1)), "events-per-process is -1"),
        (Study(generation=Generation(fewer={"tHq": 0})), "generation.fewer.tHq is 0"),
        (Study(generation=Generation(fewer={"thq": 5})), "'thq' is not known; the nearest known: tHq"),
        (Study(search=Search(low=1.0, high=0.1)), "swap them"),
        (Study(search=Search(trials=-1)), "search.trials is -1"),
        (Study(generation=Generation(lhe={"a": "x.lhe", "b": "./x.lhe"})), "'a' and 'b' are the same file ./x.lhe"),
        (Study(generation=Generation(lhe={"a_vs_b": "x.lhe"})), "'a_vs_b' holds '_vs_'"),
        (
            Study(generation=Generation(jetclass={"a": "x.root", "b": "./x.root"})),
            r"generation.jetclass: 'a' and 'b' are the same file ./x.root",
        ),
        (Study(generation=Generation(jetclass={"a_vs_b": "x.root"})), "generation.jetclass: 'a_vs_b' holds '_vs_'"),
        (Study(networks={"a/b": Network()}), "networks is 'a/b'"),
        (Study(pretraining=Pretraining(objectives=("multilable",))), "objectives is 'multilable': choose multiclass"),
        (Study(finetuning=Finetuning(strategies=("finetuned",))), "strategies is 'finetuned': choose finetune, frozen"),
        (Study(network=Network(engine="x")), "network.engine is 'x': choose native, dgl"),
        (Study(network=Network(options={"width": 3})), "network.options is .*: event_graph has none"),
        (Study(network=Network(kind="mine", hidden=32)), "network.hidden is 32: a mine has it not"),
        (Study(pretrainings={"multiclass": Pretraining(("multilabel",))}), "would stand beside the paper's multiclass"),
        (
            Study(finetuning=Finetuning(baselines=("trees+score",))),
            r"finetuning.baselines is .*'trees\+score' takes scores of networks with the representation 'S\+HLF'",
        ),
        (
            replace(SCORED, pretraining=Pretraining(("multiclass",))),
            r"'trees\+score' takes scores of pretrainings with the objective 'xbb'",
        ),
        (Study(networks={"trees": Network()}), "'trees' stands for boosted trees"),
        (Study(networks={"wide": Network(hidden=0)}), "networks.wide.hidden is 0"),
        (Study(networks={"one": Network(), "two": Network()}), "networks: 'one' and 'two' are the same"),
        (Study(network=Network(hidden=32), networks={"wide": Network()}), "set the fields of each, as networks.wide"),
        (Study(pretraining=Pretraining(epochs=3), pretrainings={"a": ONE}), "as pretrainings.a"),
        (Study(pretrainings={"none": ONE}), "'none' stands for training from scratch"),
        (
            Study(pretrainings={"both": Pretraining(("multiclass", "multilabel"))}),
            "pretrainings.both.objectives is .*: a named pretraining has one",
        ),
        (Study(pretrainings={"a": replace(ONE, epochs=0)}), "pretrainings.a.epochs is 0"),
        (Study(pretrainings={"a": replace(ONE, start="b")}), "pretrainings.a.start: 'b' is not known; .* known: a"),
        (Study(pretrainings={"a": replace(ONE, start="b"), "b": replace(ONE, start="a")}), "a circle"),
        (
            Study(
                pretrainings={"c": replace(ONE, start="a"), "a": replace(ONE, start="b"), "b": replace(ONE, start="a")}
            ),
            r"pretrainings\.b\.start is 'a', a circle: a starts from b starts from a; let one start from scratch",
        ),
        (Study(finetuning=Finetuning(seeds=2.5)), r"finetuning\.seeds is 2\.5: it must be a whole number"),
        (Study(finetuning=Finetuning(seeds=True)), r"finetuning\.seeds is True: it must be a whole number"),
        (Study(finetuning=Finetuning(sizes=(100.5,))), r"finetuning\.sizes\[0\] is 100\.5: it must be a whole number"),
        (
            Study(generation=Generation(fewer={"ttH": 1e3})),
            r"generation\.fewer\.ttH is 1000\.0: it must be a whole number",
        ),
        (Study(finetuning=Finetuning(learning_rate="1")), r"finetuning\.learning-rate is '1': it must be a number"),
        (Study(finetuning=Finetuning(symmetries=0)), r"finetuning\.symmetries is 0: it must be True or False"),
        (Study(generation=Generation(seed=-1)), r"generation\.seed is -1: it must be from 0 to 4,294,967,295"),
        (
            Study(pretraining=Pretraining(seed=2**32 - 1, seeds=2)),
            r"pretraining\.seed is 4294967295: .* 0 to 4,294,967,294",
        ),
        (Study(finetuning=Finetuning(seeds=2_000_000)), r"finetuning\.seeds is 2,000,000: it must be below 1,000,001"),
        (Study(pretraining=replace(ONE, start="multiclass")), "pretraining.start is 'multiclass': only one of several"),
    ],
)
def test_bad_input_names_field_value_and_way_out(study, message):
    with pytest.raises(InvalidStudy, match=message):
        check(study, KNOWN)


@pytest.mark.parametrize(
    "name",
    ["../../x", "a/b", "..", ".", ".hidden", "", " ", "a b", "it's", 'a"b', "mlflow.db", "mlartifacts", "shared", "Shared",
     "-n", "a\n", "x" * 81],
)  # fmt: skip
def test_one_rule_for_all_names_of_users(name):
    check(Study(name="scaling-2.1_b"), KNOWN)
    rule = re.escape(f"is {name!r}: use letters, digits, dot, dash and underscore, beginning with a letter or digit")
    with pytest.raises(InvalidStudy, match=f"^name {rule}"):
        check(Study(name=name), KNOWN)
    with pytest.raises(InvalidStudy, match=f"^generation.lhe {rule}"):
        check(Study(generation=Generation(lhe={name: "x.lhe"})), KNOWN)
    with pytest.raises(InvalidStudy, match=f"^finetuning.tasks {rule}"):
        check(Study(finetuning=Finetuning(tasks=(name,))), KNOWN)
    with pytest.raises(ValueError, match=f"^from_lhe: name {rule}"):
        from_lhe(name, ["x.lhe"])


def test_a_task_of_ones_own_is_two_processes():
    mine = task("ttW_vs_ttH")
    assert (mine.signal, mine.background) == ("ttW", "ttH")
    check(replace(Study(), finetuning=Finetuning(tasks=("ttW_vs_ttH",))), KNOWN)
    with pytest.raises(InvalidStudy, match="with different processes"):
        task("ttW_vs_ttW")


def test_a_class_may_be_several_processes():
    mine = task("ttW+tHq_vs_ttH+ttt")
    assert mine.classes == (("tHq", "ttW"), ("ttH", "ttt")) and mine.processes == ("tHq", "ttW", "ttH", "ttt")
    check(replace(Study(), finetuning=Finetuning(tasks=(mine.name,))), KNOWN)
    with pytest.raises(InvalidStudy, match="with different processes, several of a class as A"):
        task("ttW+ttH_vs_ttH+ttt")
    with pytest.raises(InvalidStudy, match="'nowhere' is not known"):
        check(replace(Study(), finetuning=Finetuning(tasks=("ttW+nowhere_vs_ttH",))), KNOWN)
    with pytest.raises(InvalidStudy, match=r"^finetuning\.tasks"):
        task("ttW+_vs_ttH")


def test_options_and_representations_are_those_of_a_jet_transformer():
    mine = Network(kind="jet_transformer", options={"widht": 32})
    with pytest.raises(InvalidStudy, match=r"network\.options: 'widht' is not known; the nearest known: width"):
        check(Study(network=mine), KNOWN)
    with pytest.raises(InvalidStudy, match=r"network\.representation is 'V': mine has none"):
        check(Study(network=Network(kind="mine", representation="V")), KNOWN)
    with pytest.raises(InvalidStudy, match=r"network\.representation is 'V': event_graph has none"):
        check(Study(network=Network(representation="V")), KNOWN)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"constituents": -3}, r"options\.constituents is -3: it must be a whole number and at least 0"),
        ({"constituents": float("nan")}, r"options\.constituents is nan: it must be a finite number"),
        ({"width": "8"}, r"options\.width is '8': it must be a number"),
        ({"blocks": 1.5}, r"options\.blocks is 1\.5: it must be a whole number and at least 1"),
        ({"dropout": 1.0}, r"options\.dropout is 1\.0: it must be below 1"),
        ({"width": 12}, r"options\.width is 12 and .*heads 8: make the width a multiple"),
        ({"pair_layers": 2}, r"options\.pair_layers is 2: say of which width, with .*options\.pairs"),
    ],
)
def test_options_that_no_network_can_be_built_with_are_told_at_once(options, message):
    mine = Network(kind="jet_transformer", options=options, representation="V")
    with pytest.raises(InvalidStudy, match=message):
        check(Study(networks={"mine": mine}), KNOWN)
    check(Study(networks={"mine": replace(mine, options={"width": 8.0, "heads": 2, "dropout": 0.1})}), KNOWN)


def test_options_of_the_one_network_are_given_to_each_named_one():
    named = {name: Network(kind="jet_transformer", options={"width": 8}) for name in "ab"}
    study = Study(network=Network(options={"constituents": 30}), networks=named).with_options_of_each()
    assert [one.options for one in study.networks.values()] == [{"width": 8, "constituents": 30}] * 2
    assert study.network == Network() and study.with_options_of_each() == study
    alone = Study(network=named["a"])
    assert alone.with_options_of_each() is alone


def test_two_names_for_networks_that_are_one_by_default_are_refused():
    networks = {"a": {}, "b": {"width": 128, "dropout": 0.0}}
    with pytest.raises(InvalidStudy, match="networks: 'a' and 'b' are the same"):
        check(
            Study(networks={name: Network(kind="jet_transformer", options=one) for name, one in networks.items()}),
            KNOWN,
        )


def test_two_names_of_one_task_are_one_task():
    assert task("stop_pair_vs_ttH") is TASKS["stop_vs_ttH"] and task("ttH_vs_stop_pair").name == "ttH_vs_stop_pair"
    both = Finetuning(tasks=("stop_pair_vs_ttH", "WH_vs_ZH", "stop_vs_ttH"))
    check(replace(Study(), finetuning=both), KNOWN)
    assert [one.name for one in both.resolved()] == ["stop_vs_ttH", "WH_vs_ZH"]
    assert both.renamed() == {"stop_pair_vs_ttH": "stop_vs_ttH"}
    assert {cell.task.name for cell in cells(Study(finetuning=both))} == {"stop_vs_ttH", "WH_vs_ZH"}
    before = json.loads(json.dumps(asdict(Study(finetuning=both))))
    assert changes(before, Study(finetuning=Finetuning(tasks=("stop_vs_ttH", "WH_vs_ZH")))) == []


def test_a_class_is_the_same_in_whatever_order_its_processes_are_given():
    assert task("p1+p01_vs_x") == task("p01+p1_vs_x"), "numbers that are alike but for zeros"
    assert task("ttW+tHq_vs_ttH+ttt") == task("tHq+ttW_vs_ttt+ttH") and task("a1000+a600_vs_b").signal == "a600+a1000"
    of_smoke = "HH4b_1000+HH4b_2000_vs_QCD_300_470+QCD_600_800"  # its trials keep their hashes
    assert task(of_smoke).name == of_smoke
    assert Task("a", "", "x10+x2", "y") == Task("a", "", "x2+x10", "y"), "one of a plug-in too"
    of_jets = JET_TASKS["HH4b_vs_QCD"]
    backwards = "_vs_".join("+".join(reversed(of_class)) for of_class in of_jets.classes)
    assert task(backwards) is of_jets and task_name({"task": "x", **_sides(backwards)}) == of_jets.name
    both = Finetuning(tasks=("ttW+tHq_vs_ttH", "tHq+ttW_vs_ttH"))
    assert [one.name for one in both.resolved()] == ["tHq+ttW_vs_ttH"]


def _sides(name):
    return dict(zip(("signal", "background"), name.split("_vs_"), strict=True))


def test_lhe_files_bring_processes_of_their_own():
    study = Study(generation=Generation(lhe={"mine": "x.lhe"}), finetuning=Finetuning(tasks=("mine_vs_ttH",)))
    check(study, KNOWN)
