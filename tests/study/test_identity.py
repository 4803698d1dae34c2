"""Identities hold what decides a result, nothing else, and stay what they are: the values here are frozen.

A test that fails here tells that a ledger written before would not be found again.
"""

from dataclasses import asdict, fields, replace

import numpy as np
import pytest

from breakeven.events import arrays
from breakeven.events.sampling import assign_splits, subset
from breakeven.events.simulated import Simulated
from breakeven.events.store import Dataset, Recipe
from breakeven.fingerprint import fingerprint
from breakeven.physics import truth
from breakeven.physics.processes import CATALOGUE
from breakeven.study import identity
from breakeven.study.growth import RUNNING
from breakeven.study.plan import Cell, Ingredients, cells, search_name, search_seeds, trial, trials_of
from breakeven.study.spec import Finetuning, Network, Pretraining, Search, Study, task
from breakeven.work.versions import result_versions

FIRST = {"network": "1", "training": "1", "torch": "2"}
DATA = {"WH": "1" * 16, "ZH": "2" * 16}
MADE_OF = Ingredients(DATA, {"multiclass": ("3" * 16,), "multilabel": ("4" * 16,)}, {"": FIRST})
STUDY = Study(
    pretraining=Pretraining(("multiclass", "multilabel"), epochs=15, patience=0, symmetries=False),
    finetuning=Finetuning(
        sizes=(100, 300, 1000),
        epochs=8,
        steps=200,
        patience=5,
        patience_steps=0,
        slow_start=1,
        warmup_steps=0,
        symmetries=False,
    ),
    search=Search(spread=False),
)
"""As the first version had it."""
SCRATCH = Cell(task("WH_vs_ZH"), "none", "scratch", 100)
FINETUNE = Cell(task("WH_vs_ZH"), "multiclass", "finetune", 100)
FROZEN = Cell(task("WH_vs_ZH"), "multilabel", "frozen", 100)


def of(cell, phase="confirm", study=STUDY, made_of=MADE_OF, ratio=0.1):
    seed = 1 if phase == "confirm" else search_seeds(study)[0]
    return trial(study, cell, phase, seed, ratio, made_of).hash


def pretraining(objective, settings=STUDY.pretraining, versions=FIRST):
    made = identity.pretraining_identity(
        replace(settings, objectives=(objective,)), STUDY.network, tuple(DATA.values()), versions
    )
    return fingerprint(made)


def finetuning(**changes):
    return replace(STUDY, finetuning=replace(STUDY.finetuning, **changes))


def test_one_identity_of_each_kind_is_what_it_was_in_the_first_version():
    assert of(SCRATCH, ratio=1.0) == "3b2c20e2cb84096f"
    assert of(FINETUNE) == "f0970e646f6bc100"
    assert of(FROZEN) == "9b621fdd3cc47de1"
    assert of(FINETUNE, "search") == "02756a62a54db933"
    assert search_name(STUDY, FINETUNE, MADE_OF) == "e87aa931c5cabc7b"
    assert pretraining("multiclass") == "374464de99c91080"
    assert pretraining("multilabel") == "613e5eb6ce007246"


def test_events_splits_subsets_and_labels_are_what_they_were(tmp_path):
    """A value that has to change needs its version raised, and a value of that version here."""
    assert result_versions("event_graph") == {**FIRST, "features": "1", "splits": "1", "subsets": "1", "labels": "1"}
    recipe = Recipe(Simulated(CATALOGUE["WH"]))
    assert (recipe.hash, recipe.shard_seed(3)) == ("a079595242336fd9", 682109699)
    assert Dataset(tmp_path, "WH", 2, ("a" * 16, "b" * 16)).hash == "955a02e0a882a7a0"
    split = [0, 0, 1, 0, 0, 2, 1, 0, 0, 1, 2, 0, 0, 2, 2, 1, 0, 2, 2, 0, 2, 0, 0, 2]
    assert assign_splits("ttH", np.arange(24)).tolist() == split
    assert subset(np.arange(100, 200), 8, 3, "ttH").tolist() == [115, 187, 127, 174, 150, 167, 186, 178]
    nothing = [np.nan] * 3
    events = truth.Truth(
        *(np.array(numbers, np.int8) for numbers in ([1, 0], [2, 1], [2, 1], [0, 1])),
        higgs=np.array([[45.0, -1.2, 2.0], nothing], np.float32),
        top1=np.array([[310.0, 0.3, -3.0], [25.0, 2.2, 0.1]], np.float32),
        top2=np.array([[30.0, -0.1, 1.5], nothing], np.float32),
    )
    vectors = ["".join(map(str, row)) for row in truth.labels(events).astype(int)]
    assert vectors == ["12220101001000001100100101000101001000010", "01211000000000000110000010010000000000000"]


def test_what_a_strategy_or_phase_does_not_use_is_not_in_its_identity():
    fewer_test_events, other_ratio = finetuning(test_events=99), replace(STUDY, search=Search(published=0.5))
    assert of(FINETUNE, "search") == of(FINETUNE, "search", fewer_test_events)
    assert search_name(STUDY, FINETUNE, MADE_OF) == search_name(fewer_test_events, FINETUNE, MADE_OF)
    assert of(FINETUNE) != of(FINETUNE, study=fewer_test_events)
    assert of(FROZEN, ratio=0.1) == of(FROZEN, ratio=0.5) and of(FINETUNE, ratio=0.1) != of(FINETUNE, ratio=0.5)
    assert of(SCRATCH, ratio=1.0) == of(SCRATCH, study=other_ratio, ratio=1.0) != of(SCRATCH, ratio=0.5)
    assert trial(STUDY, FROZEN, "confirm", 1, 0.5, MADE_OF).ratio == identity.IDLE_RATIOS["frozen"]
    headed, turned = finetuning(head_steps=600), finetuning(symmetries=True)
    assert of(FROZEN) == of(FROZEN, study=headed) and of(SCRATCH) == of(SCRATCH, study=headed)
    assert of(FINETUNE) != of(FINETUNE, study=headed)
    assert of(FROZEN) == of(FROZEN, study=turned) and of(FROZEN, study=turned) == of(
        FROZEN, study=finetuning(symmetries=False)
    )
    assert of(SCRATCH, study=turned) != of(SCRATCH, study=finetuning(symmetries=False))
    validated = replace(STUDY.pretraining, validation_events=99)
    assert pretraining("multiclass", validated) != pretraining("multiclass")


def test_a_whole_number_is_the_same_number_as_a_fraction():
    whole, fraction = (replace(STUDY, network=Network(kind="mine", options={"width": width})) for width in (32, 32.0))
    assert of(SCRATCH, study=whole) == of(SCRATCH, study=fraction) != of(SCRATCH)
    assert of(FINETUNE, study=finetuning(head_rate=1)) == of(FINETUNE, study=finetuning(head_rate=1.0))


PUBLISHED = {"width": 128, "blocks": 8, "class_blocks": 2, "heads": 8, "pairs": 64, "pair_layers": 3}
SMALL_JETS = {"width": 32, "blocks": 2, "class_blocks": 1, "heads": 4, "pairs": 8, "constituents": 30}


@pytest.mark.parametrize(
    ("options", "same"),
    [
        (PUBLISHED, {}),
        (PUBLISHED, {"feed_forward": 4, "dropout": 0, "constituents": 0.0}),
        (SMALL_JETS, SMALL_JETS | {"pair_layers": 1, "dropout": 0.0}),
    ],
)
def test_an_option_that_is_given_as_it_is_by_default_makes_no_other_network(options, same):
    first, second = (Network(kind="jet_transformer", options=one, representation="V") for one in (options, same))
    assert identity.said(first) == identity.said(second)
    assert identity.said(first)["options"] == options, "as the presets have said it since they were there"
    assert identity.said(first) != identity.said(replace(first, options={**options, "width": 64}))


def test_networks_of_the_presets_of_the_joint_analysis_are_what_they_were():
    hashes = [
        fingerprint(identity.said(Network(kind="jet_transformer", options=one, representation="V")))
        for one in (SMALL_JETS, PUBLISHED)
    ]
    assert hashes == ["c000046e357f2ad8", "99f7dfcadfca98bb"]


TREES = Cell(task("WH_vs_ZH"), "none", "trees", 100)


def test_trees_know_neither_network_nor_batch_and_search_nothing():
    asked = replace(MADE_OF, versions={"": FIRST, "trees": {"trees": "1", "variables": "1", "sklearn": "1.9"}})
    first = of(TREES, made_of=asked, ratio=1.0)
    assert first == "4e7f50428529228f"  # of the first version
    for same in (replace(STUDY, network=Network(hidden=32)), finetuning(batch_size=7, decay=0.5, epochs=99)):
        assert of(TREES, study=same, made_of=asked, ratio=1.0) == first
    assert of(TREES, study=finetuning(patience=9), made_of=asked) != first
    newer = replace(asked, versions={"trees": {"trees": "1", "variables": "2", "sklearn": "1.9"}})
    assert of(TREES, made_of=newer) != first != of(SCRATCH, made_of=asked)
    by_process = replace(asked, versions={"trees": {"trees": "1", "sklearn": "1.9"}}, variables={"WH": "1", "ZH": "1"})
    assert of(TREES, made_of=by_process) == first
    of_jets = replace(by_process, variables={"WH": "jets 1", "ZH": "jets 1"})
    assert of(TREES, made_of=of_jets) != first and of(SCRATCH, made_of=of_jets) == of(SCRATCH, made_of=by_process)
    study = replace(finetuning(baselines=("trees",)), networks={"a": Network(), "b": Network(hidden=32)})
    of_task = [cell for cell in cells(study) if cell.strategy == "trees" and cell.task == TREES.task]
    assert of_task == [Cell(TREES.task, "none", "trees", size) for size in (1000, 300, 100)]
    assert trials_of(study, TREES) == {"search": 0, "confirm": study.finetuning.seeds}


def test_a_warm_up_says_from_where_patience_counts_and_a_search_whether_it_is_spread():
    """The first warm-ups said nothing of patience, which counted from the first epoch: those trials are others."""
    warm = finetuning(warmup_steps=30)
    said = trial(warm, SCRATCH, "confirm", 1, 1.0, MADE_OF)
    assert {name: said.identity["training"][name] for name in ("warmup", "patience_after")} == {
        "warmup": 5,
        "patience_after": 5,
    }
    assert said.hash == "ae92d60e2f736822" and of(FINETUNE, study=warm) == of(FINETUNE)
    spread = replace(STUDY, search=Search())
    assert search_name(spread, FINETUNE, MADE_OF) == "e3f59da5c7372a9b"
    assert of(FINETUNE, "search", spread) == of(FINETUNE, "search"), "a trial is the same whoever proposed its ratio"


@pytest.mark.parametrize("room", ["features", "splits", "subsets", "labels"])
def test_what_changes_a_result_is_in_its_identity_from_its_second_version_on(room):
    first, second = {**FIRST, room: "1"}, {**FIRST, room: "2"}
    same = replace(MADE_OF, versions={"": first})
    changed = replace(MADE_OF, versions={"": second})
    assert of(FINETUNE, made_of=same) == of(FINETUNE)
    assert (of(FINETUNE, made_of=changed) == of(FINETUNE)) == (room == "labels")  # it learns no label itself
    assert (pretraining("multiclass", versions=second) == pretraining("multiclass")) == (room == "labels")
    assert pretraining("multilabel", versions=second) != pretraining("multilabel")


def test_a_new_definition_is_never_served_from_an_old_cache(datasets, monkeypatch):
    before = arrays.open_arrays(datasets["WH"]).labels.copy()
    monkeypatch.setattr(truth, "labels", lambda events: np.ones((len(events.n_top), 41), np.float32))
    assert (arrays.open_arrays(datasets["WH"]).labels == before).all()
    monkeypatch.setattr(truth, "LABELS_VERSION", 2)
    assert not arrays.is_flat(datasets["WH"])
    assert (arrays.open_arrays(datasets["WH"]).labels == 1).all()


def test_a_new_field_leaves_every_hash_as_it_is_until_it_is_used(monkeypatch):
    monkeypatch.setitem(identity.DECIDING, Finetuning, identity.DECIDING[Finetuning][:-1])
    changed = of(FINETUNE)
    monkeypatch.setitem(identity.SILENT, Finetuning, {"test_events": STUDY.finetuning.test_events})
    assert of(FINETUNE) == changed != of(FINETUNE, study=finetuning(test_events=99))


def test_a_whole_number_is_the_same_fraction():
    assert of(SCRATCH, study=finetuning(decay=1), ratio=1.0) == of(SCRATCH, study=finetuning(decay=1.0), ratio=1.0)


def test_the_width_of_a_network_is_in_its_identity_where_it_is_not_that_of_the_first():
    narrow = replace(STUDY, network=Network(hidden=32))
    assert of(SCRATCH, study=narrow, ratio=1.0) != "3b2c20e2cb84096f"
    assert "hidden" not in identity.said(Network()) and identity.said(Network(hidden=32))["hidden"] == 32


@pytest.mark.parametrize("part", [Network, Pretraining, Finetuning, Search])
def test_every_field_decides_a_result_or_is_known_not_to(part):
    """A field that decides is said always, or later than the first records: with its value until then in SILENT."""
    decides = {*identity.DECIDING[part], *identity.SILENT.get(part, {})}
    named_otherwise = {
        Network: set(),
        Pretraining: {"objectives", "processes", "validation_events", "start", "seeds"},
        Finetuning: {
            "tasks",
            "strategies",
            "baselines",
            "sizes",
            "seeds",
            "patience_steps",
            "warmup_steps",
            "epochs",
            "steps",
            "learning_rate",
            "head_rate",
        },
        Search: {"strategies", "scratch_low", "scratch_high", "trials", "seeds", "spread", "pruning"},
    }[part]
    running = {name.partition(".")[2] for name in RUNNING if name.startswith(f"{part.__name__.lower()}.")}
    assert {field.name for field in fields(part)} == decides | named_otherwise | running
    assert not decides & (named_otherwise | running - {"pruning"})
    assert set(asdict(part())) >= decides


SCORING = replace(
    finetuning(baselines=("trees", "trees+score")),
    networks={name: Network(kind="jet_transformer", representation=name) for name in ("S+HLF", "V")},
    pretrainings={"xbb": Pretraining(("xbb",)), "jetclass": Pretraining(("multiclass",))},
)  # fmt: skip
BACKBONES = replace(
    MADE_OF,
    backbones={"S+HLF/xbb": ("aa", "bb")},
    versions={"S+HLF": {**FIRST, "features": "1"}, "trees": {"trees": "1"}},
)


def test_trees_with_scores_know_backbone_and_network_and_nothing_of_its_training():
    cell = Cell(task("WH_vs_ZH"), "xbb", "trees+score", 100, "S+HLF")
    assert [
        one for one in cells(SCORING) if one.strategy == "trees+score" and (one.task, one.size) == (cell.task, 100)
    ] == [cell]
    said = trial(SCORING, cell, "confirm", 2, 1.0, BACKBONES).identity
    assert (said["strategy"], said["backbone"], said["network"]["representation"]) == ("trees+score", "bb", "S+HLF")
    assert said["versions"] == {"trees": "1", "network": FIRST["network"], "features": "1"}
    first = of(cell, study=SCORING, made_of=BACKBONES)
    assert trial(SCORING, cell, "confirm", 3, 1.0, BACKBONES).hash != first
    slower = replace(SCORING, finetuning=replace(SCORING.finetuning, head_rate=0.5, batch_size=7, head_steps=5))
    assert of(cell, study=slower, made_of=BACKBONES) == first
    plain = trial(SCORING, TREES, "confirm", 1, 1.0, BACKBONES).identity
    assert plain["backbone"] == "" and "network" not in plain and trials_of(SCORING, cell)["search"] == 0


@pytest.mark.parametrize(("name", "value"), [("same_events", True), ("signal_fraction", 0.068)])
def test_how_events_are_drawn_is_told_by_all_trials_where_it_is_not_as_it_was(name, value):
    drawn = finetuning(**{name: value})
    for cell in (SCRATCH, FINETUNE, TREES):
        assert of(cell, study=drawn) != of(cell)
        assert name not in trial(STUDY, cell, "confirm", 1, 1.0, MADE_OF).identity["training"]
        assert trial(drawn, cell, "confirm", 1, 1.0, MADE_OF).identity["training"][name] == value
