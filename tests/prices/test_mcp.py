"""Prices from a real FastMCP server, in process and over a loopback port."""

import asyncio
import json
import socket

import pytest
import uvicorn
from fastmcp import FastMCP
from fastmcp.tools.base import ToolResult

from backend.prices import mcp
from backend.prices.mcp import McpPrices, open_source, read_quote
from tests.exchanges.scripted import START, D, FrozenClock

pytestmark = pytest.mark.anyio


def a_server(answer, calls=None):
    """Return a server whose `get_price` answers with the given object or text."""
    server = FastMCP("prices")

    @server.tool
    def get_price(symbol: str) -> ToolResult:
        if calls is not None:
            calls.append(symbol)
        text = answer if isinstance(answer, str) else json.dumps(answer)
        return ToolResult(content=text)

    return server


def prices_of(server, tool="get_price"):
    return McpPrices("mcp:test", server, tool, FrozenClock())


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ('{"bid":215.38,"ask":215.40,"last":215.39}', "215.38 215.40 215.39"),
        ('{"bid":"215.38","ask":"215.40"}', "215.38 215.40 215.38"),
        ('{"price":215.40}', "215.40 215.40 215.40"),
        ('{"last":"215.40","timestamp":1779804000}', "215.40 215.40 215.40"),
        ('{"price":0.100000000000000005}', "0.10 0.11 0.100000000000000005"),
        ('{"price":215.4,"as_of":"2026-05-26T10:00:00-04:00"}', "215.40 215.40 215.4"),
        ('{"result":{"price":215.4}}', "215.40 215.40 215.4"),
        ('{"price":215.4,"as_of":"2026-05-26T10:00:00"}', None),
        ('{"price":215.4,"as_of":"2026-05-26T10:01:00-04:00"}', None),
        ('{"price":215.4,"as_of":true}', None),
        ('{"price":215.4,"symbol":"MSFT"}', None),
        ('{"bid":215.5,"ask":215.4}', None),
        ('{"bid":215.4}', None),
        ('{"bid":"NaN","ask":"NaN","price":215.4}', None),
        ('{"price":NaN}', None),
        ('{"price":1e5}', None),
        ('{"price":-1}', None),
        ('{"price":0}', None),
        ('{"price":true}', None),
        ('{"price":0.001}', None),
        ("[]", None),
        ("no price today", None),
        ("", None),
        ("[" * 30_000, None),
    ],
)
async def test_an_answer_is_read_exactly_or_not_at_all(answer, expected):
    quote = await prices_of(a_server(answer)).quote("AAPL")

    if expected is None:
        assert quote is None
    else:
        assert quote is not None
        assert (quote.bid, quote.ask, quote.last) == tuple(map(D, expected.split()))
        assert (quote.as_of, quote.source) == (START, "mcp:test")


async def test_structured_content_and_wrapped_text_are_understood():
    server = FastMCP("prices")

    @server.tool
    def structured(symbol: str) -> ToolResult:
        content = {"bid": 215.38, "ask": 215.4}
        return ToolResult(content="see structured content", structured_content=content)

    @server.tool
    def wrapped(symbol: str) -> str:
        return '{"price": 215.40}'

    one = await prices_of(server, "structured").quote("AAPL")
    two = await prices_of(server, "wrapped").quote("AAPL")

    assert one is not None
    assert (one.bid, one.ask) == (D("215.38"), D("215.4"))
    assert two is not None
    assert two.bid == D("215.40")


async def test_an_error_or_a_missing_tool_is_no_quote_and_asked_once():
    calls: list[str] = []
    server = FastMCP("prices")

    @server.tool
    def get_price(symbol: str) -> ToolResult:
        calls.append(symbol)
        return ToolResult(content='{"price":1}', is_error=True)

    assert await prices_of(server).quote("AAPL") is None
    assert await prices_of(server, "nope").quote("AAPL") is None
    assert calls == ["AAPL"]


async def test_a_late_answer_is_no_quote(monkeypatch):
    monkeypatch.setattr(mcp, "TIMEOUT_S", 0.05)
    server = FastMCP("prices")

    @server.tool
    async def get_price(symbol: str) -> str:
        await asyncio.Event().wait()
        return ""

    assert await prices_of(server).quote("AAPL") is None


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def test_nobody_listening_is_no_quote():
    prices = open_source(f"http://127.0.0.1:{free_port()}/mcp", FrozenClock(), 0)

    assert await prices.quote("AAPL") is None


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{",
        b"nonsense",
        b"",
    ],
)
async def test_a_server_that_is_no_mcp_server_is_no_quote(answer):
    async def talk(reader, writer):
        await reader.read(10_000)
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    assert await open_source(f"http://127.0.0.1:{port}/mcp", FrozenClock(), 0).quote("A") is None

    server.close()


class _Server(uvicorn.Server):
    """A server that tells when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()


async def test_a_real_server_over_http_is_asked_by_the_named_tool():
    calls: list[str] = []
    app = a_server({"bid": "215.38", "ask": "215.40"}, calls).http_app()
    port = free_port()
    server = _Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error", ws="none"))
    serving = asyncio.ensure_future(server.serve())
    await server.ready.wait()

    quote = await open_source(f"get_price@http://127.0.0.1:{port}/mcp", FrozenClock(), 0).quote(
        "AAPL"
    )
    server.should_exit = True
    await serving

    assert quote is not None
    assert (quote.ask, calls) == (D("215.40"), ["AAPL"])


def test_a_cached_price_has_no_past():
    prices = prices_of(None)

    assert not prices.replayable
    assert prices.path("AAPL", START, START) == ()


def test_an_answer_without_a_price_is_no_quote():
    assert read_quote({}, "AAPL", "mcp:test", START) is None
