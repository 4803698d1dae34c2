"""Hosts on one machine: each with a network card, process numbers, /tmp/ray, /dev/shm and a name of its own, on one switch.

Files are shared at the same paths, as on a cluster with shared storage. It needs the rights to make namespaces.
"""

import os
import re
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
NODE = ROOT / "cluster" / "node.sh"
ENVIRONMENT = {
    "PATH": f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin",
    "PYTHONPATH": f"{ROOT / 'platform'}:{ROOT / 'tests'}",
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": "0" * 40 + "abcdef0123456789abcdef01",
    "HOME": os.environ.get("HOME", "/root"),
    "LANG": "C.UTF-8",
    "PYTHONUNBUFFERED": "1",
    "OMP_NUM_THREADS": "1",
}
_ALIVE = "trap : CHLD; while :; do sleep 3600 & wait $!; done"


def refused() -> str:
    """Why there are no hosts here; empty where there are."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "network namespaces need root on Linux"
    tried = subprocess.run(
        ["unshare", "--net", "--pid", "--mount", "--uts", "--fork", "ip", "link", "add", "name", "v0", "type", "veth"],
        capture_output=True,
        text=True,
    )
    return f"no namespaces here: {tried.stderr.strip()}" if tried.returncode else ""


class Hosts:
    """A context of `n` hosts that are on; with it ends all that runs on them. folder: for their logs."""

    def __init__(self, n: int, folder: Path) -> None:
        self.n, self.folder = n, folder
        self._name = f"be{os.getpid() % 100_000}"
        self._inits: dict[int, int] = {}
        self._started: list[subprocess.Popen[str]] = []

    def __enter__(self) -> "Hosts":
        Path("/tmp/ray").mkdir(exist_ok=True)  # each host mounts its own there
        (self.folder / "hosts").write_text(
            "127.0.0.1 localhost\n" + "".join(f"127.0.1.1 {self.host(i)}\n" for i in range(self.n))
        )  # as Debian has it: a host's own name is no way to it
        switch = f"{self._name}s"
        _ip("netns", "add", switch)
        _ip("-n", switch, "link", "add", "br0", "type", "bridge")
        _ip("-n", switch, "link", "set", "br0", "up")
        for i in range(self.n):
            space, card = self.host(i), self.card(i)
            _ip("netns", "add", space)
            _ip("-n", space, "link", "set", "lo", "up")
            _ip("link", "add", card, "netns", space, "type", "veth", "peer", "name", f"p{i}", "netns", switch)
            _ip("-n", space, "addr", "add", f"{self.address(i)}/24", "dev", card)
            _ip("-n", space, "link", "set", card, "up")
            _ip("-n", switch, "link", "set", f"p{i}", "master", "br0")
            _ip("-n", switch, "link", "set", f"p{i}", "up")
            self.on(i)
        return self

    def __exit__(self, *_: object) -> None:
        for i in list(self._inits):
            self.off(i)
        for process in self._started:
            process.wait()
        for space in (*(self.host(i) for i in range(self.n)), f"{self._name}s"):
            _ip("netns", "del", space)

    def address(self, i: int) -> str:
        """Of host `i`."""
        return f"10.77.0.{10 + i}"

    @property
    def cluster(self) -> str:
        """Of its head, as RAY_ADDRESS has it."""
        return f"{self.address(0)}:6379"

    def card(self, i: int) -> str:
        """Name of its network card: another on each host, as in clusters that were bought in two years."""
        return f"eth{i}"

    def on(self, i: int) -> None:
        """Switch host `i` on."""
        setup = (
            f"hostname {self.host(i)} && mount --bind {self.folder / 'hosts'} /etc/hosts && "
            f"mount -t tmpfs -o size=1g shm /dev/shm && mount -t tmpfs ray /tmp/ray && touch /tmp/ray/on; {_ALIVE}"
        )
        # It is off, too, when this process is killed.
        words = ["setpriv", "--pdeathsig", "KILL", "nsenter", f"--net=/run/netns/{self.host(i)}", "unshare",
                 "--kill-child", "--uts", "--pid", "--mount", "--fork", "--mount-proc",
                 "--propagation", "private", "bash", "-c", setup]  # fmt: skip
        starter = subprocess.Popen(words, stdin=subprocess.DEVNULL, text=True, start_new_session=True)
        self._started.append(starter)
        children = Path(f"/proc/{starter.pid}/task/{starter.pid}/children")
        until(lambda: children.read_text().split(), 20)
        self._inits[i] = int(children.read_text())
        until(lambda: self.run(i, "test", "-e", "/tmp/ray/on").returncode == 0, 20)

    def off(self, i: int) -> None:
        """A power cut: nothing on it says goodbye."""
        os.kill(self._inits.pop(i), 9)

    def cut(self, i: int) -> None:
        """Pull its cable."""
        _ip("-n", f"{self._name}s", "link", "set", f"p{i}", "down")

    def mend(self, i: int) -> None:
        """Plug it in again."""
        _ip("-n", f"{self._name}s", "link", "set", f"p{i}", "up")

    def run(self, i: int, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run a command on host `i` to its end."""
        return subprocess.run(self._entering(i, words), env=ENVIRONMENT, capture_output=True, text=True, timeout=120)

    def start(
        self, i: int, words: Sequence[str | Path], log: str, environment: Mapping[str, str] = {}
    ) -> "subprocess.Popen[str]":
        """Start a command on host `i`. log: name of the file in `folder` for what it says."""
        with (self.folder / log).open("a") as said:
            process = subprocess.Popen(
                self._entering(i, words),
                env={**ENVIRONMENT, **environment},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
                cwd=ROOT,
            )
        self._started.append(process)
        return process

    def kill(self, i: int, pattern: str) -> int:
        """kill -9 of all processes on host `i` whose command line matches; how many there were."""
        lines = self.run(i, "ps", "axww", "-o", "pid,args").stdout.splitlines()[1:]
        found = [line.split()[0] for line in lines if re.search(pattern, line)]
        if found:
            self.run(i, "kill", "-9", *found)
        return len(found)

    def head(self, *options: str) -> None:
        """Start Ray's head on host 0, without cores, and wait for it."""
        words = [NODE, "head", self.address(0), "--num-cpus=0", *_SMALL, *options]
        self.start(0, words, "head.log")
        self.said("head.log", "This command will now block", 120)

    def worker(self, i: int, environment: Mapping[str, str] = {}) -> "subprocess.Popen[str]":
        """Start Ray on host `i`, with one core; it joins when it can."""
        return self.start(i, [NODE, "worker", self.address(0), "--num-cpus=1", *_SMALL], f"node{i}.log", environment)

    def patched(self, code: str) -> Mapping[str, str]:
        """The environment of a node whose Ray workers run `code` as they start."""
        folder = self.folder / f"patch-{len(list(self.folder.glob('patch-*')))}"
        folder.mkdir()
        guarded = "import pathlib\nif b'default_worker.py' in pathlib.Path('/proc/self/cmdline').read_bytes():\n"
        (folder / "sitecustomize.py").write_text(guarded + textwrap.indent(textwrap.dedent(code), "    "))
        return {"PYTHONPATH": f"{folder}:{ENVIRONMENT['PYTHONPATH']}"}

    def said(self, log: str, pattern: str, seconds: float) -> None:
        """Wait until a line of a log matches."""
        until(lambda: re.search(pattern, self.log(log)), seconds, lambda: self.log(log)[-3000:])

    def log(self, name: str) -> str:
        """What a log holds."""
        path = self.folder / name
        return path.read_text() if path.exists() else ""

    def host(self, i: int) -> str:
        """Its name."""
        return f"{self._name}h{i}"

    def _entering(self, i: int, words: Sequence[str | Path]) -> list[str]:
        spaces = ["nsenter", "-t", str(self._inits[i]), "--net", "--uts", "--pid", "--mount", f"--wd={ROOT}", "--"]
        return [*spaces, *map(str, words)]


_SMALL = ("--object-store-memory=100000000", "--include-log-monitor=False")


def until(true: Callable[[], object], seconds: float, otherwise: Callable[[], str] = lambda: "") -> float:
    """Wait until something is true, and give the seconds that it took; TimeoutError with `otherwise` after `seconds`."""
    begun = time.monotonic()
    while not true():
        if time.monotonic() - begun > seconds:
            raise TimeoutError(f"not within {seconds} s: {otherwise()}")
        time.sleep(0.2)
    return time.monotonic() - begun


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, timeout=30)
