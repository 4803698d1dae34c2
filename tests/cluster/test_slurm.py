"""Studies as Slurm jobs: what script.py writes and refuses, and a job on a real Slurm through its time limit to its end."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

import pytest
from cluster.hosts import ROOT, Hosts, refused, until

SCRIPT = ROOT / "cluster" / "slurm" / "script.py"
README = SCRIPT.with_name("README.md")
STUDY = str(ROOT / "studies" / "scaling.py")
WITH_PYTHON = {"PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"}
PERLMUTTER = ("--site", "perlmutter", "--account", "m1234")


def script(*words):
    """Run script.py."""
    own = {"BREAKEVEN_RUNS": tempfile.gettempdir()}
    return subprocess.run([sys.executable, SCRIPT, *words], capture_output=True, text=True, env={**os.environ, **own})


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        (
            ["--account", "higgs", "--partition", "gpu", "--constraint", "a100|h100", "--nodes", "3", "--gpus", "2",
             "--time", "1-00:00:00", "--runs", "{folder}/my runs", "--mlflow", "http://mlflow:5000", "--ray-options=--no-monitor",
             STUDY, "--preset", "paper", "--name", "it's"],
            ["#SBATCH --account=higgs", "#SBATCH --partition=gpu", "#SBATCH --constraint=a100|h100", "#SBATCH --nodes=3",
             "#SBATCH --gpus-per-node=2", "#SBATCH --time=1-00:00:00", "#SBATCH --exclusive", "#SBATCH --requeue",
             "#SBATCH --signal=B:USR1@120", "#SBATCH --open-mode=append", "export BREAKEVEN_RUNS='{folder}/my runs'",
             '#SBATCH --output="{folder}/my runs/%x-%j.log"',
             "export MLFLOW_TRACKING_URI=http://mlflow:5000", "inside=()", "ray_options=(--no-monitor)",
             f"""source {ROOT}/cluster/slurm/job.sh {STUDY} --preset paper --name 'it'"'"'s'"""],
        ),
        (
            [*PERLMUTTER, "--container", "group/breakeven:1", STUDY],
            ["#SBATCH --qos=regular", "#SBATCH --constraint=gpu", "#SBATCH --gpus-per-node=4",
             "inside=(shifter --image=group/breakeven:1 --module=gpu)"],
        ),
        ([*PERLMUTTER, "--constraint", "cpu", STUDY], ["#SBATCH --constraint=cpu", "inside=()"]),
    ],
    ids=["generic", "perlmutter", "perlmutter-cpu"],
)  # fmt: skip
def test_a_script_has_what_was_asked_for(words, lines, tmp_path):
    words, lines = ([one.replace("{folder}", str(tmp_path)) for one in some] for some in (words, lines))
    written = script(*words)
    assert written.returncode == 0, written.stderr
    assert set(lines) <= set(written.stdout.splitlines()), written.stdout
    assert ("gpus-per-node" in written.stdout) == ("gpu" in " ".join(lines))
    checked = subprocess.run(["bash", "-n"], input=written.stdout, capture_output=True, text=True)
    assert checked.returncode == 0 and not checked.stderr, checked.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([STUDY + "x"], f"STUDY is '{STUDY}x': there is no such file"),
        (["--nodes", "0", STUDY], "--nodes is '0': give 1 or more"),
        (["--site", "perlmutter", STUDY], "--account is '': Perlmutter runs nothing without; give your project"),
        ([*PERLMUTTER, "--gpus", "8", STUDY], "--gpus is '8': a node of Perlmutter has 4"),
        ([*PERLMUTTER, "--constraint", "cpu", "--gpus", "1", STUDY], "--gpus is '1': a node of Perlmutter has 4, one of"),
        (["--account", "m1\n#", STUDY], r"--account is 'm1\n#': Slurm's names have no spaces"),
        (["--time", "4h", STUDY], "--time is '4h': give it as Slurm has it, as 90 (minutes)"),
        (["--time", "0:05:00", STUDY], "--time is '0:05:00': start and end take some of 5 minutes; give 10 or more"),
        (["--scratch", "/a" * 30, STUDY], "Ray's sockets lie in it; give a whole path of at most 40 characters, as /tmp"),
        (["--mlflow", "https://me:secret@mlflow", STUDY], "--mlflow is 'https://...@mlflow': a password does not belong"),
        (["--environment", "/nowhere", STUDY], "--environment is '/nowhere': there is no bin/ray in it; give the virtual"),
        (["--runs", "/dev/null/runs", STUDY], "--runs is '/dev/null/runs': Not a directory; give a folder that you"),
        (["--ray-options", "'", STUDY], "--ray-options is \"'\": No closing quotation; quote as in a shell"),
    ],
)  # fmt: skip
def test_a_value_that_cannot_work_is_one_line(words, said):
    refused = script(*words)
    assert refused.returncode == 2 and not refused.stdout
    assert said in refused.stderr and len(refused.stderr.splitlines()) == 1, refused.stderr


def commands():
    """The commands of README.md, by block."""
    return re.findall(r"```sh\n(.*?)```", README.read_text(), re.DOTALL)


def test_the_script_for_perlmutter_is_written_as_it_stands_in_the_readme(tmp_path):
    block = commands()[1].replace("> study.sbatch", "").replace("sbatch study.sbatch", "")
    variables = {**os.environ, **WITH_PYTHON, "PSCRATCH": str(tmp_path)}
    written = subprocess.run(["bash", "-ec", block], capture_output=True, text=True, cwd=ROOT, env=variables)
    assert written.returncode == 0, written.stderr
    assert "#SBATCH --account=m1234" in written.stdout and f"BREAKEVEN_RUNS={tmp_path}/breakeven" in written.stdout


def test_a_node_knows_the_address_that_others_see():
    words = [ROOT / "cluster" / "node.sh", "address", "127.0.0.1"]
    said = subprocess.run(words, capture_output=True, text=True, env={**os.environ, **WITH_PYTHON})
    assert said.stdout == "127.0.0.1\n"


def test_times_are_those_of_slurm():
    import importlib.util

    spec = importlib.util.spec_from_file_location("slurm_script", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    forms = ("90", "90:30", "1:30:00", "1-1", "1-1:30", "1-1:30:30")
    assert [module.minutes_of(form) for form in forms] == [90, 90.5, 90, 1500, 1530, 1530.5]


def no_slurm():
    """Why there is no Slurm here; empty where there is."""
    if missing := [one for one in ("slurmctld", "slurmd", "sbatch", "munged") if not shutil.which(one)]:
        return f"{', '.join(missing)} not installed: apt-get install slurmctld slurmd slurm-client slurm-wlm-basic-plugins munge"
    return refused()


class Slurm:
    """A context of a controller on host 0, and hosts 1 to n - 1 as nodes of one core."""

    def __init__(self, hosts, folder):
        self.hosts, self.folder = hosts, folder
        self.variables = {"SLURM_CONF": str(folder / "slurm.conf")}

    def __enter__(self):
        for name in ("state", "spool", "munge"):
            (self.folder / name).mkdir(mode=0o755)
        key, socket = self.folder / "munge" / "key", self.folder / "munge" / "socket"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        own = [f"--{name}-file={self.folder / 'munge' / name}" for name in ("key", "pid", "log", "seed")]
        self.munged = subprocess.Popen(
            ["munged", "--foreground", "--force", f"--socket={socket}", *own], stderr=subprocess.DEVNULL
        )
        until(socket.exists, 20)
        nodes = range(1, self.hosts.n)
        (self.folder / "slurm.conf").write_text(
            f"""
ClusterName=be
SlurmctldHost={self.hosts.host(0)}({self.hosts.address(0)})
SlurmUser=root
AuthType=auth/munge
CryptoType=crypto/munge
AuthInfo=socket={socket},cred_expire=20
StateSaveLocation={self.folder}/state
SlurmdSpoolDir={self.folder}/spool/%n
SlurmctldPidFile={self.folder}/ctld.pid
SlurmdPidFile={self.folder}/%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=5,bf_interval=5
ReturnToService=2
SlurmdTimeout=15
MpiDefault=none
"""
            + "".join(
                f"NodeName={self.hosts.host(i)} NodeAddr={self.hosts.address(i)} CPUs=1 RealMemory=1000\n"
                for i in nodes
            )
            + "PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP\n"
        )
        self.hosts.start(0, ["slurmctld", "-D"], "slurmctld.log", self.variables)
        for i in nodes:
            (self.folder / "spool" / self.hosts.host(i)).mkdir()
            self.node(i)
        until(
            lambda: self.call("sinfo", "-ho", "%T %D").strip() == f"idle {len(nodes)}", 60, lambda: self.call("sinfo")
        )
        return self

    def __exit__(self, *_):
        self.munged.terminate()
        self.munged.wait()

    def node(self, i):
        """Start Slurm on host `i`."""
        self.hosts.start(i, ["slurmd", "-D", "-N", self.hosts.host(i)], f"slurmd{i}.log", self.variables)

    def call(self, *words):
        """What a command of Slurm says on host 0."""
        done = self.hosts.run(0, "env", *(f"{name}={value}" for name, value in self.variables.items()), *words)
        return done.stdout + done.stderr


@pytest.fixture
def slurm(tmp_path):
    with Hosts(3, tmp_path) as hosts, Slurm(hosts, tmp_path) as started:
        yield started


class Job:
    """A job of what a command writes with script.py; its log is in the runs folder."""

    def __init__(self, slurm, write, submit="sbatch study.sbatch"):
        self.slurm, self.file = slurm, str(slurm.folder / "study.sbatch")
        small = "--scratch /tmp/ray --ray-options='--object-store-memory=100000000 --include-log-monitor=False'"
        assert not self.typed(write.replace("script.py", f"script.py {small}"))
        self.number = re.search(r"Submitted batch job (\d+)", self.typed(submit))[1]
        self.log = f"runs/scaling-{self.number}.log"

    def typed(self, command):
        """What a command says on host 0."""
        command = command.replace("study.sbatch", self.file)
        return self.slurm.call("bash", "-c", f"export BREAKEVEN_RUNS={self.slurm.folder / 'runs'}; {command}")

    def fields(self):
        """What Slurm knows."""
        said = self.slurm.call("scontrol", "show", "job", "--oneliner", self.number)
        return dict(word.split("=", 1) for word in said.split() if "=" in word)

    def limit(self, time):
        """Change its time limit."""
        assert not self.slurm.call("scontrol", "update", f"JobId={self.number}", f"TimeLimit={time}")

    def until(self, true, seconds):
        """Wait."""
        return until(true, seconds, lambda: f"{self.fields()}\n{self.slurm.hosts.log(self.log)[-4000:]}")

    def until_state(self, state, seconds):
        """Wait until Slurm has it in this state."""
        return self.until(lambda: self.fields()["JobState"] == state, seconds)


@pytest.mark.faults
@pytest.mark.timeout(300)
@pytest.mark.skipif(bool(no_slurm()), reason=no_slurm() or "-")
def test_a_study_that_fails_is_not_started_again_and_a_port_that_is_taken_is_passed_over(slurm):
    listen = "import socket, time; taken = socket.create_server(('127.0.0.1', 20001)); print('taken'); time.sleep(600)"
    slurm.hosts.start(1, [sys.executable, "-c", listen], "listener.log")
    slurm.hosts.said("listener.log", "taken", 20)
    job = Job(slurm, f"python {SCRIPT} --nodes 1 {STUDY} --preset nonsense > study.sbatch")
    job.until_state("FAILED", 200)
    assert job.fields()["ExitCode"] == "2:0" and job.fields()["Restarts"] == "0"
    said = slurm.hosts.log(job.log)
    assert "Ray's head at 127.0.0.1:20002" in said and "1 of 1 nodes have joined" in said and "nonsense" in said


@pytest.mark.faults
@pytest.mark.timeout(1500)
@pytest.mark.skipif(bool(no_slurm()), reason=no_slurm() or "-")
def test_a_time_limit_and_a_lost_node_become_a_resume(slurm, tmp_path):
    hosts, runs = slurm.hosts, tmp_path / "runs"
    write, submit, show = (line.partition("#")[0] for line in commands()[0].strip().splitlines())

    def trials():
        files = (runs / "shared" / "ledger" / "records").glob("*.json")
        records = [record for file in files for record in json.loads(file.read_text())]
        return [one for one in records if one["level"] == "trial" and one["outcome"] == "finished"]

    job = Job(slurm, write.replace("smoke", "smoke --finetuning.seeds 12"), submit)
    job.until(lambda: len(trials()) >= 4, 600)
    hours, minutes, _ = map(int, job.fields()["RunTime"].split(":"))
    job.limit(60 * hours + minutes + 2)
    hosts.said(job.log, "the time limit is near", 120)
    ending = job.until_state("PENDING", 120)
    left_over = [hosts.run(i, "sh", "-c", "ls -d /tmp/ray/be*; pgrep raylet").stdout for i in (1, 2)]
    job.limit("4:00:00")

    before = len(trials())
    job.until(lambda: len(trials()) > before, 300)
    hosts.off(2)
    hosts.said(job.log, "1 of 2 nodes lost, going on with 1", 60)
    job.until_state("PENDING", 200)
    hosts.on(2)
    slurm.node(2)

    hosts.said(job.log, "the study has ended with status 0", 900)
    lingering = job.until_state("COMPLETED", 60)
    print(f"limit signal to queue {ending:.0f} s, the study's end to the job's {lingering:.0f} s")
    said, fields, shown = hosts.log(job.log), job.fields(), job.typed(show)
    assert "Traceback" not in said, said
    assert fields["ExitCode"] == "0:0" and fields["Restarts"] == "2"
    assert re.findall(r"job \d+, start (\d)", said) == ["0", "1", "2"]
    assert said.count("2 of 2 nodes have joined") == 3
    assert left_over == ["", ""]
    asked, searched = map(int, re.search(r"(\d+) trials and (\d+) search trials", said).groups())
    finished = [one["record"] for one in trials()]
    assert len(finished) == len(set(finished)) == asked + searched
    assert {one["host"][-1] for one in trials()} == {"1", "2"}
    assert "smoke" in shown and "Traceback" not in shown
    assert (runs / "smoke" / "report" / "index.html").exists()
