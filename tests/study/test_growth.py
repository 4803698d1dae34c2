import json
from dataclasses import asdict, replace

import pytest

from breakeven.study.growth import changes
from breakeven.study.spec import Finetuning, Generation, Network, Pretraining, Search, Study

STUDY = Study(finetuning=Finetuning(tasks=("WH_vs_ZH",), sizes=(100, 300), seeds=3), search=Search(trials=2))
BEFORE = json.loads(json.dumps(asdict(STUDY)))


@pytest.mark.parametrize(
    "larger",
    [
        replace(STUDY, finetuning=replace(STUDY.finetuning, seeds=5)),
        replace(STUDY, finetuning=replace(STUDY.finetuning, sizes=(30, 100, 300), tasks=("stop_vs_ttH", "WH_vs_ZH"))),
        replace(STUDY, search=replace(STUDY.search, trials=4)),
        replace(STUDY, finetuning=replace(STUDY.finetuning, trial_seconds=9.0)),
    ],
)
def test_more_seeds_sizes_tasks_and_ratios_are_the_same_study(larger):
    found = changes(BEFORE, larger)
    assert found and all(change.grows for change in found)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (replace(STUDY, finetuning=replace(STUDY.finetuning, seeds=2)), "finetuning.seeds 3 -> 2"),
        (replace(STUDY, finetuning=replace(STUDY.finetuning, sizes=(100,))), "finetuning.sizes [100, 300] -> [100]"),
        (replace(STUDY, finetuning=replace(STUDY.finetuning, head_rate=0.5)), "finetuning.head_rate 0.001 -> 0.5"),
        (replace(STUDY, generation=Generation(fewer={"ttH": 9})), "generation.fewer {} -> {'ttH': 9}"),
    ],
)
def test_anything_else_is_another_study(other, said):
    (change,) = changes(BEFORE, other)
    assert not change.grows and str(change) == said


def test_the_same_study_has_not_changed_nor_by_a_field_that_a_version_lacks():
    assert changes(BEFORE, STUDY) == []
    old = json.loads(json.dumps(BEFORE))
    del old["finetuning"]["gpu_share"]
    assert changes(old, STUDY) == []


def test_a_network_or_pretraining_more_is_the_same_study_and_one_less_or_changed_is_another():
    few, many = Pretraining(("multiclass",), events_per_process=100), Pretraining(("multiclass",))
    study = replace(STUDY, pretrainings={"few": few}, networks={"narrow": Network(hidden=32)})
    before = json.loads(json.dumps(asdict(study)))
    assert not changes(before, study)
    assert all(change.grows for change in changes(before, replace(study, pretrainings={"few": few, "many": many})))
    assert not changes(before, replace(study, pretrainings={"few": many}))[0].grows
    assert not changes(before, replace(study, networks={}))[0].grows
    more_workers = replace(study, pretrainings={"few": replace(few, workers=3)})
    assert not changes(before, more_workers)
    del before["networks"]["narrow"]["kind"]  # as a version without that field wrote it
    assert not changes(before, study)


@pytest.mark.parametrize(
    "other",
    [
        replace(STUDY, network=Network(hidden=32)),
        replace(STUDY, networks={"narrow": Network(hidden=32)}),
        replace(STUDY, pretraining=replace(STUDY.pretraining, validation_events=999)),
        replace(STUDY, pretraining=replace(STUDY.pretraining, precision="bfloat16")),
    ],
)
def test_a_field_that_an_older_version_had_not_is_compared_with_what_it_meant_then(other):
    old = json.loads(json.dumps(asdict(STUDY)))
    for part, names in {
        "network": ["hidden", "kind", "options"],
        "pretraining": ["precision", "validation_events", "start"],
    }.items():
        for name in names:
            del old[part][name]
    del old["networks"], old["pretrainings"], old["finetuning"]["baselines"]
    assert not changes(old, STUDY)
    assert [change.grows for change in changes(old, other)] == [False]


def test_a_task_of_a_plugin_that_is_not_used_now_is_one_that_went():
    before = {**BEFORE, "finetuning": {**BEFORE["finetuning"], "tasks": ["of_a_plugin", "WH_vs_ZH"]}}
    (change,) = changes(before, STUDY)
    assert str(change) == "finetuning.tasks ['of_a_plugin', 'WH_vs_ZH'] -> ['WH_vs_ZH']" and not change.grows


def test_options_given_at_their_defaults_change_nothing():
    study = replace(STUDY, network=Network(kind="jet_transformer", options={"width": 32}))
    said = replace(STUDY, network=Network(kind="jet_transformer", options={"dropout": 0.0, "width": 32, "blocks": 8}))
    assert changes(json.loads(json.dumps(asdict(study))), said) == changes(asdict(said), study) == []
    narrow = replace(study, network=replace(study.network, options={"width": 16}))
    (change,) = changes(asdict(said), narrow)
    assert change.field == "network.options" and not change.grows
