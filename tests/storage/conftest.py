"""Where these tests keep their homes: in memory, where a real sync costs nothing."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Path]:
    """An empty folder."""
    if not Path("/dev/shm").is_dir():
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder).resolve()
