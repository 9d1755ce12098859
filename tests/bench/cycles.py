"""plan + confirm ÷ the same two tools answering canned objects, over each transport."""

import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import cycle
from pathlib import Path
from typing import Any

from fastmcp import Client
from fastmcp.client.transports import StdioTransport, StreamableHttpTransport

from backend.app import open_backend
from backend.config import read_config
from mcp_server.server import create_server
from tests.bench.canned import TOKEN, canned_server
from tests.bench.measure import (
    Figure,
    Step,
    exec_mcp,
    free_port,
    interleaved,
    process,
    settings,
)

BOUNDS = {"memory": 2.5, "stdio": 2.0, "http": 1.8}
ERAS = ("auto", "legacy")


def trade_on(client: Client[Any]) -> Step:
    """Return one cycle: plan and confirm one share, buying and selling in turns."""
    sides = cycle(("buy", "sell"))

    async def step() -> None:
        order = {"symbol": "AAPL", "side": next(sides), "quantity": 1}
        planned = await client.call_tool("plan_trade", order)
        assert planned.structured_content is not None
        trade_id = planned.structured_content["trade_id"]
        await client.call_tool("execute_trade", {"trade_id": trade_id, "action": "confirm"})

    return step


async def figures(folder: Path) -> AsyncIterator[Figure]:
    """Yield one figure per transport and era."""
    for name, clients in (("memory", _memory), ("stdio", _stdio), ("http", _http)):
        for era in ERAS:
            async with clients(folder / f"{name}-{era}", era) as (ours, canned):
                taken = await interleaved(trade_on(ours), trade_on(canned))
            title = f"plan + confirm, {name}, {'2026-07-28' if era == 'auto' else 'handshake'}"
            yield Figure(title, *taken, "ms", BOUNDS[name])


Pair = tuple[Client[Any], Client[Any]]


@asynccontextmanager
async def _memory(home: Path, era: Any) -> AsyncIterator[Pair]:
    async with AsyncExitStack() as stack:
        backend = await stack.enter_async_context(open_backend(read_config(settings(home))))
        token = (home / "agent.token").read_text().strip()
        server = create_server(backend.http(), token=token)
        ours = await stack.enter_async_context(Client(server, mode=era))
        canned = await stack.enter_async_context(Client(canned_server(), mode=era))
        yield ours, canned


@asynccontextmanager
async def _stdio(home: Path, era: Any) -> AsyncIterator[Pair]:
    ours = StdioTransport(exec_mcp(), ["stdio"], env=settings(home), keep_alive=False)
    canned = StdioTransport(
        sys.executable, ["-m", "tests.bench.canned", "stdio"], env=settings(home), keep_alive=False
    )
    async with Client(ours, mode=era) as first, Client(canned, mode=era) as second:
        yield first, second


@asynccontextmanager
async def _http(home: Path, era: Any) -> AsyncIterator[Pair]:
    port, other = free_port(), free_port()
    env = settings(home)
    serve = (exec_mcp(), "serve", "--port", str(port))
    canned = (sys.executable, "-m", "tests.bench.canned", "http", str(other))
    async with (
        process(*serve, port=port, probe="/health", env=env),
        process(*canned, port=other, probe="/mcp", env=env),
    ):
        token = (home / "agent.token").read_text().strip()
        async with (
            Client(StreamableHttpTransport(_url(port), auth=token), mode=era) as first,
            Client(StreamableHttpTransport(_url(other), auth=TOKEN), mode=era) as second,
        ):
            yield first, second


def _url(port: int) -> str:
    return f"http://127.0.0.1:{port}/mcp"
