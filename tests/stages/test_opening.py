"""What is done before the stages with what a study's folder holds."""

import dataclasses
import json

import pytest

from breakeven.ledger.lease import Leases
from breakeven.places import Places
from breakeven.stages.opening import _set_other_study_aside
from breakeven.study.spec import InvalidStudy, Study

STUDY = Study(name="mine")
WHOLE = json.dumps(dataclasses.asdict(STUDY))


@pytest.mark.parametrize(
    "content",
    [
        *(json.dumps({**dataclasses.asdict(STUDY), **damage}).encode() for damage in (
            {"finetuning": None}, {"networks": None}, {"finetuning": {"tasks": None, "seeds": None}}, {"generation": 5},
        )),
        WHOLE[:200].encode(), b"[]", b"\xff\xfe", b"[" * 100_000,
    ],
    ids=lambda content: str(content[-30:]),
)  # fmt: skip
def test_a_specification_that_is_damaged_is_put_aside(tmp_path, content, capsys):
    places = Places(tmp_path, "mine")
    path = places.folder / "study.json"
    places.folder.mkdir()
    path.write_bytes(content)
    with (
        Leases(places.ledger, study="mine"),
        pytest.raises(InvalidStudy, match=r"is running with one that is not known .*study\.json"),
    ):
        _set_other_study_aside(STUDY, places)
    assert path.read_bytes() == content and not capsys.readouterr().out
    _set_other_study_aside(STUDY, places)
    assert not path.exists() and path.with_name("study.json.damaged").read_bytes() == content
    said = capsys.readouterr().out
    assert said.startswith(f"warning {path}: not what was written to it") and said.count("\n") == 1
