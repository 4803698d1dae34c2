"""Names of networks and pretrainings are a study's own: the ledger shares the records, and reading gives them back."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from queues import filled

from breakeven.estimate.pace import Pace
from breakeven.fingerprint import fingerprint
from breakeven.ledger.ledger import Ledger
from breakeven.physics.processes import PRETRAINING
from breakeven.results import StudyResults
from breakeven.search import open_storage
from breakeven.search.packs import choose
from breakeven.study.folder import folder_with_trials
from breakeven.study.identity import pretraining_identity
from breakeven.study.naming import Names
from breakeven.study.plan import Ingredients, backbone_name, cells, trial
from breakeven.study.spec import Finetuning, Network, Pretraining, Study, task
from breakeven.work.versions import result_versions

RUNS = Path(__file__).parent.parent / "data" / "runs-0.1"


@pytest.fixture
def ran(tmp_path):
    """The smoke study of the first version: one network, one pretraining, neither with a name."""
    return folder_with_trials("smoke", Path(shutil.copytree(RUNS, tmp_path / "runs")))


def named(study: Study, **more: Pretraining) -> Study:
    """The same study, its network called "narrow" and its pretraining "four"."""
    return replace(study, network=Network(), networks={"narrow": study.network}, pretraining=Pretraining(),
                   pretrainings={"four": study.pretraining, **more})  # fmt: skip


def test_records_have_the_names_of_the_study_that_reads_them(ran):
    ledger = Ledger(ran.places.ledger).refresh()
    asked = named(ran.study, few=replace(ran.study.pretraining, processes=("WH", "ZH")))
    trials = StudyResults(asked, ran.places, ledger, ran.members).trials
    assert set(trials["network"]) == {"narrow"} and set(trials["pretraining"]) == {"none", "four"}
    assert set(trials["cell"]) <= {cell.name for cell in cells(asked)} and "WH_vs_ZH/narrow/four/finetune/50" in set(
        trials["cell"]
    )
    before = StudyResults(ran.study, ran.places, ledger, ran.members).trials
    assert set(before["network"]) == {""} and set(before["pretraining"]) == {"none", "multiclass"}
    assert (before["test_accuracy"].dropna().to_numpy() == trials["test_accuracy"].dropna().to_numpy()).all()


def test_a_study_with_names_finds_what_one_without_has_trained(ran):
    ledger = Ledger(ran.places.ledger).refresh()
    made = {record["process"]: record["dataset"] for record in ledger.records() if record["level"] == "generation"}
    (backbone,) = (record for record in ledger.records() if record["level"] == "pretraining")
    made_of = Ingredients(made, {backbone_name("narrow", "four"): (backbone["backbone"],)},
                          {"narrow": result_versions("event_graph")})  # fmt: skip
    asked = replace(named(ran.study), search=replace(ran.study.search, strategies=("finetune",)))
    queue = filled(asked, made_of, ledger, open_storage(None))
    assert queue.finished and queue.total == 24 and not queue.missing()
    assert set(queue.chosen()) == {cell.name for cell in cells(named(ran.study))}


def test_a_backbone_that_no_pretraining_of_the_study_would_give_keeps_its_name(ran):
    ledger = Ledger(ran.places.ledger).refresh()
    other = replace(
        ran.study, pretraining=Pretraining(), pretrainings={"long": Pretraining(("multiclass",), epochs=99)}
    )
    frame = StudyResults(other, ran.places, ledger, ran.members).trials
    assert set(frame["pretraining"]) == {"none", "multiclass"}


def test_a_chain_of_pretrainings_is_named_from_its_start():
    base = Pretraining(objectives=("multiclass",), processes=("ttH", "WH"))
    study = Study(pretrainings={
        "adapted": replace(base, processes=("WH", "ZH"), start="first"), "plain": replace(base, processes=("WH", "ZH")),
        "first": base,
    })  # fmt: skip
    assert list(study.pretrainings_by_name())[-1] == "adapted"
    names, versions = Names(study, PRETRAINING), result_versions("event_graph")
    for process in ("ttH", "WH", "ZH"):
        names.of({"level": "generation", "dataset": f"d-{process}", "process": process})
    told = {}
    for name, settings in study.pretrainings_by_name().items():
        data = [f"d-{process}" for process in settings.processes]
        said = pretraining_identity(settings, Network(), data, versions, "b-first" if settings.start else "")
        record = {"level": "pretraining", "record": fingerprint(said), "identity": said, "pretraining": "?"}
        told[name] = names.of({**record, "backbone": f"b-{name}"})["pretraining"]
    assert told == {name: name for name in study.pretrainings}


def test_a_trial_has_the_network_of_its_cell_and_goes_with_its_like(tmp_path):
    study = Study(
        finetuning=Finetuning(tasks=("WH_vs_ZH",), sizes=(100,), seeds=3),
        networks={"narrow": Network(hidden=32), "wide": Network()}, pretraining=Pretraining(objectives=()),
    )  # fmt: skip
    made_of = Ingredients({"WH": "w", "ZH": "z"}, {})
    for cell in cells(study):
        said = trial(study, cell, "confirm", 1, 1.0, made_of).identity["network"]
        assert said.get("hidden", 64) == study.networks[cell.network].hidden
    pace, (narrow, wide) = Pace(study), cells(study)
    slow = {"outcome": "finished", "wall_seconds": 90.0, "device_seconds": 90.0}
    pace.learn(trial(study, wide, "confirm", 1, 1.0, made_of), slow)
    assert pace.knows(wide, "confirm") and not pace.knows(narrow, "confirm")
    pace.learn(trial(study, narrow, "confirm", 1, 1.0, made_of), {**slow, "wall_seconds": 30.0})
    assert (pace.expected(narrow, "confirm"), pace.expected(wide, "confirm")) == (30.0, 90.0)
    waiting = [trial(study, cell, "confirm", seed, 1.0, made_of) for seed in (1, 2, 3) for cell in (narrow, wide)]
    assert {one.cell.network for one in choose(waiting, pace).values()} == {"narrow"}


def test_a_ratio_from_scratch_is_to_the_rate_of_the_study_that_reads_it():
    """The trial at half of 2e-4 and that at 1e-4 are one, which either study may have trained."""
    trained, read = (Study(finetuning=Finetuning(tasks=("WH_vs_ZH",), learning_rate=rate)) for rate in (2e-4, 1e-4))
    made_of = Ingredients({"WH": "w", "ZH": "z"}, {"multiclass": ("b",)})
    cell = next(cell for cell in cells(trained) if cell.strategy == "scratch")
    one, same = trial(trained, cell, "confirm", 1, 0.5, made_of), trial(read, cell, "confirm", 1, 1.0, made_of)
    assert one.hash == same.hash
    record = {"level": "trial", "task": "WH_vs_ZH", "signal": "WH", "background": "ZH", "pretraining": "none",
              "strategy": "scratch", "size": cell.size, "ratio": one.ratio, "identity": one.identity}  # fmt: skip
    assert [Names(study, ()).of(record)["ratio"] for study in (trained, read)] == [0.5, 1.0]
    tuned = {**record, "strategy": "finetune", "ratio": 0.3}
    assert Names(read, ()).of(tuned)["ratio"] == 0.3


def test_every_network_has_every_cell():
    study = Study(
        finetuning=Finetuning(tasks=("WH_vs_ZH",), sizes=(100,), strategies=("finetune",)),
        networks={"narrow": Network(hidden=32), "wide": Network(hidden=64)},
        pretrainings={"a": Pretraining(("multiclass",)), "b": Pretraining(("multiclass",), seed=2)},
    )
    assert [cell.name for cell in cells(study)] == [
        f"WH_vs_ZH/{network}/{rest}"
        for network in ("narrow", "wide")
        for rest in ("none/scratch/100", "a/finetune/100", "b/finetune/100")
    ]
    assert {cell.task for cell in cells(study)} == {task("WH_vs_ZH")}


def test_backbones_of_several_seeds_are_one_pretraining():
    settings = Pretraining(objectives=("multiclass",), processes=("WH", "ZH"), seeds=3)
    study, versions = Study(pretraining=settings), {"network": "1", "training": "1", "torch": "2"}
    names = Names(study, ())
    for process in ("WH", "ZH"):
        names.of({"level": "generation", "process": process, "dataset": f"data-{process}"})
    for of_seed in settings.by_seed():
        identity = pretraining_identity(of_seed, study.network, ("data-WH", "data-ZH"), versions)
        record = {"level": "pretraining", "record": fingerprint(identity), "identity": identity, "backbone": f"b{of_seed.seed}",
                  "pretraining": f"multiclass (seed {of_seed.seed})"}  # fmt: skip
        assert names.of(record)["pretraining"] == "multiclass"
    other = {**record, "record": "another", "pretraining": "kept"}
    assert names.of(other)["pretraining"] == "kept"
