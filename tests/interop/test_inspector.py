"""The MCP Inspector, the protocol's own developer client, lists the tools and trades."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.interop.programs import EXEC_MCP, MODULES, Ran, needs_node, run_node, served

pytestmark = [pytest.mark.anyio, needs_node]

_CLI = MODULES / "@modelcontextprotocol" / "inspector" / "clients" / "launcher" / "build"
_IS_ERROR = 5
_AUTH_REQUIRED = 3

both_eras = pytest.mark.parametrize("era", ["legacy", "modern"])
both_ways = pytest.mark.parametrize("way", ["http", "stdio"])


@dataclass(frozen=True)
class Inspector:
    """The Inspector's command line, aimed at a server."""

    aim: tuple[object, ...]
    home: Path

    async def run(self, *arguments: str) -> Ran:
        return await run_node(_CLI / "index.js", "--cli", *self.aim, *arguments, home=self.home)

    async def call(self, tool: str, **arguments: object) -> tuple[int, Any]:
        """Return the exit code, and the object of the one text block with exact numbers."""
        pairs = [f"{name}={value}" for name, value in arguments.items()]
        given = ["--tool-arg", *pairs] if pairs else []
        ran = await self.run("--method", "tools/call", "--tool-name", tool, *given)
        (block,) = json.loads(ran.stdout)["content"]
        return ran.code, json.loads(block["text"], parse_float=Decimal)


@asynccontextmanager
async def aimed(way: str, era: str, folder: Path) -> AsyncIterator[Inspector]:
    """Yield an Inspector that speaks to a server on a fresh home, over HTTP or stdio."""
    eras, home = ("--protocol-era", era), folder / "exec-mcp"
    if way == "stdio":
        yield Inspector((EXEC_MCP, "stdio", "-e", f"EXEC_MCP_HOME={home}", *eras), folder)
        return
    async with served(home) as server:
        url = ("--transport", "http", "--server-url", f"{server.url}/mcp")
        bearer = ("--header", f"Authorization: Bearer {server.token}")
        yield Inspector((*url, *bearer, *eras), folder)


@both_eras
@both_ways
async def test_the_inspector_finds_no_fault_in_the_tools(way, era, tmp_path):
    async with aimed(way, era, tmp_path) as inspector:
        ran = await inspector.run("--method", "tools/list", "--strict")

    assert ran.code == 0, ran.stderr
    names = {tool["name"] for tool in json.loads(ran.stdout)["tools"]}
    assert {"plan_trade", "execute_trade", "get_trade"} <= names
    assert "\n0 errors" in ran.stderr


@both_eras
@both_ways
async def test_the_inspector_plans_confirms_once_and_reads_a_trade(way, era, tmp_path):
    async with aimed(way, era, tmp_path) as inspector:
        _, plan = await inspector.call("plan_trade", symbol="AAPL", side="buy", quantity=10)
        trade = {"trade_id": plan["trade_id"]}
        confirmed, done = await inspector.call("execute_trade", **trade, action="confirm")
        again, refusal = await inspector.call("execute_trade", **trade, action="confirm")
        _, told = await inspector.call("get_trade", **trade)
        _, portfolio = await inspector.call("portfolio_status")

    assert (confirmed, done["status"]) == (0, "executed")
    assert done["executed_price"] == plan["price"]
    assert (again, refusal["current_status"]) == (_IS_ERROR, "executed")
    assert (told["status"], told["filled_quantity"]) == ("executed", 10)
    assert portfolio["balance"] == 100_000 - 10 * plan["price"]
    assert [p["quantity"] for p in portfolio["positions"]] == [10]


async def test_the_inspector_is_told_to_authenticate_when_it_has_no_token(tmp_path):
    async with served(tmp_path / "exec-mcp") as server:
        stranger = Inspector(("--transport", "http", "--server-url", f"{server.url}/mcp"), tmp_path)
        ran = await stranger.run("--method", "tools/list")

    assert ran.code == _AUTH_REQUIRED
    assert json.loads(ran.stderr)["error"]["code"] == "auth_required"
