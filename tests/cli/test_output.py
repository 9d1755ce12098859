"""Tables on a terminal and in a pipe."""

import sys
from decimal import Decimal
from typing import Any

import pytest

from backend.cli.output import table, text_of


@pytest.mark.parametrize("terminal", [True, False])
def test_a_table_shows_values_as_they_are(
    terminal: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)

    table(("name", "value"), [("[red]a[/red]", Decimal("1E-8")), ("b", None)], "nothing")

    out = capsys.readouterr().out
    assert "[red]a[/red]" in out
    assert "0.00000001" in out
    assert ("\x1b" in out or "─" in out) == terminal


def test_a_table_without_rows_is_a_sentence(capsys: pytest.CaptureFixture[str]):
    table(("name",), [], "There are none.")

    assert capsys.readouterr().out == "There are none.\n"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"),
        ([], "-"),
        (True, "yes"),
        (Decimal("215.40"), "215.40"),
        (["a", "b"], "a, b"),
        ({"USD": Decimal(5)}, "USD=5"),
    ],
)
def test_a_value_is_shown_for_a_person(value: Any, shown: str):
    assert text_of(value) == shown
