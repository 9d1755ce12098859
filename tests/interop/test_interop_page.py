"""`kb/interop.md` is true of what is pinned, required and excused."""

import json
import re
from pathlib import Path

from tests.exchanges.kb_table import table_under
from tests.interop.suites import SUITES

_PAGE = Path(__file__).parents[2] / "kb" / "interop.md"
_PACKAGE = Path(__file__).with_name("package.json")


def test_the_page_names_every_pinned_version():
    package = json.loads(_PACKAGE.read_text())
    pins = {**package["dependencies"], **package["optionalDependencies"]}

    for pin in pins.values():
        assert pin.rpartition("@")[2] in _PAGE.read_text()


def test_the_page_counts_what_applies_and_what_is_excused():
    rows = table_under(_PAGE, "Conformance")

    assert [(name, int(applies), int(excused.split()[0])) for name, applies, excused in rows] == [
        (name, len(suite.applies), len(suite.excuses())) for name, suite in SUITES.items()
    ]


def test_every_scenario_that_must_pass_stands_on_the_page():
    text = _PAGE.read_text()

    for suite in SUITES.values():
        assert [s for s in suite.applies if f"`{s}`" not in text] == []


def test_every_excused_scenario_stands_on_the_page_with_its_reason():
    excused = {entry.partition(":")[0] for suite in SUITES.values() for entry in suite.excuses()}

    on_the_page = [
        name for _, cell in table_under(_PAGE, "Excused") for name in re.findall(r"[\w-]+", cell)
    ]
    assert sorted(on_the_page) == sorted(excused)


def test_no_scenario_that_must_pass_is_excused_as_a_whole():
    for suite in SUITES.values():
        assert set(suite.applies).isdisjoint(suite.excuses())
