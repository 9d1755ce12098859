"""The official SDK and FastMCP trade, in both eras, over stdio and streamable HTTP."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import fastmcp
import httpx2
import mcp
import pytest
from fastmcp.client.transports import StdioTransport, StreamableHttpTransport
from mcp import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from backend.domain import exact_json
from tests.serving.programs import EXEC_MCP, Server, environment, serving

pytestmark = pytest.mark.anyio
Era = Literal["auto", "legacy"]
A_PLAN = {"symbol": "AAPL", "side": "buy", "quantity": 10}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("serve") / "home") as started:
        yield started


@asynccontextmanager
async def connected(
    sdk: str, way: str, era: Era, home: Path, url: str, token: str
) -> AsyncIterator[Any]:
    """Yield a client of this SDK."""
    async with AsyncExitStack() as stack:
        transport: Any
        headers = {"authorization": f"Bearer {token}"}
        match sdk, way:
            case "official", "stdio":
                transport = StdioServerParameters(
                    command=str(EXEC_MCP), args=["stdio"], env=environment(home)
                )
            case "official", _:
                http = await stack.enter_async_context(httpx2.AsyncClient(headers=headers))
                transport = streamable_http_client(f"{url}/mcp", http_client=http)
            case _, "stdio":
                transport = StdioTransport(
                    str(EXEC_MCP), ["stdio"], env=environment(home), keep_alive=False
                )
            case _:
                transport = StreamableHttpTransport(f"{url}/mcp", headers=headers)
        client = mcp.Client if sdk == "official" else fastmcp.Client
        yield await stack.enter_async_context(client(transport, mode=era))


@pytest.mark.parametrize("era", ["auto", "legacy"])
@pytest.mark.parametrize("way", ["stdio", "http"])
@pytest.mark.parametrize("sdk", ["official", "fastmcp"])
async def test_each_client_trades(
    server: Server, tmp_path: Path, sdk: str, way: str, era: Era
) -> None:
    async with connected(sdk, way, era, tmp_path / "home", server.url, server.token()) as client:
        plan = await call(client, "plan_trade", A_PLAN)
        done = await call(client, "execute_trade", confirm(plan))
        again = await call(client, "execute_trade", confirm(plan))

    assert plan["status"] == "pending"
    assert (done["status"], done["executed_price"]) == ("executed", plan["price"])
    assert (again["code"], again["current_status"]) == ("trade_not_pending", "executed")


def confirm(plan: dict[str, Any]) -> dict[str, Any]:
    return {"trade_id": plan["trade_id"], "action": "confirm"}


async def call(client: Any, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the object of a tool's text block, exact."""
    more = {"raise_on_error": False} if isinstance(client, fastmcp.Client) else {}
    result = await client.call_tool(tool, arguments, **more)
    found: dict[str, Any] = exact_json.loads(result.content[0].text)
    return found


@pytest.mark.parametrize("token", ["none", "revoked"])
async def test_without_a_good_token_no_tool_is_seen(server: Server, token: str) -> None:
    with server.http("operator") as operator:
        body = {"name": "gone", "scopes": ["read"]}
        made = operator.post("/api/v1/tokens", json=body).json()["token"]
        operator.delete("/api/v1/tokens/gone").raise_for_status()
    headers = {} if token == "none" else {"authorization": f"Bearer {made}"}
    client = fastmcp.Client(StreamableHttpTransport(f"{server.url}/mcp", headers=headers))

    with pytest.raises((httpx2.HTTPError, RuntimeError, mcp.MCPError)):
        async with client:
            await client.list_tools()


async def test_each_caller_over_http_acts_with_its_own_token(server: Server) -> None:
    with server.http("operator") as operator:
        body = {"name": "viewer", "scopes": ["read"]}
        viewer = operator.post("/api/v1/tokens", json=body).json()["token"]
    transport = StreamableHttpTransport(
        f"{server.url}/mcp", headers={"authorization": f"Bearer {viewer}"}
    )
    async with fastmcp.Client(transport) as client:
        refused = await call(client, "plan_trade", A_PLAN)
        seen = await call(client, "portfolio_status", {})

    assert refused["code"] == "forbidden"
    assert seen["account_id"] == "paper:main"
