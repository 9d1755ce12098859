"""The yardstick: the same two tools with the same schemas, answering canned objects."""

import asyncio
import inspect
import sys
from typing import Any

from fastmcp import FastMCP
from fastmcp.server.auth.providers.jwt import StaticTokenVerifier
from fastmcp.tools import FunctionTool, ToolResult
from mcp_types import TextContent

from mcp_server.tools import load_tools

TOKEN = "canned"
_TRADE = "trd-aaaaaaaaaaaaaaaaaaaa"

PLAN: dict[str, Any] = {
    "trade_id": _TRADE,
    "status": "pending",
    "environment": "paper",
    "account_id": "paper:main",
    "exchange": "paper",
    "symbol": "AAPL",
    "side": "buy",
    "quantity": 1,
    "order_type": "market",
    "time_in_force": "ioc",
    "limit_price": None,
    "stop_price": None,
    "price": 215.4,
    "total": 215.4,
    "worst_price": 215.4,
    "band_bps": 0,
    "quote": {
        "bid": 215.38,
        "ask": 215.4,
        "last": 215.39,
        "as_of": "2026-05-26T10:14:41-04:00",
        "source": "simulated",
    },
    "fee": 0.0,
    "fee_currency": "USD",
    "reserved_buying_power": 215.4,
    "buying_power": 99784.6,
    "created_at": "2026-05-26T10:14:41-04:00",
    "expires_at": "2026-05-26T10:15:41-04:00",
    "expires_in_s": 60,
    "approval": {"required": False},
    "checks": [
        {"check": name, "status": "pass", "value": 1, "limit": 100, "unit": "AAPL"}
        for name in ("step_size", "tick_size", "buying_power", "stale_quote", "min_notional")
    ],
    "filled_quantity": 0,
    "executed_price": None,
    "fills": [],
    "order": None,
    "claimed_at": None,
    "finished_at": None,
    "reason": None,
    "next": "execute_trade with confirm or cancel before expires_at",
}
CONFIRMED: dict[str, Any] = {
    "trade_id": _TRADE,
    "status": "executed",
    "symbol": "AAPL",
    "side": "buy",
    "quantity": 1,
    "executed_price": 215.4,
    "total": 215.4,
    "executed_at": "2026-05-26T10:14:55-04:00",
    "new_balance": 99784.6,
    "new_position": {"symbol": "AAPL", "quantity": 1, "avg_price": 215.4},
    "environment": "paper",
    "account_id": "paper:main",
    "filled_quantity": 1,
    "fee": 0.0,
    "fee_currency": "USD",
    "exchange_order_id": "paper-1",
    "order_state": "filled",
    "reason": None,
    "next": "portfolio_status shows the result",
}


def canned_server(*, auth: bool = False) -> FastMCP:
    """Return the yardstick: our tools' schemas over functions that compute nothing."""
    import json

    real = {tool.name: tool for tool in load_tools()}
    tools = [
        _answering(real[name], json.dumps(answer), answer)
        for name, answer in (("plan_trade", PLAN), ("execute_trade", CONFIRMED))
    ]
    verifier = StaticTokenVerifier({TOKEN: {"client_id": "bench", "scopes": []}})
    server: FastMCP = FastMCP(
        "canned",
        auth=verifier if auth else None,
        tools=tools,
        strict_input_validation=True,
        mask_error_details=True,
        dereference_schemas=False,
    )
    schemas = {tool.name: tool.parameters for tool in tools}
    server._mcp_server.get_tool_input_schema = schemas.get
    return server


def _answering(tool: FunctionTool, text: str, answer: dict[str, Any]) -> FunctionTool:
    result = ToolResult(content=[TextContent(type="text", text=text)], structured_content=answer)

    async def canned(**_: Any) -> ToolResult:
        return result

    canned.__signature__ = inspect.signature(tool.fn)  # type: ignore[attr-defined]
    canned.__annotations__ = tool.fn.__annotations__
    canned.__name__ = tool.name
    return tool.model_copy(update={"fn": canned})


def one_tool_server() -> FastMCP:
    """Return the smallest FastMCP server there is, for the start-up figure."""
    server: FastMCP = FastMCP("one")

    @server.tool
    async def ping() -> str:
        """Answer."""
        return "pong"

    return server


def _main(what: str, port: int) -> None:
    if what == "one":
        one_tool_server().run(transport="stdio", show_banner=False)
    elif what == "stdio":
        canned_server().run(transport="stdio", show_banner=False)
    else:
        asyncio.run(_http(port))


async def _http(port: int) -> None:
    import uvicorn

    app = canned_server(auth=True).http_app(path="/mcp", host_origin_protection=True)
    config = uvicorn.Config(app, port=port, log_level="warning", access_log=False)
    await uvicorn.Server(config).serve()


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 0)
