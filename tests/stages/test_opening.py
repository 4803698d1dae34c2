"""What is done before the stages with what a study's folder holds."""

import dataclasses
import json

import pytest

from breakeven.ledger.lease import Leases
from breakeven.places import Places
from breakeven.stages.opening import _set_other_study_aside, open_study
from breakeven.study.spec import Finetuning, InvalidStudy, Study

STUDY = Study(name="mine")
WHOLE = json.dumps(dataclasses.asdict(STUDY))


def test_a_network_that_was_not_timed_here_is_said_to_be_so(tmp_path, capsys):
    """Whatever else the machine has been measured for."""
    open_study(Study(name="mine", finetuning=Finetuning(tasks=("WH_vs_ZH",), sizes=(100,))), Places(tmp_path, "mine"))
    assert "this network has not been timed on this machine: --plan does it" in capsys.readouterr().out


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


def test_what_the_last_run_missed_is_forgotten(tmp_path):
    """Killed before its end, a study that has grown would else be taken for one that has lost trials."""
    places = Places(tmp_path, "mine")
    places.folder.mkdir()
    (places.folder / "missing.json").write_text("{}")
    open_study(STUDY, places)
    assert not (places.folder / "missing.json").exists() and (places.folder / "study.json").exists()
