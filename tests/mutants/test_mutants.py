"""The list of code mutants fits today's source; `make soak` tries them."""

import ast
import re
from collections import Counter
from functools import cache
from itertools import accumulate
from os.path import commonprefix

import pytest

from tests.mutants.harness import Verdict, verdict
from tests.mutants.lists import ALL, MUTANTS
from tests.mutants.mutant import HOME, Mutant, mutated


def test_there_are_at_least_sixty_and_each_has_a_name_of_its_own():
    assert len(ALL) == len(MUTANTS) >= 60


def test_each_mutant_applies_exactly_once_and_compiles():
    for mutant in ALL:
        for file, text in mutated(mutant).items():
            compile(changed_part(file, text), f"{file} without {mutant.name}", "exec")


def changed_part(file: str, text: str) -> str:
    """Return the function or class that differs from today's: the whole takes ten times longer."""
    old, parts = source(file)
    begin = len(commonprefix([old, text]))
    end = len(old) - len(commonprefix([old[begin:][::-1], text[begin:][::-1]]))
    for first, last in parts:
        if first <= begin and end <= last:
            return text[first : last + len(text) - len(old)]
    return text


@cache
def source(file: str) -> tuple[str, list[tuple[int, int]]]:
    """Return a file's text, and where each of its functions and classes begins and ends."""
    text = (HOME / file).read_text(encoding="utf-8")
    offsets = [0, *accumulate(map(len, text.splitlines(keepends=True)))]
    parts = []
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            lines = [node.lineno, *(one.lineno for one in node.decorator_list)]
            parts.append((offsets[min(lines) - 1], offsets[node.end_lineno or node.lineno]))
    return text, parts


def test_no_two_mutants_are_the_same():
    assert max(Counter(mutant.edits for mutant in ALL).values()) == 1


def test_each_mutant_names_tests_that_exist():
    known: dict[str, set[str]] = {}
    for mutant in ALL:
        assert mutant.tests, mutant.name
        for named in mutant.tests:
            file, _, test = named.partition("::")
            if file not in known:
                text = (HOME / "tests" / file).read_text(encoding="utf-8")
                known[file] = set(re.findall(r"^(?:async )?def (test_\w+)\(", text, re.MULTILINE))
            assert not test or test in known[file], f"{mutant.name} names {named}"


def test_a_text_that_is_not_there_once_is_an_error():
    for old in ("nobody wrote this", "import"):
        gone = Mutant("gone", "backend/journal.py", old, "", "why", "I-1", ("test_journal.py",))
        with pytest.raises(ValueError, match="gone does not apply: backend/journal.py"):
            mutated(gone)


@pytest.mark.parametrize(
    ("code", "told", "word", "by"),
    [
        (0, "1 passed", "survived", ""),
        (1, "x\nFAILED tests/a/test_b.py::test_c - no\n", "killed", "a/test_b.py::test_c"),
        (1, "ERROR tests/test_b.py::test_c - no\n", "killed", "test_b.py::test_c"),
        (2, "ERROR tests/test_b.py\n", "killed", "test_b.py"),
        (-1, "", "killed", "nothing ended within 180 s"),
        (1, "what is this", "error", "pytest ended with 1: what is this"),
        (4, "ERROR: not found: test_b.py::test_c", "error", "pytest ended with 4: "),
    ],
)
def test_a_run_of_the_tests_is_read_so(code, told, word, by):
    found, by_whom = verdict(code, told)

    assert found == word
    assert by_whom.startswith(by)


@pytest.mark.parametrize(
    ("equivalent", "word", "well"),
    [("", "killed", True), ("", "survived", False), ("so", "survived", True), ("so", "killed", 0)],
)
def test_a_mutant_is_noticed_unless_the_list_says_why_it_cannot_be(equivalent, word, well):
    mutant = Mutant("m", "f", "a", "b", "why", "I-1", ("t",), equivalent=equivalent)

    assert Verdict(mutant, word, "", 0.0).well is bool(well)
