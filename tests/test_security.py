"""What others made is read without running what it holds: cluster/SECURITY.md says so."""

import ast
import hashlib
import io
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from breakeven import cli
from breakeven.events.store import CorruptDataset, read_shard
from breakeven.ledger.embeddings import Embeddings
from breakeven.ledger.records import parse, unfold
from breakeven.training.checkpoint import read_weights
from breakeven.training.content import CorruptCheckpoint

ROOT = Path(__file__).parents[1]
RUNNING = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
"""Modules that run what a file says."""
CALLS = {"eval", "exec", "torch.load", "torch.jit.load", "yaml.load", "pickle.load", "pickle.loads"}
METHODS = {"unsafe_load", "read_pickle"}
MAY = {
    "models/gpu/launch.py": {"pickle"},  # a list of kernels for a process of its own, by its standard input
    "models/gpu/compile.py": {"pickle", "pickle.load"},
    "models/published_jets.py": {"pickle"},  # the error that torch.load(weights_only=True) raises
}


def dotted(node: ast.expr) -> str:
    """A function's name as it is called, "torch.load"; of what is computed, the last part."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def runs_what_it_reads(tree: ast.AST) -> set[str]:
    """Names of what in a module may run what a file holds."""
    found = set[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {name.name.partition(".")[0] for name in node.names} & RUNNING
        elif isinstance(node, ast.ImportFrom):
            found |= {(node.module or "").partition(".")[0]} & RUNNING
        elif isinstance(node, ast.Call):
            given = {word.arg: getattr(word.value, "value", "?") for word in node.keywords}
            whole = dotted(node.func)
            if given.get("weights_only") is not True:
                found |= {whole} & CALLS | {whole.rpartition(".")[2]} & METHODS
            if given.get("allow_pickle", False) is not False:
                found.add("allow_pickle")
    return found


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("import pickle", "pickle"),
        ("from joblib import load", "joblib"),
        ("torch.load(path)", "torch.load"),
        ("torch.load(path, weights_only=False)", "torch.load"),
        ("np.load(path, allow_pickle=True)", "allow_pickle"),
        ("pd.read_pickle(path)", "read_pickle"),
        ("yaml.unsafe_load(text)", "unsafe_load"),
        ("eval(text)", "eval"),
    ],
)
def test_what_runs_what_it_reads_is_seen(line: str, what: str) -> None:
    assert runs_what_it_reads(ast.parse(line)) == {what}


def test_no_module_runs_what_it_reads() -> None:
    files = [*(ROOT / "platform/breakeven").rglob("*.py"), *(ROOT / "studies").rglob("*.py")]
    for file in files:
        name = file.relative_to(ROOT).as_posix().removeprefix("platform/breakeven/")
        assert runs_what_it_reads(ast.parse(file.read_text())) == MAY.get(name, set()), file


class Harmful:
    """Makes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.mark,))


def shard(folder: Path, content: bytes) -> None:
    (folder / "shard.parquet").write_bytes(content)
    with pytest.raises(CorruptDataset):
        read_shard(folder / "shard.parquet")


def weights(folder: Path, content: bytes) -> None:
    (folder / "weights.safetensors").write_bytes(content)
    with pytest.raises(CorruptCheckpoint):
        read_weights(folder)


def record(folder: Path, content: bytes) -> None:
    with pytest.raises(ValueError):
        parse(f"{'0' * 16}-00000000-{hashlib.sha256(content).hexdigest()[:16]}.json", content)
    with pytest.raises(ValueError):
        unfold(content)


@pytest.mark.parametrize("read", [shard, weights, record])
def test_a_file_that_would_run_code_runs_none(read: Callable[[Path, bytes], None], tmp_path: Path) -> None:
    read(tmp_path, pickle.dumps(Harmful(tmp_path / "ran")))
    assert not (tmp_path / "ran").exists()


def test_a_table_of_representations_that_would_run_code_runs_none(tmp_path: Path) -> None:
    np.save(array := io.BytesIO(), np.array([Harmful(tmp_path / "ran")], object), allow_pickle=True)
    content = array.getvalue()
    kept = Embeddings(tmp_path / "kept")
    kept._path("one").parent.mkdir(parents=True, exist_ok=True)
    kept._path("one").write_bytes(content + hashlib.sha256(content).digest())
    assert kept._read("one") is None
    assert not (tmp_path / "ran").exists()


def test_the_pages_of_mlflow_are_served_without_a_password_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"sqlite:///{tmp_path}/mlflow.db?password=hidden"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setenv("MLFLOW_BACKEND_STORE_URI", "")  # what is set below is undone
    monkeypatch.setenv("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "")
    started: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda program, words: started.append(words))
    monkeypatch.setattr("breakeven.tracking.prepare", lambda uri: None)
    cli.Ui(tmp_path)()
    (words,) = started
    assert not any("hidden" in word for word in words) and "127.0.0.1" in words
    assert os.environ["MLFLOW_BACKEND_STORE_URI"] == address
