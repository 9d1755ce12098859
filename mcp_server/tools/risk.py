"""The limits in force, and the switch that stops everything."""

from typing import Annotated

from fastmcp.tools import ToolResult, tool
from pydantic import Field

from mcp_server.tools import COMMIT, READ, TRADING, ask, output


@tool(
    title="Risk status",
    description=(
        "Read the risk checks with their limits and present use, kill switches that are on, and "
        "whether new trades are possible. Call it when a plan was refused by a risk check."
    ),
    annotations=READ,
    tags=TRADING,
    output_schema=output(
        "account_id",
        account_id="string",
        environment="string",
        currency="string",
        enabled="boolean",
        stopped="string?",
        quarantined="string?",
        can_trade="boolean",
        kill_switches="array",
        checks="array",
        approval="object?",
        pending_trades="integer",
        open_orders="integer",
        as_of="string",
    ),
)
async def risk_status(account_id: str | None = None) -> ToolResult:
    """Return an account's limits, their use, and what blocks it."""
    return await ask("GET", "/risk/status", params={"account_id": account_id})


@tool(
    title="Engage the kill switch",
    description=(
        "Stop trading at once: block new orders, cancel pending trades and, by default, request "
        "cancellation of open orders in scope. Use it when the operator says stop, or something "
        "is wrong. Only an operator can release it."
    ),
    annotations=COMMIT,
    tags=TRADING,
    output_schema=output(
        "scope",
        scope="string",
        engaged="boolean",
        account_id="string?",
        environment="string?",
        symbol="string?",
        reason="string",
        engaged_at="string",
        cancelled_trades="array",
        in_flight="array",
        live_orders="array",
        cancel_requested="array",
        next="string?",
    ),
)
async def engage_kill_switch(
    reason: Annotated[str, Field(description="A sentence for the audit.")],
    scope: Annotated[str, Field(description="account, symbol or global.")] = "account",
    account_id: str | None = None,
    symbol: Annotated[str | None, Field(description="With scope symbol.")] = None,
    cancel_orders: bool = True,
) -> ToolResult:
    """Block new orders in scope, and cancel what is pending or open."""
    body = {
        "reason": reason,
        "scope": scope,
        "account_id": account_id,
        "symbol": symbol,
        "cancel_orders": cancel_orders,
    }
    return await ask("POST", "/risk/kill-switch", body=body)
