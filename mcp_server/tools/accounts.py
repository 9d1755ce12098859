"""Which accounts this token may use, and the rules that hold on each."""

from typing import Annotated

from fastmcp.tools import ToolResult, tool
from pydantic import Field

from mcp_server.backend_client import segment
from mcp_server.tools import READ, TRADING, ask, output


@tool(
    title="List accounts",
    description=(
        "List the accounts you may use, with exchange and environment (paper, testnet, demo or "
        "live). Call it first when more than one account may exist; pass an account_id to the "
        "other tools."
    ),
    annotations=READ,
    tags=TRADING,
    output_schema=output("accounts", accounts="array"),
)
async def list_accounts(exchange: str | None = None) -> ToolResult:
    """Return the accounts of the caller's token."""
    return await ask("GET", "/accounts", params={"exchange": exchange})


@tool(
    title="Account information",
    description=(
        "Read an account's environment, fees, permissions and, per instrument, tick, step, sizes "
        "and minimum notional. Give symbol for one instrument's rules before planning an order on "
        "it; without it, only instruments held or on order."
    ),
    annotations=READ,
    tags=TRADING,
    output_schema=output(
        "account_id",
        account_id="string",
        exchange="string",
        name="string",
        environment="string",
        currency="string",
        enabled="boolean",
        stopped="string?",
        created_at="string",
        fees="object",
        permissions="array",
        exchange_permissions="array",
        may_withdraw="boolean",
        sub_accounts="boolean",
        order_types="array",
        times_in_force="array",
        balances="array",
        limits="object",
        settings="object",
        instruments="array",
        instrument_count="integer",
    ),
)
async def get_account_info(
    account_id: Annotated[str, Field(description="exchange:identifier, as paper:main.")],
    symbol: str | None = None,
) -> ToolResult:
    """Return an account's settings, fees and trading rules."""
    return await ask("GET", f"/accounts/{segment(account_id)}", params={"symbol": symbol})
