"""Recorded payloads of the real exchanges, kept beside the repository."""

import json
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[3] / "shared" / "data"


def recorded(name: str) -> Path:
    """Return a recorded file's path; skip the test where the folder is absent."""
    path = FOLDER / name
    if not path.exists():
        pytest.skip(f"no recorded data: {name} is not beside the repository")
    return path


def recorded_json(name: str) -> Any:
    """Return a recorded file's content."""
    return json.loads(recorded(name).read_text(encoding="utf-8"))
