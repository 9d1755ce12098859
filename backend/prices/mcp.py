"""Prices from another MCP server: `mcp:URL`, or `mcp:TOOL@URL` for its tool's name.

A server that is missing, late or not understood gives no quote, and a missing
quote denies upstream.
"""

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx2  # FastMCP 4 speaks through it; `httpx` errors never come from there.
from fastmcp import Client
from mcp.shared.exceptions import MCPError
from mcp_types import TextContent
from pydantic import ValidationError
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt

from backend.domain.clock import Clock
from backend.domain.money import parse_positive, round_down, round_up
from backend.domain.quote import Quote
from backend.prices._market import tick_size
from backend.prices._times import moment_of

TIMEOUT_S = 3.0
ATTEMPTS = 2
DEFAULT_TOOL = "get_price"

# What FastMCP raises when there is no connection, no answer, or not one it understands.
NO_ANSWER = (MCPError, httpx2.HTTPError, RuntimeError, OSError, ValidationError)

_TOOL = re.compile(r"[A-Za-z0-9_.-]{1,128}", re.ASCII)
_PRICES = ("bid", "ask", "last", "price")
_TEXT_LIMIT = 65_536
_FUTURE_AT_MOST = timedelta(seconds=5)


class McpPrices:
    """Quotes that another server's tool caches.

    Args:
        server: a URL, or anything else a `fastmcp.Client` can connect to.
    """

    replayable = False
    symbols: Sequence[str] = ()

    def __init__(self, name: str, server: Any, tool: str, clock: Clock) -> None:
        self.name = name
        self._server = server
        self._tool = tool
        self._clock = clock

    async def quote(self, symbol: str) -> Quote | None:
        """Return the server's quote, on tick, or None: missing, late or malformed."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                answer = await self._ask(symbol)
        except NO_ANSWER:
            return None
        return None if answer is None else read_quote(answer, symbol, self.name, self._clock())

    def path(self, symbol: str, start: datetime, end: datetime) -> Sequence[Quote]:
        """Return nothing: a cached price has no past."""
        return ()

    async def close(self) -> None:
        """Hold nothing between quotes, so let go of nothing."""

    async def _ask(self, symbol: str) -> Mapping[str, Any] | None:
        retrying = AsyncRetrying(
            stop=stop_after_attempt(ATTEMPTS),
            retry=retry_if_exception_type(NO_ANSWER),
            reraise=True,
        )
        async for attempt in retrying:
            with attempt:
                async with Client(self._server) as client:
                    result = await client.call_tool(
                        self._tool, {"symbol": symbol}, raise_on_error=False
                    )
        return None if result.is_error else _members(result)


def open_source(argument: str, clock: Clock, seed: int) -> McpPrices:
    """Return the prices of the server that `argument` names.

    Raises:
        ValueError: not an http(s) URL, or not a tool's name.
    """
    tool, at, url = argument.partition("@")
    if not at or "//" in tool:
        tool, url = DEFAULT_TOOL, argument
    if not re.match(r"https?://[^/\s]", url):
        raise ValueError(f"URL must begin with http:// or https://, was {url!r}")
    if not _TOOL.fullmatch(tool):
        raise ValueError(f"not a tool's name: {tool!r}")
    return McpPrices(f"mcp:{argument}", url, tool, clock)


def read_quote(answer: Mapping[str, Any], symbol: str, source: str, now: datetime) -> Quote | None:
    """Return the quote in an answer whose numbers are text, or None if it holds none.

    Needs `bid` and `ask`, or `price` or `last` alone; `as_of` or `timestamp` if
    given must be a time with offset, or since the epoch, and not to come.
    """
    given = {name: answer[name] for name in _PRICES if answer.get(name) is not None}
    numbers = {name: _number(value) for name, value in given.items()}
    if answer.get("symbol", symbol) != symbol or None in numbers.values():
        return None
    price = numbers.get("last") or numbers.get("price")
    bid, ask = numbers.get("bid"), numbers.get("ask")
    if bid is None and ask is None:
        bid = ask = price
    if bid is None or ask is None or ask < bid:
        return None
    as_of = _as_of(answer, now)
    tick = tick_size(symbol)
    low, high = round_down(bid, tick), round_up(ask, tick)
    if as_of is None or not low:
        return None
    return Quote(symbol, low, high, price or low, as_of, source)


def _members(result: Any) -> Mapping[str, Any] | None:
    """Return the answer's members, numbers as their text: exact, never through a float."""
    texts = [block.text for block in result.content if isinstance(block, TextContent)]
    structured = result.structured_content
    if structured is not None:
        texts.append(json.dumps(structured))  # Doubles: the text block comes first.
    for text in texts:
        if (found := _object(text)) is not None:
            return found
    return None


def _object(text: str) -> Mapping[str, Any] | None:
    if len(text) > _TEXT_LIMIT:
        return None
    try:
        found = json.loads(text, parse_float=str, parse_int=str, parse_constant=str)
    except (ValueError, RecursionError):
        return None
    if isinstance(found, dict) and set(found) == {"result"}:
        inner = found["result"]  # FastMCP wraps what is not an object.
        return _object(inner) if isinstance(inner, str) else _dictionary(inner)
    return _dictionary(found)


def _dictionary(value: Any) -> Mapping[str, Any] | None:
    return value if isinstance(value, dict) else None


def _number(value: Any) -> Decimal | None:
    return parse_positive(value) if isinstance(value, str) else None


def _as_of(answer: Mapping[str, Any], now: datetime) -> datetime | None:
    given = answer.get("as_of", answer.get("timestamp"))
    if given is None:
        return now
    if not isinstance(given, str):
        return None
    try:
        as_of = moment_of(given, naive_is_utc=False)
    except ValueError:
        return None
    return as_of if as_of <= now + _FUTURE_AT_MOST else None
