"""What is known of a study, read from a real ledger, as publishing and notebooks get it."""

import dataclasses
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from tracking.studies import trial

from breakeven.analysis.frame import confirmed
from breakeven.events.evaluated_events import name_of
from breakeven.events.sampling import Split, assign_splits
from breakeven.events.store import hard_events
from breakeven.ledger.ledger import Ledger
from breakeven.ledger.responses import Responses
from breakeven.places import Places
from breakeven.results import StudyResults, load
from breakeven.stages.generation import _generation_record
from breakeven.study.spec import Study


def record(name: str, seed: int, strategy: str = "scratch", **fields) -> dict:
    row = {
        key: value
        for key, value in trial(name, seed, strategy, **fields).items()
        if value is not None and value == value
    }
    return row | {key: int(row[key]) for key in ("size", "seed", "epochs")}


@pytest.fixture
def places(tmp_path) -> Places:
    found = Places(tmp_path, "tiny")
    found.folder.mkdir(parents=True)
    return found


def results(places: Places, members: list[str]) -> StudyResults:
    return StudyResults(Study(name="tiny"), places, Ledger(places.ledger).refresh(), tuple(members))


def test_similarities_are_kept_only_where_every_network_was_read(places, tmp_path, capsys) -> None:
    kept, random = Responses(places.ledger, "representations"), np.random.default_rng(3)
    names = []
    for seed in (1, 2, 3):
        for strategy in ("scratch", "finetune"):
            names.append(f"{strategy}{seed}")
            digest = kept.write(names[-1], {"decoder": random.normal(size=(30, 4))})
            Ledger(places.ledger).write(
                [record(names[-1], seed, strategy, representation=digest, represented_events="e")]
            )
    cache = places.folder / "similarity.json"
    hidden = kept.folder.rename(tmp_path / "hidden")
    lost = results(places, names).similarity
    assert lost["n_unreadable"].tolist() == [6, 6] and lost["note"].str.contains("cannot be read").all()
    assert not cache.exists()
    hidden.rename(kept.folder)
    found = results(places, names).similarity
    assert found["n_networks"].tolist() == [3, 3] and not found["n_unreadable"].any()
    assert capsys.readouterr().out.count("  report: comparing what the networks have learnt\n") == 2
    hidden = kept.folder.rename(tmp_path / "hidden")
    again = results(places, names).similarity
    assert cache.exists() and again["cka"].tolist() == pytest.approx(found["cka"].tolist()), "not computed again"
    assert not capsys.readouterr().out


def test_a_notebook_gets_frames_of_what_the_ledger_holds(places) -> None:
    """In a process of its own, which must need neither MLflow nor torch for it."""
    names = [f"{strategy}{seed}" for seed in (1, 2) for strategy in ("scratch", "finetune")]
    Ledger(places.ledger).write([record(name, int(name[-1]), name[:-1]) for name in names])
    (places.folder / "study.json").write_text(json.dumps(dataclasses.asdict(Study(name="tiny"))))
    (places.folder / "records.json").write_text(json.dumps(names))
    (places.folder / "command.txt").write_text("python studies/scaling.py")
    asked = f"""
import sys
from pathlib import Path
from breakeven.results import load
found = load("tiny", Path({str(places.root)!r}))
print(len(found.trials), found.cells["n"].tolist(), found.gains["gain"].round(6).tolist(), len(found.break_even))
print(sorted({{"mlflow", "torch", "ray"}} & sys.modules.keys()))
"""
    said = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True).stdout.splitlines()
    assert said == ["4 [2, 2] [0.0] 6", "[]"]
    assert load("tiny", places.root).trials["record"].tolist() == names


def test_a_damaged_record_is_told(places, capsys) -> None:
    ledger = Ledger(places.ledger)
    files = [ledger.write([record(f"scratch{seed}", seed)]) for seed in (1, 2)]
    (places.folder / "study.json").write_text(json.dumps(dataclasses.asdict(Study(name="tiny"))))
    (places.folder / "records.json").write_text(json.dumps(["scratch1", "scratch2"]))
    load("tiny", places.root)
    assert not capsys.readouterr().out
    files[0].write_bytes(files[0].read_bytes()[:50])
    assert load("tiny", places.root).trials["record"].tolist() == ["scratch2"]
    said = " ".join(capsys.readouterr().out.split())
    assert "warning" in said and "what it holds is missing here" in said


@pytest.mark.parametrize("content", ['["a"]', '{"stop_vs_ttH/none/scratch/100": "much"}', "{"])
def test_what_a_study_kept_in_another_form_is_told_and_left_out(places, capsys, content) -> None:
    Ledger(places.ledger).write([record("a", 1)])
    (places.folder / "command.txt").write_text("python studies/scaling.py")
    files = [places.folder / name for name in ("chosen.json", "missing.json", "price.json", "similarity.json")]
    for file in files:
        file.write_text(content)
    found = results(places, ["a"])
    assert found.frame["chosen_ratio"].isna().all()
    assert found.facts["missing"] == {} and found.facts["price"] == [] and found.similarity.empty
    said = " ".join(capsys.readouterr().out.split())
    assert all(f"warning {file}: not what was written to it" in said for file in files[:2])


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_command_that_cannot_be_read_is_left_out(places, content) -> None:
    Ledger(places.ledger).write([record("a", 1)])
    if content:
        (places.folder / "command.txt").write_bytes(content)
    assert results(places, ["a"]).facts["command"] == "unknown"


def test_a_reservation_in_another_form_is_told(places, capsys) -> None:
    Ledger(places.ledger).write([record("a", 1)])
    (places.ledger / "reservations").mkdir()
    bad = places.ledger / "reservations" / "bad.json"
    bad.write_text("[]")
    assert results(places, ["a"]).accounts.empty
    assert f"warning {bad}: no reservation" in " ".join(capsys.readouterr().out.split())


def test_the_ratio_that_the_search_chose_is_read_and_not_guessed(places) -> None:
    """Confirmed at two ratios, as after a search that was decided anew; the one that was chosen did not end last."""
    late = {"started": "2026-03-01T11:00:00.000+00:00", "ended": "2026-03-01T11:00:40.000+00:00"}
    Ledger(places.ledger).write([record("a", 1, "finetune", ratio=0.3), record("b", 2, "finetune", ratio=0.1, **late)])
    assert confirmed(results(places, ["a", "b"]).frame)["record"].tolist() == ["b"], "an older study says nothing"
    chosen = {"stop_vs_ttH/multiclass/finetune/100": 0.3}
    (places.folder / "chosen.json").write_text(json.dumps(chosen))
    assert confirmed(results(places, ["a", "b"]).frame)["record"].tolist() == ["a"]


def test_intervals_take_the_test_sample_from_the_scores_that_lie_beside_the_ledger(places, tmp_path) -> None:
    kept, random, names = Responses(places.ledger, "scores"), np.random.default_rng(4), []
    (places.folder / "command.txt").write_text("python studies/scaling.py")
    common, learnt = random.normal(size=200), random.normal(size=200)  # by a backbone: it finds other events easy
    for seed in (1, 2, 3):
        for strategy, more in (("scratch", 0.5), ("finetune", 0.9)):
            names.append(f"{strategy}{seed}")
            scores = common + learnt * (strategy == "finetune") + 0.5 * random.normal(size=200)
            digest = kept.write(names[-1], {"signal": scores[:100] + more, "background": scores[100:] - more})
            facts = {"scores": digest, "scored_events": "e", "test_events": 200}
            Ledger(places.ledger).write([record(names[-1], seed, strategy, **facts)])
    [found] = results(places, names).figures.gains.to_dict("records")
    assert found["gain_test_se"] > 0 and "scores" not in found["note"]
    assert results(places, names).gains["gain_test_se"].item() == found["gain_test_se"], "for notebooks too"
    kept.folder.rename(tmp_path / "hidden")
    [lost] = results(places, names).gains.to_dict("records")
    assert "no scores of single events: test sample by the binomial bound, not paired" in lost["note"]
    assert lost["gain"] == found["gain"] and lost["gain_test_se"] > found["gain_test_se"]


def test_which_test_events_are_of_one_hard_event_is_read_from_the_datasets(places, datasets) -> None:
    (places.folder / "command.txt").write_text("python studies/scaling.py")
    trials = [(strategy, seed) for seed in (1, 2) for strategy in ("scratch", "finetune")]
    members, ledger, n = [f"{strategy}{seed}" for strategy, seed in trials], Ledger(places.ledger), []
    for process, dataset in datasets.items():
        shutil.copytree(dataset.folder, places.datasets / process / dataset.folder.name)
        ledger.write([_generation_record(process, dataset)])
        members.append(dataset.hash)
        n.append(int((assign_splits(process, hard_events(dataset)) == Split.TEST).sum()))
    events = name_of([dataset.hash for dataset in datasets.values()], [(of_class, of_class) for of_class in n])
    for (strategy, seed), name in zip(trials, list(members), strict=False):
        scores = dict(zip(("signal", "background"), map(np.linspace, (-1, -2), (2, 1), n), strict=True))
        digest = Responses(places.ledger, "scores").write(name, scores)
        about = {"signal": "WH", "background": "ZH", "scores": digest, "scored_events": events}
        ledger.write([record(name, seed, strategy, **about, test_events=sum(n))])
    lost = record("finetune1", 1, "finetune", outcome="failed", reason="ValueError: no", test_accuracy=None, curve=None)
    ledger.write([lost])  # an earlier try
    found = results(places, members)
    assert not found.shared_events.unknown and "hard event" not in found.gains["note"].item()
    assert set(found.passing["background"]) == {n[1]} and (found.passing["passed"] > 0).any()
    assert found.figures.passing_by_cell["WH_vs_ZH", "none", "scratch", 100, "rejection_90"].endswith(f"of {n[1]}")
    shutil.rmtree(places.datasets / "ZH")
    gone = results(places, members)
    assert set(gone.shared_events.unknown.values()) == {"the events of WH and ZH are not on this machine"}
    assert "test events of one hard event are taken as independent" in gone.gains["note"].item()
