"""Every tool with arguments of every kind: always an answer of the documented form."""

import json
import logging
from dataclasses import dataclass
from typing import Any

from fastmcp.exceptions import ToolError
from hypothesis import strategies as st
from mcp import MCPError

from backend.domain.errors import CODES
from backend.testing import Answer
from tests.properties.home import Home

WORDS = [
    *("AAPL", "BTC/USD", "buy", "sell", "limit", "gtc", "ioc", "1", "0.00001", "64000", "confirm"),
    *(
        "paper:main",
        "paper",
        "account",
        "global",
        "symbol",
        "all",
        "open",
        "pending",
        "x",
        "cancel",
    ),
    *("trd-aaaaaaaaaaaaaaaaaaaa", "", " ", "\x00", "１２", "1e999999", "-1", "NaN", "../..", "🚪"),
    *("a\nb", "'; DROP TABLE trades --", "%00", "x" * 300, "9" * 400, "\u202e", "\ud800", "\udfff"),
]
# Words of what went on inside, which no answer may show.
INSIDE = ("Traceback", "pydantic", 'File "', "sqlite", "object at 0x", "httpx", "site-packages")
_LASTS = 300

_scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(WORDS)
    | st.text(max_size=12)
    | st.sampled_from([10**18, -(10**40), 10**400, 2**63, 1e308, 5e-324, 0.1 + 0.2])
)
_values = st.recursive(
    _scalars,
    lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=5), v, max_size=3),
    max_leaves=5,
) | st.integers(1, 2000).map(lambda depth: _deep(depth))


def _deep(depth: int) -> Any:
    made: Any = 1
    for _ in range(depth):
        made = [made]
    return made


@dataclass
class Tools:
    """The tools of one server, by name with their parameters."""

    home: Home
    asked: int = 0

    def __post_init__(self) -> None:
        # Each refusal is a warning there: thousands are not read, and cost more than the calls.
        logging.getLogger("fastmcp").setLevel(logging.CRITICAL)
        listed = self.home.run(self.home.stack.client.list_tools())
        self.parameters = {
            tool.name: (
                sorted(tool.input_schema["properties"]),
                tool.input_schema.get("required", []),
            )
            for tool in listed
        }
        self.codes = {*CODES, *self.home.stack.backend.desk.checks}

    def calls(self) -> st.SearchStrategy[tuple[str, dict[str, Any]]]:
        """A tool's name and arguments: some right, some not, some that it does not take."""
        return st.sampled_from(sorted(self.parameters)).flatmap(self._arguments)

    def _arguments(self, name: str) -> st.SearchStrategy[tuple[str, dict[str, Any]]]:
        known, required = self.parameters[name]
        usual = {one: st.sampled_from(WORDS) | _values for one in required}
        others = {one: st.sampled_from(WORDS) | _values for one in known if one not in required}
        whole = st.fixed_dictionaries(usual, optional=others)
        wild = st.dictionaries(
            st.sampled_from(known or ["x"]) | st.text(max_size=9), _values, max_size=4
        )
        return st.tuples(st.just(name), whole | whole | wild)

    def check(self, name: str, arguments: dict[str, Any]) -> None:
        """Make one call and judge its answer."""
        self.asked += 1
        if self.asked % _LASTS == 0:
            self.home.begin()
        client = self.home.stack.client
        try:
            result = self.home.run(client.call_tool(name, arguments, raise_on_error=False))
        except (MCPError, ToolError, ValueError, RecursionError) as error:
            return _judge_protocol_error(error)
        answer = Answer.of_tool(result)
        for word in INSIDE:
            assert word not in answer.text, (name, answer.text[:500])
        if not result.is_error:
            json.loads(answer.text)
            return None
        if answer.code is None:  # In words: only these two are documented.
            words = ("action must be 'confirm' or 'cancel'.", "Unknown tool")
            assert any(one in answer.text for one in words), (name, answer.text)
        else:
            assert answer.code in self.codes, answer
            assert answer.get("status", 400) < 500, answer
        return None


def _judge_protocol_error(error: Exception) -> None:
    for word in INSIDE:
        assert word not in str(error), error
