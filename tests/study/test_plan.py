from dataclasses import replace

from breakeven.study.plan import (
    Cell,
    Ingredients,
    cells,
    confirm_seeds,
    epochs,
    patience,
    processes,
    search_seeds,
    searched,
    space,
    steps_each,
    trial,
    trials_of,
)
from breakeven.study.spec import SEARCH_SEED, Finetuning, Network, Pretraining, Search, Study, task

DEFAULT = ("ttH", "WH", "ZH")
STUDY = Study(
    pretraining=Pretraining(objectives=("multiclass",)),
    finetuning=Finetuning(tasks=("WH_vs_ZH", "stop_vs_ttH"), strategies=("finetune", "frozen"), sizes=(100, 1000),
                          epochs=8, steps=200, patience=5, patience_steps=0, slow_start=1, warmup_steps=0, symmetries=False),
)  # fmt: skip
MADE_OF = Ingredients(
    datasets={name: f"data-{name}" for name in ("WH", "ZH", "ttH", "stop_pair")},
    backbones={"multiclass": ("backbone-1",)},
    versions={"": {"torch": "2"}},
)
CELL = Cell(task("WH_vs_ZH"), "multiclass", "finetune", 100)


def test_every_cell_once_largest_first():
    found = cells(STUDY)
    assert len(found) == len(set(found)) == 2 * 2 * 3
    assert [cell.size for cell in found] == sorted((cell.size for cell in found), reverse=True)
    assert sum(cell.strategy == "scratch" for cell in found) == 4
    assert CELL.name == "WH_vs_ZH/multiclass/finetune/100"


def test_all_processes_once():
    assert processes(STUDY, DEFAULT) == ("ttH", "WH", "ZH", "stop_pair")
    scratch_only = replace(STUDY, pretraining=Pretraining(objectives=()))
    assert processes(scratch_only, DEFAULT) == ("WH", "ZH", "stop_pair", "ttH")


def test_search_seeds_are_never_reported():
    large = replace(STUDY, finetuning=replace(STUDY.finetuning, seeds=1000), search=Search(seeds=10))
    assert not set(confirm_seeds(large)) & set(search_seeds(large))


def test_precision_is_part_of_an_identity_where_it_changes_results():
    one = trial(STUDY, CELL, "confirm", 1, 0.1, MADE_OF)
    assert one.hash == "cebe4d2eba6f831c"  # as before there was a choice: finished trials are never run again
    fast = replace(STUDY, finetuning=replace(STUDY.finetuning, precision="tf32"))
    said = {**one.identity, "training": {**one.identity["training"], "precision": "tf32"}}
    assert trial(fast, CELL, "confirm", 1, 0.1, MADE_OF).identity == said


def test_a_trial_is_what_defines_its_result():
    one = trial(STUDY, CELL, "confirm", 1, 0.1, MADE_OF)
    assert one.hash == trial(replace(STUDY, name="other"), CELL, "confirm", 1, 0.1, MADE_OF).hash
    more = replace(STUDY, finetuning=replace(STUDY.finetuning, sizes=(100, 1000, 5000), seeds=9))
    assert one.hash == trial(more, CELL, "confirm", 1, 0.1, MADE_OF).hash  # a larger study reuses it
    others = {
        trial(STUDY, CELL, "confirm", 2, 0.1, MADE_OF).hash,
        trial(STUDY, CELL, "confirm", 1, 0.2, MADE_OF).hash,
        trial(STUDY, CELL, "search", 1, 0.1, MADE_OF).hash,
        trial(STUDY, replace(CELL, size=200), "confirm", 1, 0.1, MADE_OF).hash,
        trial(STUDY, replace(CELL, task=task("stop_vs_ttH")), "confirm", 1, 0.1, MADE_OF).hash,
        trial(STUDY, CELL, "confirm", 1, 0.1, replace(MADE_OF, backbones={"multiclass": ("backbone-2",)})).hash,
        trial(STUDY, CELL, "confirm", 1, 0.1, replace(MADE_OF, datasets={**MADE_OF.datasets, "ZH": "new"})).hash,
        trial(STUDY, CELL, "confirm", 1, 0.1, replace(MADE_OF, versions={"": {"torch": "3"}})).hash,
        trial(replace(STUDY, network=Network(shared_blocks=True)), CELL, "confirm", 1, 0.1, MADE_OF).hash,
        trial(replace(STUDY, finetuning=replace(STUDY.finetuning, patience=9)), CELL, "confirm", 1, 0.1, MADE_OF).hash,
    }
    assert len(others) == 10 and one.hash not in others


def test_a_trial_from_scratch_does_not_know_the_backbone():
    scratch = Cell(task("WH_vs_ZH"), "none", "scratch", 100)
    other = replace(MADE_OF, backbones={"multiclass": ("backbone-2",)})
    assert (
        trial(STUDY, scratch, "confirm", 1, 1.0, MADE_OF).hash == trial(STUDY, scratch, "confirm", 1, 1.0, other).hash
    )


def test_small_samples_make_more_passes():
    settings = Finetuning(epochs=10, steps=100, batch_size=64)
    assert epochs(settings, 10_000) == 10
    assert epochs(settings, 32) == 100
    assert epochs(settings, 100) == 25  # 200 events are four batches


def test_trials_take_the_backbones_of_several_seeds_in_turns():
    made_of = replace(MADE_OF, backbones={"multiclass": ("b1", "b2", "b3")})
    taken = [trial(STUDY, CELL, "confirm", seed, 0.1, made_of).identity["backbone"] for seed in range(1, 6)]
    assert taken == ["b1", "b2", "b3", "b1", "b2"]
    searching = [trial(STUDY, CELL, "search", SEARCH_SEED + k, 0.1, made_of).identity["backbone"] for k in range(2)]
    assert searching == ["b1", "b2"]
    scratch = Cell(CELL.task, "none", "scratch", 100)
    assert trial(STUDY, scratch, "confirm", 2, 1.0, made_of).identity["backbone"] == ""


def test_scratch_is_searched_about_its_published_rate_with_the_same_effort():
    scratch = Cell(CELL.task, "none", "scratch", 100)
    tuned, fresh = space(STUDY, CELL), space(STUDY, scratch)
    assert searched(STUDY, CELL) and searched(STUDY, scratch)
    assert trials_of(STUDY, CELL) == trials_of(STUDY, scratch)
    assert not searched(STUDY, replace(CELL, strategy="frozen"))
    assert (fresh.low, fresh.published, fresh.high) == (0.3, 1.0, 1.5) and tuned == STUDY.search
    at = trial(STUDY, scratch, "confirm", 1, 3.0, MADE_OF)
    assert at.ratio == 3.0 and at.identity["rate"] == 3.0 * STUDY.finetuning.learning_rate
    assert at.identity["ratio"] == 1.0  # all its layers learn at one rate
    published = trial(STUDY, scratch, "confirm", 1, fresh.published, MADE_OF)
    assert published.identity["rate"] == STUDY.finetuning.learning_rate
    unsearched = replace(STUDY, search=replace(STUDY.search, strategies=("finetune",)))
    assert not searched(unsearched, scratch)


def test_patience_counts_in_epochs_and_in_steps():
    settings = Finetuning(patience=15, patience_steps=300, batch_size=32)
    assert steps_each(settings, 50) == 4 and patience(settings, 50) == 75
    assert patience(settings, 5000) == 15 and patience(replace(settings, patience_steps=0), 50) == 15
    study = replace(STUDY, finetuning=replace(STUDY.finetuning, patience=15, patience_steps=300, warmup_steps=10))
    said = trial(study, replace(CELL, strategy="scratch", pretraining="none", size=50), "confirm", 1, 1.0, MADE_OF)
    assert (said.identity["training"]["patience"], said.identity["training"]["warmup"]) == (75, 3)
    finetuned = trial(study, replace(CELL, strategy="finetune", size=50), "confirm", 1, 0.1, MADE_OF)
    assert "warmup" not in finetuned.identity["training"]
