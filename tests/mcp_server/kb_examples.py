"""The examples of a tool's page, in a form that a test can run.

Notation. Under `## Examples` each ```text block is one example on a fresh system:

    Agent: plan_trade(symbol="AAPL", side="buy", quantity=10)
      -> trade_id as T, price 215.40, approval.required false
    Operator: "Go ahead."
    Clock: +61 s
    Agent: execute_trade(trade_id=T, action="confirm")
      -> error "Trade has expired", current_status "expired"

* `Agent: tool(name=value, …)` is a call. A value is a JSON literal, or a bare word bound
  before.
* `-> check, check` says what its result holds. `path value` compares: a path is keys and
  list positions joined by dots; a value is a JSON literal, and a number has exactly these
  digits in the text block. `path as WORD` binds what stands there. `error "words"` says
  that it is an error result whose text holds these words; without it, it is none.
* `Clock: +N s` moves the clock.
* Any other line is talk: `Operator: …`, `Agent (to operator): …`.
"""

import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.mcp_server.fake_backend import AnyClient, only_text

_CALL = re.compile(r"Agent: (\w+)\((.*)\)$")
_ARGUMENT = re.compile(r'\s*(\w+)=("(?:[^"\\]|\\.)*"|[^,]+)\s*(?:,|$)')
_CHECK = re.compile(
    r'\s*(?:(?P<path>[\w.]+)\s+)(?:as (?P<name>\w+)|(?P<value>"(?:[^"\\]|\\.)*"|[^,\s]+))\s*(?:,|$)'
)
_CLOCK = re.compile(r"Clock: \+(\d+) s$")


@dataclass(frozen=True)
class Name:
    """A word that an earlier result bound."""

    word: str


@dataclass(frozen=True)
class Digits:
    """A number as it is written: 215.40 is not 215.4."""

    text: str


@dataclass(frozen=True)
class Check:
    """`path` holds `value`, or is bound to `value` when that is a `Name`."""

    path: str
    value: Any


@dataclass(frozen=True)
class Clock:
    """The clock moves by this many seconds."""

    seconds: int


@dataclass(frozen=True)
class Call:
    """A call of a tool, and what its result must hold. `error` is None for a success."""

    tool: str
    arguments: dict[str, Any]
    checks: tuple[Check, ...] = ()
    error: str | None = None

    def with_names(self, names: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments with every bound word replaced."""
        return {
            name: names[value.word] if isinstance(value, Name) else value
            for name, value in self.arguments.items()
        }

    def verify(self, is_error: bool, text: str, names: dict[str, Any]) -> None:
        """Assert that a result is as the page says, and bind its words in `names`."""
        assert is_error is (self.error is not None), text
        assert (self.error or "") in text
        if not self.checks:
            return
        result = json.loads(text, parse_float=Digits, parse_int=Digits)
        for check in self.checks:
            found = _at(result, check.path)
            if isinstance(check.value, Name):
                names[check.value.word] = found
            else:
                assert found == check.value, f"{check.path}: {text}"


@dataclass(frozen=True)
class Example:
    """One block of a page: steps in order, on a fresh system."""

    page: str
    title: str
    steps: tuple[Call | Clock, ...]

    def __str__(self) -> str:
        return f"{self.page}: {self.title}"


async def play(
    example: Example, client: AnyClient, advance: Callable[[int], Awaitable[None]]
) -> None:
    """Run an example through `client` and assert all it says.

    Args:
        advance: moves the clock by whole seconds.
    """
    names: dict[str, Any] = {}
    for step in example.steps:
        if isinstance(step, Clock):
            await advance(step.seconds)
        else:
            arguments = step.with_names(names)
            result = await client.call_tool(step.tool, arguments, raise_on_error=False)
            step.verify(result.is_error, only_text(result), names)


def examples(page: Path) -> list[Example]:
    """Return the examples of a page.

    Raises:
        ValueError: a line of a call or a check is not in the notation.
    """
    section = page.read_text(encoding="utf-8").partition("\n## Examples\n")[2]
    section = re.split(r"^## ", section, maxsplit=1, flags=re.MULTILINE)[0]
    parts = re.split(r"^```text\n(.*?)^```$", section, flags=re.MULTILINE | re.DOTALL)
    return [
        Example(page.stem, " ".join(parts[i - 1].split()), _steps(parts[i].splitlines()))
        for i in range(1, len(parts), 2)
    ]


def _steps(lines: list[str]) -> tuple[Call | Clock, ...]:
    steps: list[Call | Clock] = []
    for line in map(str.strip, lines):
        if match := _CLOCK.match(line):
            steps.append(Clock(int(match[1])))
        elif line.startswith("Agent: "):
            steps.append(_call(line))
        elif line.startswith("->"):
            steps[-1] = _checked(steps[-1], line)
    return tuple(steps)


def _call(line: str) -> Call:
    match = _CALL.match(line)
    if match is None:
        raise ValueError(f"not a call: {line}")
    arguments = {m[1]: _value(m[2]) for m in _whole(_ARGUMENT, match[2])}
    return Call(match[1], arguments)


def _checked(step: Call | Clock, line: str) -> Call:
    if not isinstance(step, Call):
        raise ValueError(f"a check without a call: {line}")
    checks, error = list(step.checks), step.error
    for match in _whole(_CHECK, line.removeprefix("->")):
        value = Name(match["name"]) if match["name"] else _value(match["value"], digits=True)
        if match["path"] == "error":
            error = str(value)
        else:
            checks.append(Check(match["path"], value))
    return Call(step.tool, step.arguments, tuple(checks), error)


def _whole(pattern: re.Pattern[str], text: str) -> list[re.Match[str]]:
    """Return the matches of `pattern` that together are all of `text`."""
    found, at = [], 0
    while at < len(text.rstrip()):
        match = pattern.match(text, at)
        if match is None:
            raise ValueError(f"not in the notation: {text[at:]}")
        found.append(match)
        at = match.end()
    return found


def _value(text: str, *, digits: bool = False) -> Any:
    text = text.strip()
    if text.isidentifier() and text not in ("true", "false", "null"):
        return Name(text)
    number: Any = Digits if digits else None
    return json.loads(text, parse_float=number, parse_int=number)


def _at(result: Any, path: str) -> Any:
    for key in path.split("."):
        result = result[int(key)] if isinstance(result, list) else result[key]
    return result
