"""What is done before the stages with what a study's folder holds."""

import dataclasses
import json

import pytest

from breakeven.places import Places
from breakeven.stages.opening import _set_other_study_aside
from breakeven.study.spec import Study


@pytest.mark.parametrize(
    "damage", [{"finetuning": None}, {"networks": None}, {"finetuning": {"tasks": None, "seeds": None}}]
)
def test_a_specification_that_is_damaged_does_not_keep_a_study_from_its_start(tmp_path, damage):
    study, places = Study(name="mine"), Places(tmp_path, "mine")
    places.folder.mkdir()
    (places.folder / "study.json").write_text(json.dumps({**dataclasses.asdict(study), **damage}))
    _set_other_study_aside(study, places)
