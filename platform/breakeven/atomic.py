"""Atomic writes: a file or folder is either whole under its name or not there at all.

Writes go to a temporary neighbour, are flushed to disk, and are renamed. It never locks, so it is as safe on NFS and
Lustre as rename is.
"""

import errno
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` atomically. Raises OSError (disk full, read-only ...) that names `path`, and leaves nothing."""
    with replacing(path) as temporary:
        temporary.write_text(text)


def write_json(path: Path, value: Any) -> None:
    """Write `value` to `path` as indented JSON, atomically; NaN is refused (ValueError), as JSON has none."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` for a file or a folder: renamed to `path` at the end, removed on error.

    A folder that is there already is kept: folders are named by their content.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        yield temporary
        if temporary.is_dir():
            for file in temporary.iterdir():
                _flush(file)
            if not path.is_dir():  # another process was first: folders are named by their content, so keep its work
                _rename_folder(temporary, path)
        else:
            _flush(temporary)
            os.replace(temporary, path)
    except OSError as error:
        raise type(error)(
            error.errno,
            f"{error.strerror}; nothing of {path} was changed; free or remount the disk, then start again",
            str(path),
        ) from error
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        else:
            temporary.unlink(missing_ok=True)


def _rename_folder(temporary: Path, path: Path) -> None:
    try:
        temporary.rename(path)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise


def _flush(file: Path) -> None:
    with file.open("rb") as handle:
        os.fsync(handle.fileno())
