"""The command line as a user meets it: in a process of its own, without Ray."""

import os
import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from formula_study import begin, work
from jetclass_files import plain_columns, write

from breakeven import cli, plugins
from breakeven.errors import StageFailed
from breakeven.events.store import CorruptDataset
from breakeven.ledger.ledger import Ledger
from breakeven.study.plan import cells
from breakeven.study.spec import Finetuning, InvalidStudy, Network, Pretraining, Study
from breakeven.views import preview

ROOT = Path(__file__).parents[1]
STUDY = (sys.executable, "studies/scaling.py")
PLUGIN = ROOT / "tests" / "data" / "jet_plugin.py"
TOOL = (sys.executable, "-c", "from breakeven.cli import main; main()")
HEAVY = ("ray", "torch", "mlflow", "optuna", "scipy", "matplotlib", "pythia8mc", "fastjet")


def ask(*command: str | Path, **environment: str) -> subprocess.CompletedProcess:
    known = {key: value for key, value in os.environ.items() if key != "BREAKEVEN_RUNS"}
    return subprocess.run(
        [str(word) for word in command], cwd=ROOT, capture_output=True, text=True, timeout=120,
        env={**known, "COLUMNS": "100", **environment},
    )  # fmt: skip


FILES = ("scaling", "joint_analysis")
PRESETS = [
    (file, preset) for file in FILES for preset in runpy.run_path(str(ROOT / "studies" / f"{file}.py"))["PRESETS"]
]


@pytest.fixture(scope="module")
def help_page() -> str:
    asked = ask(*STUDY, "--help")
    assert asked.returncode == 0, asked.stderr
    return asked.stdout


def test_help_teaches(help_page):
    for preset in ("smoke", "laptop", "paper"):
        assert preset in help_page
    for words in ("arXiv 2412.10665", "break-even", "--preset smoke", "--plan", "Events generated for each process",
                  "Ratios tried in each cell"):  # fmt: skip
        assert words in re.sub(r"[│\s]+", " ", help_page), words


def test_the_command_line_is_frozen(help_page):
    """A flag that goes, comes or is renamed is a change that users see: it belongs in tests/data/flags.txt too."""
    flags = sorted(set(re.findall(r"^│ (--.*?) *│$", help_page, re.MULTILINE)))
    found = sorted({flag for line in flags for flag in re.findall(r"--[a-z][a-z.-]*", line)})
    assert found == (ROOT / "tests" / "data" / "flags.txt").read_text().split()


@pytest.fixture
def start(tmp_path, monkeypatch, capsys) -> Callable[..., tuple[int, str, str]]:
    """A function that runs a study file in this process: exit status, standard output, standard error."""
    monkeypatch.setenv("BREAKEVEN_RUNS", str(tmp_path / "runs"))
    monkeypatch.chdir(ROOT)

    def run(*words: str, file: str = "scaling") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", [f"studies/{file}.py", *words])
        status = 0
        try:
            runpy.run_path(f"studies/{file}.py", run_name="__main__")
        except SystemExit as left:
            status = left.code
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


@pytest.mark.parametrize(("file", "preset"), PRESETS)
def test_every_preset_has_a_plan(file, preset, tmp_path, start):
    status, said, error = start("--preset", preset, "--plan", "--no-calibrate", file=file)
    assert status == 0, error
    for line in ("processes", "generation", "pretraining", "cells", "trials", "search", "in all", "speeds"):
        assert re.search(rf"^  {line} ", said, re.MULTILINE), said
    assert not (tmp_path / "runs").exists()


def test_fields_are_overridden(start):
    status, said, error = start("--preset", "smoke", "--plan", "--no-calibrate", "--finetuning.sizes", "20", "40", "80",
                                "--finetuning.seeds", "7", "--name", "mine")  # fmt: skip
    assert status == 0, error
    # two tasks, three sizes, scratch and one finetuning, seven seeds
    assert "plan of the study mine" in said and "trials       84 reported" in said


@pytest.mark.parametrize("file", FILES)
def test_a_plan_needs_nothing_heavy(file, tmp_path):
    look = f"print([name for name in {HEAVY!r} if name in sys.modules])"
    asked = ask(
        sys.executable, "-c",
        f"import sys, runpy; sys.argv = ['studies/{file}.py', '--preset', 'smoke', '--plan', '--no-calibrate']; "
        f"runpy.run_path('studies/{file}.py', run_name='__main__'); {look}",
        BREAKEVEN_RUNS=str(tmp_path),
    )  # fmt: skip
    assert asked.returncode == 0, asked.stderr
    assert asked.stdout.splitlines()[-1] == "[]"


BAD = {
    "unknown process": (("--finetuning.tasks", "stop_pairs_vs_ttH"), "'stop_pairs' is not known.*stop_pair"),
    "unknown task": (("--finetuning.tasks", "stop_ttH"), "'stop_ttH' is not known.*stop_vs_ttH"),
    "unknown pretraining process": (("--pretraining.processes", "ttH", "wh"), "'wh' is not known.*WH"),
    "negative size": (("--finetuning.sizes", "-5"), r"finetuning\.sizes\[0\] is -5: it must be above zero"),
    "zero size": (("--finetuning.sizes", "100", "0"), r"finetuning\.sizes\[1\] is 0: it must be above zero"),
    "less than a shard": (
        ("--generation.events-per-process", "149"),
        "is 149: fewer than the 150 of one shard.*shard-events",
    ),
    "less of one process": (
        ("--generation.fewer", "ttH", "100"),
        r"fewer\.ttH is 100: fewer than the 150 of one shard",
    ),
    "no reuse": (("--generation.reuse", "0"), "reuse is 0: it must be above zero"),
    "no events": (("--generation.events-per-process", "0"), "events-per-process is 0: it must be above zero"),
    "size beyond the events": (("--finetuning.sizes", "5000"), "5,000 training events.*raise generation"),
    "empty process": (("--generation.fewer", "ttH", "0"), "fewer.ttH is 0: it must be above zero"),
    "empty list": (("--finetuning.sizes",), "must name at least one"),
    "no such file": (("--generation.lhe", "mine", "/no/such.lhe"), r"/no/such\.lhe.*is no file"),
    "a file of few events": (
        ("--generation.lhe", "mine", "tests/data/lhe/a00_plain.lhe"),
        r"a00_plain\.lhe has 12 events, mine asks for 600: bring more",
    ),
    "jets in no file": (
        ("--generation.jetclass", "mine", "/no/such.root"),
        r"/no/such\.root.*is no file; name a \.root",
    ),
    "no file of jets": (
        ("--generation.jetclass", "mine", "README.md"),
        r"generation\.jetclass: README\.md: cannot be read as a ROOT file \(not a ROOT file.*\(for 'mine'\)",
    ),
    "jets under the name of a catalogue": (
        ("--generation.jetclass", "jet_Hbb", "README.md"),
        "'jet_Hbb' is in the catalogue",
    ),
    "jets of a file for a network of whole events": (
        ("--generation.jetclass", "mine", "README.md", "--finetuning.tasks", "mine_vs_jet_QCD"),
        "network.kind: event_graph takes whole events, not those of jet_QCD, mine",
    ),
    "two files for one process": (
        ("--generation.jetclass", "mine", "README.md", "--generation.lhe", "mine", "README.md"),
        r"generation\.jetclass: 'mine' has a file in generation\.lhe too",
    ),
    "a particle that nobody knows": (
        ("--generation.lhe", "mine", "tests/data/lhe/a54_unknown_pdg.lhe"),
        r"a54_unknown_pdg\.lhe: event 0: particle 9000006 is unknown.*\(for 'mine'\)",
    ),
    "a setting that Pythia does not know": (
        ("--generation.pythia", "ttH", "25:onMod=off"),
        r"generation\.pythia: Pythia does not understand the setting '25:onMod=off'.*\(for 'ttH'\)",
    ),
    "settings of jets": (
        ("--generation.pythia", "HH4b_1000", "25:onMode=off"),
        "'HH4b_1000' is no process that takes settings",
    ),
    "jets for a network of whole events": (
        ("--finetuning.tasks", "HH4b_1000_vs_QCD_1000"),
        "network.kind: event_graph takes whole events, not those of HH4b_1000, QCD_1000",
    ),
    "catalogue name": (("--generation.lhe", "ttH", "README.md"), "'ttH' is in the catalogue"),
    "no ratio": (("--search.high", "nan"), "search.high is nan: it must be above zero"),
    "bad budget": (("--budget", "20"), r"--budget is '20': write a time"),
    "bad name": (("--name", "a/b"), "name is 'a/b': use letters"),
    "markup": (("--name", "[red]loud[/red]"), r"name is '\[red\]loud\[/red\]'"),
}


def test_pretrainings_that_share_a_seed_are_the_same():
    base = Pretraining(objectives=("multiclass",))
    study = Study(pretrainings={"a": replace(base, seeds=2), "b": replace(base, seed=2)})
    with pytest.raises(InvalidStudy, match=r"pretrainings: 'a \(seed 2\)' and 'b' are the same"):
        preview.check_study(study)


def test_trees_are_priced_once_however_many_networks_there_are(tmp_path):
    networks = {"narrow": Network(hidden=32), "wide": Network()}
    study = Study(networks=networks, finetuning=Finetuning(baselines=("trees",)))
    assert preview.price_of(study, Ledger(tmp_path)).cells == len(cells(study))


def test_what_is_known_of_each_jet_must_be_said():
    study = Study(
        network=Network(kind="jet_transformer"),
        pretraining=Pretraining(objectives=("xbb",), processes=("HH4b_1000", "QCD_300_470")),
        finetuning=Finetuning(tasks=("HH4b_vs_QCD",), merit="auc"),
    )
    with pytest.raises(InvalidStudy, match=r"network\.representation is ''"):
        preview.check_study(study)
    with pytest.raises(InvalidStudy, match=r"finetuning\.merit is 'foo': choose accuracy, auc"):
        preview.check_study(replace(study, finetuning=replace(study.finetuning, merit="foo")))


@pytest.mark.parametrize(("words", "message"), BAD.values(), ids=BAD)
@pytest.mark.parametrize("plan", [("--plan",), ()], ids=["plan", "run"])
def test_bad_input_is_one_clear_line(words, message, plan, tmp_path, start):
    status, said, error = start("--preset", "smoke", *words, *plan)
    assert status == 2 and said == "" and len(error.splitlines()) == 1
    assert re.search(f"^error (InvalidStudy|OverBudget): .*{message}", error), error
    assert not (tmp_path / "runs").exists()


def test_a_plan_shows_what_a_run_refuses(tmp_path, start):
    """Hard events that ship, used more than ten times: named with number and way out."""

    def say(*words):
        status, said, error = start("--no-calibrate", *words)
        return status, " ".join(said.split()), " ".join(error.split())

    status, plan, _ = say("--preset", "paper", "--plan")
    assert "16, 263,500,000 events of 187,078,950 hard events" in plan
    assert status == 0 and "warning hard events that ship are used again and again" in plan
    assert "ttt 1,700 times (17,000,000 events of 10,000)" in plan and "tttt 592 times (8,500,000 events" in plan
    assert "--generation.lhe my_tHq FILE" in plan and "a run refuses this above 10 times" in plan
    status, _, error = say("--preset", "paper")
    assert status == 2 and "InvalidStudy: generation.reuse is 10" in error and "ttt 1,700 times" in error
    assert "--generation.lhe my_tHq FILE" in error and not (tmp_path / "runs").exists()
    for preset in ("laptop", "workstation"):
        assert "warning" not in say("--preset", preset, "--plan")[1]
    some = (
        "--preset",
        "laptop",
        "--plan",
        "--generation.events-per-process",
        "40000",
        "--generation.fewer",
        "tHq",
        "4000",
    )
    warned = say(*some)[1]
    assert "tttt 2.8 times" in warned and "refuses" not in warned
    assert not any(f"{name} " in warned.partition("independent events: ")[2] for name in ("ttW", "ttyy", "tHq"))
    assert "a run refuses this above 3 times" in say(*some, "--generation.reuse", "3")[1]


def test_a_plan_counts_the_jets_of_a_users_file(tmp_path, monkeypatch, start):
    monkeypatch.setenv(plugins.VARIABLE, "")
    file = write(tmp_path / "tops.root", plain_columns([5, 0, 120] * 400, "label_Tbqq"))
    asked = ("--preset", "smoke", "--plan", "--no-calibrate", "--plugin", str(PLUGIN), "--network.kind", "jet_sets",
             "--network.options", "width", "8", "--generation.jetclass", "my_top", str(file),
             "--finetuning.tasks", "my_top_vs_jet_QCD", "--finetuning.strategies", "frozen",
             "--pretraining.processes", "my_top", "jet_QCD")  # fmt: skip
    status, told, error = start(*asked)
    assert status == 0, error
    plan = " ".join(told.split())
    assert "tops.root has 800 jets (Tbqq 800), 400 without constituents are left out, of 400 with more" in plan
    status, told, error = start(*asked, "--generation.fewer", "my_top", "900", "--finetuning.sizes", "50", "500")
    assert status == 2 and told == ""
    assert re.search(
        r"^error InvalidStudy: generation\.jetclass: .*tops\.root has 800 jets with constituents, my_top asks for 900: bring "
        r"more, or ask for fewer \(--generation\.fewer my_top N, --generation\.shard-events\); finetuning\.sizes need at "
        r"least 900\n$",
        error,
    ), error


@pytest.mark.parametrize("file", FILES)
def test_a_shell_sees_the_same(file, tmp_path):
    """The file itself is a command, where the environment's python comes first."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    words = ("--preset", "smoke", "--finetuning.sizes", "0")
    asked = ask(f"studies/{file}.py", *words, BREAKEVEN_RUNS=str(tmp_path / "runs"), PATH=path)
    assert (asked.returncode, asked.stdout) == (2, "")
    assert asked.stderr == "error InvalidStudy: finetuning.sizes[0] is 0: it must be above zero\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--preset", "laptpo"), "invalid choice: 'laptpo'.*laptop.*paper.*smoke"),
        (("--finetuning.sizes", "many"), "finetuning.sizes.*'many'"),
        (("--finetuning.seed", "3"), "Perhaps you meant.*--finetuning.seeds"),
    ],
)
def test_words_that_are_no_numbers_or_flags(words, message, start):
    status, said, error = start(*words)
    assert status == 2
    assert re.search(message, re.sub(r"[│\s]+", " ", error + said)), error


def in_this_process(monkeypatch, capsys, *words: str | Path) -> tuple[int, str]:
    """Exit status and standard error of `breakeven WORDS`, without a process that imports everything for it."""
    monkeypatch.setattr(sys, "argv", ["breakeven", *map(str, words)])
    with pytest.raises(SystemExit) as left:
        cli.main()
    return left.value.code, capsys.readouterr().err


def test_reports_of_studies_that_never_ran(tmp_path, monkeypatch, capsys):
    (tmp_path / "known").mkdir()
    (tmp_path / "known" / "study.json").write_text("{}")
    none = f"error FileNotFoundError: {tmp_path}/knwon: no study that ran; those here: known\n"
    for command in (("report",), ("track",), ("export",), ("status", "--watch")):
        assert in_this_process(monkeypatch, capsys, *command, "knwon", "--runs-dir", tmp_path) == (2, none)
    status, said = in_this_process(monkeypatch, capsys, "report", "known", "--runs-dir", tmp_path / "elsewhere")
    assert status == 2 and said.endswith("no study that ran; those here: none\n")
    status, said = in_this_process(monkeypatch, capsys, "validate", "--runs-dir", tmp_path)
    assert status == 2 and "no datasets; run a study first" in said


def test_a_name_that_was_mistyped_is_told_before_anything_heavy_is_imported(tmp_path):
    words = ["breakeven", "report", "knwon", "--runs-dir", str(tmp_path)]
    look = f"print([name for name in {HEAVY!r} if name in sys.modules])"
    program = f"import atexit, sys; atexit.register(lambda: {look}); sys.argv = {words!r}"
    asked = ask(sys.executable, "-c", f"{program}; from breakeven.cli import main; main()")
    assert asked.returncode == 2 and "no study that ran" in asked.stderr
    assert asked.stdout == "[]\n"


@pytest.mark.parametrize("command", [("status",), ("status", "first"), ("diff", "first", "first")], ids=" ".join)
def test_looking_at_studies_needs_nothing_heavy(command, tmp_path):
    work(tmp_path, begin(tmp_path))
    heavy = {name for name in HEAVY if name != "scipy" or command[0] != "diff"}
    look = f"print([name for name in {sorted(heavy)!r} if name in sys.modules])"
    words = ["breakeven", *command, "--runs-dir", str(tmp_path)]
    program = f"import sys; sys.argv = {words!r}; from breakeven.cli import main; main(); {look}"
    asked = ask(sys.executable, "-c", program)
    assert asked.returncode == 0, asked.stderr
    *said, loaded = asked.stdout.splitlines()
    assert loaded == "[]" and any("first" in line for line in said)


def test_a_comparison_that_cannot_be_written(tmp_path, monkeypatch, capsys):
    work(tmp_path, begin(tmp_path))
    no_folder = tmp_path / "first" / "study.json"
    for flag in ("--csv", "--json"):
        words = ("diff", "first", "first", "--runs-dir", tmp_path, flag, no_folder / "x")
        status, said = in_this_process(monkeypatch, capsys, *words)
        assert status == 2 and said.startswith("error ") and str(no_folder) in said


def test_a_runs_folder_that_cannot_be(tmp_path, start):
    (tmp_path / "file").write_text("not a folder")
    for place, reason in (
        (tmp_path / "file" / "runs", "Not a directory"),
        (Path("/proc/runs"), "No such file or directory"),
    ):
        status, _, error = start("--preset", "smoke", "--runs-dir", str(place))
        assert status == 2 and len(error.splitlines()) == 1
        assert str(place) in error and reason in error and "--runs-dir" in error
    assert (tmp_path / "file").read_text() == "not a folder"


SANDBOX = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c")


FULL = "mount -t tmpfs -o size=64k tmpfs {0} && head -c 64k /dev/zero > {0}/ballast"
READ_ONLY = "mount -t tmpfs -o ro tmpfs {0}"
ON_EACH = """
import runpy, sys
for place in sys.argv[1:]:
    sys.argv = ["studies/scaling.py", "--preset", "smoke", "--runs-dir", place]
    try:
        runpy.run_path("studies/scaling.py", run_name="__main__")
    except SystemExit as left:
        print("left", left.code)
"""


@pytest.mark.skipif(subprocess.run([*SANDBOX, "mount -t tmpfs tmpfs /mnt"], capture_output=True).returncode != 0,
                    reason="this machine lets no user mount a file system of his own")  # fmt: skip
def test_a_full_or_read_only_disk(tmp_path):
    places = [tmp_path / "full", tmp_path / "read-only"]
    for place in places:
        place.mkdir()
    program = tmp_path / "on_each.py"
    program.write_text(ON_EACH)
    mounts = " && ".join((FULL.format(places[0]), READ_ONLY.format(places[1])))
    asked = ask(*SANDBOX, f"{mounts} && exec {sys.executable} {program} {places[0]} {places[1]}")
    assert asked.returncode == 0 and asked.stdout.splitlines() == ["left 2", "left 2"], asked.stderr
    reasons = ("No space left on device", "Read-only file system")
    for line, place, reason in zip(asked.stderr.splitlines(), places, reasons, strict=True):
        assert reason in line and str(place / "smoke") in line
        assert "free or remount the disk" in line or "choose another with --runs-dir" in line


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (StageFailed("workers [bold]kept dying[/bold]"), 1, "error StageFailed: workers [bold]kept dying[/bold]\n"),
        (OSError(28, "No space left on device", "/full/disk"), 2, "error OSError: [Errno 28] No space left on device"),
        (CorruptDataset("shard-1: cannot be read"), 2, "error CorruptDataset: shard-1: cannot be read\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_how_a_command_ends(error, status, line, capsys):
    def work():
        raise error

    with pytest.raises(SystemExit) as left:
        cli._guarded(work)
    said = capsys.readouterr()
    assert left.value.code == status and said.err.startswith(line)
    assert ("the same command goes on" in said.out) == (status == 130)


def test_our_own_faults_keep_their_traceback():
    with pytest.raises(ZeroDivisionError):
        cli._guarded(lambda: 1 / 0)
