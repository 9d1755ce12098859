"""What a command writes: tables on a terminal, plain text into a pipe, exact JSON on demand."""

import sys
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Annotated, Any

from cyclopts import Parameter

from backend.domain import exact_json

Json = Annotated[bool, Parameter(name="--json", help="Print the exact JSON reply.")]


def say(text: str = "") -> None:
    """Write one line, or several."""
    sys.stdout.write(f"{text}\n")


def show(reply: str, json: bool, in_words: Callable[[Any], None]) -> None:
    """Write a reply: its own text where JSON is wanted, else `in_words` of its object.

    Args:
        in_words: gets the object with numbers as exact Decimals.
    """
    if json:
        say(reply)
    else:
        in_words(exact_json.loads(reply))


def table(headings: Sequence[str], rows: Sequence[Sequence[Any]], empty: str) -> None:
    """Write rows under their headings, or the sentence `empty` when there are none."""
    cells = [[text_of(value) for value in row] for row in rows]
    if not cells:
        say(empty)
    elif sys.stdout.isatty():
        _drawn(headings, cells)
    else:
        _aligned([list(headings), *cells])


def text_of(value: Any) -> str:
    """Return a value of a reply for a person: every digit, `-` for nothing."""
    if value is None or value in ("", [], (), {}):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, dict):
        return ", ".join(f"{key}={text_of(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(text_of(item) for item in value)
    return str(value)


def _drawn(headings: Sequence[str], cells: list[list[str]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(*headings, box=box.SIMPLE_HEAD)
    for row in cells:
        drawn.add_row(*map(Text, row))
    Console().print(drawn)


def _aligned(lines: list[list[str]]) -> None:
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    for line in lines:
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        say("  ".join(padded).rstrip())
