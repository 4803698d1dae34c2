"""The ledger in files against the contract, and what only files can suffer."""

import errno
import json
import os
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from ledger.ledger_contract import LedgerContract, content, fork, record

from breakeven.fingerprint import fingerprint
from breakeven.ledger import ledger as ledger_module
from breakeven.ledger import records as at_rest
from breakeven.ledger.claim import last_try
from breakeven.ledger.ledger import Ledger, LedgerError


class Files:
    """A ledger in a folder; the disk is filled for real, in a small file system of its own, where this user may mount."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open(self):
        return Ledger(self.folder)

    def cut(self, change):
        for path in (self.folder / "records").iterdir():
            path.write_bytes(change(path.read_bytes()))

    def edit(self, old, new):
        for path in (self.folder / "records").iterdir():
            if path.suffix == ".json":
                path.write_text(path.read_text().replace(old, new))
            else:
                _edit_parquet(path, old, new)

    def rest(self):
        folder = self.folder / "records"
        return sorted(os.listdir(folder)) if folder.exists() else []

    @contextmanager
    def full_disk(self):
        filler = self.folder / "filler"
        free = shutil.disk_usage(self.folder).free
        assert free < 2**24, "only in a small file system"
        filler.write_bytes(b"x" * (free - 8192))
        yield
        filler.unlink()


def _edit_parquet(path, old, new):
    table = pq.read_table(path)
    place = table.column_names.index("json")
    edited = [text.replace(old, new) for text in table["json"].to_pylist()]
    pq.write_table(table.set_column(place, "json", [edited]), path)


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("this user may not mount a small file system")
    yield folder
    subprocess.run(["umount", folder], check=True)


class TestFiles(LedgerContract):
    @pytest.fixture
    def store(self, tmp_path, request):
        return Files(request.getfixturevalue("small_disk") if "full_disk" in request.node.name else tmp_path)


def test_a_full_disk_on_any_system(tmp_path, monkeypatch):
    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    Ledger(tmp_path).write([record("a")])
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device; nothing of .*/b-.* was changed; free"):
        Ledger(tmp_path).write([record("b")])
    with pytest.raises(OSError, match="No space left"):
        Ledger(tmp_path).compact()
    monkeypatch.undo()
    assert len(os.listdir(tmp_path / "records")) == 1 and Ledger(tmp_path).refresh().finished("a")


def _die(*_args, **_more):
    os._exit(9)


def _die_half_way(writer, part):
    writer.file_handle.write(b"PAR1 and half of a column")
    os._exit(9)


def _after(n, function):
    """`function` for the first n calls, then death."""
    calls = iter(range(n))
    return lambda *args, **more: function(*args, **more) if next(calls, None) is not None else _die()


CRASHES = {
    "while the Parquet file is written": lambda m: m.setattr(pq.ParquetWriter, "write_table", _die_half_way),
    "before it is renamed": lambda m: m.setattr(os, "replace", _die),
    "after it is renamed": lambda m: m.setattr(ledger_module, "_flush_folder", _die),
    "before the first removal": lambda m: m.setattr(Path, "unlink", _after(1, Path.unlink)),
    "after some removals": lambda m: m.setattr(Path, "unlink", _after(4, Path.unlink)),
}


@pytest.mark.parametrize("where", CRASHES)
def test_a_crash_while_folding_loses_nothing_and_counts_nothing_twice(tmp_path, monkeypatch, where):
    ledger = Ledger(tmp_path)
    for i in range(3):
        ledger.write([record(f"old{i}"), record("same")])
    ledger.compact()
    for i in range(6):
        ledger.write([record(f"r{i}"), record("same")])
    before = content(ledger)

    def fold():
        CRASHES[where](monkeypatch)
        Ledger(tmp_path).compact()

    process = fork.Process(target=fold)
    process.start()
    process.join(60)
    assert process.exitcode == 9
    after = Ledger(tmp_path)
    assert content(after) == before and not after.problems
    assert content(ledger) == before  # and for one who had read it all before
    after.compact()
    after.write([record("new")])
    assert content(Ledger(tmp_path)).keys() == before.keys() | {"new"}
    Ledger(tmp_path).compact()
    folded = [name for name in os.listdir(tmp_path / "records") if not name.startswith(".")]
    assert all(name.endswith(".parquet") for name in folded) and len(folded) <= 3


def test_an_edited_row_costs_one_record_of_a_folded_file(tmp_path):
    ledger = Ledger(tmp_path)
    for i in range(20):
        ledger.write([record(f"r{i}", metrics={"test_accuracy": 0.75 if i == 7 else 0.5})])
    _edit_parquet(ledger.compact(), "0.75", "0.95")
    view = Ledger(tmp_path).refresh()
    assert len(view.records()) == 19 and view.get("r7") is None
    assert "1 of its 20 records not used" in view.problems[0]


def test_a_folded_file_is_a_table_for_anyone(tmp_path):
    ledger = Ledger(tmp_path)
    ledger.write([record("a", phase="search"), record("b", "failed")])
    table = pq.read_table(ledger.compact()).to_pandas().set_index("record")
    assert table.loc["a", "phase"] == "search" and table.loc["b", "outcome"] == "failed"
    assert table["device_seconds"].sum() == 4.0 and json.loads(table.loc["a", "json"])["metrics"] == {
        "test_accuracy": 0.75
    }


def test_folding_again_and_again_keeps_few_files(tmp_path):
    ledger = Ledger(tmp_path)
    for i in range(64):
        ledger.write([record(f"r{i}")])
        if i % 2:
            ledger.compact()
    assert len(os.listdir(tmp_path / "records")) <= 6 and len(Ledger(tmp_path).refresh().records()) == 64


def test_named_files_are_read_alone(tmp_path, monkeypatch):
    writer, reader = Ledger(tmp_path), Ledger(tmp_path)
    files = [writer.write([record(name)]).name for name in ("a", "b", "c")]
    monkeypatch.setattr(reader, "_names", lambda: pytest.fail("the folder was listed"))
    assert reader.read(files[:2]).read(files[:1]) is reader
    assert reader.finished("a") and reader.finished("b") and reader.get("c") is None and reader.loose == 2


def test_a_named_file_that_was_folded_in_meanwhile_is_found(tmp_path):
    writer, reader = Ledger(tmp_path), Ledger(tmp_path)
    files = [writer.write([record(name)]).name for name in ("a", "b")]
    writer.compact()
    assert reader.read(files[:1]).finished("a") and reader.problems == []


def test_files_that_keep_vanishing_are_told(tmp_path, monkeypatch):
    Ledger(tmp_path).write([record("a")])
    monkeypatch.setattr(Ledger, "_content", lambda self, name: None)
    monkeypatch.setattr(ledger_module.time, "sleep", lambda seconds: None)
    with pytest.raises(LedgerError, match="files vanish while they are read"):
        Ledger(tmp_path).refresh()


def test_a_file_that_cannot_be_read_for_a_while_is_read_later(tmp_path, monkeypatch):
    def troubled(self):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    Ledger(tmp_path).write([record("a")])
    ledger = Ledger(tmp_path)
    with monkeypatch.context() as trouble:
        trouble.setattr(Path, "read_bytes", troubled)
        assert not ledger.refresh().finished("a") and "mend the disk" in ledger.problems[0]
    assert ledger.refresh().finished("a") and not ledger.problems


def test_records_of_the_first_schema_are_still_read(tmp_path):
    body = {"ledger": 1, "reason": "", "wasted_seconds": 0.5, **record("a")}
    edited = {**body, "record": "b", "checksum": fingerprint({**body, "record": "b"}), "test_accuracy": 0.95}
    (tmp_path / "records").mkdir()
    for name, one in (("a", {**body, "checksum": fingerprint(body)}), ("b", edited)):
        (tmp_path / "records" / f"{name}-0123abcd.json").write_text(json.dumps([one], indent=1))
    view = Ledger(tmp_path).refresh()
    assert view.finished("a") and view.get("b") is None and "was changed after" in view.problems[0]
    view.compact()
    assert Ledger(tmp_path).refresh().get("a") == view.get("a")


@pytest.mark.parametrize(
    ("value", "folded"), [({"metrics": []}, False), ({"metrics": []}, True), ({"device_seconds": "1"}, False)]
)
def test_a_record_in_another_form_is_told(tmp_path, value, folded):
    Ledger(tmp_path).write([record("a")])
    writer = Ledger(tmp_path)
    path = writer.write([record("b", **value)])
    if folded:
        kept = at_rest.kept(path.name, 0, json.loads(path.read_text())[0])
        name, (table,) = at_rest.fold([kept])
        pq.write_table(table, path.with_name(name))
        path.unlink()
    view = Ledger(tmp_path).refresh()
    assert view.frame()["record"].tolist() == ["a"]
    assert f"the {next(iter(value))} of record b is" in view.problems[0]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b'{"device_seconds": 1.0, "worker": "\xff host 12"}', (0.0, "\ufffd host 12")),
        (b'{"device_seconds": NaN, "worker": "host 12"}', (0.0, "host 12")),
        (b'{"device_seconds": 1.5, "wasted_seconds": 1e999}', (0.0, "")),
        (b"[" * 100_000, (0.0, "")),
    ],
    ids=["name", "NaN", "infinite", "deep"],
)
def test_a_damaged_claim_is_an_estimate_less(tmp_path, text, found):
    path = Ledger(tmp_path).claim_path("a")
    path.parent.mkdir()
    path.write_bytes(text)
    assert last_try(path) == found
    with Ledger(tmp_path).claim("a") as claim:
        assert claim.wasted_seconds == 0.0


def test_a_stranger_among_the_files_is_told(tmp_path):
    path = Ledger(tmp_path).write([record("a")])
    shutil.copy(path, path.with_name("copy of a.json"))
    view = Ledger(tmp_path).refresh()
    assert view.finished("a") and "copy of a.json" in view.problems[0] and "move the file away" in view.problems[0]
