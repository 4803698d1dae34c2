"""What frozen backbones say: computed once by real processes, read by others, made again where it is damaged."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ledger.ledger_contract import fork, in_processes

from breakeven.ledger import lease
from breakeven.ledger.embeddings import Embeddings

ARRAY = np.random.default_rng(1).normal(size=(50, 5, 8)).astype(np.float32)


@pytest.fixture
def calls(tmp_path: Path) -> Callable[[], int]:
    return lambda: len((tmp_path / "calls").read_bytes()) if (tmp_path / "calls").exists() else 0


def computing(folder: Path, seconds: float = 0.0) -> Callable[[], np.ndarray]:
    """A way to compute it that can be counted, whichever process it is called in."""

    def compute() -> np.ndarray:
        with (folder / "calls").open("ab", buffering=0) as file:
            file.write(b".")
        time.sleep(seconds)
        return ARRAY

    return compute


def test_it_is_computed_once_and_mapped_from_disk_then(tmp_path: Path, calls: Callable[[], int]) -> None:
    kept = Embeddings(tmp_path)
    assert kept.get("a", computing(tmp_path)) is ARRAY
    read = Embeddings(tmp_path).get("a", computing(tmp_path))
    assert isinstance(read, np.memmap) and not read.flags.writeable and read.dtype == np.float32
    assert np.array_equal(read, ARRAY) and calls() == 1
    kept.get("b", computing(tmp_path))
    assert calls() == 2, "another name is another array"
    left = sorted(str(path.relative_to(kept.folder)) for path in kept.folder.rglob("*") if path.is_file())
    assert left == ["a.npy", "b.npy"], "no lease and no heartbeat is left"


@pytest.mark.parametrize(
    "damage", [lambda c: b"", lambda c: c[:10], lambda c: c[:-1], lambda c: c[:900] + bytes([c[900] ^ 1]) + c[901:]]
)
def test_a_damaged_file_is_made_again(
    tmp_path: Path, calls: Callable[[], int], damage: Callable[[bytes], bytes]
) -> None:
    kept = Embeddings(tmp_path)
    kept.get("a", computing(tmp_path))
    path = kept.folder / "a.npy"
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    assert np.array_equal(kept.get("a", computing(tmp_path)), ARRAY) and calls() == 2
    assert path.read_bytes() == whole


def test_of_many_that_need_it_one_computes_it(tmp_path: Path, calls: Callable[[], int]) -> None:
    def work(_: int) -> None:
        assert np.array_equal(Embeddings(tmp_path).get("a", computing(tmp_path, 0.3)), ARRAY)

    in_processes(4, work)
    assert calls() == 1


def test_what_a_killed_worker_was_at_is_computed_by_another(
    tmp_path: Path, calls: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "_LOOK_SECONDS", 0.01)
    process = fork.Process(target=lambda: Embeddings(tmp_path).get("a", computing(tmp_path, 600.0)))
    process.start()
    while not calls():
        time.sleep(0.01)
    process.kill()
    assert np.array_equal(Embeddings(tmp_path).get("a", computing(tmp_path)), ARRAY) and calls() == 2
    process.join()


def test_a_disk_without_room_for_it_ends_no_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Embeddings, "_write", full)
    assert Embeddings(tmp_path).get("a", lambda: ARRAY) is ARRAY
    monkeypatch.undo()
    assert Embeddings(tmp_path).get("a", lambda: ARRAY + 1)[0, 0, 0] == ARRAY[0, 0, 0] + 1, "nothing was kept"
