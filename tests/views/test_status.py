"""What `breakeven status` says of studies that ran, run, were killed or cannot be read; the studies are real, on disk."""

import json
import re
from dataclasses import replace

import pytest
from formula_study import STUDY, begin, work
from ledger.ledger_contract import fork
from queues import take

from breakeven import terminal
from breakeven.analysis import frame as ledger_frame
from breakeven.ledger.lease import Leases
from breakeven.physics.processes import PRETRAINING
from breakeven.places import Places
from breakeven.study.folder import read_folder
from breakeven.study.naming import Names
from breakeven.study.spec import InvalidStudy
from breakeven.views import status


def view(runs, name=STUDY.name):
    return status.Viewer(runs).look().view(read_folder(name, runs))


def said(capsys):
    return re.sub(r"\s+", " ", capsys.readouterr().out)


def test_a_study_as_it_grows(tmp_path):
    queue = begin(tmp_path)
    seen = [view(tmp_path)]
    while work(tmp_path, queue, most=4):
        seen.append(view(tmp_path))
    assert [one.standing.done for one in seen] == list(range(0, 33, 4))
    assert {one.standing.total for one in seen} == {32} and {one.standing.cells for one in seen} == {8}
    assert [seen[0].state, seen[1].state, seen[-1].state] == ["not begun", "stopped", "finished"]
    last = seen[-1].standing
    assert last.cells_done == 8 and last.failed == 0
    (spent,) = last.spent.values()
    assert (spent.useful, spent.wasted, spent.search) == pytest.approx((24 * 2.0 + 60.0 + 4 * 3.0, 0.0, 8 * 2.0))


def test_it_agrees_with_the_queue(tmp_path):
    queue = begin(tmp_path)
    while work(tmp_path, queue, most=7):
        state = view(tmp_path).standing
        assert (state.done, state.total) == (queue.done, queue.total)


def test_trials_of_other_studies_are_not_counted(tmp_path):
    """Two studies on one ledger share the trials that they have in common, and no others."""
    work(tmp_path, begin(tmp_path))
    larger = replace(STUDY, name="second", finetuning=replace(STUDY.finetuning, sizes=(100, 300, 900)))
    begin(tmp_path, larger)
    state = view(tmp_path, "second").standing
    assert (state.done, state.total, state.cells_done, state.cells) == (32, 48, 8, 12)
    assert view(tmp_path).standing.total == 32


def test_records_under_another_name_of_their_task_are_of_that_task(tmp_path):
    def under_another_name(trial):
        name = "stop_pair_vs_ttH" if trial.cell.task.name == "stop_vs_ttH" and trial.seed == 1 else trial.cell.task.name
        return {"task": name, "cell": f"{name}/{trial.cell.name.partition('/')[2]}"}

    queue = begin(tmp_path)
    work(tmp_path, queue, facts=under_another_name)
    state = view(tmp_path).standing
    assert (state.done, state.cells_done) == (32, 8)
    confirmed = ledger_frame.confirmed(queue.ledger.frame(names=Names(STUDY, PRETRAINING).of))
    assert set(queue.ledger.frame()["task"]) > set(confirmed["task"]) == {"stop_vs_ttH", "WH_vs_ZH"}
    assert (confirmed.groupby("cell").size() == 3).all() and confirmed["cell"].nunique() == 8


def test_failures_repeats_and_lost_time(tmp_path):
    queue = begin(tmp_path)
    failing = {"outcome": "failed", "reason": "NonFinite: loss", "retry": False, "test_accuracy": None}
    work(tmp_path, queue, facts=lambda trial: failing if trial.seed == 2 else {"wasted_seconds": 0.5})
    state = view(tmp_path).standing
    assert state.failed == 8 and state.done == 32 and state.cells_done == 8
    (spent,) = state.spent.values()
    assert (spent.wasted, spent.search) == pytest.approx((8 * 2.0 + 24 * 0.5, 8 * 2.0))


def test_a_driver_at_work(tmp_path, capsys):
    with Leases(Places(tmp_path, "").ledger, study=STUDY.name) as leases:
        leases.doing = "finetuning"
        leases._beat()
        queue = begin(tmp_path, leases=leases)
        work(tmp_path, queue, most=6)
        assert len(take(queue, 5)) == 5
        state = view(tmp_path)
        assert state.state == "running" and state.at_work == 5 and state.standing.left_seconds is not None
        status.show_status(STUDY.name, tmp_path)
        out = said(capsys)
        assert "first running" in out and "a driver runs on" in out and "finetuning (heartbeat" in out
        assert "6 of 32, about" in out and "5 at work" in out and "time left: 26 trials, each as long as" in out
        status.show_status("", tmp_path)
        assert re.search(r"first running finetuning 0/8 6/32 0 ", said(capsys))
    assert view(tmp_path).state == "stopped" and view(tmp_path).at_work == 0


def test_a_failure_that_is_tried_again_is_not_done(tmp_path):
    queue = begin(tmp_path)
    lost = {"outcome": "failed", "reason": "OSError: disk", "retry": True}
    work(tmp_path, queue, most=1, facts=lambda _: lost)
    assert (view(tmp_path).standing.done, view(tmp_path).standing.failed) == (1, 1)
    with Leases(Places(tmp_path, "").ledger, study=STUDY.name) as leases:
        again = begin(tmp_path, leases=leases)
        assert take(again, 32)
        assert (view(tmp_path).standing.done, view(tmp_path).standing.failed) == (0, 0)


def drive(runs, started):
    with Leases(Places(runs, "").ledger, study=STUDY.name) as leases:
        leases.doing = "multiclass pretraining, 3 of 15 epochs"
        leases._beat()
        started.send(True)
        started.recv()


def test_a_killed_driver(tmp_path, capsys):
    work(tmp_path, begin(tmp_path), most=3)
    here, there = fork.Pipe()
    process = fork.Process(target=drive, args=(tmp_path, there))
    process.start()
    assert here.recv()
    process.kill()
    process.join()
    status.show_status(STUDY.name, tmp_path)
    out = said(capsys)
    assert "was killed or cut off in multiclass pretraining, 3 of 15 epochs" in out and f"process {process.pid}" in out
    assert "no driver is alive" in out and "goes on with: python studies/scaling.py --name first" in out
    assert "of one worker left" in out and view(tmp_path).state == "stopped"


def test_one_study_by_its_path_and_all_of_them(tmp_path, capsys):
    work(tmp_path, begin(tmp_path))
    begin(tmp_path, replace(STUDY, name="second", finetuning=replace(STUDY.finetuning, seeds=4)))
    status.show_status(str(tmp_path / "first"), tmp_path / "elsewhere")
    assert "first finished" in said(capsys)
    status.show_status("", tmp_path)
    out = said(capsys)
    assert re.search(r"first finished - 8/8 32/32 .* 0.0378 cpu all done", out)
    assert re.search(r"second stopped - 0/8 32/40 ", out)


def test_a_pace_is_told_until_all_is_done(tmp_path, capsys):
    queue = begin(tmp_path)
    for most, told in ((31, True), (1, False)):
        work(tmp_path, queue, most=most)
        assert (view(tmp_path).standing.rate > 0) == told
        status.show_status("first", tmp_path)
        assert ("trials per minute" in said(capsys)) == told
    status.show_status("", tmp_path)
    assert "first finished - 8/8 32/32 0 0.0378 cpu all done" in said(capsys)


def test_unknown_studies_name_those_that_there_are(tmp_path):
    begin(tmp_path)
    with pytest.raises(FileNotFoundError, match="frist: no study that ran; those here: first"):
        status.show_status("frist", tmp_path)
    with pytest.raises(FileNotFoundError, match="no study began here"):
        status.show_status("", tmp_path / "elsewhere")


def test_a_specification_of_another_version(tmp_path):
    begin(tmp_path)
    spec = tmp_path / "first" / "study.json"
    spec.write_text(json.dumps({**json.loads(spec.read_text()), "search": {"unheard": 1}}))
    with pytest.raises(InvalidStudy, match="not a specification of this version"):
        status.show_status("first", tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "{",
        '{"generation": null}',
        lambda spec: {**spec, "finetuning": {**spec["finetuning"], "sizes": None}},
        lambda spec: {**spec, "finetuning": {**spec["finetuning"], "seeds": None}},
        lambda spec: {**spec, "networks": {"a": None}},
        lambda spec: {**spec, "networks": None},
    ],
)
def test_a_specification_that_is_damaged_hides_no_other_study(tmp_path, capsys, content):
    begin(tmp_path)
    begin(tmp_path, replace(STUDY, name="second"))
    spec = tmp_path / "second" / "study.json"
    spec.write_text(content if isinstance(content, str) else json.dumps(content(json.loads(spec.read_text()))))
    status.show_status("", tmp_path)
    out = said(capsys)
    assert "first not begun" in out and f"warning{spec}:" in out.replace(" ", "")
    with pytest.raises(InvalidStudy, match=r"second/study\.json: not "):
        status.show_status("second", tmp_path)


@pytest.mark.parametrize(
    ("arguments", "way"),
    [
        (
            "--plugin /my/muons.py '/my/deep set.py' --name second",
            "its tasks need --plugin /my/muons.py '/my/deep set.py'",
        ),
        ("--plugin=/my/muons.py", "its tasks need --plugin /my/muons.py"),
        ("--plugin '/my/mu", "finetuning.tasks: 'spectrum' is not known; the nearest"),  # cut short
        ("--name second", "finetuning.tasks: 'spectrum' is not known; the nearest"),
    ],
)
def test_a_study_whose_plugin_is_not_given_says_which_it_needs(tmp_path, capsys, arguments, way):
    begin(tmp_path)
    begin(tmp_path, replace(STUDY, name="second"))
    spec, command = tmp_path / "second" / "study.json", tmp_path / "second" / "command.txt"
    spec.write_text(spec.read_text().replace("stop_vs_ttH", "spectrum"))
    command.write_text(f"python studies/scaling.py {arguments}")
    with pytest.raises(InvalidStudy, match=f"^second: {way}"):
        status.show_status("second", tmp_path)
    status.show_status("", tmp_path)
    out = said(capsys)
    assert "first not begun" in out and f"warning second: {way}" in out


def test_members_in_another_form_are_told(tmp_path, capsys):
    begin(tmp_path)
    for content in ("[1]", "[{}]", "{}", "null"):
        (tmp_path / "first" / "records.json").write_text(content)
        with pytest.raises(InvalidStudy, match=r"records\.json: not what was written to it"):
            status.show_status("first", tmp_path)


def test_a_damaged_record_is_told(tmp_path, capsys):
    work(tmp_path, begin(tmp_path))
    file = next((tmp_path / "shared" / "ledger" / "records").glob("*.json"))
    file.write_text("[")
    status.show_status("first", tmp_path)
    assert f"warning{file}" in said(capsys).replace(" ", "")  # a long path is broken into lines


def test_a_command_that_cannot_be_read_is_left_out(tmp_path, capsys):
    work(tmp_path, begin(tmp_path), most=3)
    (tmp_path / "first" / "command.txt").write_bytes(b"\xff\xfe")
    status.show_status("first", tmp_path)
    assert "goes on with: the command that began it" in said(capsys)


def test_nothing_is_written(tmp_path):
    work(tmp_path, begin(tmp_path), most=5)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    status.show_status("first", tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_watching_ends_when_all_is_done(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(status, "WATCH_SECONDS", 0.01)
    queue = begin(tmp_path)
    looks = []

    def page(*words):
        if not looks:  # the study goes on between the first look and the second
            looks.append(work(tmp_path, queue))
            return "", "begins", True
        return real(*words)

    real = status._page
    monkeypatch.setattr(status, "_page", page)
    status.show_status("first", tmp_path, watch=True)
    assert "first finished: trials: 32 of 32, 8 of 8 cells" in said(capsys)


def test_leaving_a_watch_is_no_error(tmp_path, capsys, monkeypatch):
    def interrupted(_):
        raise KeyboardInterrupt

    with Leases(Places(tmp_path, "").ledger, study=STUDY.name) as leases:
        leases._beat()
        work(tmp_path, begin(tmp_path), most=3)
        monkeypatch.setattr(status.time, "sleep", interrupted)
        status.show_status("first", tmp_path, watch=True)
    assert "first running: trials: 3 of 32" in said(capsys)


@pytest.mark.parametrize("width", [60, 80, 140])
def test_it_fits_the_width(width, tmp_path, capsys, monkeypatch):
    work(tmp_path, begin(tmp_path), most=20)
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr(terminal.console, "_width", width)
    for name in ("first", ""):
        status.show_status(name, tmp_path)
        lines = capsys.readouterr().out.splitlines()
        assert lines and max(map(len, lines)) <= width
