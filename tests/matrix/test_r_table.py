"""The table of regressions is whole, and names tests that are there."""

import importlib
import inspect
import re
from pathlib import Path

import pytest

from tests.matrix import regressions

ROWS = [f"R{number:02}" for number in (*range(1, 31), *range(37, 57), 60, 69)]
TABLE = regressions.table()
HERE = Path(__file__).parent


def written(folder: Path, files: str) -> set[str]:
    """Return the names of the tests in these files that carry a regression's number."""
    text = "\n".join(file.read_text(encoding="utf-8") for file in folder.glob(files))
    return set(re.findall(r"^(?:async )?def (test_\w+)\(", text, re.MULTILINE))


def test_every_regression_of_the_list_has_a_row():
    assert list(TABLE) == ROWS


@pytest.mark.parametrize("row", ROWS)
def test_a_row_names_tests_that_exist_and_carry_its_number(row):
    names = TABLE[row]
    there = written(HERE, "test_r_*.py")

    assert set(names) & there, f"{row} is played on no whole server"
    assert set(names) <= there | written(HERE.parent / "exchanges", "test_*.py")
    assert all(f"_{row.lower()}_" in name for name in names), names


def test_every_test_stands_in_the_rows_that_it_names_and_tells_of_the_bug():
    for file in sorted(HERE.glob("test_r_*.py")):
        module = importlib.import_module(f"tests.matrix.{file.stem}")
        for name, function in inspect.getmembers(module, inspect.isfunction):
            rows = {part.upper() for part in re.findall(r"_(r\d\d)(?=_)", name)}
            if not name.startswith("test_") or not rows:
                assert file == Path(__file__) or not name.startswith("test_"), name
                continue
            assert {row for row, names in TABLE.items() if name in names} == rows
            first = (inspect.getdoc(function) or "").splitlines()[0]
            assert re.match(r"[\w.\- ]+(#\d+| \(OKX\)).*: \S", first), f"{name} names no issue"
