"""Whether all nodes of a cluster see one folder: asked before anything is made, as what a node wrote elsewhere would be lost."""

import importlib
import tempfile
import time
from pathlib import Path

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from breakeven.errors import StageFailed
from breakeven.terminal import console

_START_SECONDS = 90.0
"""How long a node may take to start the worker that looks."""
_SEEN_SECONDS = 10.0
"""How long a network file system may take to show what another node has just written."""


def check_shared(folder: Path) -> None:
    """Raise StageFailed, naming them, where nodes that can work do not see what this process writes to `folder`, cannot write
    there, or lack a package.

    Nodes that are lost meanwhile are passed over, and those that do not answer in time are named in a warning.
    """
    here = ray.get_runtime_context().get_node_id()
    others = {
        node["NodeID"]: f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
        for node in ray.nodes()
        if node["Alive"] and node["NodeID"] != here and any(node["Resources"].get(kind) for kind in ("CPU", "GPU"))
    }
    with tempfile.TemporaryDirectory(dir=folder, prefix="shared-") as shared:
        said = {
            _look.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(shared): name
            for node, name in others.items()
        }
        answered, silent = ray.wait(list(said), num_returns=len(said), timeout=_START_SECONDS) if said else ([], [])
        wrong = [f"{said[one]} {reason}" for one in answered if (reason := _reason(one))]
    if silent:
        console.print(
            f"[yellow]warning[/] Ray: {', '.join(said[one] for one in silent)} did not say within {_START_SECONDS:.0f} s whether "
            f"{folder} is there"
        )
    if wrong:
        raise StageFailed(
            f"Ray: {'; '.join(wrong)}. Every node needs the packages of this one, and {folder} at this path on storage that all "
            "share: name such a folder with --runs-dir, or mount it there. Nothing was made"
        )


def _reason(answer: "ray.ObjectRef[str]") -> str:
    try:
        return ray.get(answer)
    except ray.exceptions.RayError:  # it is gone: the session says so
        return ""


@ray.remote(num_cpus=0, max_retries=0)
def _look(shared: str) -> str:
    """On a node: what is wrong there; empty where nothing is. Ray ships this function whole: it imports what trials need."""
    try:
        importlib.import_module("breakeven.work.trial")
    except ImportError as error:
        return f"lacks a package ({error})"
    end = time.monotonic() + _SEEN_SECONDS
    while not Path(shared).is_dir():
        if time.monotonic() > end:
            return "does not see what this node writes"
        time.sleep(0.5)
    try:
        with tempfile.TemporaryFile(dir=shared):
            return ""
    except OSError as error:
        return f"cannot write there ({error.strerror})"
