"""`exec-mcp stdio` from its start to `tools/list` ÷ a one-tool FastMCP server; the list's size."""

import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from fastmcp import Client
from fastmcp.client.transports import StdioTransport

from tests.bench.measure import Figure, exec_mcp, settings


async def figures(folder: Path) -> list[Figure]:
    """Return the start-up figure and the two figures of the tool list."""
    env = settings(folder / "start")
    ours, one = [], []
    for turn in range(11):
        first = await _start(exec_mcp(), ["stdio"], env)
        second = await _start(sys.executable, ["-m", "tests.bench.canned", "one"], env)
        if turn:
            ours.append(first)
            one.append(second)
    async with Client(StdioTransport(exec_mcp(), ["stdio"], env=env, keep_alive=False)) as client:
        tools = await client.list_tools()
    shown: list[dict[str, Any]] = [
        tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in tools
    ]
    size = len(json.dumps({"tools": shown}, separators=(",", ":")).encode()) / 1024
    return [
        Figure(
            "stdio, start to tools/list", statistics.median(ours), statistics.median(one), "s", 1.5
        ),
        Figure("tools in the default list ÷ the limit", len(tools), 20, "", 1.0),
        Figure("size of tools/list ÷ the limit", size, 25, "KB", 1.0),
    ]


async def _start(command: str, arguments: list[str], env: dict[str, str]) -> float:
    start = time.perf_counter()
    transport = StdioTransport(command, arguments, env=env, keep_alive=False)
    async with Client(transport) as client:
        await client.list_tools()
        return time.perf_counter() - start
