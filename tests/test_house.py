"""The house itself: where things lie, and that nothing shadows Python."""

import platform
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_source_root_is_no_package():
    assert not (ROOT / "platform" / "__init__.py").exists()
    assert platform.python_version()  # Python's own module, not our folder


def test_studies_are_short():
    for study in (ROOT / "studies").glob("*.py"):
        assert len(study.read_text().splitlines()) <= 150, study


def test_every_file_says_what_it_holds():
    for file in (ROOT / "platform" / "breakeven").rglob("*.py"):
        assert file.read_text().startswith('"""'), file
