"""What a study's folder remembers, and what is said of folders that remember nothing or nonsense."""

import dataclasses
import json
import os

import pytest

from breakeven import atomic
from breakeven.places import Places
from breakeven.study import folder
from breakeven.study.folder import Members, read_folder, study_names
from breakeven.study.spec import Finetuning, InvalidStudy, Study

STUDY = Study(name="mine", finetuning=Finetuning(sizes=(10, 20)))


def written(root, name="mine", spec=None):
    places = Places(root, name)
    atomic.write_json(places.folder / "study.json", dataclasses.asdict(STUDY) if spec is None else spec)
    return places


def test_by_name_and_by_path(tmp_path, monkeypatch):
    places = written(tmp_path / "runs")
    Members(places).write(["a", "b"])
    monkeypatch.chdir(tmp_path)
    for name, runs in (("mine", tmp_path / "runs"), ("runs/mine", tmp_path / "other"), (str(places.folder), tmp_path)):
        found = read_folder(name, runs)
        assert found.study == STUDY and found.members == ("a", "b") and found.places == places


def test_before_its_first_trial(tmp_path):
    written(tmp_path)
    assert read_folder("mine", tmp_path).members == () and study_names(tmp_path) == ["mine"]


def test_unknown_names(tmp_path):
    for name in ("yours", "hers"):
        written(tmp_path, name)
    for name in ("mine", str(tmp_path / "mine")):
        with pytest.raises(FileNotFoundError, match=r"mine: no study that ran; those here: hers, yours$"):
            read_folder(name, tmp_path)
    with pytest.raises(FileNotFoundError, match="those here: none"):
        read_folder("mine", tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("study.json", '{"name": ', "study.json: not what was written to it .*start the study again"),
        ("study.json", "[]", "study.json: not what was written to it .it holds no dict"),
        ("records.json", '["a', "records.json: not what was written to it"),
        ("records.json", "{}", "it holds no list"),
    ],
)
def test_damaged_files_are_named(file, text, message, tmp_path):
    (written(tmp_path).folder / file).write_text(text)
    with pytest.raises(InvalidStudy, match=message):
        read_folder("mine", tmp_path)


@pytest.mark.parametrize(
    ("part", "field", "value", "message"),
    [
        ("finetuning", "seeds", -3, "finetuning.seeds is -3"),
        ("finetuning", "merit", "acuracy", "finetuning.merit is 'acuracy': choose accuracy"),
        ("finetuning", "learning_rate", 0, "finetuning.learning-rate is 0: it must be above zero"),
        ("finetuning", "learning_rate", float("nan"), "finetuning.learning-rate is nan"),
        ("finetuning", "sizes", [], "finetuning.sizes must name at least one"),
        ("pretraining", "objectives", ["foo"], "pretraining.objectives is 'foo': choose"),
        ("generation", "fewer", {"ttH": 0}, "generation.fewer.ttH is 0"),
    ],
)
def test_values_that_no_study_can_have_are_named(part, field, value, message, tmp_path):
    places = written(tmp_path)
    spec = dataclasses.asdict(STUDY)
    spec[part][field] = value
    (places.folder / "study.json").write_text(json.dumps(spec))
    with pytest.raises(InvalidStudy, match=rf"mine/study\.json: not a specification of this version .*{message}"):
        _ = read_folder("mine", tmp_path).study


def test_a_study_in_the_folder_of_another_is_named(tmp_path):
    (tmp_path / "alias").symlink_to(written(tmp_path).folder)
    assert read_folder("alias", tmp_path).study == STUDY
    written(tmp_path, "yours")
    with pytest.raises(InvalidStudy, match=r"yours/study\.json: name is 'mine', not that of its folder"):
        _ = read_folder("yours", tmp_path).study


@pytest.mark.parametrize("change", [lambda spec: spec["search"].update(new=1), lambda spec: spec.pop("network")])
def test_a_specification_of_another_version(change, tmp_path):
    spec = dataclasses.asdict(STUDY)
    change(spec)
    found = read_folder("mine", written(tmp_path, spec=spec).root)
    assert found.spec == json.loads(json.dumps(spec))
    with pytest.raises(InvalidStudy, match="not a specification of this version"):
        _ = found.study


def test_members_are_written_now_and_then(tmp_path, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(folder.time, "monotonic", lambda: clock[0])
    places = written(tmp_path)
    members = Members(places)

    def kept():
        return list(read_folder("mine", tmp_path).members)

    members.keep(["a"])
    members.keep(["a", "b"])
    assert kept() == ["a"]  # a moment after the first
    clock[0] += folder.KEEP_SECONDS
    members.keep(["a", "b"])
    assert kept() == ["a", "b"]
    before = os.stat(places.folder / "records.json").st_ino
    clock[0] += folder.KEEP_SECONDS
    members.keep(["a", "b"])
    assert os.stat(places.folder / "records.json").st_ino == before  # nothing new: not written again
    members.write(["a", "b", "c"])
    assert kept() == ["a", "b", "c"]
