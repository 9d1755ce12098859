"""The official TypeScript SDK, on which most hosts are built, trades over HTTP and stdio."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.interop.programs import EXEC_MCP, MODULES, needs_node, run_node, served

pytestmark = [pytest.mark.anyio, needs_node]

_TRADE = Path(__file__).with_name("trade.mjs")


@asynccontextmanager
async def _target(way: str, home: Path) -> AsyncIterator[tuple[object, object]]:
    if way == "stdio":
        yield EXEC_MCP, home
        return
    async with served(home) as server:
        yield f"{server.url}{way}", server.token


@pytest.mark.parametrize("way", ["/mcp", "/mcp/", "stdio"])
async def test_the_typescript_sdk_plans_confirms_once_and_reads_a_trade(way, tmp_path):
    async with _target(way, tmp_path / "exec-mcp") as (target, key):
        ran = await run_node(_TRADE, MODULES, way, target, key, home=tmp_path)

    assert ran.code == 0, ran.stderr
    said = json.loads(ran.stdout)
    plan, confirmed, told = (
        said[name]["structuredContent"] for name in ("plan", "confirmed", "told")
    )
    assert (confirmed["status"], confirmed["executed_price"]) == ("executed", plan["price"])
    assert said["again"]["isError"] is True
    assert told["status"] == "executed"
    assert said["page"]["contents"][0]["text"].startswith("# MCP tool: plan_trade")
