"""The table of the failure matrix tells of every row and of every test."""

import re
from pathlib import Path

from tests import matrix

NAME = re.compile(r"\btest(?:_f\d\d)+_\w+")


def rows() -> dict[str, str]:
    """Return what stands in the table, by row."""
    found: dict[str, str] = {}
    number = ""
    for line in (matrix.__doc__ or "").splitlines():
        if head := re.match(r"(F\d\d)  ", line):
            number = head[1]
        if number and (head or line.startswith("     ")):
            found[number] = f"{found.get(number, '')} {line.removeprefix(number).strip()}".strip()
    return found


def written() -> list[str]:
    """Return the names of the tests of this folder that play a row."""
    files = Path(matrix.__file__).parent.glob("test_f_*.py")
    text = "\n".join(file.read_text(encoding="utf-8") for file in files)
    return re.findall(r"^async def (test(?:_f\d\d)+_\w+)", text, re.MULTILINE)


def test_every_row_names_its_tests_or_says_why_it_concerns_no_exchange():
    table = rows()

    assert list(table) == [f"F{number:02}" for number in range(1, 43)]
    for number, told in table.items():
        names = NAME.findall(told)
        assert names or told.startswith("-- "), f"{number}: {told}"
        assert all(f"_{number.lower()}_" in name for name in names), f"{number}: {told}"


def test_the_table_names_every_test_and_no_other():
    told = {name for text in rows().values() for name in NAME.findall(text)}

    assert told == set(written())
    assert len(written()) == len(set(written()))
